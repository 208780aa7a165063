//! show: jobs for people.
//!
//! Promises: a table has one line a job, whatever is in its texts; what is empty is a dash.
//! Must not know: where jobs come from, secrets: what comes here may be shown.
use serde_json::Value;
use std::fmt::Write as _;

const HEAD: [&str; 9] =
    ["ID", "NAME", "OWNER", "ORIGIN", "ENABLED", "STATE", "LAG", "RECORDS", "DESTINATION"];

/// All jobs, and what is refused.
pub(super) fn list(jobs: &[Value], sets: &Value) -> String {
    let row = |job: &Value| {
        let health = &job["health"];
        [
            text(&job["id"]),
            text(&job["name"]),
            text(&job["owner"]),
            text(&job["origin"]),
            if job["enabled"] == true { "yes".into() } else { "no".into() },
            text(&health["state"]),
            health["lag_seconds"].as_u64().map_or("-".into(), |lag| format!("{lag}s")),
            text(&health["records"]),
            text(&job["destination_conf"]),
        ]
    };
    let rows: Vec<[String; HEAD.len()]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(jobs.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut out = String::new();
    for (row, job) in rows.iter().zip(std::iter::once(&Value::Null).chain(jobs)) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        if let Some(error) = job["error_message"].as_str() {
            let _ = writeln!(out, "    {}", one_line(error));
        }
    }
    out + &refused(sets)
}

/// How the sets of job files stand.
pub(super) fn sets(sets: &Value) -> String {
    let mut out = String::new();
    for set in sets["sets"].as_array().into_iter().flatten() {
        if set["message"].is_null() {
            let _ = writeln!(
                out,
                "{}: {}, jobs that run: {}",
                text(&set["from"]),
                text(&set["state"]),
                set["jobs"]
            );
        }
    }
    out + &refused(sets)
}

fn refused(sets: &Value) -> String {
    let sets = sets["sets"].as_array().into_iter().flatten();
    let told = sets.filter_map(|set| set["message"].as_str());
    told.map(|message| format!("refused set: {}\n", one_line(message))).collect()
}

/// One job with its figures.
pub(super) fn one(job: &Value) -> String {
    let mut out = String::new();
    let mut lines = |front: &str, object: &Value| {
        for (key, value) in object.as_object().into_iter().flatten().filter(|(key, _)| *key != "health") {
            let _ = writeln!(out, "{:28} {}", format!("{front}{key}"), text(value));
        }
    };
    lines("", job);
    lines("health.", &job["health"]);
    out
}

/// What came of a try.
pub(super) fn tried(verdict: &Value) -> String {
    let place = text(&verdict["place"]);
    let mut out = String::new();
    for problem in verdict["problems"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "✗ {place} {} {}", text(&problem["pointer"]), text(&problem["message"]));
    }
    let (asked, conf) = (&verdict["destination"], text(&verdict["destination_conf"]));
    let _ = match asked["valid"].as_bool() {
        Some(true) => writeln!(out, "✓ {place} its destination {conf} takes batches"),
        Some(false) => writeln!(out, "✗ {place} its destination {conf}: {}", text(&asked["message"])),
        None => writeln!(out, "✗ {place} its destination was not asked"),
    };
    out
}

/// A value in one line.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => one_line(text),
        other => other.to_string(),
    }
}

/// A server's words may hold anything; a terminal obeys control characters.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_has_one_line_a_job() {
        let jobs = [
            json!({ "id": 1, "owner": "accounts/local", "origin": "environment", "enabled": true,
                "destination_conf": "null:", "health": { "state": "ok", "lag_seconds": 0, "records": 12 } }),
            json!({ "id": 10, "name": "a", "owner": "zones/z", "origin": "file:a.json#a", "enabled": false,
                "destination_conf": "https://h/?token=…", "error_message": "HTTP 503\u{1b}[2J\nx", "health": null }),
        ];
        let sets = json!({ "sets": [{ "message": null }, { "message": "the jobs of /j are refused" }] });
        let wanted = "\
ID  NAME  OWNER           ORIGIN         ENABLED  STATE  LAG  RECORDS  DESTINATION
1   -     accounts/local  environment    yes      ok     0s   12       null:
10  a     zones/z         file:a.json#a  no       -      -    -        https://h/?token=…
    HTTP 503 [2J x
refused set: the jobs of /j are refused
";
        assert_eq!(list(&jobs, &sets), wanted);
    }

    #[test]
    fn a_try_tells_each_problem() {
        let verdict = json!({
            "place": "a.json/0", "destination_conf": "http://h/", "destination": { "valid": false, "message": "no" },
            "problems": [{ "pointer": "/filter", "message": "is bad" }],
        });
        assert_eq!(tried(&verdict), "✗ a.json/0 /filter is bad\n✗ a.json/0 its destination http://h/: no\n");
        let good = json!({ "place": "job 2", "destination_conf": "null:", "destination": { "valid": true }, "problems": [] });
        assert_eq!(tried(&good), "✓ job 2 its destination null: takes batches\n");
    }
}
