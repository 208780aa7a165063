//! Results: what a run of the harness found, as it goes into a file and into reports.
//!
//! Promises: a row has the samples of every run, not only the best; what was not run says why. Must not know: how a
//! case is run, how a table looks.
use crate::figures::Figure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// One run of the harness.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Version of this format.
    pub format: u32,
    /// Seconds since the epoch.
    pub time: u64,
    /// Where it ran.
    pub host: Host,
    /// What the agent says of its version.
    pub agent: String,
    /// Settings of the command line.
    pub settings: Vec<(String, String)>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A machine, as far as figures depend on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Model name of the CPU.
    pub cpu: String,
    /// CPUs that the harness may use.
    pub cpus: usize,
    /// Whether the first two are threads of one core; `None` when the kernel does not say.
    pub siblings: Option<bool>,
    /// The widest vector instructions that matter here.
    pub simd: String,
    /// Kernel version.
    pub kernel: String,
    /// Memory, MB.
    pub memory_mb: u64,
}

/// One case of the agent or of a peer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// The case.
    pub case: String,
    /// What the case is.
    pub about: String,
    /// `edgepush`, `igzip -1`, or the peer.
    pub who: String,
    /// What a reader must know of this row, such as "uncompressed".
    pub marks: Vec<String>,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Samples by figure, in the order of the runs.
    pub figures: BTreeMap<String, Vec<f64>>,
    /// Targets on this host.
    pub targets: Vec<Goal>,
    /// CPU by thread name of the best run, ms; of followed runs.
    pub threads: BTreeMap<String, f64>,
    /// Why it was not run.
    pub skipped: Option<String>,
    /// What went wrong. Then there are no figures.
    pub error: Option<String>,
    /// How a peer was configured.
    pub config: Option<String>,
}

/// A target on this host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Goal {
    /// The figure.
    pub figure: String,
    /// At least.
    pub min: Option<f64>,
    /// At most.
    pub max: Option<f64>,
    /// The target is a share of the one in the case, for a reason.
    pub adapted: bool,
}

impl Goal {
    /// The target for people.
    pub fn text(&self) -> String {
        let Some(figure) = Figure::of(&self.figure) else { return String::new() };
        let sign = |sign, bound: Option<f64>| {
            bound.map(|b| {
                let unit = if figure.unit.is_empty() || figure.unit == "x" { "" } else { " " };
                format!("{sign} {}{unit}{}", (b * 1000.0).round() / 1000.0, figure.unit)
            })
        };
        let parts: Vec<String> = [sign("≥", self.min), sign("≤", self.max)].into_iter().flatten().collect();
        parts.join(", ")
    }

    /// Whether a figure meets it.
    pub fn met(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

impl Row {
    /// Another sample.
    pub fn push(&mut self, figure: &str, sample: f64) {
        self.figures.entry(figure.to_owned()).or_default().push(sample);
    }

    /// What stands for a figure, and the worst sample.
    pub fn head(&self, figure: &str) -> Option<(f64, f64)> {
        Figure::of(figure)?.head(self.figures.get(figure)?)
    }

    /// One figure for people; empty without samples.
    pub fn text(&self, figure: &str) -> String {
        let text = |(head, _): (f64, f64)| Figure::of(figure).map(|f| f.text(head));
        self.head(figure).and_then(text).unwrap_or_default()
    }
}

impl Results {
    /// From a file.
    pub fn read(path: &Path) -> io::Result<Results> {
        let wrong =
            |e: String| io::Error::other(format!("{}: no results of edgepush-perf: {e}", path.display()));
        let text = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))
    }

    /// Into a file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }

    /// No answer was wrong and nothing broke. Missed targets and skipped rows do not change it.
    pub fn right(&self) -> bool {
        self.rows.iter().all(|row| row.error.is_none())
    }
}
