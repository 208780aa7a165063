//! openapi: the OpenAPI 3.1 document of the jobs API.
//!
//! Promises: every row of `routes` in each part of the API where it is, every error's code, and nothing else; the
//! schemas are those of `openapi.json` beside the API's code, which a test holds against real answers.
//! Must not know: requests.
use super::answer::CODES;
use super::routes::{ROOT, ROUTES, Route};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Where it is served; also at `/openapi.json`.
pub const PATH: &str = "/client/v4/openapi.json";

/// What does not come from the tables: the title, the ways to say a token, the schemas.
const REST: &str = include_str!("../openapi.json");

/// The parts of the API: what a path begins with, and the parameter in it.
const PARTS: [(&str, Option<&str>); 3] = [
    ("/zones/{zone_id}/logpush", Some("zone_id")),
    ("/accounts/{account_id}/logpush", Some("account_id")),
    ("/logpush", None),
];

static DOCUMENT: LazyLock<Value> = LazyLock::new(make);

/// The document.
pub fn document() -> &'static Value {
    &DOCUMENT
}

fn make() -> Value {
    let mut document: Value = serde_json::from_str(REST).expect("INVARIANT: a test reads it");
    document["info"]["version"] = crate::config::VERSION.into();
    document["servers"] = json!([{ "url": ROOT }]);
    let mut paths: Map<String, Value> = Map::new();
    for (front, parameter) in PARTS {
        for route in ROUTES.iter().filter(|route| parameter.is_some() || route.over_all) {
            let path = paths.entry(format!("{front}{}", route.path)).or_insert_with(|| json!({}));
            path[route.method.to_ascii_lowercase()] = operation(front, parameter, route);
        }
    }
    document["paths"] = Value::Object(paths);
    document
}

fn operation(front: &str, part: Option<&str>, route: &Route) -> Value {
    let inner = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = part.into_iter().chain(inner).map(parameter).collect();
    let mut responses = BTreeMap::from([("200".to_owned(), success(route))]);
    for code in CODES {
        let response = responses.entry(code.status.to_string()).or_insert_with(failure);
        let told = response["description"].as_str().unwrap_or_default();
        let gap = if told.is_empty() { "" } else { "; " };
        response["description"] = format!("{told}{gap}{}: {}", code.code, code.when).into();
    }
    let part = match front.split('/').nth(1) {
        Some("zones") => "OfZone",
        Some("accounts") => "OfAccount",
        _ => "OfAll",
    };
    let mut operation = json!({
        "operationId": format!("{}{part}", route.name),
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(body) = route.body {
        let schema = json!({ "$ref": format!("#/components/schemas/{body}") });
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn parameter(name: &str) -> Value {
    let schema = match name {
        "job_id" => json!({ "type": "integer", "minimum": 1 }),
        _ => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }),
    };
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

fn success(route: &Route) -> Value {
    let result = json!({ "$ref": format!("#/components/schemas/{}", route.result) });
    let schema = json!({
        "allOf": [
            { "$ref": "#/components/schemas/Envelope" },
            { "properties": { "success": { "const": true }, "result": result } },
        ]
    });
    json!({ "description": "Done", "content": { "application/json": { "schema": schema } } })
}

fn failure() -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Failure" });
    json!({ "description": "", "content": { "application/json": { "schema": schema } } })
}
