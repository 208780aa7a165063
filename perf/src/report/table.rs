//! The report for terminals: Markdown tables of speeds, of other figures, and of targets.
//!
//! Promises: what was not run, what went wrong, and what missed its target is as loud as what did not. Must not know:
//! how anything was measured.
use crate::figures::Figure;
use crate::results::{Goal, Results, Row};
use std::fmt::Write;

/// Figures that the first table shows; the second one has the others.
const SPEED: [&str; 6] = ["mb_per_cpu_s", "x_igzip", "ratio", "user_s", "system_s", "peak_rss_mb"];
/// Not worth a line of their own.
const QUIET: [&str; 5] = ["wall_s", "mb_out", "batches", "load_mb_per_s", "max_ms"];

/// All of it.
pub fn text(results: &Results) -> String {
    let parts = [host(results), speeds(results), others(results), targets(results), reasons(results)];
    parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("\n")
}

/// One line about the machine.
pub fn host(results: &Results) -> String {
    let host = &results.host;
    let siblings = match host.siblings {
        Some(true) => ", the first two are threads of one core",
        Some(false) | None => "",
    };
    let settings: String = results.settings.iter().map(|(n, v)| format!(" {n}={v}")).collect();
    format!(
        "{}, {} CPUs{siblings}, {}, {} MB, Linux {}; {}{settings}\n",
        host.cpu, host.cpus, host.simd, host.memory_mb, host.kernel, results.agent
    )
}

/// Rows that have a speed.
pub fn speeds(results: &Results) -> String {
    let mut out = String::from(
        "| case | who | input per CPU-second (worst) | x igzip -1 | ratio | user + system; wall | peak RSS | |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let header = out.len();
    for row in results.rows.iter().filter(|r| r.figures.contains_key("mb_per_cpu_s")) {
        let worst = row.head("mb_per_cpu_s").map_or(0.0, |h| h.1);
        let _ = writeln!(
            out,
            "| {} | {} | {} ({worst:.0}) | {} | {} | {} + {}; {} | {} | {} |",
            row.case,
            row.who,
            row.text("mb_per_cpu_s"),
            row.text("x_igzip"),
            row.text("ratio"),
            row.text("user_s"),
            row.text("system_s"),
            row.text("wall_s"),
            row.text("peak_rss_mb"),
            row.marks.join("; "),
        );
    }
    if out.len() == header { String::new() } else { out }
}

/// Every other figure, and what was not run.
pub fn others(results: &Results) -> String {
    let mut out = String::from("| case | who | figure | measured |\n|---|---|---|---|\n");
    let header = out.len();
    for row in results.rows.iter().filter(|r| r.who != crate::reference::NAME) {
        for key in row.figures.keys() {
            let Some(figure) = Figure::of(key) else { continue };
            let speed = SPEED.contains(&figure.key) || QUIET.contains(&figure.key);
            if speed || (figure.key == "repeated_keys" && row.head(key).is_some_and(|h| h.1 == 0.0)) {
                continue;
            }
            let _ = writeln!(out, "| {} | {} | {} | {} |", row.case, row.who, label(row, key), row.text(key));
        }
        if !row.marks.is_empty() && !row.figures.contains_key("mb_per_cpu_s") && row.skipped.is_none() {
            let _ = writeln!(out, "| {} | {} | note | {} |", row.case, row.who, row.marks.join("; "));
        }
        if !row.threads.is_empty() {
            let threads: Vec<_> = row.threads.iter().map(|(name, ms)| format!("{name} {ms:.0}")).collect();
            let _ =
                writeln!(out, "| {} | {} | CPU by thread, ms | {} |", row.case, row.who, threads.join(", "));
        }
    }
    if out.len() == header { String::new() } else { out }
}

/// A figure's name, with the load that it is of.
pub fn label(row: &Row, key: &str) -> String {
    let label = Figure::of(key).map_or("", |f| f.label);
    let Some((_, load)) = key.split_once('@') else { return label.to_owned() };
    let written = row.text(&format!("load_mb_per_s@{load}"));
    format!("{label}, at {load} % ({written})")
}

/// What became of a target.
pub fn verdict(row: &Row, goal: &Goal) -> (String, &'static str) {
    if row.skipped.is_some() {
        return ("SKIPPED".to_owned(), "SKIPPED");
    }
    if row.error.is_some() {
        return ("ERROR".to_owned(), "ERROR");
    }
    let load = goal.figure.split_once('@').map(|(_, load)| format!("{load} %"));
    if load.is_some_and(|load| row.marks.iter().any(|m| m.starts_with(&load))) {
        // A target that was met at a smaller load was not met.
        return (row.text(&goal.figure), "UNREACHED");
    }
    match row.head(&goal.figure) {
        None => ("not measured".to_owned(), "MISSED"),
        Some((value, _)) if goal.met(value) => (row.text(&goal.figure), "met"),
        Some(_) => (row.text(&goal.figure), "MISSED"),
    }
}

/// The targets.
pub fn targets(results: &Results) -> String {
    let mut out = String::from("| case | target | on this host | measured | |\n|---|---|---|---|---|\n");
    for row in &results.rows {
        for goal in &row.targets {
            let (value, verdict) = verdict(row, goal);
            let adapted = if goal.adapted { " (75 %: no AVX-512)" } else { "" };
            let _ = writeln!(
                out,
                "| {} | {} | {}{adapted} | {value} | {verdict} |",
                row.case,
                label(row, &goal.figure),
                goal.text(),
            );
        }
    }
    if out.lines().count() == 2 {
        out.clear();
    }
    out
}

/// What was not run, and what went wrong.
pub fn reasons(results: &Results) -> String {
    let mut skipped: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    let mut out = String::new();
    for row in &results.rows {
        if let Some(why) = &row.skipped {
            match skipped.iter_mut().find(|s| s.0 == row.who && s.1 == why) {
                Some(same) => same.2.push(&row.case),
                None => skipped.push((&row.who, why, vec![&row.case])),
            }
        }
        if let Some(e) = &row.error {
            let _ = writeln!(out, "ERROR {}, {}: {e}", row.case, row.who);
        }
    }
    for (who, why, cases) in skipped {
        let _ = writeln!(out, "SKIPPED {}, {who}: {why}", cases.join(" "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_missed_unreached_or_not_run() {
        let goal =
            |figure: &str| Goal { figure: figure.to_owned(), min: None, max: Some(9.0), adapted: false };
        let mut row = Row::default();
        [("p99_ms@10", 3.0), ("p99_ms@50", 30.0), ("p99_ms@90", 3.0)]
            .iter()
            .for_each(|(k, v)| row.push(k, *v));
        row.marks.push("90 %: the writer reached 1 of 2 MB/s".to_owned());
        let check =
            |row: &Row, figure: &str, said: &str| assert_eq!(verdict(row, &goal(figure)).1, said, "{figure}");
        check(&row, "p99_ms@10", "met");
        check(&row, "p99_ms@50", "MISSED");
        check(&row, "p99_ms@90", "UNREACHED");
        check(&row, "cpu_percent", "MISSED");
        row.skipped = Some("no".to_owned());
        check(&row, "p99_ms@10", "SKIPPED");
    }
}
