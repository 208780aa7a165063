//! show: batches for people and for programs.
//!
//! Promises: a table has one line a batch, whatever is in its texts; what is empty is a dash.
//! Must not know: where batches come from.
use crate::ledger::look::{Look, Looked, Stands};
use crate::protocol::{CodecKind, Container};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fmt::Write as _;

const HEAD: [&str; 7] = ["ID", "JOB", "STATE", "RECORDS", "BYTES", "AGE", "NAME"];
const SECOND: i64 = 1_000_000_000;

/// All batches.
pub(super) fn list(found: &[Looked], wall: i64) -> String {
    let row = |found: &Looked| {
        let batch = &found.batch;
        [
            batch.id.0.to_string(),
            job(found),
            found.stands.as_str().to_owned(),
            batch.records.to_string(),
            found.bytes.to_string(),
            age(wall.saturating_sub(batch.first).max(0) / SECOND),
            or_dash(&batch.name),
        ]
    };
    let rows: Vec<[String; HEAD.len()]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(found.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut out = String::new();
    for (row, found) in rows.iter().zip(std::iter::once(None).chain(found.iter().map(Some))) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        if let Some(reason) = found.and_then(|found| found.reason.as_deref()) {
            let _ = writeln!(out, "    {}", one_line(reason));
        }
    }
    out
}

/// The job as the list has it: its id, and its name when it has another one.
fn job(found: &Looked) -> String {
    let (id, name) = (found.batch.job.0, one_line(&found.batch.naming.job));
    match name == id.to_string() || name.is_empty() {
        true => id.to_string(),
        false => format!("{id} {name}"),
    }
}

/// Seconds in the largest unit that leaves a number of two digits or more, or seconds.
fn age(seconds: i64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A batch of the list, for programs.
pub(super) fn row_json(found: &Looked, wall: i64) -> Value {
    let batch = &found.batch;
    let text = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    json!({
        "id": batch.id.0,
        "job": batch.job.0,
        "job_name": batch.naming.job,
        "state": found.stands.as_str(),
        "name": text(&batch.name),
        "key": text(&batch.key),
        "records": batch.records,
        "bytes": found.bytes,
        "raw_bytes": batch.raw,
        "reason": found.reason,
        "first": time(batch.first),
        "last": time(batch.last),
        "age_seconds": wall.saturating_sub(batch.first).max(0) / SECOND,
    })
}

/// All of one batch.
pub(super) fn all(look: &Look, found: &Looked, wall: i64) -> Value {
    let batch = &found.batch;
    let mut all = row_json(found, wall);
    all["job_version"] = batch.version.into();
    all["dataset"] = batch.naming.dataset.clone().into();
    all["codec"] = match batch.codec {
        CodecKind::Gzip => "gzip",
        CodecKind::Zstd => "zstd",
        CodecKind::None => "none",
    }
    .into();
    all["container"] = match (batch.codec, batch.container) {
        (CodecKind::Gzip, Container::Members) => "members".into(),
        (CodecKind::Gzip, Container::Single) => "single".into(),
        _ => Value::Null,
    };
    all["csv"] = batch.naming.csv.into();
    let pieces = batch.pieces.iter().map(|piece| {
        let (file, offset) = look.place(piece);
        json!({ "file": file.display().to_string(), "offset": offset, "bytes": piece.len, "crc32": piece.crc })
    });
    all["pieces"] = pieces.collect();
    all
}

/// The same for people.
pub(super) fn one(all: &Value) -> String {
    let mut out = String::new();
    let order = [
        "id",
        "name",
        "key",
        "state",
        "reason",
        "job",
        "job_name",
        "job_version",
        "dataset",
        "records",
        "bytes",
        "raw_bytes",
        "codec",
        "container",
        "csv",
        "first",
        "last",
        "age_seconds",
    ];
    for key in order {
        let text = match &all[key] {
            Value::Null => "-".to_owned(),
            Value::String(text) => or_dash(text),
            other => other.to_string(),
        };
        let _ = writeln!(out, "{key:12} {text}");
    }
    for piece in all["pieces"].as_array().into_iter().flatten() {
        let place = match piece["offset"].as_u64() {
            Some(offset) => format!("at {offset} of {}", piece["file"].as_str().unwrap_or_default()),
            None => format!("in {}", piece["file"].as_str().unwrap_or_default()),
        };
        let _ = writeln!(out, "{:12} {} bytes {place}", "piece", piece["bytes"]);
    }
    if all["state"] == Stands::Waits.as_str() {
        out.push_str("it is sent again until its destination has it, and may be on its way right now\n");
    }
    out
}

fn time(ns: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".into() } else { one_line(text) }
}

/// A server's words may hold anything; a terminal obeys control characters.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BatchId, JobId, Naming, Spooled};
    use std::sync::Arc;

    fn looked(id: u64, job: u64, name: &str, stands: Stands, reason: Option<&str>) -> Looked {
        let naming =
            Naming { job: if job == 1 { "env".into() } else { job.to_string() }, ..Naming::default() };
        let batch = Spooled {
            id: BatchId(id),
            job: JobId(job),
            version: 1,
            name: name.into(),
            key: "0123456789abcdef".into(),
            codec: CodecKind::Gzip,
            container: Container::Single,
            records: 10 * id,
            raw: 1000,
            first: 0,
            last: 0,
            naming: Arc::new(naming),
            pieces: Vec::new(),
            body: None,
            shelf: None,
        };
        Looked { batch, bytes: 77, stands, reason: reason.map(str::to_owned) }
    }

    #[test]
    fn a_table_has_one_line_a_batch() {
        let found = [
            looked(1, 1, "a/x.log.gz", Stands::Aside, Some("HTTP 400\u{1b}[2J: no\nway")),
            looked(12, 30, "", Stands::Open, None),
        ];
        let wanted = "\
ID  JOB    STATE  RECORDS  BYTES  AGE  NAME
1   1 env  aside  10       77     3m   a/x.log.gz
    HTTP 400 [2J: no way
12  30     open   120      77     3m   -
";
        assert_eq!(list(&found, 200 * SECOND), wanted);
        assert_eq!(list(&[], 0), "ID  JOB  STATE  RECORDS  BYTES  AGE  NAME\n");
        let row = row_json(&found[1], 200 * SECOND);
        assert_eq!(
            (&row["name"], &row["age_seconds"], &row["state"]),
            (&Value::Null, &200.into(), &"open".into())
        );
        assert_eq!(row["first"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn ages_are_told_in_one_unit() {
        let told = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(age);
        assert_eq!(told, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
