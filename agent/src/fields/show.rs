//! show: what was found, for people.
//!
//! Promises: no control character of a log reaches the terminal.
//! Must not know: where it comes from.
use super::found::Found;
use std::fmt::Write as _;

/// Most characters of an example.
const EXAMPLE_CHARS: usize = 44;
/// Most characters of a line of names.
const LINE_CHARS: usize = 110;

/// What was found, as text.
pub(super) fn text(found: &Found, colour: bool) -> String {
    let mut out = String::new();
    head(found, colour, &mut out);
    if found.records > 0 {
        table(found, colour, &mut out);
        names(colour, &format!("stay empty in {}", found.dataset.name), &found.empty(), &mut out);
        names(colour, "of the source, used by nothing", &found.unused(), &mut out);
    }
    rejects(found, colour, &mut out);
    out
}

fn bold(text: &str, colour: bool) -> String {
    if colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

fn head(found: &Found, colour: bool, out: &mut String) {
    let Found { lines, records, blank, format, .. } = found;
    let rejected: u64 = found.rejects.values().map(|rejects| rejects.lines).sum();
    let _ = writeln!(out, "{}    {format}", bold("format", colour));
    let mut known = Vec::new();
    for (name, records) in &found.mappings {
        known.push(match name {
            Some(name) => format!("{name} ({records} records)"),
            None => format!("none ({records} records, taken as they are)"),
        });
    }
    let known = if known.is_empty() { "-".to_owned() } else { known.join(", ") };
    let _ = writeln!(out, "{}   {known}", bold("mapping", colour));
    let _ = writeln!(
        out,
        "{}     {lines}: {records} records, {rejected} rejects, {blank} skipped (blank, or heads)\n",
        bold("lines", colour)
    );
}

fn table(found: &Found, colour: bool, out: &mut String) {
    let mut rows = vec![["FIELD", "TYPE", "FROM", "EXAMPLE", "FILLED"].map(str::to_owned)];
    for of in found.fields() {
        let ways = of.ways.iter().map(|(way, _)| plain(&way.replace('`', ""), usize::MAX));
        let filled = format!("{} of {}", of.filled, found.records);
        rows.push([
            of.field.name.to_owned(),
            of.field.field_type.word().to_owned(),
            ways.collect::<Vec<_>>().join(" · "),
            plain(&of.example, EXAMPLE_CHARS),
            filled,
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    for (at, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let line = cells.join("  ");
        let _ = writeln!(out, "{}", bold(line.trim_end(), colour && at == 0));
    }
}

fn names(colour: bool, what: &str, names: &[&str], out: &mut String) {
    if names.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{} ({})", bold(what, colour), names.len());
    let mut line = String::new();
    for name in names {
        let name = plain(name, LINE_CHARS);
        if !line.is_empty() && line.chars().count() + 1 + name.chars().count() > LINE_CHARS {
            let _ = writeln!(out, "  {}", std::mem::take(&mut line));
        }
        line = if line.is_empty() { name } else { format!("{line} {name}") };
    }
    let _ = writeln!(out, "  {line}");
}

fn rejects(found: &Found, colour: bool, out: &mut String) {
    if found.rejects.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", bold("rejects", colour));
    for (reason, rejects) in &found.rejects {
        let place = |(line, column): &(usize, u32)| format!("line {line} column {column}");
        let places: Vec<String> = rejects.shown.iter().map(place).collect();
        let more = if rejects.lines > places.len() as u64 { ", …" } else { "" };
        let _ = writeln!(out, "  {reason}: {} ({}{more})", rejects.lines, places.join(", "));
    }
}

/// A text on one line without control characters, cut to so many characters.
fn plain(text: &str, most: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    match clean.chars().nth(most) {
        None => clean,
        Some(_) => clean.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}
