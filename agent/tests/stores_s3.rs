//! `s3://` and `r2://` against SeaweedFS and the MinIO gateway of JuiceFS, which verify what they get, and against a
//! recorder where the vendor's own service would be needed.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod store_kit;

use bytes::Bytes;
use edgepush::config::Reserve;
use edgepush::destination::client::Clients;
use edgepush::destination::store::s3;
use edgepush::destination::{Answer, Destination, DestinationUrl, Opening, Outgoing, Status, Verdict};
use edgepush::protocol::{CodecKind, Container};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store_kit::proxy::{Do, Proxy, Seen};
use store_kit::{KEY_ID, SECRET, boto, juicefs, weed};

fn open_with(url: &str, clock: s3::Clock, env: &[(&str, &str)]) -> Result<Arc<dyn Destination>, String> {
    let url = DestinationUrl::parse(url).map_err(|why| format!("the URL {why}"))?;
    let with =
        Opening { state: Path::new("/"), clients: &Clients::default(), keep_free: Reserve::Percent(0) };
    let env: Vec<(String, String)> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    s3::open(&url, &with, clock, &move |name| {
        env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    })
}

fn open(url: &str) -> Arc<dyn Destination> {
    open_with(url, jiff::Timestamp::now, &[]).unwrap()
}

/// A URL of a server on this host, in path style.
fn at(port: u16, bucket: &str, more: &str) -> String {
    let secret = SECRET.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    format!(
        "s3://{bucket}/logs/{{DATE}}?region=us-east-1&endpoint=http://localhost:{port}&access-key-id={KEY_ID}\
         &secret-access-key={secret}{more}"
    )
}

fn batch(number: u64, body: &[&[u8]]) -> Outgoing {
    let key = format!("{number:016x}");
    Outgoing {
        name: format!("logs/20261121/20261121T101112Z_20261121T101113Z_{key}.log.gz").into(),
        key: key.into(),
        codec: CodecKind::Gzip,
        container: Container::Members,
        records: 3,
        csv: false,
        shelf: None,
        body: body.iter().map(|part| Bytes::copy_from_slice(part)).collect(),
    }
}

/// Bytes that look like compressed ones: a wrong part in a wrong place shows.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(100), test).await.expect("it takes too long")
    })
}

fn deliver(to: &Arc<dyn Destination>, batch: &Outgoing) -> Answer {
    run(to.deliver(batch.clone()))
}

fn hold(answer: Answer) -> String {
    match answer.verdict {
        Verdict::Hold { why } => why,
        other => panic!("no hold: {other:?}"),
    }
}

fn retry(answer: Answer) -> String {
    match answer.verdict {
        Verdict::Retry { why, .. } => why,
        other => panic!("no retry: {other:?}"),
    }
}

#[test]
fn a_batch_is_one_object_byte_for_byte_however_often_it_comes() {
    for (bucket, server) in [("one", weed()), ("one", juicefs())] {
        let Some(server) = server else { continue };
        server.make(bucket);
        let to = open(&at(server.port, bucket, ""));
        let large = noise(3_000_000, 7);
        let batches = [batch(1, &[b"\x1f\x8bone"]), batch(2, &[b"", b"two\n", b"", &large, b"end"])];
        for batch in batches.iter().chain(&batches) {
            let answer = deliver(&to, batch);
            assert_eq!(answer, Verdict::Delivered);
            assert_eq!(answer.status, Status::Code(200));
        }
        assert_eq!(server.keys(bucket).len(), 2);
        for batch in &batches {
            let (body, kind, encoding) = server.get(bucket, &batch.name);
            assert!(body == batch.body.concat(), "{} is not what was sent", batch.name);
            assert_eq!((kind.as_str(), encoding.as_str()), ("application/gzip", None));
        }
    }
}

