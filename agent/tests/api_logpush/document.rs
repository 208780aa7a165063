//! The OpenAPI document and the table of codes are those of the code.
use super::kit::{Server, Setup};
use edgepush::api::logpush::routes::ROUTES;
use edgepush::api::logpush::{answer, openapi};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_document_is_served_and_has_every_row() {
    let server = Server::start(Setup { token: Some("ALL"), ..Setup::default() });
    for path in ["/openapi.json", "/client/v4/openapi.json"] {
        let reply = server.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!((reply.code, &reply.json), (200, openapi::document()), "{path} needs no token");
    }
    let document = openapi::document();
    assert_eq!(
        (&document["openapi"], &document["info"]["version"]),
        (&json!("3.1.0"), &json!(env!("CARGO_PKG_VERSION")))
    );
    let mut names = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            names.push(operation["operationId"].as_str().unwrap());
            let said = operation["parameters"].as_array().unwrap().len();
            assert_eq!(said, path.matches('{').count(), "{path}");
        }
    }
    assert_eq!(names.len(), 3 * ROUTES.len() - 2, "two rows are of a zone or an account only");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 3 * ROUTES.len() - 2);
    let keys = document["components"]["schemas"]["JobKeys"]["properties"].as_object().unwrap();
    let known = edgepush::jobs::config::KEYS.map(|(key, _)| key);
    let known = known.into_iter().chain(edgepush::jobs::config::READ_ONLY_KEYS);
    assert_eq!(keys.keys().map(String::as_str).collect::<BTreeSet<_>>(), known.collect());
}

/// `UPDATE_DOCS=1 cargo test` writes the table anew.
#[test]
fn the_docs_have_every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/jobs.md");
    let kept = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- codes: begin -->\n", "<!-- codes: end -->");
    let (front, rest) = kept.split_once(begin).unwrap();
    let (table, back) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{front}{begin}{}{end}{back}", answer::markdown())).unwrap();
    } else {
        assert!(
            table == answer::markdown(),
            "docs/jobs.md is old: UPDATE_DOCS=1 cargo test -p edgepush --test api_logpush"
        );
    }
}
