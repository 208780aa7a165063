//! `edgepush run --once` and `edgepush run` into `file://`: INTERFACE 1 to 4, seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

fn names(place: &Place) -> Vec<String> {
    let name = |p: &std::path::PathBuf| p.strip_prefix(place.out()).unwrap().display().to_string();
    files_below(&place.out()).iter().map(name).collect()
}

fn texts(lines: &[Vec<u8>]) -> Vec<&str> {
    lines.iter().map(|l| std::str::from_utf8(l).unwrap()).collect()
}

#[test]
fn once_delivers_every_line_and_a_second_run_nothing() {
    for backend in backends("once") {
        let place = Place::new();
        writer::append(&place.log(), "r", 0..20_000);
        let setup = place.setup().env("EDGEPUSH_RUNTIME", backend);
        let first = setup.once().exits(0);
        assert_eq!(first.count("lines_read"), 20_000);
        assert_eq!(first.count("records_delivered"), 20_000);
        assert_eq!(first.count("records_filtered"), 0);
        assert_eq!(first.count("rejected"), 0);
        assert_eq!(first.count("repaired"), 0);
        assert_eq!(first.count("undelivered_batches"), 0);
        assert_eq!(first.count("batches") as usize, names(&place).len());
        assert_eq!(first.count("bytes_in"), std::fs::metadata(place.log()).unwrap().len());
        let stored: u64 = objects(&place.out()).iter().map(|p| p.metadata().unwrap().len()).sum();
        assert_eq!(first.count("bytes_out"), stored);
        assert_exactly_once("r", 20_000, &lines_in_dir(&place.out()));
        for name in names(&place) {
            assert!(name_parts(&name, ".log.gz").is_some(), "a file that no one promised: {name}");
        }

        let before = names(&place);
        let second = setup.once().exits(0);
        assert_eq!((second.count("lines_read"), second.count("records_delivered")), (0, 0));
        assert_eq!(names(&place), before, "unchanged input delivers nothing");

        writer::append(&place.log(), "r", 20_000..20_010);
        assert_eq!(setup.once().exits(0).count("records_delivered"), 10);
        assert_exactly_once("r", 20_010, &lines_in_dir(&place.out()));
    }
}

#[test]
fn one_shard_keeps_the_order_of_a_source() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..30_000);
    place.setup().env("EDGEPUSH_BATCH_BYTES", "1GB").once().exits(0);
    assert_eq!(names(&place).len(), 1);
    let expected = std::fs::read(place.log()).unwrap();
    assert!(object_bytes(&objects(&place.out())[0]) == expected, "pass-through is byte for byte, in order");
}

#[test]
fn the_path_of_a_destination_has_its_place_holders_filled() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..10);
    let to = format!("{}/{{HOST}}/{{DATE}}/{{HOUR}}/{{JOB}}", place.to_files());
    place.setup().env("EDGEPUSH_DESTINATION", &to).env("EDGEPUSH_HOSTNAME", "edge-7").once().exits(0);
    let name = names(&place).remove(0);
    let parts: Vec<&str> = name.split('/').collect();
    let (start, _, _) = name_parts(parts[4], ".log.gz").expect("an object name");
    assert_eq!(parts[..4], ["edge-7", &start[..8], &start[9..11], "env"]);
}

#[test]
fn fields_are_projected_with_their_raw_bytes() {
    let place = Place::new();
    let input = concat!(
        r#"{"a":1e-7,"b":"\u00e9\/x","n":{"x":[10,{"y":-0.0}]},"big":123456789012345678901234567890}"#,
        "\n",
        r#"{ "b" : 1.10 , "a":null,"n.x":7,"n":{"x":9} }"#,
        "\n",
        r#"{"c":1}"#,
        "\n",
        r#"{"a":1,"a":2}"#,
        "\n"
    );
    std::fs::write(place.log(), input).unwrap();
    place.setup().env("EDGEPUSH_FIELDS", "b, a,missing,n.x,n.x.1.y,big,b").once().exits(0);
    let lines = lines_in_dir(&place.out());
    assert_eq!(
        texts(&lines),
        [
            r#"{"b":"\u00e9\/x","a":1e-7,"n.x":[10,{"y":-0.0}],"n.x.1.y":-0.0,"big":123456789012345678901234567890}"#,
            r#"{"b":1.10,"a":null,"n.x":7}"#,
            r#"{}"#,
            r#"{"a":2}"#,
        ]
    );
}