#[test]
fn a_content_encoding_is_set_when_the_url_asks_for_it() {
    let Some(server) = weed() else { return };
    server.make("encoded");
    let to = open(&at(server.port, "encoded", "&content-encoding=gzip"));
    let mut zstd = batch(2, &[b"z"]);
    zstd.codec = CodecKind::Zstd;
    zstd.csv = true;
    assert_eq!(deliver(&to, &batch(1, &[b"x"])), Verdict::Delivered);
    assert_eq!(deliver(&to, &zstd), Verdict::Delivered);
    let (_, kind, encoding) = server.get("encoded", &batch(1, &[]).name);
    assert_eq!((kind.as_str(), encoding.as_str()), ("application/x-ndjson", Some("gzip")));
    let (_, kind, encoding) = server.get("encoded", &zstd.name);
    assert_eq!((kind.as_str(), encoding.as_str()), ("text/csv", Some("zstd")));
}

#[test]
fn names_with_odd_letters_are_kept() {
    for server in [weed(), juicefs()].into_iter().flatten() {
        server.make("odd");
        let to = open(&at(server.port, "odd", "&checksum=none"));
        let mut odd = batch(1, &[b"odd"]);
        odd.name = "logs/ä b+c=d/a:b@c!$'()*,;~{}/%25.log.gz".into();
        assert_eq!(deliver(&to, &odd), Verdict::Delivered);
        assert_eq!(server.keys("odd"), [&*odd.name]);
    }
}

#[test]
fn wrong_keys_hold_with_words_and_without_secrets() {
    let wrong = |port| at(port, "wrong", "").replace("edgepush%2Ftest", "edgepush%2Foops");
    let unknown = |port| at(port, "wrong", "").replace(KEY_ID, "AKIDNOBODYKNOWSIT");
    for server in [weed(), juicefs()].into_iter().flatten() {
        server.make("wrong");
        let to = open(&wrong(server.port));
        let answer = deliver(&to, &batch(1, &[b"x"]));
        assert_eq!(answer.status, Status::Code(403));
        let why = hold(answer);
        assert!(why.starts_with("s3://wrong/logs/{DATE}: HTTP 403"), "{why}");
        assert!(why.contains("SignatureDoesNotMatch"), "{why}");
        assert!(why.contains("the secret key does not belong to the key id"), "{why}");
        assert!(!why.contains("oops"), "{why}");
        let why = run(to.probe(false)).expect_err("a look finds wrong keys, too");
        assert!(why.contains("SignatureDoesNotMatch"), "{why}");
        let why = hold(deliver(&open(&unknown(server.port)), &batch(1, &[b"x"])));
        assert!(why.contains("InvalidAccessKeyId") && !why.contains("NOBODY"), "{why}");
        assert!(server.keys("wrong").is_empty());
    }
}

#[test]
fn a_missing_bucket_holds_and_is_found_by_a_look() {
    let Some(server) = juicefs() else { return };
    let to = open(&at(server.port, "missing", ""));
    let why = hold(deliver(&to, &batch(1, &[b"x"])));
    assert!(why.contains("404") && why.contains("NoSuchBucket") && why.contains("make the bucket"), "{why}");
    let why = run(to.probe(false)).expect_err("there is none");
    assert!(why.contains("NoSuchBucket"), "{why}");
    assert!(run(to.probe(true)).is_err());
}

#[test]
fn a_probe_leaves_nothing_and_a_single_object_is_text() {
    for server in [weed(), juicefs()].into_iter().flatten() {
        server.make("probe");
        let to = open(&at(server.port, "probe", ""));
        assert_eq!(run(to.probe(false)), Ok(()), "a look");
        assert_eq!(run(to.probe(true)), Ok(()), "a probe");
        assert!(server.keys("probe").is_empty(), "a probe leaves nothing");
        let put = || run(to.put_object("ownership-challenge.txt", Bytes::from_static(b"token")));
        assert_eq!(put().as_deref(), Ok("logs/ownership-challenge.txt"));
        assert_eq!(put().as_deref(), Ok("logs/ownership-challenge.txt"));
        let (body, kind, _) = server.get("probe", "logs/ownership-challenge.txt");
        assert_eq!((body.as_slice(), kind.as_str()), (&b"token"[..], "text/plain"));
    }
}

