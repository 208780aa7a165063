//! Answers as Elasticsearch and OpenSearch write them.
use super::*;

/// Items as they stand in an answer.
fn answer(items: &[&str]) -> String {
    let errors = items.iter().any(|item| item.contains("error"));
    let items: Vec<String> = items.iter().map(|item| format!(r#"{{"create":{{{item}}}}}"#)).collect();
    format!(r#"{{"errors":{errors},"items":[{}]}}"#, items.join(","))
}

fn of(items: &[&str]) -> Verdict {
    verdict(answer(items).as_bytes(), items.len() as u64, None).expect("a bulk answer")
}

const CREATED: &str = r#""status":201"#;
const CONFLICT: &str = r#""status":409,"error":{"type":"version_conflict_engine_exception","reason":"[a]: version conflict, document already exists (current version [1])"}"#;
const BUSY: &str = r#""status":429,"error":{"type":"es_rejected_execution_exception","reason":"rejected execution of coordinating operation [coordinating_and_primary_bytes=0]"}"#;
/// OpenSearch's.
const BUSY_TOO: &str = r#""status":429,"error":{"type":"rejected_execution_exception","reason":"rejected execution of primary operation"}"#;
const NO_SHARD: &str = r#""status":503,"error":{"type":"unavailable_shards_exception","reason":"[logs][0] primary shard is not active Timeout: [1m]"}"#;
const NO_NUMBER: &str = r#""status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse field [n] of type [long] in document with id 'x'. Preview of field's value: 'a'"}"#;
/// Elasticsearch 8's name of it.
const NO_DOCUMENT: &str = r#""status":400,"error":{"type":"document_parsing_exception","reason":"[1:6] failed to parse field [n] of type [long] in document with id 'x'"}"#;
const STRICT: &str = r#""status":400,"error":{"type":"strict_dynamic_mapping_exception","reason":"mapping set to strict, dynamic introduction of [m] within [_doc] is not allowed"}"#;
const FIELDS: &str = r#""status":400,"error":{"type":"illegal_argument_exception","reason":"Limit of total fields [1000] has been exceeded"}"#;

#[test]
fn what_was_created_or_is_there_already_is_delivered() {
    assert_eq!(of(&[CREATED]), Verdict::Delivered);
    assert_eq!(of(&[CREATED, r#""status":200"#, CONFLICT, CREATED]), Verdict::Delivered);
    assert_eq!(of(&[CONFLICT, CONFLICT]), Verdict::Delivered);
    // Without filter_path, as a proxy or an older server may answer.
    let whole = br#"{"took":30,"ingest_took":0,"errors":false,"items":[{"create":{"_index":"logs-20261121","_type":"_doc",
        "_id":"fy8sIGJ36UnwTvP46yK0og","_version":1,"result":"created","_shards":{"total":2,"successful":1,"failed":0},
        "_seq_no":0,"_primary_term":1,"status":201}}]}"#;
    assert_eq!(verdict(whole, 1, None), Ok(Verdict::Delivered));
    // A data stream's document lies in its backing index, and may have been redirected to its failure store.
    let stream = br#"{"errors":false,"took":200,"items":[{"create":{"_index":".ds-logs-edge-default-2026.11.21-000001",
        "_id":"a","_version":1,"result":"created","failure_store":"not_applicable_or_unknown","status":201}}]}"#;
    assert_eq!(verdict(stream, 1, None), Ok(Verdict::Delivered));
}

#[test]
fn what_was_turned_away_is_sent_again_alone() {
    let after = Some(Duration::from_secs(7));
    for busy in [BUSY, BUSY_TOO, NO_SHARD] {
        let text = answer(&[CREATED, busy, CONFLICT, busy]);
        let Ok(Verdict::Partly { again, refused, after: said, why }) = verdict(text.as_bytes(), 4, after)
        else {
            panic!("{text}");
        };
        assert_eq!((again, refused, said), (vec![1, 3], vec![], after));
        assert!(why.starts_with("2 of 4 records are sent again: ") && why.contains("_exception: "), "{why}");
        // All of them: that is the batch.
        assert!(matches!(of(&[busy, busy]), Verdict::Retry { .. }));
    }
}

