//! Decoders that no one here wrote read what we write: both gzip containers, zstd frames, packs of pieces.
//!
//! A decoder that this machine lacks is a `SKIPPED:` line on stderr, and a failure when `EDGEPUSH_DECODERS=require`.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use edgepush_shard::batch::{Container, Part, join, piece_of};
use edgepush_shard::codec::{CodecKind, Level, Run, codec};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// 2.5 MiB of NDJSON.
fn input() -> Vec<u8> {
    let line = |i: u64| {
        let hash = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            "{{\"id\":{i},\"ray\":\"{hash:016x}\",\"path\":\"/a/{}?\\u00e9\",\"host\":\"é{}\"}}\n",
            i % 97,
            i % 7
        )
    };
    (0..35_000).flat_map(|i| line(i).into_bytes()).collect()
}

/// Segments of ≤ 1 MiB, two to a piece.
fn pieces(container: Container, kind: CodecKind, level: Level, input: &[u8]) -> Vec<Vec<Bytes>> {
    let mut codec = codec(kind, level);
    let ends: Vec<u32> = memchr::memchr_iter(b'\n', input).map(|at| at as u32 + 1).collect();
    let mut run = Run::new(input, &ends);
    let mut parts = Vec::new();
    while !run.is_empty() {
        let fits = run.ends.partition_point(|&end| end - run.base <= 1 << 20);
        let (head, rest) = run.split_at(fits);
        parts.push(Part::encode(&mut *codec, &head));
        run = rest;
    }
    assert!(parts.len() > 2);
    parts.chunks(2).map(|parts| piece_of(container, kind, parts)).collect()
}

fn body(container: Container, kind: CodecKind, input: &[u8]) -> Vec<u8> {
    join(container, kind, pieces(container, kind, Level::Fast, input)).unwrap().concat()
}

fn gzip_bodies(input: &[u8]) -> [(Container, Vec<u8>); 2] {
    [Container::Members, Container::Single]
        .map(|container| (container, body(container, CodecKind::Gzip, input)))
}

/// Said past the test harness, which keeps what a passing test prints.
fn skip(reason: &str) {
    assert!(std::env::var("EDGEPUSH_DECODERS").as_deref() != Ok("require"), "{reason}");
    std::io::stderr().write_all(format!("SKIPPED: {reason}\n").as_bytes()).unwrap();
}

/// What a command makes of `stdin`; none when the command does not exist.
fn filter(command: &str, args: &[&str], stdin: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(command).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skip(&format!("{command} is not on this machine"));
            return None;
        }
        Err(error) => panic!("{command}: {error}"),
    };
    let mut pipe = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that fails may close its input early; its status tells.
            let _ = pipe.write_all(stdin);
        });
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command} {args:?}: {}", output.status);
    Some(output.stdout)
}

fn assert_reads(command: &str, args: &[&str], stdin: &[u8], expected: &[u8], what: &str) {
    if let Some(got) = filter(command, args, stdin) {
        assert!(got == expected, "{command} got {} of {} bytes out of {what}", got.len(), expected.len());
    }
}

/// The interpreter with the foreign modules (`.ci/python-env`), if it is there.
fn python_env() -> Option<PathBuf> {
    let made = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/venv/bin/python3"));
    let python = std::env::var_os("EDGEPUSH_PYTHON").map_or(made, PathBuf::from);
    python.exists().then_some(python)
}