#[test]
fn where_only_new_names_are_taken_the_first_object_stays() {
    let Some(server) = weed() else { return };
    server.make("create");
    let to = open(&at(server.port, "create", "&overwrite=no&parts-above=6MB&part-size=5MiB"));
    assert_eq!(deliver(&to, &batch(1, &[b"first"])), Verdict::Delivered);
    let second = deliver(&to, &batch(1, &[b"second"]));
    assert_eq!((second.verdict, second.status), (Verdict::Delivered, Status::Code(412)));
    assert_eq!(server.get("create", &batch(1, &[]).name).0, b"first");
    // In parts it is the completion that is refused; nothing of the second upload stays.
    let (first, again) = (noise(7_000_000, 1), noise(7_000_000, 2));
    assert_eq!(deliver(&to, &batch(2, &[&first])), Verdict::Delivered);
    let second = deliver(&to, &batch(2, &[&again]));
    assert_eq!((second.verdict, second.status), (Verdict::Delivered, Status::Code(412)));
    assert!(server.get("create", &batch(2, &[]).name).0 == first);
    assert_eq!(server.uploads("create"), serde_json::json!([]));
    assert_eq!(run(to.probe(true)), Ok(()));
    assert_eq!(server.keys("create").len(), 2);
}

#[test]
fn the_bucket_may_stand_in_the_host() {
    let Some(server) = weed() else { return };
    server.make("127");
    // The domain of the server is 0.0.1: with the bucket before it, it needs no DNS.
    let url = at(server.port, "127", "&addressing=virtual").replace("//localhost:", "//0.0.1:");
    let to = open(&url);
    assert_eq!(deliver(&to, &batch(1, &[b"virtual"])), Verdict::Delivered);
    assert_eq!(server.keys("127"), [&*batch(1, &[]).name]);
}

#[test]
fn above_50_mb_it_is_sent_in_parts_of_one_size() {
    for server in [weed(), juicefs()].into_iter().flatten() {
        server.make("parts");
        let proxy = Proxy::new(server.port, |_, _| Do::Pass);
        let to = open(&at(proxy.port, "parts", ""));
        let (one, two) = (noise(30_000_001, 3), noise(20_000_000, 5));
        let large = batch(1, &[&one, &two]);
        assert_eq!(deliver(&to, &large), Verdict::Delivered);
        let parts: Vec<usize> = proxy
            .seen()
            .iter()
            .filter(|seen| seen.target.contains("partNumber="))
            .map(|s| s.body.len())
            .collect();
        let mut sorted = parts.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            [50_000_001 - 5 * 8_388_608, 8_388_608, 8_388_608, 8_388_608, 8_388_608, 8_388_608]
        );
        assert!(server.get("parts", &large.name).0 == large.body.concat());
        // At 50 MB it is one request.
        let just = batch(2, &[&one[1..], &two]);
        let before = proxy.seen().len();
        assert_eq!(deliver(&to, &just), Verdict::Delivered);
        assert_eq!(proxy.seen().len(), before + 1);
        assert_eq!(server.list("parts")[&*just.name]["size"], 50_000_000);
    }
}

#[test]
fn an_upload_in_parts_that_fails_is_aborted() {
    let Some(server) = weed() else { return };
    server.make("aborted");
    let broken = |seen: &Seen, _| if seen.target.contains("partNumber=2") { Do::Close } else { Do::Pass };
    let proxy = Proxy::new(server.port, broken);
    let to = open(&at(proxy.port, "aborted", "&parts-above=5MiB&part-size=5MiB"));
    let large = batch(1, &[&noise(18_000_000, 9)]);
    let why = retry(deliver(&to, &large));
    assert!(why.starts_with("s3://aborted/"), "{why}");
    let deleted = proxy.seen().iter().filter(|seen| seen.method == "DELETE").count();
    assert_eq!(deleted, 1, "one abort");
    assert_eq!(server.uploads("aborted"), serde_json::json!([]));
    assert!(server.keys("aborted").is_empty());
}