#[test]
fn every_repair_is_made_and_counted() {
    let rows: [(&[u8], &str); 10] = [
        (br#"{"a":-}"#, r#"{"a":"-"}"#),
        (br#"{"s":000,"z":1}"#, r#"{"s":"000","z":1}"#),
        (br#"{"t":0.1, 0.2,"x":1}"#, r#"{"t":"0.1, 0.2","x":1}"#),
        (br#"{"n":,"m":1}"#, r#"{"n":null,"m":1}"#),
        (br#"{"n":}"#, r#"{"n":null}"#),
        (br#"{"u":"\xc3\xa9"}"#, "{\"u\":\"é\"}"),
        (br#"{"u":"a\x01b\xff"}"#, "{\"u\":\"a\\u0001b\u{fffd}\"}"),
        (b"{\"u\":\"\xff\"}", "{\"u\":\"\u{fffd}\"}"),
        (b"{\"u\":\"a\0b\"}", r#"{"u":"a\u0000b"}"#),
        (b"{\"u\":\"a\tb\"}", r#"{"u":"a\u0009b"}"#),
    ];
    let place = Place::new();
    let mut input = rows.iter().map(|r| r.0).collect::<Vec<_>>().join(&b'\n');
    input.push(b'\n');
    std::fs::write(place.log(), input).unwrap();
    let done = place.setup().once().exits(0);
    let lines = lines_in_dir(&place.out());
    assert_eq!(texts(&lines), rows.map(|r| r.1));
    assert_eq!((done.count("repaired"), done.count("rejected")), (10, 0));
}

#[test]
fn rejects_are_kept_with_their_place_and_reason() {
    let place = Place::new();
    let good = r#"{"ok":1}"#;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
    let bad: [&[u8]; 6] =
        [b"<BADREQ>", b"[1,2]", b"{\"cut\":\"of", b"\xff\xfe", deep.as_bytes(), long.as_bytes()];
    let mut input = Vec::new();
    let mut offsets = Vec::new();
    for line in bad {
        input.extend_from_slice(format!("{good}\n").as_bytes());
        offsets.push(input.len() as u64);
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    std::fs::write(place.log(), input).unwrap();
    let setup = place.setup().env("EDGEPUSH_LINE_MAX", "64KiB");
    let done = setup.once().exits(0);
    assert_eq!((done.count("records_delivered"), done.count("rejected")), (6, 6));
    assert_eq!(lines_in_dir(&place.out()), vec![good.as_bytes().to_vec(); 6]);

    let rejects = place.state().join("rejects");
    let kept: Vec<serde_json::Value> =
        lines_in_dir(&rejects).iter().map(|l| serde_json::from_slice(l).unwrap()).collect();
    assert_eq!(kept.len(), 6);
    for (i, reject) in kept.iter().enumerate() {
        let offset = reject["offset"].as_u64().unwrap();
        assert_eq!(offset, offsets[i]);
        assert_eq!(reject["length"].as_u64().unwrap(), bad[i].len() as u64, "{reject}");
        assert!(reject["source"].as_str().unwrap().contains("access.log"), "{reject}");
        assert!(reject["time"].is_string() && reject["reason"].is_string(), "{reject}");
        assert!(reject.get("column").is_some(), "{reject}");
    }
    assert_eq!(kept[0]["line"], "<BADREQ>");
    assert!(kept[3]["line_base64"].is_string() && kept[3].get("line").is_none(), "{}", kept[3]);
    assert_eq!(kept[5]["reason"], "too_long");
    assert_eq!(kept[5]["line"].as_str().unwrap().len(), 65_536, "the first 64 KiB of a long line");
    for file in objects(&rejects) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(file.display().to_string().ends_with(".log.gz"));
    }
    assert_eq!(setup.once().exits(0).count("rejected"), 0, "rejects are exactly once, too");
    assert_eq!(lines_in_dir(&rejects).len(), 6);
}

#[test]
fn line_ends_marks_and_blank_lines_are_framed() {
    let place = Place::new();
    std::fs::write(place.log(), "\u{feff}{\"a\":1}\r\n\n\r\n{\"a\":2}\n{\"a\":3}\r\n").unwrap();
    let done = place.setup().once().exits(0);
    assert_eq!(texts(&lines_in_dir(&place.out())), [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]);
    assert_eq!((done.count("records_delivered"), done.count("rejected")), (3, 0));
}

#[test]
fn every_codec_and_container_is_what_it_says() {
    let expected = |place: &Place| std::fs::read(place.log()).unwrap();
    for (codec, gzip, suffix) in [
        ("gzip", "members", ".log.gz"),
        ("gzip", "single", ".log.gz"),
        ("zstd", "", ".log.zst"),
        ("none", "", ".log"),
    ] {
        let place = Place::new();
        writer::append(&place.log(), "r", 0..30_000);
        let setup = place.setup().env("EDGEPUSH_CODEC", codec).env("EDGEPUSH_GZIP", gzip);
        setup.env("EDGEPUSH_BATCH_BYTES", "1GB").once().exits(0);
        let found = objects(&place.out());
        assert_eq!(found.len(), 1, "{codec} {gzip}");
        let file_name = found[0].file_name().unwrap().to_str().unwrap();
        assert!(name_parts(file_name, suffix).is_some(), "{file_name}");
        assert!(object_bytes(&found[0]) == expected(&place), "{codec} {gzip}");
        if codec == "gzip" {
            let members = gunzip_members(&std::fs::read(&found[0]).unwrap());
            assert!(members.iter().all(|m| !m.is_empty()), "no empty member");
            assert_eq!(members.len() == 1, gzip == "single", "{gzip}: {} members", members.len());
        }
        foreign_decoders_agree(&found[0], if codec == "gzip" { gzip } else { codec }, &expected(&place));
    }
}

/// `zcat`, Python's gzip, Python's one-shot zlib, `zstd -dc`, DuckDB: decoders that no one here wrote.
fn foreign_decoders_agree(object: &std::path::Path, kind: &str, expected: &[u8]) {
    let gzip = "import gzip,sys; sys.stdout.buffer.write(gzip.open(sys.argv[1]).read())";
    let one_shot =
        "import zlib,sys; sys.stdout.buffer.write(zlib.decompress(open(sys.argv[1],'rb').read(), 31))";
    let object = object.to_str().unwrap();
    let (python, zcat) = (["python3", "-c", gzip, object], ["zcat", object]);
    let (shot, zstd) = (["python3", "-c", one_shot, object], ["zstd", "-dc", object]);
    let commands: &[&[&str]] = match kind {
        "members" => &[&zcat, &python],
        "single" => &[&zcat, &python, &shot],
        "zstd" => &[&zstd],
        _ => &[],
    };
    for command in commands {
        match std::process::Command::new(command[0]).args(&command[1..]).output() {
            Ok(out) => {
                assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
                assert!(out.stdout == expected, "{command:?} reads something else");
            }
            Err(e) => skipped("foreign decoder", &format!("{}: {e}", command[0])),
        }
    }
    if !commands.is_empty() {
        duckdb_counts(object, lines_of(expected).len());
    }
}

fn duckdb_counts(object: &str, lines: usize) {
    let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/venv/bin/python");
    if !python.exists() {
        return skipped("DuckDB", "no .cache/venv (`.ci/python-env` makes it)");
    }
    let script = "import duckdb,sys\n\
        q = \"select count(*), count(distinct seq) from read_json(?, format='newline_delimited')\"\n\
        print(*duckdb.connect().execute(q, [sys.argv[1]]).fetchall()[0])";
    let out = std::process::Command::new(python).args(["-c", script, object]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(
        String::from_utf8_lossy(&out.stdout).trim(),
        format!("{lines} {lines}"),
        "DuckDB reads {object}"
    );
}

#[test]
fn limits_are_ceilings_and_batches_are_full() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..10_500);
    place.setup().env("EDGEPUSH_BATCH_RECORDS", "1000").once().exits(0);
    let mut records: Vec<usize> =
        objects(&place.out()).iter().map(|p| lines_of(&object_bytes(p)).len()).collect();
    records.sort_unstable_by(|a, b| b.cmp(a));
    assert!(records.iter().all(|n| *n <= 1000), "{records:?}");
    let full = &records[..records.len() - 1];
    assert!(full.iter().all(|n| *n >= 950), "all but the last are 95 % full: {records:?}");
    assert_exactly_once("r", 10_500, &lines_in_dir(&place.out()));

    let place = Place::new();
    writer::append(&place.log(), "r", 0..20_000);
    place.setup().env("EDGEPUSH_BATCH_BYTES", "300kB").once().exits(0);
    let mut bytes: Vec<usize> = objects(&place.out()).iter().map(|p| object_bytes(p).len()).collect();
    bytes.sort_unstable_by(|a, b| b.cmp(a));
    assert!(bytes.iter().all(|n| *n <= 300_000), "{bytes:?}");
    assert!(bytes[..bytes.len() - 1].iter().all(|n| *n >= 285_000), "{bytes:?}");
    assert_exactly_once("r", 20_000, &lines_in_dir(&place.out()));
}

#[test]
fn a_single_record_above_the_limit_is_a_batch_of_its_own() {
    let place = Place::new();
    let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(50_000));
    std::fs::write(place.log(), format!("{{\"a\":1}}\n{long}{{\"a\":2}}\n")).unwrap();
    place.setup().env("EDGEPUSH_BATCH_BYTES", "20kB").once().exits(0);
    let sizes: Vec<usize> = objects(&place.out()).iter().map(|p| object_bytes(p).len()).collect();
    assert!(sizes.contains(&long.len()), "{sizes:?}");
    assert_eq!(lines_in_dir(&place.out()).len(), 3);
}

#[test]
fn an_unterminated_last_line_waits_for_its_end() {
    let place = Place::new();
    std::fs::write(place.log(), "{\"a\":1}\n{\"a\":").unwrap();
    let first = place.setup().once().exits(0);
    assert_eq!(first.count("records_delivered"), 1);
    assert!(first.stderr.contains("access.log"), "the tail is reported: {}", first.stderr);
    std::fs::OpenOptions::new().append(true).open(place.log()).unwrap().write_all(b"2}\n").unwrap();
    assert_eq!(place.setup().once().exits(0).count("records_delivered"), 1);
    let lines = lines_in_dir(&place.out());
    let mut lines = texts(&lines);
    lines.sort_unstable();
    assert_eq!(lines, [r#"{"a":1}"#, r#"{"a":2}"#]);
}

#[test]
fn temporary_files_of_ours_are_removed_and_no_others() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..10);
    let ours = place.out().join(".20260102T030405Z_20260102T030406Z_0123456789abcdef.log.gz.tmp");
    let theirs = [place.out().join(".other.tmp"), place.out().join("report.txt")];
    for path in theirs.iter().chain([&ours]) {
        std::fs::write(path, "x").unwrap();
    }
    place.setup().once().exits(0);
    assert!(!ours.exists(), "a leftover of an interrupted upload is removed at start");
    assert!(theirs.iter().all(|p| p.exists()), "what is not ours stays");
}

#[test]
fn exit_2_names_every_mistake_at_once_and_touches_nothing() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..10);
    let setup = place.setup().env("EDGEPUSH_BATCH_RECORD", "5").env("EDGEPUSH_BATCH_BYTES", "lots");
    let done = setup.env("EDGEPUSH_CODEC", "brotli").once().exits(2);
    for word in ["EDGEPUSH_BATCH_RECORD", "EDGEPUSH_BATCH_RECORDS", "lots", "EDGEPUSH_CODEC", "brotli"] {
        assert!(done.stderr.contains(word), "{word} is missing in:\n{}", done.stderr);
    }
    assert!(files_below(&place.state()).is_empty() && names(&place).is_empty());
    let none = Setup::new(&place.state()).once().exits(2);
    assert!(none.stderr.contains("EDGEPUSH_SOURCES"), "{}", none.stderr);
    place.setup().finish(&["no-such-command"]).exits(2);
    let small = place.setup().env("EDGEPUSH_MEMORY_MAX", "20MB").once().exits(2);
    assert!(small.stderr.contains("EDGEPUSH_MEMORY_MAX"), "{}", small.stderr);
}

#[test]
fn exit_3_names_the_agent_that_holds_the_state_directory() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..10);
    let running = place.setup().start_ready();
    let second = place.setup().once().exits(3);
    assert!(second.stderr.contains(&running.pid().to_string()), "names the pid: {}", second.stderr);
    running.terminate().exits(0);
    place.setup().once().exits(0);
    assert_exactly_once("r", 10, &lines_in_dir(&place.out()));
}

#[test]
fn exit_1_when_something_stays_undelivered_and_the_next_run_delivers_it() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..100);
    let mut recorder = Recorder::start();
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &recorder.url());
    recorder.close();
    let done = setup.clone().env("EDGEPUSH_ONCE_TIMEOUT", "1s").once().exits(1);
    assert_eq!((done.count("records_delivered"), done.count("undelivered_batches")), (0, 1));
    recorder.open();
    let done = setup.once().exits(0);
    assert_eq!((done.count("lines_read"), done.count("records_delivered")), (0, 100));
    assert_exactly_once("r", 100, &recorder.lines());
}

