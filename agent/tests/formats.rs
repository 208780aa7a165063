//! Sources with formats, from outside: what leaves, what is kept, what is said.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use serde_json::{Value, json};
use std::io::Write;

const COMBINED: &str =
    r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326 "-" "say \x22hi\x22""#;

fn records(place: &Place) -> Vec<Value> {
    lines_in_dir(&place.out()).iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn rejects(place: &Place) -> Vec<Value> {
    let kept = lines_in_dir(&place.state().join("rejects"));
    kept.iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn append(place: &Place, text: &str) {
    let log = std::fs::OpenOptions::new().append(true).create(true).open(place.log());
    log.unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn auto_reads_a_combined_log_and_says_so() {
    let place = Place::new();
    append(&place, &format!("{COMBINED}\n{COMBINED} and more\n{{\"a\":1}}\n"));
    // The test's disk may be fuller than the reserve allows rejects to be written.
    let done = place.setup().env("EDGEPUSH_DISK_RESERVE", "0").once().exits(0);
    assert_eq!(
        (done.count("lines_read"), done.count("records_delivered"), done.count("rejected")),
        (3, 1, 2)
    );
    assert_eq!(
        String::from_utf8(lines_in_dir(&place.out()).remove(0)).unwrap(),
        concat!(
            r#"{"remote_addr":"192.0.2.1","remote_user":null,"time_local":"10/Oct/2000:13:55:36 -0700","#,
            r#""request":"GET /a HTTP/1.1","request_method":"GET","request_uri":"/a","#,
            r#""server_protocol":"HTTP/1.1","status":200,"body_bytes_sent":2326,"http_referer":null,"#,
            r#""http_user_agent":"say \"hi\""}"#
        )
    );
    let kept = rejects(&place);
    assert_eq!(kept.len(), 2);
    assert_eq!((&kept[0]["reason"], &kept[0]["column"]), (&json!("format"), &json!(COMBINED.len() + 1)));
    assert_eq!(kept[1]["line"], "{\"a\":1}");
    assert!(done.stderr.contains("are read as combined, by the first ones of"), "{}", done.stderr);
    assert_eq!(done.stderr.matches("has lines of the format json").count(), 1, "{}", done.stderr);
}

#[test]
fn a_format_may_come_from_a_file_and_times_are_written_as_asked() {
    let place = Place::new();
    append(&place, &format!("{COMBINED}\n"));
    let file = place.path("log_format");
    let directive = "log_format mine '$remote_addr - $remote_user [$time_local] '\n  '\"$request\" $status '\n  '$body_bytes_sent \"$http_referer\" \"$http_user_agent\"';\n";
    std::fs::write(&file, format!("nginx:{directive}")).unwrap();
    let setup = place
        .setup()
        .env("EDGEPUSH_FORMAT_FILE", &file.display().to_string())
        .env("EDGEPUSH_TIMESTAMP_FORMAT", "unix")
        .env("EDGEPUSH_FIELDS", "time_local,status,http_user_agent")
        .env("EDGEPUSH_FILTER", r#"{"where":{"key":"status","operator":"eq","value":200}}"#);
    assert_eq!(setup.once().exits(0).count("records_delivered"), 1);
    assert_eq!(
        lines_in_dir(&place.out()),
        [br#"{"time_local":971211336,"status":200,"http_user_agent":"say \"hi\""}"#.to_vec()]
    );
}

#[test]
fn times_without_a_zone_are_of_the_one_that_is_set() {
    for (zone, summer, winter) in
        [("UTC", "12", "12"), ("Europe/Berlin", "10", "11"), ("Asia/Tokyo", "03", "03")]
    {
        let place = Place::new();
        append(
            &place,
            "<14>Jul  1 2026 12:00:00 edge1 app: {\"a\":1}\n<14>Dec  1 2026 12:00:00 edge1 app: {\"a\":2}\n",
        );
        let setup = place.setup().env("EDGEPUSH_FORMAT", "syslog:json").env("EDGEPUSH_TZ", zone);
        setup.once().exits(0);
        let times: Vec<Value> =
            records(&place).into_iter().map(|record| record["syslog_time"].clone()).collect();
        let right = [format!("2026-07-01T{summer}:00:00Z"), format!("2026-12-01T{winter}:00:00Z")];
        assert_eq!(times, right, "{zone}");
    }
}

#[test]
fn the_head_line_of_a_table_is_known_after_a_restart() {
    let place = Place::new();
    let setup = place.setup().env("EDGEPUSH_FORMAT", "csv");
    append(&place, "host,status\na,200\n");
    assert_eq!(setup.once().exits(0).count("records_delivered"), 1);
    append(&place, "b,404\n\"c,\"\"d\",-\n");
    let done = setup.once().exits(0);
    assert_eq!((done.count("lines_read"), done.count("records_delivered")), (2, 2));
    let expected = [
        json!({"host": "a", "status": 200}),
        json!({"host": "b", "status": 404}),
        json!({"host": "c,\"d", "status": null}),
    ];
    let mut delivered = records(&place);
    delivered.sort_by_key(|record| record["host"].as_str().unwrap().to_owned());
    assert_eq!(delivered, expected);
}

#[test]
fn what_was_decided_holds_after_a_restart() {
    let place = Place::new();
    append(&place, &format!("{COMBINED}\n"));
    assert_eq!(place.setup().once().exits(0).count("records_delivered"), 1);
    append(&place, "{\"a\":1}\n");
    let done = place.setup().once().exits(0);
    assert_eq!(
        (done.count("records_delivered"), done.count("rejected")),
        (0, 1),
        "the file's first line decides"
    );
}

#[test]
fn a_mistake_in_a_format_is_told_before_anything_starts() {
    let place = Place::new();
    let done = place.setup().env("EDGEPUSH_FORMAT", "nginx:$remote_addr$status").once().exits(2);
    assert!(done.stderr.contains("$remote_addr$status, which have nothing between them"), "{}", done.stderr);
}