#[test]
fn a_completion_that_answers_200_with_an_error_is_no_success() {
    let Some(server) = weed() else { return };
    server.make("inside");
    let script = |seen: &Seen, _| {
        let error = "<?xml version=\"1.0\"?>\n\n<Error><Code>InternalError</Code><Message>try again</Message></Error>";
        let completing = seen.method == "POST" && seen.target.contains("uploadId=");
        if completing { Do::Say(200, "", error.into()) } else { Do::Pass }
    };
    let proxy = Proxy::new(server.port, script);
    let to = open(&at(proxy.port, "inside", "&parts-above=5MiB&part-size=5MiB"));
    let answer = deliver(&to, &batch(1, &[&noise(6_000_000, 9)]));
    assert_eq!(answer.status, Status::Code(200));
    let why = retry(answer);
    assert!(why.contains("HTTP 200 OK: InternalError: try again"), "{why}");
    assert_eq!(server.uploads("inside"), serde_json::json!([]));
}

#[test]
fn an_answer_that_is_lost_makes_no_second_object() {
    let Some(server) = weed() else { return };
    for (bucket, more) in [
        ("lost", ""),
        ("lost-create", "&overwrite=no"),
        ("lost-parts", "&overwrite=no&parts-above=5MiB&part-size=5MiB"),
    ] {
        server.make(bucket);
        // The store has the object, and its answer is lost.
        let script = move |seen: &Seen, _: usize| {
            let last = seen.method == "POST" && seen.target.contains("uploadId=") || !more.contains("parts");
            static LOST: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
            let mut lost = LOST.lock().unwrap();
            if last && !lost.contains(&bucket.to_owned()) {
                lost.push(bucket.to_owned());
                return Do::PassAndClose;
            }
            Do::Pass
        };
        let proxy = Proxy::new(server.port, script);
        let to = open(&at(proxy.port, bucket, more));
        let batch = batch(1, &[&noise(6_000_000, 11)]);
        retry(deliver(&to, &batch));
        assert_eq!(deliver(&to, &batch), Verdict::Delivered);
        assert_eq!(server.keys(bucket), [&*batch.name]);
        assert!(server.get(bucket, &batch.name).0 == batch.body.concat());
        assert_eq!(server.uploads(bucket), serde_json::json!([]));
    }
}

#[test]
fn a_body_that_changes_on_its_way_is_refused_by_its_hash() {
    let Some(server) = juicefs() else { return };
    server.make("hash");
    let proxy = Proxy::new(server.port, |seen, before| match before {
        0 => Do::PassBody(vec![b'y'; seen.body.len()]),
        _ => Do::Pass,
    });
    let to = open(&at(proxy.port, "hash", ""));
    let why = retry(deliver(&to, &batch(1, &[b"xxxxxxxx"])));
    assert!(why.contains("XAmzContentSHA256Mismatch"), "{why}");
    assert!(server.keys("hash").is_empty());
    assert_eq!(deliver(&to, &batch(1, &[b"xxxxxxxx"])), Verdict::Delivered);
    assert_eq!(server.get("hash", &batch(1, &[]).name).0, b"xxxxxxxx");
}

#[test]
fn a_checksum_that_does_not_fit_is_refused() {
    let Some(server) = weed() else { return };
    server.make("sums");
    for (number, (word, header, mark)) in
        [("crc32", "x-amz-checksum-crc32", "6DRBTg=="), ("sha256", "x-amz-checksum-sha256", "=")]
            .into_iter()
            .enumerate()
    {
        // SeaweedFS does not look at the hash that is signed, only at the checksum.
        let proxy = Proxy::new(server.port, |seen, before| match before {
            0 => Do::PassBody(vec![b'y'; seen.body.len()]),
            _ => Do::Pass,
        });
        let to = open(&at(proxy.port, "sums", &format!("&checksum={word}")));
        let batch = batch(number as u64, &[b"sum"]);
        let why = retry(deliver(&to, &batch));
        assert!(why.contains("BadDigest") || why.contains("Checksum"), "{why}");
        assert_eq!(deliver(&to, &batch), Verdict::Delivered);
        let sent = &proxy.seen()[1].headers[header];
        assert!(sent.ends_with(mark.trim_start_matches("6DRBTg==")) && !sent.is_empty(), "{sent}");
    }
}

