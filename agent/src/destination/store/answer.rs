//! answer: what the answer of an object store means (INTERFACE 5), by its status and by the code in its body.
//!
//! Promises: pure; the server's code and message are told in plain words with the remedy where one is known; a 2xx that
//! holds an error is none.
//! Must not know: how requests are made, secrets.
use super::super::{Answer, Status, Verdict};
use super::connector::{Heard, Reply, Said};
use hyper::StatusCode;

/// Whether a name that exists already is the batch that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An object is only made, never replaced: `If-None-Match: *`, `ifGenerationMatch=0`. As a name is never used
    /// twice, "already there" is the answer to a batch whose first answer was lost.
    CreateOnly,
    /// The same bytes replace the same object.
    Overwrite,
}

/// What a code means, beside its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Delivered,
    Retry,
    Hold,
    Refused,
    TooLarge,
}

/// The error in a body: `<Code>` and `<Message>` of S3, Azure and the XML API of Google, or `error` of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// Its code; empty: none was found.
    pub code: String,
    /// Its text; empty: none was found.
    pub message: String,
}

/// Reads the error in a body.
pub fn complaint(text: &str) -> Complaint {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('{') {
        return json_complaint(text).unwrap_or_default();
    }
    Complaint { code: element(text, "Code"), message: element(text, "Message") }
}

/// `{"error": {"message", "status", "errors": [{"reason"}]}}` of Google's API, `{"error", "error_description"}` of OAuth.
fn json_complaint(text: &str) -> Option<Complaint> {
    let body: serde_json::Value = serde_json::from_str(text).ok()?;
    let error = body.get("error")?;
    let word = |value: Option<&serde_json::Value>| value.and_then(|v| v.as_str()).map(str::to_owned);
    let reason = word(error.pointer("/errors/0/reason")).or_else(|| word(error.get("status")));
    Some(match error.as_str() {
        Some(code) => {
            let message = word(body.get("error_description")).unwrap_or_default();
            Complaint { code: code.to_owned(), message }
        }
        None => Complaint {
            code: reason.unwrap_or_default(),
            message: word(error.get("message")).unwrap_or_default(),
        },
    })
}

/// The text of the first element of this name. A store's error has no attributes and no nesting of the same name.
fn element(text: &str, name: &str) -> String {
    let open = format!("<{name}>");
    let Some((_, rest)) = text.split_once(&open) else { return String::new() };
    let inner = rest.split("</").next().unwrap_or_default();
    let plain = inner.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    plain.replace("&apos;", "'").replace("&amp;", "&").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a body is an error, whatever the status says: S3 answers the completion of a multipart upload with 200
/// before it knows.
pub fn holds_error(text: &str) -> bool {
    let mut text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("<?") {
        text = text.split_once("?>").map_or("", |(_, rest)| rest).trim_start();
    }
    text.strip_prefix("<Error").is_some_and(|rest| rest.starts_with(['>', ' ', '/']))
}

/// What the codes mean that say more than their status.
fn by_code(code: &str, mode: Mode) -> Option<Sort> {
    Some(match code {
        "SlowDown"
        | "RequestTimeout"
        | "InternalError"
        | "ServiceUnavailable"
        | "ServerBusy"
        | "OperationTimedOut"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "rateLimitExceeded"
        | "userRateLimitExceeded"
        | "backendError" => Sort::Retry,
        // Two writers of one name at the same time; one of them is this agent's lost request.
        "ConditionalRequestConflict" | "OperationAborted" => Sort::Retry,
        // A rule of the bucket removed the unfinished upload, or a part of it: the next try begins a new one.
        "NoSuchUpload" | "InvalidPart" | "InvalidPartOrder" | "InvalidBlockList" => Sort::Retry,
        // What arrived is not what was sent.
        "BadDigest"
        | "IncompleteBody"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "Md5Mismatch" => Sort::Retry,
        "EntityTooLarge" | "RequestBodyTooLarge" | "MaxSizeExceeded" => Sort::TooLarge,
        // A signature that may only create is asked whether there is something before the condition is.
        "BlobAlreadyExists" | "UnauthorizedBlobOverwrite" if mode == Mode::CreateOnly => Sort::Delivered,
        // Statuses of 400 and 5xx that no later batch will fare better with.
        "AuthorizationHeaderMalformed"
        | "AuthorizationQueryParametersError"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "InvalidAccessKeyId"
        | "AuthenticationFailed"
        | "InvalidAuthenticationInfo"
        | "MissingSecurityHeader"
        | "InvalidBucketName"
        | "NoSuchBucket"
        | "IllegalLocationConstraintException"
        | "InvalidStorageClass"
        | "InvalidEncryptionAlgorithmError"
        | "AccessControlListNotSupported"
        | "InvalidLocationConstraint"
        | "NotImplemented"
        | "MethodNotAllowed"
        | "invalid_grant"
        | "invalid_client"
        | "unauthorized_client" => Sort::Hold,
        _ if code.starts_with("KMS.") => Sort::Hold,
        _ => return None,
    })
}

fn by_status(status: StatusCode, mode: Mode) -> Sort {
    match status.as_u16() {
        // A 2xx comes here only with an error inside.
        200..=299 | 408 | 425 | 429 => Sort::Retry,
        412 if mode == Mode::CreateOnly => Sort::Delivered,
        413 => Sort::TooLarge,
        400 | 415 | 422 => Sort::Refused,
        501 => Sort::Hold,
        500..=599 => Sort::Retry,
        _ => Sort::Hold,
    }
}

/// What an operator can do about it.
fn remedy(status: StatusCode, code: &str) -> Option<&'static str> {
    Some(match code {
        "SignatureDoesNotMatch" => "the secret key does not belong to the key id",
        "InvalidAccessKeyId" => "the store does not know this key id",
        "AccessDenied" => "these keys may not write objects here",
        "NoSuchBucket" | "ContainerNotFound" => "make the bucket, or correct its name",
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "IllegalLocationConstraintException" => "the bucket is in another region or at another endpoint",
        "ExpiredToken" | "TokenRefreshRequired" => "the session token has expired; give new credentials",
        "RequestTimeTooSkewed" => "the clock of this host is wrong",
        "AccessControlListNotSupported" => "the bucket takes no ACL; leave acl= out",
        _ if status.is_redirection() => "redirects are not followed; correct the region or the endpoint",
        _ => return None,
    })
}

