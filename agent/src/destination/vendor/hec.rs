//! hec: the answers of HTTP Event Collectors, Splunk's and those that speak like it.
//!
//! Promises: pure; every documented code has its meaning.
//! Must not know: URLs, connections.
//!
//! Codes: "Possible error codes" in Splunk's "Troubleshoot HTTP Event Collector"
//! (<https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data/troubleshoot-http-event-collector>).
use super::said::{Body, Means, STRANGER, Said, is_success};
use serde_json::Value;

/// The code of "No data": the token was good, and nothing was stored.
pub const NO_DATA: u64 = 5;

const TOKEN: &str = "look at the token in header_Authorization, and whether it is enabled";
const CHANNEL: &str = "give the channel as channel=<GUID>";

/// What each code means, whatever the status.
const CODES: [(u64, Means, &str); 26] = [
    (1, Means::Hold, TOKEN),
    (2, Means::Hold, TOKEN),
    (3, Means::Hold, "write header_Authorization=Splunk%20<token>"),
    (4, Means::Hold, TOKEN),
    (NO_DATA, Means::Refused, ""),
    (6, Means::Refused, ""),
    // The index stands in the URL: it is wrong for every batch.
    (7, Means::Hold, "the token may not write to this index, or there is none of that name"),
    (8, Means::Retry, ""),
    (9, Means::Retry, ""),
    (10, Means::Hold, CHANNEL),
    (11, Means::Hold, CHANNEL),
    (12, Means::Refused, ""),
    (13, Means::Refused, ""),
    (14, Means::Hold, "the token does not acknowledge: enable it there, or leave ack=true out"),
    (15, Means::Refused, ""),
    (16, Means::Hold, "give the token as header_Authorization=Splunk%20<token>"),
    (18, Means::Retry, ""),
    (19, Means::Retry, ""),
    (20, Means::Retry, ""),
    (21, Means::Hold, TOKEN),
    (22, Means::Hold, TOKEN),
    (23, Means::Retry, ""),
    // Taken, with a warning that the next ones may not be.
    (24, Means::Delivered, ""),
    (25, Means::Delivered, ""),
    (26, Means::Retry, ""),
    (27, Means::Retry, ""),
];

/// The code of an answer.
pub fn code(body: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(body).ok()?["code"].as_u64()
}

/// What the answer to a batch means.
pub fn read(status: u16, body: &[u8]) -> Said {
    let success = is_success(status);
    match code(body) {
        // Whatever the code: only smaller batches help.
        _ if status == 413 => Means::Status.into(),
        Some(0) if success => Means::Delivered.into(),
        Some(code) => match CODES.iter().find(|row| row.0 == code) {
            Some((_, Means::Delivered, _)) if !success => Means::Status.into(),
            Some((_, means, note)) => Said::new(*means, note),
            None if success => Said::new(Means::Hold, "a code that is not known"),
            None => Means::Status.into(),
        },
        None if success => STRANGER,
        None => Means::Status.into(),
    }
}

/// What the answer to a POST without data says of the way and the token.
pub fn probed(status: u16, body: &[u8]) -> Result<(), String> {
    match code(body) {
        Some(0 | NO_DATA) => Ok(()),
        _ => {
            let said = read(status, body);
            Err(if said.note.is_empty() { "the collector takes nothing" } else { said.note }.to_owned())
        }
    }
}

/// The number under which a taken batch is acknowledged.
pub fn ack_id(body: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(body).ok()?["ackId"].as_u64()
}

/// Whether a batch is acknowledged; `None`: the answer does not say.
pub fn acknowledged(body: &[u8], id: u64) -> Option<bool> {
    serde_json::from_slice::<Value>(body).ok()?["acks"][id.to_string()].as_bool()
}

/// Whether an answer is one to a question about acknowledgements.
pub fn knows_acks(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|answer| answer["acks"].is_object())
}