/// An hour slow.
fn slow() -> jiff::Timestamp {
    jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1)
}

/// A day fast.
fn fast() -> jiff::Timestamp {
    jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)
}

#[test]
fn a_wrong_clock_costs_one_request_and_no_batch() {
    for (bucket, clock) in [("slow", slow as s3::Clock), ("fast", fast)] {
        for server in [weed(), juicefs()].into_iter().flatten() {
            server.make(bucket);
            let proxy = Proxy::new(server.port, |_, _| Do::Pass);
            let to = open_with(&at(proxy.port, bucket, ""), clock, &[]).unwrap();
            assert_eq!(deliver(&to, &batch(1, &[b"x"])), Verdict::Delivered);
            assert_eq!(proxy.seen().len(), 2, "one more try");
            // A kept connection may have ended meanwhile, without a request: that is weather.
            let answers = std::iter::repeat_with(|| deliver(&to, &batch(2, &[b"y"])));
            let answer = answers.take(3).find(|answer| answer.status != Status::Word("closed"));
            assert_eq!(answer.unwrap(), Verdict::Delivered);
            assert_eq!(proxy.seen().len(), 3, "the offset stays");
            assert_eq!(server.keys(bucket).len(), 2);
        }
    }
}

#[test]
fn a_clock_that_stays_wrong_holds() {
    let skewed = "<Error><Code>RequestTimeTooSkewed</Code><Message>too far</Message></Error>";
    let date = "date: Sat, 21 Nov 2026 10:00:00 GMT\r\n";
    let proxy = Proxy::new(0, move |_, _| Do::Say(403, date, skewed.into()));
    let why = hold(deliver(&open(&at(proxy.port, "bucket", "")), &batch(1, &[b"x"])));
    assert!(why.contains("the clock of this host is wrong"), "{why}");
    let seen = proxy.seen();
    assert_eq!(seen.len(), 2, "it is tried once more and not for ever");
    assert!(seen[1].headers["x-amz-date"].starts_with("20261121T10000"), "{:?}", seen[1].headers);
}

