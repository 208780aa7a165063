//! TABLE: every metric of INTERFACE 8, with its help and where its numbers come from.
//!
//! Promises: a metric is one row; its name is promised to dashboards and changes only with an ADR.
//! Must not know: the text format.
use super::delivery::{BatchVerdict, Observed};
use super::{JobCounters, Metrics, shard::ShardCounters};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering::Relaxed;

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Always 1; the labels say it all. The name ends with `_info`.
    Facts,
    /// Only grows. The name ends with `_total`.
    Counter,
    /// Grows and shrinks.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// One sample's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(u64),
    Observed(Observed),
}

/// Samples of one metric: label values in the order of its labels, and the value.
pub(super) type Samples = Vec<(Vec<String>, Value)>;

/// One metric.
pub struct Row {
    /// As INTERFACE 8 writes it.
    pub name: &'static str,
    /// Kind of number.
    pub shape: Shape,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// For an operator.
    pub help: &'static str,
    pub(super) read: fn(&Metrics) -> Samples,
}

const fn row(
    name: &'static str,
    shape: Shape,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Metrics) -> Samples,
) -> Row {
    Row { name, shape, labels, help, read }
}

fn one(value: u64) -> Samples {
    vec![(Vec::new(), Value::Number(value))]
}

/// The sum over all shards.
fn sum(m: &Metrics, read: impl Fn(&ShardCounters) -> u64) -> u64 {
    m.shards.iter().map(|shard| read(shard)).sum()
}

fn by_source(m: &Metrics, read: fn(&ShardCounters, usize) -> u64) -> Samples {
    let number = |(i, name): (usize, &String)| (vec![name.clone()], Value::Number(sum(m, |s| read(s, i))));
    m.labels.sources.iter().enumerate().map(number).collect()
}

