//! As much of JSON Schema as the OpenAPI document uses; an unknown keyword is a panic, so that none is passed over.
use serde_json::Value;

/// Holds an answer against the document. Paths that are not in it must be told as such.
pub fn judge(document: &Value, method: &str, path: &str, code: u16, answer: &Value) {
    let Some(item) = path_item(document, path) else {
        assert_eq!(code, 404, "{method} {path} is not in the document, and yet answered");
        return;
    };
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
    let Some(operation) = item.get(&method) else {
        assert_eq!(code, 405, "{method} {path} is not in the document, and yet answered");
        return;
    };
    let response = &operation["responses"][code.to_string()];
    assert!(response.is_object(), "{method} {path} has no {code} in the document");
    let schema = &response["content"]["application/json"]["schema"];
    if let Err(why) = fits(document, schema, answer, "") {
        panic!("{method} {path} {code}: {why}\n{answer:#}");
    }
}

fn path_item<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    let said: Vec<&str> = path.split('/').collect();
    let same = |pattern: &str| {
        let parts: Vec<&str> = pattern.split('/').collect();
        parts.len() == said.len() && parts.iter().zip(&said).all(|(p, s)| p == s || p.starts_with('{'))
    };
    document["paths"].as_object()?.iter().find(|(pattern, _)| same(pattern)).map(|(_, item)| item)
}

/// Whether a value fits a schema; else where not, and why.
pub fn fits(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(schema) = schema.as_object() else { panic!("no schema at {at}: {schema}") };
    for (word, rule) in schema {
        keyword(document, word, rule, value, at)?;
    }
    // Beside its properties, and never without them: otherwise a schema that forgets `properties` allows nothing.
    if let Some(rule) = schema.get("additionalProperties") {
        let known = schema.get("properties").and_then(Value::as_object);
        for (key, inner) in value.as_object().into_iter().flatten() {
            if known.is_some_and(|known| known.contains_key(key)) {
                continue;
            }
            match rule {
                Value::Bool(true) => {}
                Value::Bool(false) => return Err(format!("{at}/{key} is not in the document")),
                rule => fits(document, rule, inner, &format!("{at}/{key}"))?,
            }
        }
    }
    Ok(())
}

fn keyword(document: &Value, word: &str, rule: &Value, value: &Value, at: &str) -> Result<(), String> {
    let list = || rule.as_array().unwrap().iter();
    let failed = || Err(format!("{at}: {value} is not {word} {rule}"));
    let number = |holds: fn(f64, f64) -> bool| match value.as_f64() {
        Some(value) if !holds(value, rule.as_f64().unwrap()) => failed(),
        _ => Ok(()),
    };
    let length = |holds: fn(usize, usize) -> bool| {
        let len = value.as_str().map(|s| s.chars().count()).or(value.as_array().map(Vec::len));
        match len {
            Some(len) if !holds(len, rule.as_u64().unwrap() as usize) => failed(),
            _ => Ok(()),
        }
    };
    match word {
        "$ref" => {
            let target = document.pointer(rule.as_str().unwrap().trim_start_matches('#'));
            fits(document, target.unwrap_or_else(|| panic!("{rule} is nowhere")), value, at)
        }
        "allOf" => list().try_for_each(|schema| fits(document, schema, value, at)),
        "anyOf" if list().any(|schema| fits(document, schema, value, at).is_ok()) => Ok(()),
        "anyOf" => failed(),
        "type" if rule.is_array() && list().any(|kind| is_a(kind, value)) || is_a(rule, value) => Ok(()),
        "const" if rule == value => Ok(()),
        "enum" if list().any(|one| one == value) => Ok(()),
        "type" | "const" | "enum" => failed(),
        "required" => match list().find(|key| value.get(key.as_str().unwrap()).is_none()) {
            Some(key) => Err(format!("{at} has no {key}")),
            None => Ok(()),
        },
        "properties" => rule.as_object().unwrap().iter().try_for_each(|(key, schema)| match value.get(key) {
            Some(inner) => fits(document, schema, inner, &format!("{at}/{key}")),
            None => Ok(()),
        }),
        "items" => value
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
            .try_for_each(|(i, inner)| fits(document, rule, inner, &format!("{at}/{i}"))),
        "minimum" => number(|value, least| value >= least),
        "maximum" => number(|value, most| value <= most),
        "minLength" | "minItems" => length(|len, least| len >= least),
        "maxLength" => length(|len, most| len <= most),
        "format" if rule == "date-time" => match value.as_str() {
            Some(text) if text.parse::<jiff::Timestamp>().is_err() => failed(),
            _ => Ok(()),
        },
        "pattern" | "description" | "deprecated" | "additionalProperties" => Ok(()),
        other => panic!("the document uses {other}, which this judge does not know"),
    }
}

fn is_a(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("null") => value.is_null(),
        _ => false,
    }
}