/// No service of AWS is at hand: the request is held against the API reference (PutObject, CreateMultipartUpload).
#[test]
fn objects_are_asked_to_be_what_the_url_says() {
    let proxy = Proxy::new(0, |_, _| Do::Say(200, "etag: \"x\"\r\n", String::new()));
    let more = "&sse=aws:kms&kms-key-id=arn:aws:kms:eu:1:key/2&storage-class=STANDARD_IA\
                &acl=bucket-owner-full-control&checksum=crc32&overwrite=no";
    let to = open(&at(proxy.port, "bucket", more));
    assert_eq!(deliver(&to, &batch(1, &[b"sum"])), Verdict::Delivered);
    let seen = &proxy.seen()[0];
    assert_eq!((seen.method.as_str(), seen.body.as_slice()), ("PUT", &b"sum"[..]));
    assert_eq!(seen.target, format!("/bucket/{}", batch(1, &[]).name));
    for (name, value) in [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:eu:1:key/2"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-acl", "bucket-owner-full-control"),
        ("x-amz-checksum-crc32", &crc32_base64(b"sum")),
        ("x-amz-content-sha256", "09f5ffef28309853265c4a98d0e56e1be522b6b402d8193594fd05103064fc6a"),
        ("if-none-match", "*"),
        ("content-type", "application/gzip"),
        ("content-length", "3"),
        ("host", &format!("localhost:{}", proxy.port)),
    ] {
        assert_eq!(seen.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    let signed = &seen.headers["authorization"];
    for name in ["x-amz-acl", "if-none-match", "x-amz-storage-class", "content-type", "host"] {
        assert!(signed.contains(name), "{name} is not signed: {signed}");
    }
    assert!(seen.headers["user-agent"].starts_with("edgepush/"));
}

fn crc32_base64(body: &[u8]) -> String {
    let sum = u128::from(crc32fast::hash(body));
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // 32 bits are five letters of six bits and one of two.
    let bits = sum << 4;
    let text: String = (0..6).rev().map(|n| char::from(LETTERS[(bits >> (6 * n)) as usize & 63])).collect();
    format!("{text}==")
}

#[test]
fn requests_are_signed_as_botocore_signs_them() {
    if weed().is_none() {
        return;
    }
    let proxy = Proxy::new(0, |_, _| Do::Say(200, "etag: \"x\"\r\n", String::new()));
    let more = "&session-token=tok%2Ben%3D%3D&storage-class=STANDARD_IA";
    let to = open(&at(proxy.port, "bucket", more));
    for (number, name) in ["a/b.log", "logs/ä b+c=d/a:b@c!$'()*,;~{}/%25.log.gz", "x//y"].iter().enumerate()
    {
        let mut batch = batch(number as u64, &[b"body"]);
        batch.name = (*name).into();
        if *name == "x//y" {
            assert!(matches!(deliver(&to, &batch).verdict, Verdict::Refused { .. }));
            continue;
        }
        assert_eq!(deliver(&to, &batch), Verdict::Delivered);
        let seen = &proxy.seen()[number];
        let signed = &seen.headers["authorization"];
        let (_, names) = signed.split_once("SignedHeaders=").unwrap();
        let (names, ours) = names.split_once(",Signature=").unwrap();
        let headers: serde_json::Map<String, serde_json::Value> =
            names.split(';').map(|name| (name.to_owned(), seen.headers[name].clone().into())).collect();
        assert_eq!(headers["x-amz-security-token"], "tok+en==");
        let ask = serde_json::json!({"do": "sign", "method": "PUT", "region": "us-east-1", "headers": headers,
            "url": format!("http://localhost:{}{}", proxy.port, seen.target), "at": headers["x-amz-date"],
            "token": null});
        assert_eq!(boto(1, &ask), ours, "{name}");
    }
}

#[test]
fn what_a_url_has_wrong_is_told() {
    let why = |url: &str| open_with(url, jiff::Timestamp::now, &[]).err().unwrap_or_default();
    let keys = "access-key-id=AKIDSHOWN1&secret-access-key=hunter22222";
    for (url, words) in [
        ("s3://bucket/p", &["region="][..]),
        ("s3://bu/p?secret-access-key=hunter22222", &["region=", "without access-key-id=", "names a bucket"]),
        ("s3://bucket/p?region=eu&access-key-id=AKIDSHOWN1", &["without secret-access-key="]),
        ("s3://bucket/p?region=eu&session-token=hunter22222", &["session-token= without"]),
        (&format!("s3://bucket/p?region=eu&profile=x&{keys}"), &["both keys and profile="]),
        ("s3://bucket/p?region=eu&kms-key-id=k", &["without sse=aws:kms"]),
        ("s3://bucket/p?region=eu&sse=AES128", &["`sse` must be `AES256`"]),
        ("s3://bucket/p?region=eu&acl=everyone", &["`acl` must be a canned ACL"]),
        ("s3://bucket/p?region=eu&endpoint=h/path", &["`endpoint` must be `host`"]),
        ("s3://bucket/p?region=eu&part-size=1MiB", &["`part-size` must be a size from 5MiB"]),
        ("s3://bucket/p?region=eu&overwrit=no", &["nearest is `overwrite`"]),
        ("s3://bucket/p?region=eu&header_X=1", &["sends no headers"]),
        ("s3://user@bucket/p?region=eu", &["user part"]),
        (&format!("r2://bucket/p?{keys}"), &["account-id="]),
        (&format!("r2://bucket/p?account-id=12&{keys}"), &["`account-id` must be"]),
    ] {
        let why = why(url);
        assert!(words.iter().all(|word| why.contains(word)), "{url}: {why}");
        assert!(!why.contains("hunter") && !why.contains("AKIDSHOWN"), "{why}");
    }
    let borrows = |url: &str, env| open_with(url, jiff::Timestamp::now, env).unwrap().borrows_keys();
    assert!(!borrows(&at(1, "bucket", ""), &[]), "the URL has keys");
    let env = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "s")];
    assert!(borrows("s3://bucket/p?region=eu", &env), "the host has keys");
    assert!(borrows("s3://bucket/p?region=eu&profile=x", &[]));
    let url = DestinationUrl::parse(&at(1, "bucket", "")).unwrap();
    assert_eq!(url.to_string(), "s3://bucket/logs/{DATE}");
    assert!(!format!("{url:?}").contains("edgepush/test"), "{url:?}");
    let half =
        open_with("s3://bucket/p?region=eu", jiff::Timestamp::now, &[("AWS_ACCESS_KEY_ID", "AKIDSHOWN1")]);
    let why = half.err().unwrap_or_default();
    assert!(why.contains("only one of AWS_ACCESS_KEY_ID") && !why.contains("AKIDSHOWN1"), "{why}");
}

