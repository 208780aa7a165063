//! KEYS: the one table of settings (INTERFACE 1). Parsing, defaults, `edgepush env` and `docs/configuration.md` come
//! from it: a new setting is one row here and one field of `Config`.
//!
//! Promises: a default is written as an operator would write it, and is read by the same parser.
//! Must not know: the process environment.
use super::value::{Bytes, HIDDEN, Secret, bytes_within, count_within, duration_within, redacted_url};
use super::{Config, Host, archive, choice, memory_default, output, source, token, tz, value, zones};
use super::{SourceSpec, source::Format};
use edgepush_shard::limits;
use std::io;
use std::path::Path;
use std::time::Duration;

/// One setting.
pub struct Key {
    /// The variable. `<NAME>` stands for a part that the operator chooses.
    pub name: &'static str,
    /// What a value looks like, with its bounds.
    pub kind: &'static str,
    /// What stands when nothing is said.
    pub preset: Preset,
    /// How much of a value may be shown.
    pub privacy: Privacy,
    /// How a value is understood.
    pub parse: Parse,
    /// One or two sentences for an operator.
    pub help: &'static str,
}

/// A default.
#[derive(Clone, Copy, Debug)]
pub enum Preset {
    /// None; this is written in the docs.
    Unset(&'static str),
    /// This text.
    Text(&'static str),
    /// By the machine and the rows above.
    Computed {
        /// What is written in the docs.
        docs: &'static str,
        /// The text on this machine.
        of: fn(&Host, &Config) -> String,
    },
}

/// How much of a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// All.
    Open,
    /// A URL without its secrets.
    Url,
    /// Nothing.
    Secret,
}

/// How a value is understood.
#[derive(Clone, Copy)]
pub enum Parse {
    /// Sets a field.
    One(fn(&mut Config, &str) -> Result<(), String>),
    /// Sets a field; the value may be the path of a file.
    Reading(fn(&mut Config, &str, &ReadFile<'_>) -> Result<(), String>),
    /// Sets what belongs to the name that the operator chose.
    Named(fn(&mut Config, &str, &str) -> Result<(), String>),
    /// The destination: understood by a part that is no leaf.
    Destination,
}

/// Reads a file that a value names.
pub type ReadFile<'a> = dyn Fn(&Path) -> io::Result<String> + 'a;

impl Key {
    /// The part of a named row before the operator's part.
    pub fn stem(&self) -> &'static str {
        self.name.split('<').next().unwrap_or(self.name)
    }

    /// A value as it may be shown.
    pub fn shown(&self, text: &str) -> String {
        match self.privacy {
            Privacy::Open => text.into(),
            Privacy::Url => redacted_url(text),
            Privacy::Secret if text.is_empty() => String::new(),
            Privacy::Secret => HIDDEN.into(),
        }
    }

    /// The default as the docs write it.
    pub fn preset_docs(&self) -> &'static str {
        match self.preset {
            Preset::Unset(docs) | Preset::Text(docs) | Preset::Computed { docs, .. } => docs,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Bounds of sizes on disk: nobody means more than an exabyte.
const DISK_MOST: Bytes = Bytes(1_000_000_000_000_000_000);

/// A row whose values may all be shown.
const fn key(
    name: &'static str,
    kind: &'static str,
    preset: Preset,
    parse: Parse,
    help: &'static str,
) -> Key {
    Key { name, kind, preset, privacy: Privacy::Open, parse, help }
}

use Parse::{Named, One, Reading};
use Preset::{Computed, Text, Unset};

/// All settings, in the order of INTERFACE 1. A row may use the fields of those above it.
pub const KEYS: &[Key] = &[
    key(
        "EDGEPUSH_SOURCES",
        "list of `file:GLOB`, `unixgram:PATH`, `unix:PATH`, `udp:ADDR:PORT`, `tcp:ADDR:PORT`, `stdin:`, `pipe:PATH`",
        Unset("none; `run` needs one"),
        One(|c, t| {
            for text in value::list(t) {
                let kind = source::kind(&text).map_err(|why| format!("has {text}, which {why}"))?;
                c.sources.push(SourceSpec { name: kind.label(), kind, format: Format::auto() });
            }
            Ok(())
        }),
        "Where lines come from (`docs/sources.md`). A glob may match nothing yet: files that appear later are read from \
         their beginning. Sockets and pipes are read as they come.",
    ),
    key(
        "EDGEPUSH_SOURCE_<NAME>",
        "as one of EDGEPUSH_SOURCES",
        Unset("none"),
        Named(|c, name, t| {
            let kind = source::kind(t)?;
            c.sources.push(SourceSpec { name: name.into(), kind, format: Format::auto() });
            Ok(())
        }),
        "One more source under a name of your own (`A-Z`, `0-9`, `_`), which is its label in metrics and logs.",
    ),
    key(
        "EDGEPUSH_FORMAT",
        "`auto`, `json`, `combined`, `nginx:TEXT`, …",
        Text("auto"),
        One(|c, t| {
            let format = Format::parse(t)?;
            c.sources.iter_mut().for_each(|s| s.format = format.clone());
            Ok(())
        }),
        "How lines are read: `json`, `combined`, `common`, `main`, `vhost_combined`, `nginx:` with a log_format, `apache:` \
         with a LogFormat, `haproxy`, `varnish:` with a format, `csv`, `tsv`, `w3c`, `squid`, `logfmt`, or `syslog:` \
         before one of these (`docs/formats.md`). `auto` goes by the first lines of each file and says what it found.",
    ),
    key(
        "EDGEPUSH_FORMAT_<NAME>",
        "as EDGEPUSH_FORMAT",
        Unset("auto"),
        Named(|c, name, t| {
            let format = Format::parse(t)?;
            let missing = || format!("belongs to no source: set EDGEPUSH_SOURCE_{name} as well");
            c.sources.iter_mut().find(|s| s.name == name).ok_or_else(missing)?.format = format;
            Ok(())
        }),
        "How the lines of the source of that name are parsed.",
    ),
    key(
        "EDGEPUSH_START",
        "`beginning`, `end`, RFC 3339 time",
        Text("beginning"),
        One(|c, t| choice::start(t).map(|v| c.start = v)),
        "Where files begin that exist at the very first start of a state directory. With a time: files last modified \
         before it begin at their end. Files that appear later are always read from their beginning.",
    ),
    key(
        "EDGEPUSH_LINE_MAX",
        "size, 16kB to 16MiB",
        Text("1MiB"),
        One(|c, t| bytes_within(t, Bytes(16_000), Bytes(16 << 20)).map(|v| c.line_max = v.0 as u32)),
        "Longest line. A longer one is skipped to its end and becomes a reject that keeps its first 64 KiB.",
    ),
    key(
        "EDGEPUSH_DATASET",
        "`raw`, `http_requests`, `medianova`",
        Text("raw"),
        One(|c, t| output::dataset(t).map(|v| c.dataset = v)),
        "What the records of the job `env` are. `raw` passes them through as they came; the others have fields of \
         fixed names and types.",
    ),
    key(
        "EDGEPUSH_MAPPING",
        "`auto`, `none`, a server's name, or the path of a mapping file",
        Text("auto"),
        One(|c, t| {
            t.clone_into(&mut c.mapping_text);
            Ok(())
        }),
        "From which fields of a log those of `http_requests` and `medianova` come (`docs/datasets.md`). `auto` recognises \
         the server by the fields that a record has; `none` takes records as they are. `edgepush fields --sample FILE` \
         shows what comes of a log.",
    ),
    key(
        "EDGEPUSH_MAPPING_<NAME>",
        "as EDGEPUSH_MAPPING",
        Unset("as EDGEPUSH_MAPPING"),
        Named(|c, name, t| {
            c.mapping_named.push((name.to_owned(), t.to_owned()));
            Ok(())
        }),
        "The same of the source of that name.",
    ),
    Key {
        name: "EDGEPUSH_DESTINATION",
        kind: "URL",
        preset: Text("archive:"),
        privacy: Privacy::Url,
        parse: Parse::Destination,
        help: "Where batches go: `http://…`, `https://…`, an object store (`s3://…`, `r2://…`, `gs://…`, `azure://…`), \
               `elasticsearch://…`, `opensearch://…`, a vendor (`splunk://…`, `datadog://…`, `sumo://…`, `newrelic://…`, \
               `sentinelone://…`, `ibmcl://…`, `clickhouse://…`), `file:///directory`, `archive:` (below the state directory) \
               or `null:` (counts and forgets). It is the destination of the job `env`.",
    },
    key(
        "EDGEPUSH_FIELDS",
        "list of field names",
        Unset("all, unchanged"),
        One(|c, t| {
            let fields = value::list(t);
            if fields.is_empty() {
                return Err("names no field; remove it to send all".into());
            }
            c.fields = Some(fields);
            Ok(())
        }),
        "Which fields are sent, in this order, with their values exactly as they came. A name that is no key of its \
         own is a path: `a.b.0`.",
    ),
    key(
        "EDGEPUSH_FILTER",
        "JSON of a filter",
        Unset("none"),
        One(|c, t| {
            t.clone_into(&mut c.filter_text);
            Ok(())
        }),
        "Which records are sent: `{\"where\":{\"key\":\"status\",\"operator\":\"geq\",\"value\":500}}` (`docs/filters.md`).",
    ),
    key(
        "EDGEPUSH_SAMPLE",
        "above 0, at most 1",
        Text("1"),
        One(|c, t| output::sample(t).map(|v| c.sample = v)),
        "How many of the records that pass the filter are sent; the same ones in every run.",
    ),
    key(
        "EDGEPUSH_TIMESTAMP_FORMAT",
        "`unixnano`, `unix`, `rfc3339`, `rfc3339ms`, `rfc3339ns`",
        Unset("as read"),
        One(|c, t| {
            c.timestamp_format = Some(t.to_owned());
            Ok(())
        }),
        "How times are written.",
    ),
    key(
        "EDGEPUSH_OUTPUT_OPTIONS",
        "JSON object",
        Unset("none"),
        One(|c, t| output::object(t).map(|v| c.output_options = Some(v))),
        "Everything else about how records are written: csv, templates, prefixes, delimiters, renaming, privacy \
         (`docs/output.md`).",
    ),
    Key {
        name: "EDGEPUSH_PRIVACY_KEY",
        kind: "text",
        preset: Unset("one of this state directory's own"),
        privacy: Privacy::Secret,
        parse: One(|c, t| {
            c.privacy_key = Some(Secret::new(t));
            Ok(())
        }),
        help: "What hashed fields are hashed with. Hosts with the same key write the same hash for the same value.",
    },
    key(
        "EDGEPUSH_BATCH_RECORDS",
        "1 to 10000000",
        Text("100000"),
        One(|c, t| count_within(t, 1, limits::BATCH_RECORDS_MAX).map(|v| c.batch_records = v)),
        "Most records of a batch.",
    ),
    key(
        "EDGEPUSH_BATCH_BYTES",
        "size, 1kB to 1GB",
        Unset("5MB for HTTP, 50MB for others"),
        One(|c, t| {
            let most = Bytes(u64::from(limits::BATCH_BYTES_MAX));
            bytes_within(t, Bytes(1_000), most).map(|v| c.batch_bytes = Some(v.0 as u32))
        }),
        "Most uncompressed bytes of a batch; only a single larger record exceeds it.",
    ),
    key(
        "EDGEPUSH_BATCH_INTERVAL",
        "duration, 100ms to 1h",
        Computed { docs: "30s (`medianova`: 5m)", of: |_, c| output::interval(c).to_owned() },
        One(|c, t| duration_within(t, Duration::from_millis(100), HOUR).map(|v| c.batch_interval = v)),
        "A batch is closed this long after its first record, however small it is.",
    ),
    key(
        "EDGEPUSH_CODEC",
        "`gzip`, `zstd`, `none`",
        Text("gzip"),
        One(|c, t| choice::codec(t).map(|v| c.codec = v)),
        "How batches are compressed.",
    ),
    key(
        "EDGEPUSH_LEVEL",
        "`fast`, `balanced`, `small`",
        Text("fast"),
        One(|c, t| choice::level(t).map(|v| c.level = v)),
        "How hard the codec tries: CPU against size.",
    ),
    key(
        "EDGEPUSH_GZIP",
        "`members`, `single`",
        Unset("by destination"),
        One(|c, t| choice::container(t).map(|v| c.gzip = Some(v))),
        "How gzip is laid out: many members (files and objects; parallel readers use the boundaries) or a single one \
         (everything with Content-Encoding: many HTTP readers stop at the first member).",
    ),
    Key {
        name: "EDGEPUSH_JOBS",
        kind: "directory, or `https://…`",
        preset: Unset("none"),
        privacy: Privacy::Url,
        parse: One(|c, t| choice::jobs(t).map(|v| c.jobs = Some(v))),
        help: "Where job files are: every `*.json` in the directory, which is watched, or a document that is polled. \
               A set that is empty, cut off or partly wrong is refused as a whole, and the last good one runs on.",
    },
    key(
        "EDGEPUSH_ZONES",
        "`zone=host host;zone2=…`, or the path of a JSON file",
        Unset("none"),
        Reading(|c, t, read| zones::zone_hosts(t, read).map(|v| c.zones = Some(v))),
        "Which hosts belong to which zone: a zone's job sees only their records. `*.a.example` is every host below \
         a.example. The file holds one object: `{\"zone\": [\"host\"]}`.",
    ),
    key(
        "EDGEPUSH_JOBS_MAX",
        "1 to 100000",
        Text("10000"),
        One(|c, t| count_within(t, 1, 100_000).map(|v| c.jobs_max = v)),
        "Most jobs beside the environment job.",
    ),
    key(
        "EDGEPUSH_JOB_DISABLE_AFTER",
        "duration, 1m to 365d, or `off`",
        Text("off"),
        One(|c, t| {
            c.job_disable_after = match t {
                "off" => None,
                _ => Some(duration_within(t, MINUTE, 365 * 24 * HOUR)?),
            };
            Ok(())
        }),
        "A job of the API whose destination has taken nothing for so long is disabled, with an error that says so.",
    ),
    key(
        "EDGEPUSH_CORES",
        "how many (`2`), or which (`cpu:0`, `0,2-3`)",
        Text("1"),
        One(|c, t| choice::cores(t).map(|v| c.cores = v)),
        "CPUs that the agent may use: one pinned thread each. A count takes the first CPUs of the affinity mask and \
         is cut to the mask and to the cgroup's quota.",
    ),
    key(
        "EDGEPUSH_RUNTIME",
        "`auto`, `uring`, `threads`",
        Text("auto"),
        One(|c, t| choice::runtime(t).map(|v| c.runtime = v)),
        "What reads files. `auto` uses io_uring where the kernel allows it; `uring` refuses to start without it.",
    ),
    key(
        "EDGEPUSH_SIMD",
        "`auto`, `avx512`, `avx2`, `neon`, `scalar`",
        Text("auto"),
        One(|c, t| choice::simd(t).map(|v| c.simd = v)),
        "The widest vector instructions that may be used. The output is the same with each.",
    ),
    key(
        "EDGEPUSH_STATE_DIR",
        "directory",
        Computed {
            docs: "/var/lib/edgepush; ./edgepush-state when not root",
            of: |host, _| if host.root { "/var/lib/edgepush".into() } else { "./edgepush-state".into() },
        },
        One(|c, t| {
            c.state_dir = t.into();
            Ok(())
        }),
        "Ledger, spool, rejects and the built-in archive. Made with mode 0750. One agent at a time.",
    ),
    key(
        "EDGEPUSH_COMMIT_INTERVAL",
        "duration, 1s to 60s",
        Text("30s"),
        One(|c, t| duration_within(t, SECOND, MINUTE).map(|v| c.commit_interval = v)),
        "Longest time that a record read from a file is only in memory; the file is its safety meanwhile.",
    ),
    key(
        "EDGEPUSH_SOCKET_SYNC",
        "duration, 100ms to 60s",
        Text("1s"),
        One(|c, t| duration_within(t, Duration::from_millis(100), MINUTE).map(|v| c.socket_sync = v)),
        "Longest time that a record received on a socket or from a pipe is only in memory: what a crash may lose.",
    ),
    key(
        "EDGEPUSH_SOCKET_MODE",
        "octal file mode",
        Text("0666"),
        One(|c, t| choice::mode(t).map(|v| c.socket_mode = v)),
        "Who may write to the sockets of `unixgram:` and `unix:`; the default is that of `/dev/log`: everybody.",
    ),
    key(
        "EDGEPUSH_SOCKET_BUFFER",
        "size, 64kB to 1GB",
        Text("8MiB"),
        One(|c, t| bytes_within(t, Bytes(64_000), Bytes(1_000_000_000)).map(|v| c.socket_buffer = v)),
        "What the kernel may keep of a `udp:` socket's datagrams until they are read; `net.core.rmem_max` bounds it.",
    ),
    key(
        "EDGEPUSH_SPOOL_MAX",
        "size, at least 64MB",
        Text("10GB"),
        One(|c, t| bytes_within(t, Bytes(64_000_000), DISK_MOST).map(|v| c.spool_max = v)),
        "Most disk space for batches that are not delivered yet, the ledger included. When it is full, files wait \
         unread.",
    ),
    key(
        "EDGEPUSH_REJECTS_MAX",
        "size, at least 1MB",
        Text("1GB"),
        One(|c, t| bytes_within(t, Bytes(1_000_000), DISK_MOST).map(|v| c.rejects_max = v)),
        "Most disk space for records that could not be parsed; beyond it the oldest file goes.",
    ),
    key(
        "EDGEPUSH_DISK_RESERVE",
        "share (0% to 90%) or size",
        Text("10%"),
        One(|c, t| value::reserve(t).map(|v| c.disk_reserve = v)),
        "What spool, archive and rejects always leave free on their file system.",
    ),
    key(
        "EDGEPUSH_MEMORY_MAX",
        "size, at least 64MB + 16MB a core",
        Computed {
            docs: "256MB, or half the cgroup's limit if that is less",
            of: |host, config| memory_default(host, config).to_string(),
        },
        One(|c, t| value::bytes(t).map(|v| c.memory_max = v)),
        "Peak memory (RSS) of the whole process. Buffers are sized by it at start.",
    ),
    key(
        "EDGEPUSH_UPLOADS",
        "1 to 64",
        Text("4"),
        One(|c, t| count_within(t, 1, 64).map(|v| c.uploads = v)),
        "Parallel uploads per destination.",
    ),
    key(
        "EDGEPUSH_EGRESS_MAX",
        "`off` or size per second, at least 10kB",
        Text("off"),
        One(|c, t| {
            c.egress_max = rate(t)?;
            Ok(())
        }),
        "Most bytes per second that leave this host.",
    ),
    key(
        "EDGEPUSH_JOB_EGRESS_MAX",
        "`off` or size per second, at least 10kB",
        Text("off"),
        One(|c, t| {
            c.job_egress_max = rate(t)?;
            Ok(())
        }),
        "Most bytes per second of a job that leave this host; a job's own `max_egress_bytes_per_second` wins.",
    ),
    key(
        "EDGEPUSH_API",
        "`off` or ADDRESS:PORT",
        Text("127.0.0.1:9600"),
        One(|c, t| choice::listen(t).map(|v| c.api = v)),
        "Where the admin API listens: `/metrics`, `/healthz`, `/readyz`, `/status`. Port 0 takes a free one; the \
         address stands in the state directory's `api.addr`. Beyond loopback only with a token. `run --once` opens \
         it only when this is set.",
    ),
    Key {
        name: "EDGEPUSH_API_TOKEN",
        kind: "text without spaces",
        preset: Unset("none"),
        privacy: Privacy::Secret,
        parse: One(|c, t| {
            if !t.bytes().all(|b| b.is_ascii_graphic()) {
                return Err("must be printable ASCII without spaces, to fit into a header".into());
            }
            c.api_token = Some(Secret::new(t));
            Ok(())
        }),
        help: "Who asks the admin API must send `Authorization: Bearer …` with it. `/healthz` and `/readyz` need none.",
    },
    Key {
        name: "EDGEPUSH_API_TOKENS",
        kind: "list of `scopes:token`",
        preset: Unset("none"),
        privacy: Privacy::Secret,
        parse: One(|c, t| token::tokens(t).map(|v| c.api_tokens = v)),
        help: "More tokens, each with its own rights, joined by `+`: `read`, `write`, `secrets` (sees the secrets of \
               destinations), `zone=ID` and `account=ID` (only there), like `read+zone=023e:TOKEN`. \
               `EDGEPUSH_API_TOKEN` has all rights.",
    },
    key(
        "EDGEPUSH_LOGS_API",
        "`off` or ADDRESS:PORT",
        Unset("`off`; `127.0.0.1:9601` when a job's destination is `archive:`"),
        One(|c, t| choice::listen(t).map(|v| c.logs_api = Some(v))),
        "Where customers list and download their files of the archive, with keys of their own (`edgepush keys`). Port \
         0 takes a free one; the address stands in the state directory's `logs.addr`. `run --once` opens it only when \
         this is set.",
    ),
    key(
        "EDGEPUSH_LOGS_URL",
        "`https://HOST[/PATH]`",
        Unset("as the client called the listener"),
        One(|c, t| choice::base_url(t).map(|v| c.logs_url = Some(v))),
        "What the URLs of files begin with, where something stands before the listener.",
    ),
    key(
        "EDGEPUSH_LOGS_DOWNLOADS",
        "count, 1 to 1000",
        Text("2"),
        One(|c, t| count_within(t, 1, 1000).map(|v| c.logs_downloads = v)),
        "Open downloads of a key.",
    ),
    key(
        "EDGEPUSH_LOGS_RATE",
        "count, 1 to 10000",
        Text("10"),
        One(|c, t| count_within(t, 1, 10_000).map(|v| c.logs_rate = v)),
        "Requests per second of a key, lists and downloads together, and so many at once after a pause.",
    ),
    key(
        "EDGEPUSH_TLS_CERT",
        "PEM file",
        Unset("none"),
        One(|c, t| {
            c.tls_cert = Some(t.into());
            Ok(())
        }),
        "Certificate of the Logs API and of the admin API, with those between it and its authority; read again when \
         it changes. On the admin API whoever comes over loopback may do without TLS.",
    ),
    Key {
        name: "EDGEPUSH_TLS_KEY",
        kind: "PEM file",
        preset: Unset("none"),
        // Somebody will put the key itself here.
        privacy: Privacy::Secret,
        parse: One(|c, t| {
            c.tls_key = Some(Secret::new(t));
            Ok(())
        }),
        help: "Its private key.",
    },
    key(
        "EDGEPUSH_ARCHIVE_RULE",
        "`hour`, `5m`",
        Text("hour"),
        One(|c, t| archive::rule(t).map(|v| c.archive.rule = v)),
        "How the archive divides records into files: by whole hours of their own time, or by five minutes of the time at \
         which they are processed.",
    ),
    key(
        "EDGEPUSH_ARCHIVE_RULE_SINCE",
        "RFC 3339 time",
        Unset("always"),
        One(|c, t| archive::instant(t).map(|v| c.archive.since = Some(v))),
        "From when on that rule holds; until then the other one does. Files of both stay listed.",
    ),
    key(
        "EDGEPUSH_ARCHIVE_PUBLISH",
        "duration, 0 to 24h",
        Text("5m"),
        One(|c, t| duration_within(t, Duration::ZERO, 24 * HOUR).map(|v| c.archive.publish = v)),
        "How long after its end an hour is listed. Late records follow at most every 15 minutes, in files of their own.",
    ),
    key(
        "EDGEPUSH_ARCHIVE_LATE",
        "duration, 1h to 48h",
        Text("48h"),
        One(|c, t| duration_within(t, HOUR, 48 * HOUR).map(|v| c.archive.late = v)),
        "So long after the end of its hour a record comes too late for the archive. `run --once` and lines that were in \
         a file before it was followed know no such limit.",
    ),
    key(
        "EDGEPUSH_ARCHIVE_LATE_RECORDS",
        "`keep`, `drop`",
        Text("keep"),
        One(|c, t| archive::late_kept(t).map(|v| c.archive.late_kept = v)),
        "What becomes of them: kept with the rejects (reason `late`), or only counted.",
    ),
    key(
        "EDGEPUSH_ARCHIVE_DAYS",
        "1 to 3650",
        Text("40"),
        One(|c, t| count_within(t, 1, archive::DAYS_MAX).map(|v| c.archive.days = v)),
        "How many days the archive keeps files.",
    ),
    key(
        "EDGEPUSH_ARCHIVE_DOMAIN_DAYS",
        "list of `domain=days`",
        Unset("none"),
        One(|c, t| archive::domain_days(t).map(|v| c.archive.domain_days = v)),
        "The same for single domains: `example.com=90,www.example.com=7`.",
    ),
    key(
        "EDGEPUSH_ARCHIVE_MAX",
        "share (0% to 90%) or size",
        Text("20%"),
        One(|c, t| value::reserve(t).map(|v| c.archive.max = v)),
        "Most disk space of the archive's files, as a share of their file system or a size. Beyond it the oldest hours \
         go before their days are over, with a warning.",
    ),
    key(
        "EDGEPUSH_ARCHIVE_DOMAINS_MAX",
        "1 to 1000000",
        Text("10000"),
        One(|c, t| count_within(t, 1, 1_000_000).map(|v| c.archive.domains_max = v)),
        "Most domains of the archive; records of all others go to `_other`.",
    ),
    key(
        "EDGEPUSH_DOMAIN_FIELD",
        "field name",
        Unset("the first present of `ClientRequestHost`, `http_host`, `host`, `vhost`, `server_name`"),
        One(|c, t| {
            c.domain_field = Some(t.to_owned());
            Ok(())
        }),
        "In which field a record's host stands: by it zones and their jobs get their records, and the archive finds its \
         domain.",
    ),
    key(
        "EDGEPUSH_TIME_FIELD",
        "field name",
        Unset("the first present of `EdgeStartTimestamp`, `timestamp`, `time`, `ts`, `msec`, `@timestamp`"),
        One(|c, t| {
            c.archive.time_field = Some(t.to_owned());
            Ok(())
        }),
        "In which field a record's time stands: by it the archive finds its hour. Numbers since the epoch, RFC 3339 and \
         the time of access logs are understood.",
    ),
    key(
        "EDGEPUSH_HOSTNAME",
        "host name",
        Computed { docs: "gethostname", of: |host, _| host_default(&host.hostname) },
        One(|c, t| choice::hostname(t).map(|v| c.hostname = v)),
        "`{HOST}` in destination paths.",
    ),
    key(
        "EDGEPUSH_TZ",
        "`UTC`, `local`, `Europe/Berlin`",
        Text("UTC"),
        One(|c, t| tz::read(t).map(|v| c.zone = v)),
        "Zone of times that have none of their own: syslog's, HAProxy's. An hour that comes twice is the first one.",
    ),
    key(
        "EDGEPUSH_LOG",
        "`error`, `warn`, `info`, `debug`, `trace`",
        Text("info"),
        One(|c, t| choice::log_level(t).map(|v| c.log = v)),
        "How much the agent says about itself, on standard error. Only `debug` and `trace` may show record content.",
    ),
    key(
        "EDGEPUSH_LOG_FORMAT",
        "`text`, `json`",
        Text("text"),
        One(|c, t| choice::log_format(t).map(|v| c.log_format = v)),
        "How that is written.",
    ),
    key(
        "EDGEPUSH_STOP_TIMEOUT",
        "duration, 100ms to 10m",
        Text("10s"),
        One(|c, t| duration_within(t, Duration::from_millis(100), 10 * MINUTE).map(|v| c.stop_timeout = v)),
        "How long stopping may take. What is not delivered by then is in the spool.",
    ),
    key(
        "EDGEPUSH_ONCE_TIMEOUT",
        "duration, 0 = none",
        Text("0"),
        One(|c, t| value::duration(t).map(|v| c.once_timeout = Some(v).filter(|d| !d.is_zero()))),
        "How long `run --once` waits for deliveries before it exits with 1.",
    ),
    #[cfg(feature = "failpoints")]
    key(
        "EDGEPUSH_FAILPOINT",
        "name[:n]",
        Unset("none"),
        One(|_, _| Ok(())),
        "Ends the process there (test builds only).",
    ),
];

/// A host name that can stand in a path, whatever gethostname says.
/// Bytes per second; `off`: without a bound.
fn rate(text: &str) -> Result<Option<Bytes>, String> {
    if text == "off" {
        return Ok(None);
    }
    bytes_within(text.strip_suffix("/s").unwrap_or(text), Bytes(10_000), DISK_MOST).map(Some)
}

fn host_default(name: &str) -> String {
    match choice::hostname(name) {
        Ok(name) if !name.is_empty() => name,
        _ => "localhost".into(),
    }
}
