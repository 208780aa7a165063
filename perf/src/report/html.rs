//! The report for browsers: one file that needs nothing else.
//!
//! Promises: the same tables as on the terminal, three plots, and the peers' configurations. Must not know: how
//! anything was measured.
use super::{plots, table};
use crate::results::Results;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222b35;background:#fff;max-width:1000px;\
margin:32px auto;padding:0 20px}h1{font-size:24px;margin:0}h2{font-size:18px;margin:36px 0 8px}\
p{margin:6px 0;color:#4b5763}table{border-collapse:collapse;width:100%;font-size:13.5px}\
th{text-align:left;border-bottom:2px solid #c8d0d8;padding:5px 8px}\
td{border-bottom:1px solid #e3e7eb;padding:4px 8px;vertical-align:top}\
.met{color:#1d7a46;font-weight:600}.MISSED,.ERROR{color:#b3261e;font-weight:600}\
.SKIPPED,.UNREACHED{color:#8a6100;font-weight:600}svg{max-width:100%;height:auto;display:block}\
pre{background:#f5f7f9;padding:12px;overflow:auto;font-size:12px}";

/// The whole page.
pub fn page(results: &Results) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>edgepush-perf</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>{STYLE}</style></head><body>\
         <h1>edgepush: end to end</h1><p>{}</p><p>{}. CPU is user + system of the whole process; MB are 10<sup>6</sup> \
         bytes of input; every row's answer was checked line by line. Method and biases: docs/performance.md.</p>",
        escape(&table::host(results)),
        date(results.time),
    );
    section(&mut out, "Targets", &tables(&table::targets(results)));
    section(&mut out, "Not run, or wrong", &tables(&table::reasons(results)));
    figure(&mut out, "Input per CPU-second", Some(plots::speeds(results)));
    section(&mut out, "", &tables(&table::speeds(results)));
    figure(&mut out, "Ratio against speed", Some(plots::ratios(results)));
    figure(&mut out, "Latency by load", plots::latency(results));
    section(&mut out, "Other figures", &tables(&table::others(results)));
    let mut configs = String::new();
    for row in results.rows.iter().filter(|r| r.config.is_some()) {
        let text = escape(row.config.as_deref().unwrap_or_default());
        let _ = write!(
            configs,
            "<details><summary>{}, {}</summary><pre>{text}</pre></details>",
            escape(&row.case),
            escape(&row.who)
        );
    }
    section(&mut out, "Configuration of the peers", &configs);
    out.push_str("</body></html>\n");
    out
}

fn section(out: &mut String, title: &str, body: &str) {
    if body.is_empty() {
        return;
    }
    if !title.is_empty() {
        let _ = write!(out, "<h2>{title}</h2>");
    }
    out.push_str(body);
}

fn figure(out: &mut String, title: &str, drawn: Option<Result<String, Box<dyn std::error::Error>>>) {
    match drawn {
        None => {}
        Some(Ok(svg)) => section(out, title, &svg),
        Some(Err(e)) => section(out, title, &format!("<p>no plot: {}</p>", escape(&e.to_string()))),
    }
}

/// Markdown tables and paragraphs as HTML: only what the terminal's report uses.
fn tables(markdown: &str) -> String {
    let (mut out, mut open) = (String::new(), false);
    let lines: Vec<&str> = markdown.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        let Some(cells) = line.strip_prefix("| ").map(|l| l.trim_end_matches('|').split(" | ")) else {
            if open && !line.starts_with("|--") {
                out.push_str("</table>");
                open = false;
            }
            if !line.is_empty() && !line.starts_with("|--") {
                let _ = write!(out, "<p>{}</p>", escape(line));
            }
            continue;
        };
        let head = lines.get(i + 1).is_some_and(|next| next.starts_with("|--"));
        if head {
            out.push_str("<table>");
            open = true;
        }
        let tag = if head { "th" } else { "td" };
        out.push_str("<tr>");
        for cell in cells {
            let cell = cell.trim();
            let class =
                if matches!(cell, "met" | "UNREACHED" | "MISSED" | "SKIPPED" | "ERROR") { cell } else { "" };
            let _ = write!(out, "<{tag} class=\"{class}\">{}</{tag}>", escape(cell));
        }
        out.push_str("</tr>");
    }
    if open {
        out.push_str("</table>");
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Year, month and day, UTC, of a time in seconds since the epoch.
fn date(seconds: u64) -> String {
    // Days since 0000-03-01 in years that begin in March, as the civil calendar counts them.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let rest = day - (365 * year + year / 4 - year / 100);
    let month = (5 * rest + 2) / 153;
    let (day, civil) = (rest - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(civil <= 2);
    format!("{year:04}-{civil:02}-{day:02} {:02}:{:02} UTC", seconds / 3600 % 24, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_827_696), "2000-02-29 12:34 UTC");
        assert_eq!(date(1_767_225_599), "2025-12-31 23:59 UTC");
    }

    #[test]
    fn tables_become_tables_and_text_is_escaped() {
        let html = tables("| a | b |\n|---|---|\n| <x> | MISSED |\n\nwhy & how\n");
        assert_eq!(
            html,
            "<table><tr><th class=\"\">a</th><th class=\"\">b</th></tr><tr><td class=\"\">&lt;x&gt;</td>\
             <td class=\"MISSED\">MISSED</td></tr></table><p>why &amp; how</p>"
        );
        assert!(page(&Results::default()).ends_with("</html>\n"));
    }
}