#[test]
fn a_store_that_repeats_keys_brings_them_into_no_log() {
    let proxy = Proxy::new(0, |seen, _| {
        let said =
            format!("{} {} hostsecret1", seen.headers["authorization"], seen.headers["x-amz-security-token"]);
        Do::Say(403, "", said)
    });
    let url = format!("s3://bucket/p?endpoint=http://localhost:{}", proxy.port);
    let env = [
        ("AWS_ACCESS_KEY_ID", "AKIDOFTHEHOST"),
        ("AWS_SECRET_ACCESS_KEY", "hostsecret1"),
        ("AWS_SESSION_TOKEN", "hosttoken1"),
    ];
    let why = hold(deliver(&open_with(&url, jiff::Timestamp::now, &env).unwrap(), &batch(1, &[b"x"])));
    assert!(why.contains("HTTP 403"), "{why}");
    for secret in ["AKIDOFTHEHOST", "hostsecret1", "hosttoken1"] {
        assert!(!why.contains(secret), "{why}");
    }
}

/// Who signs a request, and with which token, when a URL names no keys.
fn signed_by(
    env: &[(&str, &str)],
    more: &str,
    answers: impl Fn(&Seen) -> Option<Do> + Send + Sync + 'static,
) -> (Answer, Vec<Seen>) {
    let proxy = Proxy::new(0, move |seen, _| {
        answers(seen).unwrap_or_else(|| Do::Say(200, "etag: \"x\"\r\n", String::new()))
    });
    let here = format!("http://127.0.0.1:{}", proxy.port);
    let env: Vec<(&str, String)> = env.iter().map(|(k, v)| (*k, v.replace("HERE", &here))).collect();
    let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let url = format!("s3://bucket/p?region=us-east-1&endpoint={here}{more}");
    let to = open_with(&url, jiff::Timestamp::now, &env).unwrap();
    (deliver(&to, &batch(1, &[b"x"])), proxy.seen())
}

fn key_of(seen: &Seen) -> (String, Option<String>) {
    let (_, rest) = seen.headers["authorization"].split_once("Credential=").unwrap();
    (rest.split('/').next().unwrap().to_owned(), seen.headers.get("x-amz-security-token").cloned())
}