fn by_word(words: &[&'static str], read: impl Fn(usize) -> u64) -> Samples {
    let number = |(i, word): (usize, &&str)| (vec![word.to_string()], Value::Number(read(i)));
    words.iter().enumerate().map(number).collect()
}

/// Samples by job: `read` gives any number of them for each job, after the job's label. Jobs under one label are
/// added up.
fn by_job(m: &Metrics, read: impl Fn(&JobCounters) -> Samples) -> Samples {
    let mut samples: Samples = Vec::new();
    let mut at: HashMap<Vec<String>, usize> = HashMap::new();
    for (label, job) in m.labelled_jobs() {
        for (rest, value) in read(&job) {
            let labels: Vec<String> = std::iter::once(label.clone()).chain(rest).collect();
            match at.entry(labels) {
                Entry::Occupied(known) => samples[*known.get()].1.add(&value),
                Entry::Vacant(new) => {
                    samples.push((new.key().clone(), value));
                    new.insert(samples.len() - 1);
                }
            }
        }
    }
    samples
}

impl Value {
    fn add(&mut self, other: &Value) {
        match (self, other) {
            (Value::Number(own), Value::Number(more)) => *own += more,
            (Value::Observed(own), Value::Observed(more)) => own.add(more),
            (Value::Number(_), _) | (Value::Observed(_), _) => unreachable!("a metric has one shape"),
        }
    }
}

use Shape::{Counter, Facts, Gauge, Histogram};

/// All metrics, in the order of INTERFACE 8.
pub static TABLE: &[Row] = &[
    row("edgepush_build_info", Facts, &["version", "runtime", "simd"], "What runs here", |m| {
        let l = &m.labels;
        vec![(vec![l.version.to_string(), l.runtime.to_string(), l.simd.to_string()], Value::Number(1))]
    }),
    row("edgepush_lines_read_total", Counter, &["source"], "Lines read, blank ones included", |m| {
        by_source(m, ShardCounters::read_lines)
    }),
    row("edgepush_bytes_read_total", Counter, &["source"], "Bytes read", |m| {
        by_source(m, ShardCounters::read_bytes)
    }),
    row("edgepush_source_lag_bytes", Gauge, &["source"], "Bytes that are there and not read yet", |m| {
        by_source(m, ShardCounters::read_lag)
    }),
    row("edgepush_source_shrunk_total", Counter, &[], "Files that became shorter than what was read", |m| {
        one(sum(m, ShardCounters::read_shrunk))
    }),
    row("edgepush_source_unread_bytes_total", Counter, &[], "Bytes that left the disk unread", |m| {
        one(sum(m, ShardCounters::read_unread))
    }),
    row("edgepush_lines_blank_total", Counter, &[], "Blank lines, skipped", |m| {
        one(sum(m, ShardCounters::read_blank))
    }),
    row("edgepush_records_parsed_total", Counter, &["path"], "Records parsed, by way of parsing", |m| {
        by_word(&["learned", "general"], |i| {
            sum(m, if i == 0 { ShardCounters::read_learned } else { ShardCounters::read_general })
        })
    }),
    row("edgepush_records_repaired_total", Counter, &["kind"], "Repairs of records", |m| {
        by_word(m.labels.repairs, |i| sum(m, |s| s.read_repaired(i)))
    }),
    row("edgepush_records_rejected_total", Counter, &["reason"], "Records kept as rejects", |m| {
        let mut samples = by_word(m.labels.reasons, |i| sum(m, |s| s.read_rejected(i)));
        let refused = m.delivery.records_refused.load(Relaxed);
        samples.push((vec!["refused".to_owned()], Value::Number(refused)));
        samples
    }),
    row(
        "edgepush_rejects_dropped_total",
        Counter,
        &[],
        "Files of rejects that went to keep their bound",
        |m| one(m.delivery.rejects_dropped.load(Relaxed)),
    ),
    row(
        "edgepush_segments_encoded_total",
        Counter,
        &["encoder"],
        "gzip segments, by the encoder that made them: `schema` knows the fields, `general` has the rest",
        |m| by_word(&["schema", "general"], |i| sum(m, |s| s.read_bodies(i))),
    ),
    row(
        "edgepush_segments_verified_total",
        Counter,
        &[],
        "gzip segments of `schema` that were decoded and compared, one in 256",
        |m| one(sum(m, |s| s.read_bodies(2))),
    ),
    row(
        "edgepush_segments_wrong_total",
        Counter,
        &[],
        "Of these, wrong ones, encoded again by `general`: never seen, please report",
        |m| one(sum(m, |s| s.read_bodies(3))),
    ),
    row("edgepush_records_filtered_total", Counter, &[], "Records that no job wanted", |m| {
        one(sum(m, ShardCounters::read_filtered))
    }),
    row("edgepush_records_matched_total", Counter, &["job"], "Records that a job takes", |m| {
        by_job(m, |job| one(job.matched.load(Relaxed)))
    }),
    row("edgepush_records_delivered_total", Counter, &["job"], "Records that a destination has", |m| {
        by_job(m, |job| one(job.delivered.load(Relaxed)))
    }),
    row("edgepush_batches_total", Counter, &["job", "verdict"], "Verdicts on batches", |m| {
        by_job(m, |job| {
            let words = BatchVerdict::ALL.map(BatchVerdict::as_str);
            by_word(&words, |v| job.batches[v].load(Relaxed))
        })
    }),
    row("edgepush_batch_bytes_total", Counter, &["job", "kind"], "Bytes of closed batches", |m| {
        by_job(m, |job| by_word(&["raw", "compressed"], |k| [&job.raw, &job.compressed][k].load(Relaxed)))
    }),
    row("edgepush_uploads_total", Counter, &["job", "status"], "Uploads that ended, by status", |m| {
        by_job(m, JobCounters::uploads_by_status)
    }),
    row("edgepush_upload_seconds", Histogram, &["job"], "How long uploads took", |m| {
        by_job(m, |job| vec![(Vec::new(), Value::Observed(job.upload_seconds.snapshot()))])
    }),
    row(
        "edgepush_delivery_lag_seconds",
        Histogram,
        &["job"],
        "From a batch's first record to its delivery",
        |m| by_job(m, |job| vec![(Vec::new(), Value::Observed(job.lag_seconds.snapshot()))]),
    ),
    row("edgepush_spool_bytes", Gauge, &[], "Bytes that the spool holds", |m| {
        one(m.delivery.spool_bytes.load(Relaxed))
    }),
    row("edgepush_spool_limit_bytes", Gauge, &[], "Bytes that the spool may hold now", |m| {
        one(m.delivery.spool_limit.load(Relaxed))
    }),
    row("edgepush_spool_batches", Gauge, &["job"], "Batches that are durable and not delivered", |m| {
        by_job(m, |job| one(job.spool_batches.load(Relaxed)))
    }),
    row(
        "edgepush_jobs_sets_refused",
        Gauge,
        &[],
        "Sets of job files that are refused at present: the last good ones run on",
        |m| one(m.delivery.sets_refused.load(Relaxed)),
    ),
    row(
        "edgepush_logs_requests_total",
        Counter,
        &["kind", "status"],
        "Requests of the Logs API, by what was asked for and what was answered",
        |m| {
            let of = |(kind, status, count): (&str, u16, u64)| {
                (vec![kind.to_owned(), status.to_string()], Value::Number(count))
            };
            m.logs.requests().map(of).collect()
        },
    ),
    row(
        "edgepush_logs_bytes_total",
        Counter,
        &[],
        "Bytes of archived files that customers downloaded",
        |m| one(m.logs.bytes.load(Relaxed)),
    ),
    row("edgepush_logs_downloads_open", Gauge, &[], "Downloads that are open", |m| {
        one(m.logs.open.load(Relaxed))
    }),
    row("edgepush_ring_bytes", Gauge, &["shard"], "Bytes that wait for the compressor", |m| {
        let number = |(i, s): (usize, &std::sync::Arc<ShardCounters>)| {
            (vec![i.to_string()], Value::Number(s.read_ring()))
        };
        m.shards.iter().enumerate().map(number).collect()
    }),
    row("edgepush_socket_dropped_total", Counter, &["source"], "Datagrams that the kernel dropped", |m| {
        by_source(m, ShardCounters::read_dropped)
    }),
    row("edgepush_archive_late_total", Counter, &[], "Records that came too late for the archive", |m| {
        one(sum(m, |s| s.read_shelved(0)))
    }),
    row(
        "edgepush_archive_future_total",
        Counter,
        &[],
        "Records of the archive more than an hour ahead of the clock: they go by the time at which they were read",
        |m| one(sum(m, |s| s.read_shelved(1))),
    ),
    row(
        "edgepush_archive_timeless_total",
        Counter,
        &[],
        "Records of the archive without a time that can be read: they go by the time at which they were read",
        |m| one(sum(m, |s| s.read_shelved(2))),
    ),
    row("edgepush_archive_files_total", Counter, &[], "Files that the archive has published", |m| {
        one(m.delivery.archive_files.load(Relaxed))
    }),
    row("edgepush_archive_open", Gauge, &[], "Files of the archive that are being filled", |m| {
        one(m.delivery.archive_open.load(Relaxed))
    }),
    row("edgepush_archive_bytes", Gauge, &[], "Bytes of all listed files", |m| {
        one(m.delivery.archive_bytes.load(Relaxed))
    }),
    row("edgepush_archive_removed_total", Counter, &["reason"], "Files that retention has removed", |m| {
        by_word(&["days", "bound", "reserve"], |i| m.delivery.archive_removed[i].load(Relaxed))
    }),
    row("edgepush_socket_connections", Gauge, &["source"], "Open connections of stream sockets", |m| {
        by_source(m, ShardCounters::read_connections)
    }),
    row("edgepush_memory_bytes", Gauge, &[], "Resident memory of the process", |_| {
        one(super::resident_bytes())
    }),
    row("edgepush_backpressure", Gauge, &[], "1 while the readers wait because nothing has room", |m| {
        one(m.delivery.backpressure.load(Relaxed))
    }),
];
