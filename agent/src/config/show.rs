//! Show: the table of settings, for people, for the docs and as an example file.
//!
//! Promises: what is printed holds no secret; the docs are the table and nothing else.
//! Must not know: where the text goes.
use super::keys::{KEYS, Key, Parse};
use super::{InForce, Origin, VERSION};
use std::fmt::Write as _;

/// Every setting with its value in force and where it comes from.
pub fn table(rows: &[InForce]) -> String {
    let names = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let values = rows.iter().map(|row| row.value.chars().count()).filter(|n| *n <= 40).max().unwrap_or(0);
    let mut out = String::new();
    for row in rows {
        let origin = match &row.origin {
            Origin::Default => "default".to_string(),
            Origin::Environment => "environment".to_string(),
            Origin::File(path) => format!("file {}", path.display()),
        };
        let value = if row.value.is_empty() { "-" } else { &row.value };
        let _ = writeln!(out, "{:names$}  {value:values$}  {origin}", row.name);
    }
    out
}

/// `docs/configuration.md`.
pub fn markdown() -> String {
    let mut out = format!(
        "# Configuration\n\n\
         <!-- Made by `edgepush env --markdown` from the table in agent/src/config/keys.rs; a test compares them. -->\n\n\
         edgepush {VERSION} is configured by environment variables and nothing else; flags belong to commands.\n\
         `edgepush env` prints every setting with the value in force and where it comes from.\n\n\
         - An empty value is unset. `<NAME>_FILE` reads the value of any `<NAME>` from a file.\n\
         - Lists are separated by commas; a comma inside a value is written `\\,`.\n\
         - Sizes: `5MB` = 5,000,000 bytes, `5MiB` = 5,242,880, a bare number is bytes.\n\
         - Durations: `ms`, `s`, `m`, `h`, `d`; a bare number is seconds.\n\
         - Unknown `EDGEPUSH_*` names and bad values are reported all at once, with the nearest name and the remedy; \
         the exit code is 2 and nothing has been touched.\n\n\
         | variable | value | default | meaning |\n|---|---|---|---|\n"
    );
    for key in usable() {
        row(&mut out, key);
    }
    out
}

/// What an operator may set; of a build for tests not what only that one has.
fn usable() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| key.name != "EDGEPUSH_FAILPOINT")
}

fn row(out: &mut String, key: &Key) {
    let cell = |text: &str| text.replace('|', "\\|");
    let [kind, preset, help] = [key.kind, key.preset_docs(), key.help].map(cell);
    let _ = writeln!(out, "| `{}` | {kind} | {preset} | {help} |", key.name);
}

/// `packaging/edgepush.env`: every usable setting, commented out, with its default.
pub fn example() -> String {
    let mut out = String::from(
        "# Settings of edgepush, read by the systemd unit. Uncomment what differs from the default.\n\
         # `edgepush env` shows what is in force, `edgepush check` whether it works here.\n\
         # Made by `edgepush env --example`; a test compares them.\n",
    );
    for key in usable() {
        let _ = writeln!(out);
        for line in wrapped(&key.help.replace('`', ""), 100) {
            let _ = writeln!(out, "# {line}");
        }
        let value = match (&key.parse, key.name) {
            (_, "EDGEPUSH_SOURCES") => "file:/var/log/nginx/access.log",
            (_, "EDGEPUSH_DESTINATION") => "https://collector.example/in",
            (Parse::Named(_), _) => "",
            _ => match key.preset {
                super::keys::Preset::Text(text) => text,
                _ => "",
            },
        };
        let [kind, preset] = [key.kind, key.preset_docs()].map(|text| text.replace('`', ""));
        let _ = writeln!(out, "# {kind}; default: {preset}");
        let _ = writeln!(out, "#{}={value}", key.name);
    }
    out
}

/// Breaks a text into lines of at most `width` characters, at spaces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_string());
        } else {
            let gap = if lines[last].is_empty() { "" } else { " " };
            let _ = write!(lines[last], "{gap}{word}");
        }
    }
    lines
}
