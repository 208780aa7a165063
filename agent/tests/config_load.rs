//! Settings as an operator writes them, through the public door: `config::load` and `config::read`.
#![allow(clippy::unwrap_used)]
use edgepush::config::keys::{KEYS, Parse, Preset, Privacy};
use edgepush::config::{
    Around, Bytes, Config, CoreSpec, Format, Host, LogFormat, LogLevel, Needs, Origin, Problem, Reserve,
    RuntimeChoice, SimdChoice, SourceKind, Start, load, read, show,
};
use edgepush_shard::batch::Container;
use edgepush_shard::codec::{CodecKind, Level};
use edgepush_shard::format::FORMATS;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

fn host() -> Host {
    Host { root: true, hostname: "edge1".into(), cpus: vec![0, 1, 2, 3], cpu_quota: None, memory_limit: None }
}

fn no_files(path: &Path) -> io::Result<String> {
    panic!("no file is read here, but {}", path.display())
}

fn around(host: Host) -> Around<'static> {
    Around { host, read: &no_files, destination: |_| Ok(()) }
}

fn pairs(said: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    said.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn loaded(said: &[(&str, &str)]) -> Config {
    load(pairs(said), &around(host()), Needs::Nothing).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn refused(said: &[(&str, &str)]) -> Vec<String> {
    let problems = load(pairs(said), &around(host()), Needs::Nothing).unwrap_err();
    problems.iter().map(Problem::to_string).collect()
}

#[test]
fn zones_tokens_and_the_bound_of_jobs_are_read() {
    let tokens = "read+zone=a:Z,read:R,write+zone=a:W,write:ALL";
    let c = loaded(&[
        ("EDGEPUSH_ZONES", "a=x.example *.x.example;b=y.example"),
        ("EDGEPUSH_JOBS_MAX", "7"),
        ("EDGEPUSH_API_TOKENS", tokens),
        ("EDGEPUSH_API", "0.0.0.0:9600"),
    ]);
    assert_eq!((c.zones.as_ref().unwrap().len(), c.jobs_max, c.api_tokens.len()), (2, 7, 4));
    assert!(c.own_token(false).unwrap().is(b"R") && c.own_token(true).unwrap().is(b"ALL"));
    let c = loaded(&[("EDGEPUSH_API_TOKENS", tokens), ("EDGEPUSH_API_TOKEN", "own")]);
    assert!(c.own_token(true).unwrap().is(b"own"));
    let c = loaded(&[]);
    assert!(c.zones.is_none() && c.api_tokens.is_empty() && c.own_token(false).is_none());
    assert_eq!(c.jobs_max, 10_000);
    let files = |path: &Path| match path.to_str() {
        Some("/z.json") => Ok(r#"{"a":["x.example"]}"#.to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let around = Around { host: host(), read: &files, destination: |_| Ok(()) };
    let c = load(pairs(&[("EDGEPUSH_ZONES", "/z.json")]), &around, Needs::Nothing).unwrap();
    assert_eq!(c.zones.unwrap()["a"], ["x.example"]);
    let problems = load(pairs(&[("EDGEPUSH_ZONES", "/none")]), &around, Needs::Nothing).unwrap_err();
    assert!(problems[0].to_string().contains("cannot be read"), "{problems:?}");
    let said =
        refused(&[("EDGEPUSH_ZONES", "a="), ("EDGEPUSH_JOBS_MAX", "0"), ("EDGEPUSH_API_TOKENS", "hunter22")]);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(!said.concat().contains("hunter22"), "{said:?}");
}

#[test]
fn nothing_said_is_a_whole_configuration() {
    let c =
        loaded(&[("PATH", "/bin"), ("EDGEPUSH_CODEC", ""), ("EDGEPUSH_UNKNOWN", ""), ("EDGEPUSHED", "x")]);
    assert!(c.sources.is_empty());
    assert_eq!((c.start, c.line_max), (Start::Beginning, 1 << 20));
    assert_eq!((c.destination.expose(), c.fields), ("archive:", None));
    assert_eq!((c.batch_records, c.batch_bytes, c.batch_interval), (100_000, None, Duration::from_secs(30)));
    assert_eq!((c.codec, c.level, c.gzip), (CodecKind::Gzip, Level::Fast, None));
    assert_eq!(
        (c.cores, c.cpus, c.runtime, c.simd),
        (CoreSpec::Count(1), vec![0], RuntimeChoice::Auto, SimdChoice::Auto)
    );
    assert_eq!(c.state_dir, Path::new("/var/lib/edgepush"));
    assert_eq!((c.commit_interval, c.spool_max), (Duration::from_secs(30), Bytes(10_000_000_000)));
    assert_eq!((c.rejects_max, c.disk_reserve), (Bytes(1_000_000_000), Reserve::Percent(10)));
    assert_eq!((c.memory_max, c.uploads, c.egress_max), (Bytes(256_000_000), 4, None));
    assert_eq!((c.api, c.api_said), (Some("127.0.0.1:9600".parse().unwrap()), false));
    assert!(c.api_token.is_none());
    assert_eq!((c.hostname.as_str(), c.log, c.log_format), ("edge1", LogLevel::Info, LogFormat::Text));
    assert_eq!((c.stop_timeout, c.once_timeout), (Duration::from_secs(10), None));
    assert!(c.warnings.is_empty());
}

#[test]
fn every_setting_can_be_said() {
    let c = loaded(&[
        ("EDGEPUSH_SOURCES", r"file:/var/log/a\,b/*.log , file:/var/log/c"),
        ("EDGEPUSH_SOURCE_EDGE_2", "file:/srv/x,y"),
        ("EDGEPUSH_FORMAT", "json"),
        ("EDGEPUSH_FORMAT_EDGE_2", "auto"),
        ("EDGEPUSH_START", "end"),
        ("EDGEPUSH_LINE_MAX", "64KiB"),
        ("EDGEPUSH_DATASET", "raw"),
        ("EDGEPUSH_DESTINATION", "https://h/in?x=1"),
        ("EDGEPUSH_FIELDS", "b, a ,b,c.d.0"),
        ("EDGEPUSH_BATCH_RECORDS", "10"),
        ("EDGEPUSH_BATCH_BYTES", "1kB"),
        ("EDGEPUSH_BATCH_INTERVAL", "100ms"),
        ("EDGEPUSH_CODEC", "zstd"),
        ("EDGEPUSH_LEVEL", "small"),
        ("EDGEPUSH_GZIP", "members"),
        ("EDGEPUSH_CORES", "1-2"),
        ("EDGEPUSH_RUNTIME", "threads"),
        ("EDGEPUSH_SIMD", "scalar"),
        ("EDGEPUSH_STATE_DIR", "/tmp/s"),
        ("EDGEPUSH_COMMIT_INTERVAL", "1"),
        ("EDGEPUSH_SPOOL_MAX", "64MB"),
        ("EDGEPUSH_REJECTS_MAX", "1MB"),
        ("EDGEPUSH_DISK_RESERVE", "5GB"),
        ("EDGEPUSH_MEMORY_MAX", "96MB"),
        ("EDGEPUSH_UPLOADS", "1"),
        ("EDGEPUSH_EGRESS_MAX", "10MB/s"),
        ("EDGEPUSH_API", "0.0.0.0:0"),
        ("EDGEPUSH_API_TOKEN", "hunter2"),
        ("EDGEPUSH_HOSTNAME", "pop-1"),
        ("EDGEPUSH_LOG", "debug"),
        ("EDGEPUSH_LOG_FORMAT", "json"),
        ("EDGEPUSH_STOP_TIMEOUT", "1m"),
        ("EDGEPUSH_ONCE_TIMEOUT", "5m"),
    ]);
    let sources: Vec<_> = c.sources.iter().map(|s| (s.name.as_str(), &s.kind, s.format.clone())).collect();
    let file = |glob: &str| SourceKind::File { glob: glob.into() };
    assert_eq!(
        sources,
        [
            ("/var/log/a,b/*.log", &file("/var/log/a,b/*.log"), Format::json()),
            ("/var/log/c", &file("/var/log/c"), Format::json()),
            ("EDGE_2", &file("/srv/x,y"), Format::auto()),
        ]
    );
    assert_eq!((c.start, c.line_max, c.destination.expose()), (Start::End, 65_536, "https://h/in?x=1"));
    assert_eq!(c.fields.unwrap(), ["b", "a", "c.d.0"]);
    assert_eq!(
        (c.batch_records, c.batch_bytes, c.batch_interval),
        (10, Some(1000), Duration::from_millis(100))
    );
    assert_eq!((c.codec, c.level, c.gzip), (CodecKind::Zstd, Level::Small, Some(Container::Members)));
    assert_eq!((c.cores, c.cpus), (CoreSpec::Ids(vec![1, 2]), vec![1, 2]));
    assert_eq!((c.runtime, c.simd), (RuntimeChoice::Threads, SimdChoice::Scalar));
    assert_eq!((c.state_dir.as_path(), c.commit_interval), (Path::new("/tmp/s"), Duration::from_secs(1)));
    assert_eq!((c.spool_max, c.rejects_max), (Bytes(64_000_000), Bytes(1_000_000)));
    assert_eq!((c.disk_reserve, c.memory_max), (Reserve::Bytes(Bytes(5_000_000_000)), Bytes(96_000_000)));
    assert_eq!((c.uploads, c.egress_max), (1, Some(Bytes(10_000_000))));
    assert_eq!((c.api, c.api_said), (Some("0.0.0.0:0".parse().unwrap()), true));
    assert_eq!((c.hostname.as_str(), c.log, c.log_format), ("pop-1", LogLevel::Debug, LogFormat::Json));
    assert_eq!((c.stop_timeout, c.once_timeout), (Duration::from_secs(60), Some(Duration::from_secs(300))));
}

#[test]
fn bounds_are_bounds() {
    let table = [
        ("EDGEPUSH_LINE_MAX", vec!["16kB", "16MiB"], vec!["15999", "16777217", "x"]),
        ("EDGEPUSH_BATCH_RECORDS", vec!["1", "10000000"], vec!["0", "10000001", "1e3"]),
        ("EDGEPUSH_BATCH_BYTES", vec!["1kB", "1GB"], vec!["999", "1000000001"]),
        ("EDGEPUSH_BATCH_INTERVAL", vec!["100ms", "1h"], vec!["99ms", "3601"]),
        ("EDGEPUSH_COMMIT_INTERVAL", vec!["1s", "60s"], vec!["999ms", "61s"]),
        ("EDGEPUSH_SPOOL_MAX", vec!["64MB"], vec!["63999999"]),
        ("EDGEPUSH_DISK_RESERVE", vec!["0%", "90%"], vec!["91%"]),
        ("EDGEPUSH_MEMORY_MAX", vec!["80MB"], vec!["79999999"]),
        ("EDGEPUSH_UPLOADS", vec!["1", "64"], vec!["0", "65"]),
        ("EDGEPUSH_EGRESS_MAX", vec!["off", "10kB"], vec!["9999", "none"]),
        ("EDGEPUSH_JOB_EGRESS_MAX", vec!["off", "10kB", "1MB/s"], vec!["9999", "none"]),
        ("EDGEPUSH_CORES", vec!["1", "9", "cpu:3"], vec!["0", "cpu:4", "3-5"]),
        ("EDGEPUSH_START", vec!["end", "2026-01-01T00:00:00Z"], vec!["tomorrow"]),
        ("EDGEPUSH_API", vec!["off", "[::1]:1"], vec!["9600", "0.0.0.0:9600", "[::]:9600"]),
        ("EDGEPUSH_API_TOKEN", vec!["a-Z_0~"], vec!["two words", "ümlaut"]),
        ("EDGEPUSH_ONCE_TIMEOUT", vec!["0", "1d"], vec!["never"]),
        ("EDGEPUSH_FIELDS", vec!["a"], vec![","]),
        ("EDGEPUSH_SOURCES", vec!["file:a"], vec!["a", "file:a,udp:localhost:514"]),
        ("EDGEPUSH_LEVEL", vec!["balanced"], vec!["9"]),
    ];
    for (name, good, bad) in table {
        for value in good {
            assert!(load(pairs(&[(name, value)]), &around(host()), Needs::Nothing).is_ok(), "{name}={value}");
        }
        for value in bad {
            let problems = refused(&[(name, value)]);
            assert_eq!(problems.len(), 1, "{name}={value}: {problems:?}");
            assert!(problems[0].starts_with(name), "{problems:?}");
        }
    }
}

#[test]
fn all_problems_are_told_at_once_with_names_and_remedies() {
    let problems = refused(&[
        ("EDGEPUSH_BATCH_BYTE", "5MB"),
        ("EDGEPUSH_BATCH_INTERVAL", "5 minutes"),
        ("EDGEPUSH_FILTER", "a=b"),
        ("EDGEPUSH_TZ", "Berlin"),
        ("EDGEPUSH_FORMAT_X", "json"),
        ("EDGEPUSH_KAFKA_BROKERS", "b:9092"),
        ("EDGEPUSH_MEMORY_MAX", "50MB"),
        ("EDGEPUSH_CORES", "2"),
        ("EDGEPUSH_API", "0.0.0.0:9600"),
        ("EDGEPUSH_SOURCE_lower", "file:x"),
    ]);
    let wanted = [
        "EDGEPUSH_BATCH_BYTE is no setting of edgepush 0.1.0; did you mean EDGEPUSH_BATCH_BYTES? Else remove it",
        "EDGEPUSH_BATCH_INTERVAL=5 minutes is not a duration: write 250ms, 30s, 5m, 1h, 2d, or bare seconds",
        "EDGEPUSH_FILTER: it is no JSON object (not_an_object at byte 1); a filter is {\"where\":…}, and a node is one of \
         {\"and\":[…]}, {\"or\":[…]} and {\"key\":…,\"operator\":…,\"value\":…}",
        "EDGEPUSH_TZ=Berlin is no time zone: write UTC, local, or a name of the tz database, like Europe/Berlin",
        "EDGEPUSH_FORMAT_X=json belongs to no source: set EDGEPUSH_SOURCE_X as well",
        "EDGEPUSH_KAFKA_BROKERS is no setting of edgepush 0.1.0; remove it (`edgepush env` shows all)",
        "EDGEPUSH_MEMORY_MAX=50MB is too small: 64MB + 16MB for each of 2 shards = 96MB; set at least that, or fewer \
         EDGEPUSH_CORES",
        "EDGEPUSH_API=0.0.0.0:9600 can be reached from other hosts: set EDGEPUSH_API_TOKEN (or \
         EDGEPUSH_API_TOKEN_FILE), or listen on 127.0.0.1",
        "EDGEPUSH_SOURCE_lower=file:x has a name that is not made of A-Z, 0-9 and _; write EDGEPUSH_SOURCE_NAME",
    ];
    for text in wanted {
        assert!(problems.iter().any(|p| p == text), "{text}\nin {problems:#?}");
    }
    assert_eq!(problems.len(), wanted.len(), "{problems:#?}");
}

#[test]
fn sockets_and_pipes_are_named_by_what_was_written() {
    let all = "file:/a,unixgram:/run/log,unix:/run/log2,udp:0.0.0.0:514,tcp:[::]:514,stdin:,pipe:/run/fifo";
    let c = loaded(&[("EDGEPUSH_SOURCES", all), ("EDGEPUSH_SOURCE_EDGE", "udp:[::1]:5514")]);
    let names: Vec<&str> = c.sources.iter().map(|source| source.name.as_str()).collect();
    let expected = [
        "/a",
        "unixgram:/run/log",
        "unix:/run/log2",
        "udp:0.0.0.0:514",
        "tcp:[::]:514",
        "stdin",
        "pipe:/run/fifo",
        "EDGE",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        (c.socket_sync, c.socket_mode, c.socket_buffer),
        (Duration::from_secs(1), 0o666, Bytes(8 << 20))
    );
    let problems = refused(&[
        ("EDGEPUSH_SOCKET_MODE", "0999"),
        ("EDGEPUSH_SOCKET_SYNC", "50ms"),
        ("EDGEPUSH_SOURCES", "udp:localhost:514"),
    ]);
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(
        problems.iter().any(|p| p.contains("must be a file mode in octal, like 0666 or 0660")),
        "{problems:#?}"
    );
    assert!(problems.iter().any(|p| p.contains("udp:localhost:514, which needs an IP address and a port")));
}

#[test]
fn formats_may_be_pasted_and_their_mistakes_are_told() {
    let log_format = "log_format main '$remote_addr [$time_local] '\n    '\"$request\" $status';";
    let format = format!("nginx:{log_format}");
    let config = loaded(&[
        ("EDGEPUSH_SOURCES", "file:/a"),
        ("EDGEPUSH_FORMAT", "combined"),
        ("EDGEPUSH_SOURCE_EDGE", "file:/b"),
        ("EDGEPUSH_FORMAT_EDGE", &format),
    ]);
    let names: Vec<_> = config.sources.iter().map(|source| source.format.name()).collect();
    assert_eq!(names, ["combined", "nginx"]);
    assert_eq!(
        refused(&[("EDGEPUSH_FORMAT", "nginx:$a$b"), ("EDGEPUSH_SOURCE_X", "file:/b"), ("EDGEPUSH_FORMAT_X", "combine")]),
        [
            "EDGEPUSH_FORMAT=nginx:$a$b has $a$b, which have nothing between them and cannot be told apart: write a \
             space or quotes between them in the server's configuration, too"
                .to_owned(),
            format!("EDGEPUSH_FORMAT_X=combine is no format combine: did you mean combined? It must be {FORMATS}"),
        ]
    );
}

#[test]
fn job_files_are_in_a_directory_or_behind_a_url() {
    let jobs = |text: &str| loaded(&[("EDGEPUSH_JOBS", text)]).jobs.unwrap().expose().to_owned();
    for text in ["/etc/edgepush/jobs.d", "jobs.d", "https://h/jobs?header_Authorization=Bearer%20s3cr3t"] {
        assert_eq!(jobs(text), text);
    }
    assert!(loaded(&[]).jobs.is_none());
    let around = Around { destination: edgepush::destination::url::validate, ..around(host()) };
    for (text, told) in [
        (
            "s3://bucket/jobs",
            "EDGEPUSH_JOBS=s3://bucket/jobs must be a directory, or begin with https:// or http://",
        ),
        (
            "https:///jobs?key=s3cr3t",
            "EDGEPUSH_JOBS=https:///jobs?key=… names no host; write https://host/path",
        ),
    ] {
        let problems = load(pairs(&[("EDGEPUSH_JOBS", text)]), &around, Needs::Nothing).unwrap_err();
        assert_eq!(problems.iter().map(Problem::to_string).collect::<Vec<_>>(), [told]);
    }
}

#[test]
fn every_default_is_read_by_its_own_parser() {
    for key in KEYS {
        if let (Preset::Text(text), Parse::One(_)) = (key.preset, key.parse) {
            let c = load(pairs(&[(key.name, text)]), &around(host()), Needs::Nothing);
            assert!(c.is_ok(), "{}={text}: {c:?}", key.name);
        }
    }
}

#[test]
fn run_needs_a_source() {
    let told = |said: &[(&str, &str)]| load(pairs(said), &around(host()), Needs::Sources).unwrap_err();
    let none = told(&[("EDGEPUSH_LOG", "loud")]);
    assert_eq!(none.len(), 2, "both problems: {none:?}");
    assert!(none[1].to_string().starts_with("EDGEPUSH_SOURCES is not set"), "{none:?}");
    let wrong = told(&[("EDGEPUSH_SOURCES", "syslog")]);
    assert_eq!(wrong.len(), 1, "a wrong source is one problem: {wrong:?}");
    assert!(load(pairs(&[("EDGEPUSH_SOURCE_A", "file:/x")]), &around(host()), Needs::Sources).is_ok());
}

#[test]
fn values_come_from_files() {
    let files = |path: &Path| match path.to_str().unwrap() {
        "/run/token" => Ok("hunter2\n".to_string()),
        "/run/empty" => Ok("\n".to_string()),
        "/run/source" => Ok("file:/var/log/x".to_string()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let around = Around { host: host(), read: &files, destination: |_| Ok(()) };
    let load = |said: &[(&str, &str)]| load(pairs(said), &around, Needs::Nothing);
    let c = load(&[
        ("EDGEPUSH_API_TOKEN_FILE", "/run/token"),
        ("EDGEPUSH_CODEC_FILE", "/run/empty"),
        ("EDGEPUSH_SOURCE_NGINX_FILE", "/run/source"),
    ])
    .unwrap();
    assert!(c.api_token.unwrap().is(b"hunter2"));
    assert_eq!(c.codec, CodecKind::Gzip, "an empty file is unset");
    assert_eq!(c.sources[0].name, "NGINX");

    let problems = load(&[
        ("EDGEPUSH_API_TOKEN", "x"),
        ("EDGEPUSH_API_TOKEN_FILE", "/run/token"),
        ("EDGEPUSH_CODEC_FILE", "/run/gone"),
        ("EDGEPUSH_SOURCE_MY_FILE", "file:/var/log/x"),
        ("EDGEPUSH_CODEK_FILE", "/run/token"),
    ])
    .unwrap_err();
    let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
    for wanted in [
        "EDGEPUSH_API_TOKEN_FILE and EDGEPUSH_API_TOKEN are both set; remove one",
        "EDGEPUSH_CODEC_FILE names /run/gone, which cannot be read",
        "EDGEPUSH_SOURCE_MY_FILE reads the value from a file, and a source's name cannot end in _FILE; rename it",
        "did you mean EDGEPUSH_CODEC_FILE?",
    ] {
        assert!(texts.iter().any(|text| text.contains(wanted)), "{wanted}\nin {texts:#?}");
    }
    assert_eq!(texts.len(), 4);
}

#[test]
fn secrets_are_never_shown() {
    let said = [
        ("EDGEPUSH_API_TOKEN", "s3cr3t"),
        ("EDGEPUSH_TLS_CERT", "/cert.pem"),
        ("EDGEPUSH_TLS_KEY", "s3cr3t"),
        ("EDGEPUSH_API_TOKN", "s3cr3t"),
        ("EDGEPUSH_DESTINATION", "https://user:s3cr3t@h/in?header_Authorization=s3cr3t"),
    ];
    let reading = read(pairs(&said), &around(host()));
    let mut shown = format!("{reading:?}{}", show::table(&reading.in_force));
    shown.extend(reading.problems.iter().map(Problem::to_string));
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert!(shown.contains("https://…@h/in?header_Authorization=…"), "{shown}");

    let bad_token = refused(&[("EDGEPUSH_API_TOKEN", "s3cr3t with spaces")]);
    assert!(bad_token[0].starts_with("EDGEPUSH_API_TOKEN=(secret) must be"), "{bad_token:?}");
    let strict = Around { host: host(), read: &no_files, destination: |_| Err("has no host".into()) };
    let bad_url = load(pairs(&[said[3]]), &strict, Needs::Nothing).unwrap_err();
    assert!(!format!("{bad_url:?}").contains("s3cr3t"), "{bad_url:?}");
    for key in KEYS.iter().filter(|key| key.name.contains("TOKEN") || key.name.contains("TLS_KEY")) {
        assert_eq!(key.privacy, Privacy::Secret, "{}", key.name);
    }
}

#[test]
fn values_in_force_name_their_origin() {
    let files = |_: &Path| Ok("7".to_string());
    let around = Around { host: host(), read: &files, destination: |_| Ok(()) };
    let said = [
        ("EDGEPUSH_CODEC", "none"),
        ("EDGEPUSH_BATCH_RECORDS_FILE", "/run/n"),
        ("EDGEPUSH_SOURCE_A", "file:/x"),
    ];
    let reading = read(pairs(&said), &around);
    let row = |name: &str| reading.in_force.iter().find(|row| row.name == name).unwrap();
    assert_eq!(row("EDGEPUSH_CODEC").origin, Origin::Environment);
    assert_eq!(row("EDGEPUSH_BATCH_RECORDS").origin, Origin::File("/run/n".into()));
    assert_eq!(
        (row("EDGEPUSH_BATCH_RECORDS").value.as_str(), &row("EDGEPUSH_LOG").origin),
        ("7", &Origin::Default)
    );
    assert_eq!(row("EDGEPUSH_SOURCE_A").value, "file:/x");
}

#[test]
fn memory_follows_the_cgroup_but_never_below_the_least() {
    let with = |limit: Option<u64>, cores: &str| {
        let host = Host { memory_limit: limit, ..host() };
        load(pairs(&[("EDGEPUSH_CORES", cores)]), &around(host), Needs::Nothing).unwrap().memory_max
    };
    assert_eq!(with(None, "1"), Bytes(256_000_000));
    assert_eq!(with(Some(1 << 40), "1"), Bytes(256_000_000));
    assert_eq!(with(Some(400_000_000), "1"), Bytes(200_000_000));
    assert_eq!(with(Some(100_000_000), "1"), Bytes(80_000_000));
    assert_eq!(with(Some(100_000_000), "4"), Bytes(128_000_000));
    let many = Host { cpus: (0..64).collect(), ..host() };
    let c = load(pairs(&[("EDGEPUSH_CORES", "64")]), &around(many), Needs::Nothing).unwrap();
    assert_eq!(c.memory_max, Bytes(64_000_000 + 64 * 16_000_000));
}

#[test]
fn cores_are_cut_with_one_warning() {
    let c = loaded(&[("EDGEPUSH_CORES", "9")]);
    assert_eq!(c.cpus, [0, 1, 2, 3]);
    assert_eq!(c.warnings, ["EDGEPUSH_CORES: 9 cores are asked for, the affinity mask allows 4: using 4"]);
    let problems = refused(&[("EDGEPUSH_CORES", "0,7")]);
    assert_eq!(problems, ["EDGEPUSH_CORES: CPU 7 is not allowed here; allowed are 0-3"]);
}

#[test]
fn once_opens_the_api_only_when_asked() {
    let silent = loaded(&[]);
    assert_eq!((silent.api_of(true), silent.api_of(false)), (None, silent.api));
    let said = loaded(&[("EDGEPUSH_API", "127.0.0.1:0")]);
    assert_eq!((said.api_of(true), said.api_of(false)), (said.api, said.api));
}

#[test]
fn batch_bytes_are_the_destinations_unless_they_are_said() {
    assert_eq!(loaded(&[]).batch_bytes, None);
    assert_eq!(loaded(&[("EDGEPUSH_BATCH_BYTES", "1MB")]).batch_bytes, Some(1_000_000));
}

#[test]
fn a_user_without_root_keeps_its_state_beside_itself() {
    let host = Host { root: false, ..host() };
    let c = load(Vec::new(), &around(host), Needs::Nothing).unwrap();
    assert_eq!(c.state_dir, Path::new("./edgepush-state"));
}

proptest::proptest! {
    /// Whatever is written, and wherever: it is taken or told, never a panic.
    #[test]
    fn any_text_is_taken_or_told(key in 0..KEYS.len(), text in "\\PC{0,12}|[0-9]{1,25}[a-zA-Z%/]{0,4}|[-0-9,cpu:]{1,9}") {
        let name = KEYS[key].name.replace("<NAME>", "X");
        // A path may be among them.
        let no_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let reading = read(pairs(&[(&name, &text)]), &Around { read: &no_file, ..around(host()) });
        proptest::prop_assert!(reading.problems.len() <= 2, "{:?}", reading.problems);
        for problem in &reading.problems {
            proptest::prop_assert!(problem.subject.starts_with("EDGEPUSH_"), "{problem}");
        }
        proptest::prop_assert_eq!(reading.config.cpus.is_empty(), false);
    }

    /// A name with typing errors is told, and never taken for another.
    #[test]
    fn any_unknown_name_is_one_problem(name in "EDGEPUSH_[A-Z_]{1,30}") {
        let known = |key: &&edgepush::config::keys::Key| {
            key.name == name || matches!(key.parse, Parse::Named(_)) && name.starts_with(key.stem())
        };
        proptest::prop_assume!(!KEYS.iter().any(|key| known(&key)) && !name.ends_with("_FILE"));
        let problems = refused(&[(&name, "x")]);
        proptest::prop_assert_eq!(problems.len(), 1);
        proptest::prop_assert!(problems[0].starts_with(&format!("{name} is no setting")), "{:?}", problems);
    }
}

#[test]
fn the_logs_api_listens_where_it_is_said_or_where_something_is_archived() {
    let of = |said: &[(&str, &str)], once, archive| loaded(said).logs_api_of(once, archive);
    let default = ("127.0.0.1:9601".parse().unwrap(), false);
    assert_eq!(of(&[], false, false), None);
    assert_eq!(of(&[], false, true), Some(default));
    assert_eq!(of(&[], true, true), None, "--once opens none of itself");
    assert_eq!(of(&[("EDGEPUSH_LOGS_API", "off")], false, true), None);
    let said = ("0.0.0.0:80".parse().unwrap(), true);
    assert_eq!(of(&[("EDGEPUSH_LOGS_API", "0.0.0.0:80")], true, false), Some(said), "for customers");
    let config = loaded(&[("EDGEPUSH_LOGS_URL", "https://logs.example/x/")]);
    assert_eq!(config.logs_url.as_deref(), Some("https://logs.example/x"));
    for url in ["logs.example", "https://", "https://h/?a=b", "https://h/\"", "ftp://h"] {
        assert_eq!(refused(&[("EDGEPUSH_LOGS_URL", url)]).len(), 1, "{url}");
    }
    for one in [("EDGEPUSH_TLS_CERT", "/c.pem"), ("EDGEPUSH_TLS_KEY", "/k.pem")] {
        assert!(refused(&[one])[0].contains("set both or none"));
    }
}

/// Every variable of the outward interface stands in the table.
#[test]
fn the_table_is_whole() {
    let promised = "SOURCES SOURCE_<NAME> FORMAT_<NAME> FORMAT START LINE_MAX DATASET DESTINATION FIELDS FILTER SAMPLE \
        TIMESTAMP_FORMAT OUTPUT_OPTIONS BATCH_RECORDS BATCH_BYTES BATCH_INTERVAL CODEC LEVEL GZIP JOBS ZONES CORES \
        RUNTIME SIMD STATE_DIR COMMIT_INTERVAL SOCKET_SYNC SOCKET_MODE SOCKET_BUFFER SPOOL_MAX REJECTS_MAX DISK_RESERVE MEMORY_MAX UPLOADS \
        EGRESS_MAX API API_TOKEN LOGS_API LOGS_URL LOGS_DOWNLOADS LOGS_RATE TLS_CERT TLS_KEY ARCHIVE_RULE ARCHIVE_PUBLISH ARCHIVE_DAYS ARCHIVE_MAX \
        ARCHIVE_DOMAINS_MAX DOMAIN_FIELD TIME_FIELD HOSTNAME TZ LOG LOG_FORMAT STOP_TIMEOUT ONCE_TIMEOUT \
        JOB_DISABLE_AFTER JOB_EGRESS_MAX";
    for name in promised.split_whitespace() {
        let name = format!("EDGEPUSH_{name}");
        assert_eq!(KEYS.iter().filter(|key| key.name == name).count(), 1, "{name}");
    }
}

fn compare_with(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} is not what the table says: make it again (its first lines say how)",
        path.display()
    );
}

#[test]
fn the_docs_are_the_table() {
    compare_with("docs/configuration.md", &show::markdown());
}

#[test]
fn the_example_is_the_table() {
    let text = show::example();
    compare_with("packaging/edgepush.env", &text);
    // Uncommented as it stands, it is a configuration; rows without a value are unset.
    let said: Vec<(OsString, OsString)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#EDGEPUSH_")?.split_once('='))
        .filter(|(name, _)| !name.contains('<'))
        .map(|(name, value)| (format!("EDGEPUSH_{name}").into(), value.into()))
        .collect();
    assert!(said.len() > 25);
    load(said, &around(host()), Needs::Sources).unwrap();
}