#[test]
fn a_followed_file_is_delivered_within_its_interval_and_sigterm_makes_the_rest_durable() {
    for backend in backends("follow") {
        let place = Place::new();
        writer::append(&place.log(), "r", 0..100);
        let setup = place.setup().env("EDGEPUSH_RUNTIME", backend).env("EDGEPUSH_BATCH_INTERVAL", "500ms");
        let agent = setup.start_ready();
        for part in 1..4_u64 {
            let end = part * 100;
            wait_until("the lines are delivered", Duration::from_secs(5), || {
                lines_in_dir(&place.out()).len() as u64 == end
            });
            writer::append(&place.log(), "r", end..end + 100);
        }
        let metrics = agent.metrics().expect("metrics");
        assert!(metrics.has("edgepush_build_info"));
        assert!(metrics.sum("edgepush_lines_read_total") >= 300.0);
        wait_until("the verdicts are counted", Duration::from_secs(5), || {
            agent.metrics().expect("metrics").sum("edgepush_records_delivered_total") >= 300.0
        });
        assert_eq!(agent.get("/healthz").expect("healthz").0, 200);
        agent.terminate().exits(0);
        assert!(!place.state().join("api.addr").exists(), "api.addr goes with the agent");
        setup.once().exits(0);
        assert_exactly_once("r", 400, &lines_in_dir(&place.out()));
    }
}

#[test]
fn null_counts_and_archive_lies_below_the_state_directory() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..1000);
    let done = place.setup().env("EDGEPUSH_DESTINATION", "null:").once().exits(0);
    assert_eq!(done.count("records_delivered"), 1000);

    let place = Place::new();
    writer::append(&place.log(), "r", 0..1000);
    place.setup().without("EDGEPUSH_DESTINATION").once().exits(0);
    let archived: Vec<_> =
        objects(&place.state()).into_iter().filter(|p| p.extension() == Some("gz".as_ref())).collect();
    assert!(!archived.is_empty(), "without a job the archive is the destination");
    let lines: Vec<_> = archived.iter().flat_map(|p| lines_of(&object_bytes(p))).collect();
    assert_exactly_once("r", 1000, &lines);
}