/// `HTTP 403 Forbidden: AccessDenied: Access Denied (these keys may not write objects here)`.
fn words(reply: &Reply) -> (String, Complaint) {
    let complaint = complaint(&reply.text);
    let mut why = format!("HTTP {}", reply.status);
    // S3 names the right endpoint in the body and not in a header.
    let endpoint = Some(element(&reply.text, "Endpoint")).filter(|to| !to.is_empty());
    if let Some(to) = reply.location.clone().or(endpoint).filter(|_| reply.status.is_redirection()) {
        why.push_str(&format!(" to {to}"));
    }
    let said = match (complaint.code.as_str(), complaint.message.as_str()) {
        ("", "") => reply.words(),
        ("", message) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    if !said.is_empty() {
        why.push_str(&format!(": {}", said.chars().take(300).collect::<String>()));
    }
    if let Some(remedy) = remedy(reply.status, &complaint.code) {
        why.push_str(&format!(" ({remedy})"));
    }
    (why, complaint)
}

/// What an upload that `object_store` calls failed came to. `error`: its text, for what no server said.
pub fn meaning(mode: Mode, heard: &Heard, error: &str) -> Answer {
    match heard.bad.as_ref().or(heard.last.as_ref()) {
        Some(Said::Answer(reply)) if heard.bad.is_none() => {
            let why = format!("HTTP {}, but the answer cannot be understood: {error}", reply.status);
            Answer { verdict: Verdict::Retry { after: None, why }, status: Status::Word("unreadable") }
        }
        Some(Said::Answer(reply)) => {
            let (why, complaint) = words(reply);
            let sort = by_code(&complaint.code, mode).unwrap_or_else(|| by_status(reply.status, mode));
            let verdict = match sort {
                Sort::Delivered => Verdict::Delivered,
                Sort::Retry => Verdict::Retry { after: reply.retry_after, why },
                Sort::Hold => Verdict::Hold { why },
                Sort::Refused => Verdict::Refused { why },
                Sort::TooLarge => Verdict::TooLarge { why },
            };
            Answer { verdict, status: Status::Code(reply.status.as_u16()) }
        }
        Some(Said::Trouble { word, why }) => {
            let verdict = Verdict::Retry { after: None, why: why.clone() };
            Answer { verdict, status: Status::Word(word) }
        }
        Some(Said::Unable { why }) => {
            Answer { verdict: Verdict::Hold { why: why.clone() }, status: Status::Word("credentials") }
        }
        None => Answer { verdict: Verdict::Hold { why: error.to_owned() }, status: Status::Word("error") },
    }
}

/// What a look without any rights found out: an object that need not exist was asked for.
///
/// # Errors
/// What is certainly wrong: no answer, keys that the store does not know, a bucket that is not there.
pub fn look(heard: &Heard, error: &str) -> Result<(), String> {
    let Some(Said::Answer(reply)) = heard.bad.as_ref() else {
        return meaning(Mode::Overwrite, heard, error).verdict.why().map_or(Ok(()), Err);
    };
    let (told, complaint) = words(reply);
    match (reply.status.as_u16(), complaint.code.as_str()) {
        // That the object is not there, and that these keys may only write, is as it should be.
        (404, "NoSuchKey" | "BlobNotFound") => Ok(()),
        (404, "notFound") if complaint.message.starts_with("No such object") => Ok(()),
        // A web server's page is no store.
        (404, "") if complaint.message.is_empty() && !reply.text.to_ascii_lowercase().contains("<html") => {
            Ok(())
        }
        (403, "AccessDenied" | "AuthorizationPermissionMismatch" | "forbidden") => Ok(()),
        _ => Err(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(status: u16, text: &str) -> Heard {
        let status = StatusCode::from_u16(status).expect("a status");
        let reply = Reply { status, retry_after: None, date: None, location: None, text: text.into() };
        Heard { last: Some(Said::Answer(reply.clone())), bad: Some(Said::Answer(reply)) }
    }

    fn sort(status: u16, code: &str, mode: Mode) -> &'static str {
        let text = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>m</Message></Error>");
        match meaning(mode, &heard(status, &text), "").verdict {
            Verdict::Delivered => "delivered",
            Verdict::Retry { .. } => "retry",
            Verdict::Hold { .. } => "hold",
            Verdict::Refused { .. } => "refused",
            Verdict::TooLarge { .. } => "large",
            Verdict::Partly { .. } => "partly",
        }
    }

    #[test]
    fn statuses_and_codes_mean_what_the_table_says() {
        use Mode::{CreateOnly, Overwrite};
        for (status, code, mode, want) in [
            (200, "InternalError", CreateOnly, "retry"),
            (200, "SomethingNew", Overwrite, "retry"),
            (200, "AccessControlListNotSupported", Overwrite, "hold"),
            (301, "PermanentRedirect", Overwrite, "hold"),
            (307, "TemporaryRedirect", Overwrite, "hold"),
            (400, "InvalidRequest", Overwrite, "refused"),
            (400, "RequestTimeout", Overwrite, "retry"),
            (400, "EntityTooLarge", Overwrite, "large"),
            (400, "ExpiredToken", Overwrite, "hold"),
            (400, "KMS.DisabledException", Overwrite, "hold"),
            (400, "XAmzContentSHA256Mismatch", Overwrite, "retry"),
            (401, "", Overwrite, "hold"),
            (403, "SignatureDoesNotMatch", Overwrite, "hold"),
            (403, "RequestTimeTooSkewed", Overwrite, "hold"),
            (404, "NoSuchBucket", Overwrite, "hold"),
            (404, "NoSuchUpload", Overwrite, "retry"),
            (408, "", Overwrite, "retry"),
            (409, "ConditionalRequestConflict", CreateOnly, "retry"),
            (409, "BlobAlreadyExists", CreateOnly, "delivered"),
            (409, "BlobAlreadyExists", Overwrite, "hold"),
            (403, "UnauthorizedBlobOverwrite", CreateOnly, "delivered"),
            (403, "UnauthorizedBlobOverwrite", Overwrite, "hold"),
            (409, "BlobImmutableDueToPolicy", Overwrite, "hold"),
            (412, "PreconditionFailed", CreateOnly, "delivered"),
            (412, "PreconditionFailed", Overwrite, "hold"),
            (413, "", Overwrite, "large"),
            (429, "", Overwrite, "retry"),
            (500, "", Overwrite, "retry"),
            (501, "NotImplemented", Overwrite, "hold"),
            (503, "SlowDown", Overwrite, "retry"),
        ] {
            assert_eq!(sort(status, code, mode), want, "{status} {code} {mode:?}");
        }
    }

    #[test]
    fn a_look_tells_what_is_certainly_wrong() {
        let xml = |code: &str| format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
        for (status, text, fine) in [
            (404, xml("NoSuchKey"), true),
            (404, xml("BlobNotFound"), true),
            (403, xml("AccessDenied"), true),
            (404, String::new(), true),
            (404, xml("NoSuchBucket"), false),
            (404, "<!DOCTYPE html><HTML>no such page".into(), false),
            (403, xml("SignatureDoesNotMatch"), false),
            (301, xml("PermanentRedirect"), false),
            (503, xml("SlowDown"), false),
        ] {
            assert_eq!(look(&heard(status, &text), "").is_ok(), fine, "{status} {text}");
        }
        let moved =
            "<Error><Code>PermanentRedirect</Code><Endpoint>s3.eu-west-1.amazonaws.com</Endpoint></Error>";
        let why = look(&heard(301, moved), "").expect_err("it is elsewhere");
        assert!(why.contains("to s3.eu-west-1.amazonaws.com") && why.contains("another region"), "{why}");
    }

    #[test]
    fn errors_are_found_in_xml_and_json() {
        let xml = "\u{feff}<?xml version='1.0'?><Error><Code>A&amp;B</Code><Message>a\n b</Message></Error>";
        assert_eq!(complaint(xml), Complaint { code: "A&B".into(), message: "a b".into() });
        assert!(holds_error(xml));
        let google = r#"{"error":{"code":404,"message":"gone","errors":[{"reason":"notFound"}]}}"#;
        assert_eq!(complaint(google), Complaint { code: "notFound".into(), message: "gone".into() });
        let oauth = r#"{"error":"invalid_grant","error_description":"bad JWT"}"#;
        assert_eq!(complaint(oauth), Complaint { code: "invalid_grant".into(), message: "bad JWT".into() });
        assert_eq!(complaint("<html>nginx</html>"), Complaint::default());
        assert!(!holds_error("<CompleteMultipartUploadResult><Error>"));
        assert!(!holds_error("<Errors>"));
    }
}