#[test]
fn keys_come_from_the_url_the_environment_a_profile_in_this_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials");
    let text = "[default]\naws_access_key_id=AKPROFILE\naws_secret_access_key=s\n\
                [logs]\naws_access_key_id=AKLOGS\naws_secret_access_key=s\naws_session_token=T\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let profile = ("AWS_SHARED_CREDENTIALS_FILE", file);
    let env =
        [("AWS_ACCESS_KEY_ID", "AKENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "E"), profile];
    for (env, more, want) in [
        (&env[..], "&access-key-id=AKURL&secret-access-key=s", ("AKURL", None)),
        (&env[..], "", ("AKENV", Some("E"))),
        (&env[..], "&profile=logs", ("AKLOGS", Some("T"))),
        (&[profile], "", ("AKPROFILE", None)),
        (&[profile, ("AWS_PROFILE", "logs")], "", ("AKLOGS", Some("T"))),
    ] {
        let (answer, seen) = signed_by(env, more, |_| None);
        assert_eq!(answer, Verdict::Delivered);
        assert_eq!(key_of(&seen[0]), (want.0.to_owned(), want.1.map(str::to_owned)));
    }
    let (answer, seen) = signed_by(&[profile], "&profile=gone", |_| None);
    let why = hold(answer);
    assert!(why.contains("there is no profile `gone`"), "{why}");
    let (answer, more) = signed_by(&[], "", |_| None);
    let why = hold(answer);
    assert!(why.contains("no credentials; looked for: access-key-id="), "{why}");
    assert!(seen.is_empty() && more.is_empty(), "nothing is sent without keys");
}

/// Stands for the container's agent, the token service and the instance; no one of them can be had here.
#[test]
fn keys_for_a_time_come_from_container_token_service_and_instance() {
    const GIVEN: &str = r#"{"AccessKeyId":"AKGIVEN","SecretAccessKey":"s","Token":"T+1","Expiration":"2100-01-01T00:00:00Z","Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC"}"#;
    const STS: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
        <SessionToken>T+1</SessionToken><SecretAccessKey>s</SecretAccessKey><Expiration>2100-01-01T00:00:00Z</Expiration>\
        <AccessKeyId>AKGIVEN</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "jwt-of-the-pod").unwrap();
    let token = token.to_str().unwrap();
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "HERE/pod"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token),
    ];
    let (answer, seen) =
        signed_by(&container, "", |seen| (seen.target == "/pod").then(|| Do::Say(200, "", GIVEN.into())));
    assert_eq!(answer, Verdict::Delivered);
    assert_eq!(seen[0].headers["authorization"], "jwt-of-the-pod");
    assert_eq!(key_of(&seen[1]), ("AKGIVEN".into(), Some("T+1".into())));

    let identity = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/logs"),
        ("AWS_ENDPOINT_URL_STS", "HERE/sts"),
    ];
    let (answer, seen) = signed_by(&identity, "", |seen| {
        seen.target.starts_with("/sts").then(|| Do::Say(200, "", STS.into()))
    });
    assert_eq!(answer, Verdict::Delivered);
    assert!(
        seen[0].target.contains("AssumeRoleWithWebIdentity") && seen[0].target.contains("role%2Flogs"),
        "{:?}",
        seen[0]
    );
    assert_eq!(key_of(&seen[1]), ("AKGIVEN".into(), Some("T+1".into())));

    let refused = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not for you</Message></Error></ErrorResponse>";
    let (answer, _) = signed_by(&identity, "", move |_| Some(Do::Say(403, "", refused.into())));
    let why = hold(answer);
    assert!(why.contains("no credentials from the token service") && why.contains("not for you"), "{why}");
    let (answer, _) = signed_by(&identity, "", |_| Some(Do::Say(503, "", String::new())));
    assert!(retry(answer).contains("no credentials from the token service"));
}

#[test]
fn keys_that_end_in_mid_run_are_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "jwt").unwrap();
    let proxy = Proxy::new(0, |seen, before| {
        let (id, end) = if before == 0 { ("AKFIRST", "2026-01-01") } else { ("AKSECOND", "2100-01-01") };
        let given = format!(
            r#"{{"AccessKeyId":"{id}","SecretAccessKey":"s","Token":"T","Expiration":"{end}T00:00:00Z"}}"#
        );
        let body = if seen.target == "/pod" { given } else { String::new() };
        Do::Say(200, "etag: \"x\"\r\n", body)
    });
    let here = format!("http://127.0.0.1:{}", proxy.port);
    let pod = format!("{here}/pod");
    let env = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", pod.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
    ];
    let to = open_with(&format!("s3://bucket/p?endpoint={here}"), jiff::Timestamp::now, &env).unwrap();
    for number in 0..3 {
        assert_eq!(deliver(&to, &batch(number, &[b"x"])), Verdict::Delivered);
    }
    let seen = proxy.seen();
    let puts: Vec<String> = seen.iter().filter(|s| s.method == "PUT").map(|seen| key_of(seen).0).collect();
    assert_eq!(puts, ["AKFIRST", "AKSECOND", "AKSECOND"]);
    assert_eq!(seen.len(), 5, "keys that last are asked for once");
}