/// What the answer of a collector means that is like Splunk's, but no Splunk: success may have no code.
pub fn read_loosely(status: u16, body: &[u8]) -> Said {
    match Body::of(body) {
        _ if !is_success(status) || code(body).is_some() => read(status, body),
        Body::Empty => Means::Delivered.into(),
        Body::Json(answer) => match answer["status"].as_str() {
            Some(said) if said.starts_with("error/server") => Means::Retry.into(),
            Some(said) if said.starts_with("error/client/noPermission") => Means::Hold.into(),
            Some(said) if said.starts_with("error") => Means::Refused.into(),
            _ => Means::Delivered.into(),
        },
        Body::Text => STRANGER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(status: u16, body: &str) -> Means {
        read(status, body.as_bytes()).means
    }

    #[test]
    fn each_code_has_its_meaning() {
        let table = [
            (Means::Delivered, 200, &[0, 24, 25][..]),
            (Means::Hold, 403, &[1, 4]),
            (Means::Hold, 401, &[2, 3]),
            (Means::Hold, 400, &[7, 10, 11, 14, 16, 21, 22]),
            (Means::Refused, 400, &[5, 6, 12, 13, 15]),
            (Means::Retry, 500, &[8]),
            (Means::Retry, 503, &[9, 18, 19, 20, 23]),
            (Means::Retry, 429, &[26, 27]),
        ];
        for (expected, status, codes) in table {
            for code in codes {
                assert_eq!(means(status, &format!("{{\"text\":\"x\",\"code\":{code}}}")), expected, "{code}");
            }
        }
    }

    #[test]
    fn a_success_that_is_none_is_told_from_one() {
        assert_eq!(means(200, r#"{"text":"Invalid data format","code":6}"#), Means::Refused);
        assert_eq!(means(200, r#"{"text":"Server is busy","code":9}"#), Means::Retry);
        assert_eq!(means(200, r#"{"text":"new","code":99}"#), Means::Hold);
        for body in ["", "<html>Sign in</html>", "{}", "[]", r#"{"text":"Success","code":"0"}"#] {
            assert_eq!(means(200, body), Means::Hold, "{body}");
        }
        // Nor does a code make a failure a success.
        assert_eq!(means(503, r#"{"text":"Success","code":0}"#), Means::Status);
        assert_eq!(means(500, r#"{"code":24}"#), Means::Status);
        assert_eq!(means(413, r#"{"text":"x","code":6}"#), Means::Status);
    }

    #[test]
    fn acknowledgements_are_read() {
        assert_eq!(ack_id(br#"{"text":"Success","code":0,"ackId":7}"#), Some(7));
        assert_eq!(ack_id(br#"{"text":"Success","code":0}"#), None);
        assert_eq!(acknowledged(br#"{"acks":{"6":true,"7":false}}"#, 7), Some(false));
        assert_eq!(acknowledged(br#"{"acks":{"7":true}}"#, 7), Some(true));
        assert_eq!(acknowledged(br#"{"acks":{}}"#, 7), None);
        assert_eq!(acknowledged(b"<html>", 7), None);
        assert!(knows_acks(br#"{"acks":{}}"#) && !knows_acks(br#"{"text":"ACK is disabled","code":14}"#));
    }

    #[test]
    fn an_empty_post_tells_a_good_token_from_a_bad_one() {
        assert_eq!(probed(400, br#"{"text":"No data","code":5}"#), Ok(()));
        assert!(probed(403, br#"{"text":"Invalid token","code":4}"#).is_err());
        assert!(probed(200, b"<html>").is_err());
    }

    #[test]
    fn others_than_splunk_may_say_less_but_not_report_a_failure() {
        let loosely = |status, body: &str| read_loosely(status, body.as_bytes()).means;
        assert_eq!(loosely(200, ""), Means::Delivered);
        assert_eq!(loosely(200, r#"{"text":"Success","code":0}"#), Means::Delivered);
        assert_eq!(loosely(200, r#"{"status":"success"}"#), Means::Delivered);
        assert_eq!(loosely(200, r#"{"status":"error/client/badParam"}"#), Means::Refused);
        assert_eq!(loosely(200, r#"{"status":"error/client/noPermission"}"#), Means::Hold);
        assert_eq!(loosely(200, r#"{"status":"error/server/backoff"}"#), Means::Retry);
        assert_eq!(loosely(200, r#"{"text":"x","code":4}"#), Means::Hold);
        assert_eq!(loosely(200, "<html>"), Means::Hold);
        assert_eq!(loosely(503, ""), Means::Status);
    }
}
