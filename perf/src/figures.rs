//! The table of figures: what a sample of a case means, and which side is better.
//!
//! Promises: tables, reports, targets and comparisons take names, units and directions from here only.
use Head::{Best, Median, Worst};

/// Which sample of several runs stands for the figure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// What the host can do when nothing disturbs it.
    Best,
    /// The middle one.
    Median,
    /// What one must reckon with.
    Worst,
}

/// One figure.
pub struct Figure {
    /// Its name in cases and results; those with an `@` after it are of one load.
    pub key: &'static str,
    /// For people.
    pub label: &'static str,
    /// For people.
    pub unit: &'static str,
    /// More is better.
    pub more: bool,
    /// Digits after the point.
    pub digits: usize,
    /// Which sample is shown and held against a target.
    pub head: Head,
    /// A comparison of two builds looks at it.
    pub compared: bool,
}

const fn figure(
    key: &'static str,
    label: &'static str,
    unit: &'static str,
    more: bool,
    digits: usize,
    head: Head,
    compared: bool,
) -> Figure {
    Figure { key, label, unit, more, digits, head, compared }
}

/// All of them.
pub const FIGURES: &[Figure] = &[
    figure("mb_per_cpu_s", "input per CPU-second", "MB", true, 0, Best, true),
    figure("x_igzip", "the same, of igzip -1 alone", "x", true, 2, Best, false),
    figure("ratio", "ratio: record bytes / stored bytes", "", true, 2, Median, true),
    figure("user_s", "user CPU", "s", false, 2, Best, false),
    figure("system_s", "system CPU", "s", false, 2, Best, false),
    figure("wall_s", "wall time", "s", false, 2, Best, true),
    figure("peak_rss_mb", "peak RSS", "MB", false, 0, Worst, true),
    figure("mb_out", "stored", "MB", false, 1, Median, false),
    figure("batches", "batches", "", false, 0, Median, false),
    figure("repeated_keys", "bodies that came again", "", false, 0, Worst, false),
    figure("wall_mb_per_s", "what the agent can follow, a second of wall time", "MB", true, 0, Best, true),
    figure("ledger_ms", "CPU of the thread ledger per batch", "ms", false, 2, Best, true),
    figure("wall_ratio", "wall, 1 core / 2 cores", "x", true, 2, Median, false),
    figure("cpu_growth_percent", "CPU per GB, 2 cores over 1", "%", false, 1, Median, false),
    figure("start_ms", "CPU of start and stop", "ms", false, 1, Median, true),
    figure("cpu_percent", "share of a core", "%", false, 2, Median, true),
    figure("wakeups_per_s", "wake-ups a second", "", false, 1, Median, true),
    figure("load_mb_per_s", "written", "MB/s", true, 1, Median, false),
    figure("p50_ms", "written to acknowledged, p50", "ms", false, 0, Worst, true),
    figure("p99_ms", "written to acknowledged, p99", "ms", false, 0, Worst, true),
    figure("max_ms", "written to acknowledged, latest", "ms", false, 0, Worst, false),
    figure("write_ms", "longest write of the writer", "ms", false, 0, Worst, false),
    figure("cpu_x_one_job", "CPU, of one job's on the same input", "x", false, 2, Median, true),
    figure("cpu_x_sum", "CPU, of the sum of what each job adds alone", "x", false, 2, Median, true),
    figure("one_job_cpu_s", "CPU of one job", "s", false, 2, Best, false),
    figure("cpu_x_one_domain", "CPU, of one domain's on the same input", "x", false, 2, Median, true),
    figure("one_domain_cpu_s", "CPU of one domain", "s", false, 2, Best, false),
    figure("ready_ms", "start to ready", "ms", false, 0, Worst, true),
    figure("written_per_s", "bytes written a second at rest", "", false, 0, Median, true),
    figure("us_per_message", "agent's CPU per message, socket to acknowledged", "us", false, 2, Best, true),
    figure("messages_per_s", "messages sent a second", "", true, 0, Best, true),
    figure("sent", "messages that the kernel took", "", true, 0, Median, false),
    figure("refused", "messages that it refused the sender", "", false, 0, Worst, false),
    figure("received", "messages that the agent read", "", true, 0, Median, false),
    figure("dropped", "messages that the kernel dropped", "", false, 0, Worst, false),
    figure("lossless_per_s", "highest rate without a loss", "messages/s", true, 0, Best, true),
    figure("recover_s", "sink back to everything delivered", "s", false, 2, Worst, true),
];

impl Figure {
    /// Whether a key of a result is of this figure.
    pub fn is(&self, key: &str) -> bool {
        key.split('@').next() == Some(self.key)
    }

    /// The figure of a key.
    pub fn of(key: &str) -> Option<&'static Figure> {
        FIGURES.iter().find(|f| f.is(key))
    }

    /// The sample that stands for all, and the worst.
    pub fn head(&self, samples: &[f64]) -> Option<(f64, f64)> {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|s| s.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        if self.more {
            sorted.reverse();
        }
        let (best, worst) = (*sorted.first()?, *sorted.last()?);
        let head = match self.head {
            Best => best,
            Median => crate::stats::median(&sorted),
            Worst => worst,
        };
        Some((head, worst))
    }

    /// A sample for people.
    pub fn text(&self, sample: f64) -> String {
        let space = if self.unit.is_empty() || self.unit == "x" { "" } else { " " };
        format!("{sample:.*}{space}{}", self.digits, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_follow_direction() {
        let check = |key: &str, head: f64, worst: f64| {
            let figure = Figure::of(key).unwrap();
            assert_eq!(figure.head(&[2.0, 1.0, 4.0, f64::NAN]), Some((head, worst)), "{key}");
        };
        check("mb_per_cpu_s", 4.0, 1.0);
        check("peak_rss_mb", 4.0, 4.0);
        check("wall_ratio", 2.0, 1.0);
        check("p99_ms@50", 4.0, 4.0);
        check("user_s", 1.0, 4.0);
        assert!(Figure::of("beauty").is_none());
        assert_eq!(Figure::of("ratio").unwrap().head(&[]), None);
    }
}
