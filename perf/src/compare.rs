//! Two builds, or the results of two runs: which is faster, and is it noise?
//!
//! Promises: builds take turns (A B B A), so that a slow minute hits both, and are compared in pairs; results of
//! different runs are compared without pairs and with a wider floor; results of different hosts only in multiples of
//! `igzip -1`. Must not know: how a case is run.
use crate::bench::Bench;
use crate::case::Case;
use crate::figures::Figure;
use crate::measure::{Input, run};
use crate::results::{Results, Row};
use crate::stats::{Interval, Verdict, paired, unpaired, verdict};
use crate::suite::{self, Extent};
use std::fmt::Write;
use std::io;
use std::path::Path;

/// Less than this between builds that take turns means nothing.
const FLOOR_PAIRED: f64 = 0.01;
/// Less than this between runs of different times means nothing: a shared host moves by as much.
const FLOOR_APART: f64 = 0.05;
/// Pairs of a case, unless said: six are the least for 95 %.
pub const PAIRS: usize = 8;

/// One compared figure.
struct Line {
    case: String,
    key: String,
    a: f64,
    b: f64,
    interval: Interval,
    verdict: Verdict,
}

/// Whether a file holds results and not a program.
pub fn is_results(path: &Path) -> io::Result<bool> {
    use std::io::Read;
    let mut first = [0_u8; 1];
    let mut file =
        std::fs::File::open(path).map_err(|e| io::Error::other(format!("{}: {e}", path.display())))?;
    Ok(file.read(&mut first)? == 1 && first[0] == b'{')
}

/// The comparison of two results, as text.
pub fn results(a: &Results, b: &Results) -> String {
    let same_host = a.host == b.host;
    let mut lines = Vec::new();
    for row in &a.rows {
        let Some(other) = b.rows.iter().find(|o| o.case == row.case && o.who == row.who) else { continue };
        if row.who == crate::reference::NAME {
            continue;
        }
        for key in row.figures.keys() {
            let wanted = match key.as_str() {
                "mb_per_cpu_s" => same_host,
                "x_igzip" => !same_host,
                "ratio" | "peak_rss_mb" => true,
                other => same_host && Figure::of(other).is_some_and(|f| f.compared),
            };
            if wanted && row.log_bytes == other.log_bytes {
                lines.extend(line(row, other, key, unpaired, FLOOR_APART));
            }
        }
    }
    let mut out = table(&lines);
    if !same_host {
        out.push_str("\nThe hosts differ: speeds are compared in multiples of igzip -1, times not at all.\n");
    }
    out.push_str("\nThe runs did not take turns: differences below 5 % are called none.\n");
    out
}

/// The comparison of two agents on cases, as text. Their answers are checked as always.
pub fn builds(a: &Bench, b: &Bench, cases: &[Case], extent: &Extent) -> io::Result<String> {
    let mut lines = Vec::new();
    for case in cases {
        let log = suite::log(a, case, extent)?;
        let expected = suite::expected(case, &log);
        let input = Input { case, log: &log, expected: &expected };
        let mut rows = [Row { case: case.name.clone(), ..Row::default() }, Row::default()];
        for pair in 0..extent.runs.unwrap_or(PAIRS) {
            eprintln!("{}: pair {}", case.name, pair + 1);
            let order = if pair.is_multiple_of(2) { [0, 1] } else { [1, 0] };
            for which in order {
                let sample = run([a, b][which], &input, pair)?;
                sample.figures.iter().for_each(|(figure, value)| rows[which].push(figure, *value));
            }
        }
        let [row, other] = &rows;
        for key in row.figures.keys().filter(|key| Figure::of(key).is_some_and(|f| f.compared)) {
            lines.extend(line(row, other, key, paired, FLOOR_PAIRED));
        }
    }
    Ok(table(&lines) + "\nThe builds took turns; differences below 1 % are called none.\n")
}

fn line(a: &Row, b: &Row, key: &str, test: fn(&[f64], &[f64]) -> Interval, floor: f64) -> Option<Line> {
    let (x, y) = (a.figures.get(key)?, b.figures.get(key)?);
    let figure = Figure::of(key)?;
    let interval = test(x, y);
    let middle = |samples: &[f64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        crate::stats::median(&sorted)
    };
    Some(Line {
        case: a.case.clone(),
        key: key.to_owned(),
        a: middle(x),
        b: middle(y),
        interval,
        verdict: verdict(interval, figure.more, floor),
    })
}

/// The verdict in words; of what is no speed, "better" and "worse".
fn words(key: &str, verdict: Verdict) -> &'static str {
    let speed = !matches!(key, "ratio" | "peak_rss_mb" | "wakeups_per_s");
    match verdict {
        Verdict::Better if speed => "B is faster",
        Verdict::Worse if speed => "B is slower",
        Verdict::Better => "B is better",
        Verdict::Worse => "B is worse",
        Verdict::Same => "no difference",
        Verdict::TooFew => "too few runs (6 pairs, or 4 and 4)",
    }
}

fn table(lines: &[Line]) -> String {
    let mut out = String::from(
        "| case | figure | A, median | B, median | B / A | 95 % interval | verdict |\n|---|---|---|---|---|---|---|\n",
    );
    for line in lines {
        let Some(figure) = Figure::of(&line.key) else { continue };
        let range =
            line.interval.range.map_or("–".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}"));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.3} | {range} | {} |",
            line.case,
            figure.label,
            figure.text(line.a),
            figure.text(line.b),
            line.interval.ratio,
            words(&line.key, line.verdict),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cpu: &str, speeds: &[f64]) -> Results {
        let mut row = Row { case: "all".to_owned(), who: "edgepush".to_owned(), ..Row::default() };
        speeds.iter().for_each(|s| {
            row.push("mb_per_cpu_s", *s);
            row.push("x_igzip", s / 500.0);
        });
        let host = crate::results::Host { cpu: cpu.to_owned(), ..Default::default() };
        Results { host, rows: vec![row], ..Results::default() }
    }

    #[test]
    fn results_are_compared_by_what_their_hosts_allow() {
        let a = of("x", &[100.0, 101.0, 102.0, 103.0]);
        let check = |cpu: &str, by: f64, said: &str, figure: &str| {
            let b = of(cpu, &[100.0 * by, 101.0 * by, 102.0 * by, 103.0 * by]);
            let text = results(&a, &b);
            assert!(text.contains(said) && text.contains(figure), "{text}");
        };
        check("x", 1.2, "B is faster", "input per CPU-second");
        check("x", 0.8, "B is slower", "input per CPU-second");
        check("x", 1.04, "no difference", "input per CPU-second");
        check("y", 1.2, "B is faster", "of igzip -1 alone");
        assert!(results(&a, &of("x", &[9.0])).contains("too few runs"));
    }
}