#[test]
fn what_will_never_be_taken_is_refused_with_its_reason() {
    for (refused, word) in [
        (NO_NUMBER, "400 mapper_parsing_exception: failed to parse field [n] of type [long]"),
        (NO_DOCUMENT, "400 document_parsing_exception: [1:6] failed"),
        (STRICT, "400 strict_dynamic_mapping_exception: mapping set to strict"),
        (FIELDS, "400 illegal_argument_exception: Limit of total fields"),
        (r#""status":413,"error":{"type":"x","reason":"too large"}"#, "413 x: too large"),
        (r#""status":400,"error":"MapperParsingException[old]""#, "400 MapperParsingException[old]"),
        (r#""status":400,"error":{"type":"y"}"#, "400 y"),
    ] {
        let Verdict::Partly { again, refused: places, why, .. } = of(&[CREATED, CREATED, refused, BUSY])
        else {
            panic!("{refused}");
        };
        assert_eq!((again, places.len(), places[0].0), (vec![3], 1, 2));
        assert!(places[0].1.starts_with(word), "{}", places[0].1);
        assert!(
            why.contains("1 of 4 records were refused") && why.contains("1 of 4 records are sent again"),
            "{why}"
        );
    }
    // When none passes it is more likely the index that is wrong.
    assert!(
        matches!(of(&[STRICT, NO_NUMBER]), Verdict::Refused { why } if why.contains("none of 2 records"))
    );
    assert!(matches!(of(&[STRICT, CONFLICT]), Verdict::Partly { .. }));
}

#[test]
fn what_concerns_every_record_makes_no_rejects() {
    for all in [
        r#""status":404,"error":{"type":"index_not_found_exception","reason":"no such index [logs] and [action.auto_create_index] is [false]"}"#,
        r#""status":400,"error":{"type":"index_closed_exception","reason":"closed"}"#,
        r#""status":403,"error":{"type":"cluster_block_exception","reason":"index [logs] blocked by: [FORBIDDEN/8/index write (api)];"}"#,
        r#""status":403,"error":{"type":"security_exception","reason":"action [indices:data/write/bulk[s]] is unauthorized"}"#,
        r#""status":400,"error":{"type":"illegal_argument_exception","reason":"pipeline with id [none] does not exist"}"#,
        r#""status":400,"error":{"type":"illegal_argument_exception","reason":"no write index is defined for alias [logs]. The write index may be explicitly disabled"}"#,
        r#""status":400,"error":{"type":"invalid_index_name_exception","reason":"Invalid index name [Bad], must be lowercase"}"#,
        r#""status":400,"error":{"type":"validation_exception","reason":"Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] maximum normal shards open;"}"#,
    ] {
        assert!(matches!(of(&[all, all]), Verdict::Hold { .. }), "{all}");
        // Some came before it happened, and some records are bad.
        assert!(
            matches!(of(&[CREATED, STRICT, all, BUSY]), Verdict::Hold { why } if why.contains(": ")),
            "{all}"
        );
    }
    // The disk is full: it goes by itself when there is room.
    let flood = r#""status":429,"error":{"type":"cluster_block_exception","reason":"index [logs] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];"}"#;
    assert!(matches!(of(&[flood, STRICT]), Verdict::Retry { why, .. } if why.contains("flood-stage")));
}

#[test]
fn what_is_no_bulk_answer_is_an_error() {
    let good = answer(&[CREATED, CONFLICT]);
    for cut in 0..good.len() {
        assert!(verdict(&good.as_bytes()[..cut], 2, None).is_err(), "{}", &good[..cut]);
    }
    for (text, word) in [
        ("<html><body>It works!</body></html>", "It works!"),
        ("", "no answer to a bulk request"),
        ("{}", "no answer to a bulk request"),
        (r#"{"acknowledged":true}"#, "acknowledged"),
        (r#"{"took":1,"errors":false}"#, "items"),
        (r#"{"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#, "errors"),
        (r#"{"errors":false,"items":[{"index":{"status":201}},{"create":{"status":201}}]}"#, "create"),
        (r#"{"errors":false,"items":[{"create":{}},{"create":{"status":201}}]}"#, "status"),
        (r#"{"errors":false,"items":[]}"#, "0 records were answered of the 2"),
        (r#"{"errors":false,"items":[{"create":{"status":201}}]}"#, "1 records were answered of the 2"),
    ] {
        let why = verdict(text.as_bytes(), 2, None).expect_err(text);
        assert!(why.contains(word), "{text}: {why}");
    }
    assert!(verdict(answer(&[CREATED; 3]).as_bytes(), 2, None).is_err(), "a record more");
}

#[test]
fn a_status_that_says_nothing_is_no_success() {
    for odd in [r#""status":0"#, r#""status":302"#, r#""status":100"#, r#""status":201,"error":{"type":"x"}"#]
    {
        assert!(matches!(of(&[odd]), Verdict::Retry { .. }), "{odd}");
        assert!(matches!(of(&[CREATED, odd]), Verdict::Partly { again, .. } if again == [1]), "{odd}");
    }
}

#[test]
fn the_reason_of_a_refused_request_is_found() {
    let body = br#"{"error":{"root_cause":[{"type":"security_exception","reason":"missing authentication credentials"}],
        "type":"security_exception","reason":"missing authentication credentials for REST request [/_bulk]"},"status":401}"#;
    let expected = "security_exception: missing authentication credentials for REST request [/_bulk]";
    assert_eq!(trouble(body).as_deref(), Some(expected));
    assert_eq!(
        trouble(br#"{"error":"no handler found for uri [/x]","status":400}"#).as_deref(),
        Some("no handler found for uri [/x]")
    );
    for other in [&b"<html>"[..], b"", b"{}", br#"{"error":{}}"#, br#"{"message":"Forbidden"}"#] {
        assert_eq!(trouble(other), None);
    }
}