/// Runs a script with a foreign module on a file; false when the module is missing.
fn python_module(module: &str, script: &str, path: &PathBuf, expected: &[u8]) -> bool {
    let Some(python) = python_env() else {
        skip(&format!("Python module {module}: no .cache/venv (run .ci/python-env) and no EDGEPUSH_PYTHON"));
        return false;
    };
    let present =
        Command::new(&python).args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
    if !present.unwrap().success() {
        skip(&format!("{} has no module {module}", python.display()));
        return false;
    }
    let output = Command::new(&python).args(["-c", script]).arg(path).output().unwrap();
    assert!(output.status.success(), "{module}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == expected, "{module} got {} of {} bytes", output.stdout.len(), expected.len());
    true
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn zcat_reads_both_containers_and_packs() {
    let input = input();
    for (container, body) in gzip_bodies(&input) {
        assert_reads("zcat", &[], &body, &input, &format!("{container:?}"));
        let pack = pieces(container, CodecKind::Gzip, Level::Small, &input).concat().concat();
        assert_reads("zcat", &[], &pack, &input, &format!("a pack of {container:?}"));
    }
}

#[test]
fn python_gzip_reads_both_containers() {
    let input = input();
    let script = "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    for (container, body) in gzip_bodies(&input) {
        assert_reads("python3", &["-c", script], &body, &input, &format!("{container:?}"));
    }
}

#[test]
fn one_shot_zlib_reads_single() {
    let input = input();
    let script = "import zlib,sys; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read(), 31))";
    let [(_, members), (_, single)] = gzip_bodies(&input);
    assert_reads("python3", &["-c", script], &single, &input, "Single");
    // Why there are two containers: this reader takes the first member for the whole.
    if let Some(got) = filter("python3", &["-c", script], &members) {
        assert!(got.len() < input.len() && input.starts_with(&got));
    }
}

/// Serves one body with `Content-Encoding: gzip` to one client.
fn serve_once(listener: &TcpListener, body: &[u8]) {
    let (mut stream, _) = listener.accept().unwrap();
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..read]);
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Encoding: gzip\r\nConnection: close\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(body).unwrap();
}

#[test]
fn curl_reads_single_with_content_encoding() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("curl is not on this machine");
    }
    let input = input();
    let body = body(Container::Single, CodecKind::Gzip, &input);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || serve_once(&listener, &body));
    let args =
        ["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "30", "--compressed", &url];
    let output = Command::new("curl").args(args).output().unwrap();
    assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    server.join().unwrap();
    assert!(output.stdout == input, "curl got {} of {} bytes", output.stdout.len(), input.len());
}

#[test]
fn duckdb_reads_both_containers_and_frames() {
    let script = "import duckdb,sys\n\
        rows = duckdb.sql(f\"select json from read_ndjson_objects('{sys.argv[1]}')\").fetchall()\n\
        sys.stdout.buffer.write(''.join(row[0] + '\\n' for row in rows).encode())";
    let input = input();
    for (container, body) in gzip_bodies(&input) {
        let path = file(&format!("duckdb-{container:?}.log.gz"), &body);
        if !python_module("duckdb", script, &path, &input) {
            return;
        }
    }
    let path = file("duckdb.log.zst", &body(Container::Members, CodecKind::Zstd, &input));
    python_module("duckdb", script, &path, &input);
}

#[test]
fn zstd_reads_frames() {
    let input = input();
    let body = body(Container::Members, CodecKind::Zstd, &input);
    assert_reads("zstd", &["-dc"], &body, &input, "frames");
    let script = "import zstandard,sys\n\
        with open(sys.argv[1], 'rb') as f:\n    \
            sys.stdout.buffer.write(zstandard.ZstdDecompressor().stream_reader(f, read_across_frames=True).read())";
    python_module("zstandard", script, &file("frames.log.zst", &body), &input);
}

#[test]
fn more_than_a_mebibyte_has_members_that_each_decompress_alone() {
    let input = input();
    let body = body(Container::Members, CodecKind::Gzip, &input);
    let (mut rest, mut members, mut all) = (&body[..], 0, Vec::new());
    while !rest.is_empty() {
        let mut reader = flate2::bufread::GzDecoder::new(rest);
        let mut member = Vec::new();
        reader.read_to_end(&mut member).unwrap();
        assert!(!member.is_empty() && member.len() <= 1 << 20 && member.ends_with(b"\n"));
        (rest, members) = (reader.into_inner(), members + 1);
        all.extend_from_slice(&member);
    }
    assert!(all == input && members == 3, "{members} members");
    let raw: usize = body.len();
    let single = gzip_bodies(&input)[1].1.len();
    assert_eq!(raw - single, 20 * (members - 1), "a member costs 20 bytes");
}
