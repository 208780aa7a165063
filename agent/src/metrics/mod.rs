//! metrics: every number that the agent tells, and how it is shown (INTERFACE 8).
//!
//! Promises: counting never waits for reading; no label ever comes from log content; above 200 jobs the 200 busiest
//! keep their label and the rest is `other`.
//! Must not know: who counts, who asks.
mod delivery;
mod logs;
mod shard;
mod table;

pub use delivery::{BatchVerdict, DeliveryCounters, Histogram, JobCounters};
pub use logs::LogsCounters;
pub use shard::ShardCounters;
pub use table::{Row, Shape, TABLE};

use crate::protocol::JobId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use table::Value;

/// What [`Metrics::text`] is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Jobs that keep their label.
const JOBS_NAMED_MAX: usize = 200;
/// The label of the others.
const OTHER: &str = "other";

/// The table of all metrics for `docs/operating.md`.
pub fn markdown() -> String {
    let mut out = String::from("| metric | kind | meaning |\n|---|---|---|\n");
    for row in TABLE {
        let labels =
            if row.labels.is_empty() { String::new() } else { format!("{{{}}}", row.labels.join(",")) };
        let kind = match row.shape {
            Shape::Facts => "info",
            Shape::Counter => "counter",
            Shape::Gauge => "gauge",
            Shape::Histogram => "histogram",
        };
        out.push_str(&format!("| `{}{labels}` | {kind} | {} |\n", row.name, row.help));
    }
    out
}

/// What the numbers are called; fixed while the process lives.
#[derive(Clone, Debug)]
pub struct Labels {
    /// Our version.
    pub version: &'static str,
    /// The runtime in use.
    pub runtime: &'static str,
    /// The vector instructions in use.
    pub simd: &'static str,
    /// Configured names or globs, by the source's number.
    pub sources: Vec<String>,
    /// Kinds of repair, by number.
    pub repairs: &'static [&'static str],
    /// Reasons of rejects, by number.
    pub reasons: &'static [&'static str],
}

/// All numbers of the agent.
#[derive(Debug)]
pub struct Metrics {
    labels: Labels,
    shards: Vec<Arc<ShardCounters>>,
    jobs: RwLock<BTreeMap<JobId, Arc<JobCounters>>>,
    delivery: DeliveryCounters,
    logs: Arc<LogsCounters>,
}

impl Metrics {
    /// All numbers at zero, for so many shards.
    pub fn new(labels: Labels, shards: usize) -> Arc<Metrics> {
        let l = &labels;
        let new = || Arc::new(ShardCounters::new(l.sources.len(), l.repairs.len(), l.reasons.len()));
        Arc::new(Metrics {
            shards: (0..shards).map(|_| new()).collect(),
            jobs: RwLock::default(),
            delivery: DeliveryCounters::default(),
            logs: Arc::default(),
            labels,
        })
    }

    /// The counters of one shard, to be written by it alone.
    pub fn shard(&self, shard: usize) -> Arc<ShardCounters> {
        self.shards[shard].clone()
    }
    /// All shards' counters, to be read.
    pub fn shards(&self) -> &[Arc<ShardCounters>] {
        &self.shards
    }
    /// The counters of a job, made when it has none; from now on under this label.
    pub fn job(&self, job: JobId, label: &str) -> Arc<JobCounters> {
        let mut jobs = self.jobs.write().unwrap_or_else(PoisonError::into_inner);
        let counters = jobs.entry(job).or_insert_with(|| Arc::new(JobCounters::new(label)));
        counters.relabel(label);
        counters.clone()
    }
    /// The counters of a job, if it has any.
    pub fn known_job(&self, job: JobId) -> Option<Arc<JobCounters>> {
        self.jobs.read().unwrap_or_else(PoisonError::into_inner).get(&job).cloned()
    }
    /// A job is gone: so are its numbers.
    pub fn forget_job(&self, job: JobId) {
        self.jobs.write().unwrap_or_else(PoisonError::into_inner).remove(&job);
    }
    /// The counters of all deliveries together.
    pub fn delivery(&self) -> &DeliveryCounters {
        &self.delivery
    }
    /// The counters of the Logs API.
    pub fn logs(&self) -> &Arc<LogsCounters> {
        &self.logs
    }
    /// What the numbers are called.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }
    /// Sums for `status` and the one line of `run --once`.
    pub fn totals(&self) -> Totals {
        let sources = 0..self.labels.sources.len();
        let sum = |read: &dyn Fn(&ShardCounters) -> u64| self.shards.iter().map(|s| read(s)).sum::<u64>();
        let load = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
        // Rejects have a number of their own: they are no deliveries.
        let told = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        let told = || told.iter().filter(|(id, _)| **id != JobId::REJECTS);
        let jobs = |read: &dyn Fn(&JobCounters) -> u64| told().map(|(_, job)| read(job)).sum::<u64>();
        Totals {
            lines_read: sum(&|s| sources.clone().map(|i| s.read_lines(i)).sum()),
            bytes_read: sum(&|s| sources.clone().map(|i| s.read_bytes(i)).sum()),
            lag_bytes: sum(&|s| sources.clone().map(|i| s.read_lag(i)).sum()),
            repaired: sum(&|s| s.read_repaired_records()),
            filtered: sum(&|s| s.read_filtered()),
            rejected: sum(&|s| (0..self.labels.reasons.len()).map(|i| s.read_rejected(i)).sum())
                + load(&self.delivery.records_refused),
            records_delivered: jobs(&|j| load(&j.delivered)),
            batches: jobs(&|j| load(&j.batches[BatchVerdict::Delivered as usize])),
            raw_bytes: jobs(&|j| load(&j.raw)),
            compressed_bytes: jobs(&|j| load(&j.compressed)),
            spool_bytes: load(&self.delivery.spool_bytes),
            spool_limit_bytes: load(&self.delivery.spool_limit),
            backpressure: load(&self.delivery.backpressure) != 0,
        }
    }

    /// The OpenMetrics text of this moment.
    pub fn text(self: &Arc<Metrics>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut out = String::with_capacity(16 * 1024);
        text::encode(&mut out, &registry).expect("INVARIANT: a String takes all that is written to it");
        out
    }

    /// Every job with its label.
    fn labelled_jobs(&self) -> Vec<(String, Arc<JobCounters>)> {
        let jobs: Vec<Arc<JobCounters>> =
            self.jobs.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let matched: Vec<u64> =
            jobs.iter().map(|job| job.matched.load(std::sync::atomic::Ordering::Relaxed)).collect();
        let named = busiest(&matched, JOBS_NAMED_MAX);
        let label = |(job, named): (Arc<JobCounters>, bool)| {
            (if named { job.label() } else { OTHER.to_owned() }, job)
        };
        jobs.into_iter().zip(named).map(label).collect()
    }
}

/// Sums over all sources and jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines read.
    pub lines_read: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes that are there and not read yet.
    pub lag_bytes: u64,
    /// Records that were repaired.
    pub repaired: u64,
    /// Records that no job wanted.
    pub filtered: u64,
    /// Rejects, records that destinations refused included.
    pub rejected: u64,
    /// Records that destinations have.
    pub records_delivered: u64,
    /// Batches that destinations have.
    pub batches: u64,
    /// Uncompressed bytes of closed batches.
    pub raw_bytes: u64,
    /// Bytes of closed batches.
    pub compressed_bytes: u64,
    /// Bytes in the spool.
    pub spool_bytes: u64,
    /// Bytes that the spool may hold.
    pub spool_limit_bytes: u64,
    /// Whether the readers wait.
    pub backpressure: bool,
}

/// Which jobs are among the `most` busiest; of equals, the older ones.
fn busiest(matched: &[u64], most: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..matched.len()).collect();
    order.sort_by_key(|job| (std::cmp::Reverse(matched[*job]), *job));
    let mut named = vec![false; matched.len()];
    order.iter().take(most).for_each(|job| named[*job] = true);
    named
}

/// Resident memory of this process, bytes; 0 where the kernel does not say.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for row in TABLE {
            // The format puts the ending of a counter and of facts behind the name by itself.
            let (name, kind) = match row.shape {
                Shape::Facts => (ending(row.name, "_info"), MetricType::Info),
                Shape::Counter => (ending(row.name, "_total"), MetricType::Counter),
                Shape::Gauge => (row.name, MetricType::Gauge),
                Shape::Histogram => (row.name, MetricType::Histogram),
            };
            let mut metric = encoder.encode_descriptor(name, row.help, None, kind)?;
            for (values, value) in (row.read)(self) {
                let labels: Vec<(&str, String)> = row.labels.iter().copied().zip(values).collect();
                match labels.is_empty() || row.shape == Shape::Facts {
                    true => sample(&mut metric, row.shape, &labels, &value)?,
                    false => sample(&mut metric.encode_family(&labels)?, row.shape, &labels, &value)?,
                }
            }
        }
        Ok(())
    }
}

fn ending(name: &'static str, ending: &str) -> &'static str {
    name.strip_suffix(ending).expect("INVARIANT: a test checks the endings of all names")
}

fn sample(
    metric: &mut MetricEncoder<'_>,
    shape: Shape,
    labels: &Vec<(&str, String)>,
    value: &Value,
) -> fmt::Result {
    type NoLabels = [(&'static str, &'static str); 0];
    match (shape, value) {
        (Shape::Facts, _) => metric.encode_info(labels),
        (Shape::Counter, Value::Number(n)) => metric.encode_counter::<NoLabels, u64, f64>(n, None),
        (_, Value::Number(n)) => metric.encode_gauge(n),
        (_, Value::Observed(seen)) => {
            metric.encode_histogram::<NoLabels>(seen.sum, seen.count(), &seen.buckets, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Fate;
    use std::time::Duration;

    fn labels() -> Labels {
        Labels {
            version: "0.1.0",
            runtime: "uring",
            simd: "avx2",
            sources: vec!["/var/log/\"a\"\\*.log".into(), "EDGE".into()],
            repairs: &["bare_word", "hex_escape"],
            reasons: &["too_long", "not_object"],
        }
    }

    #[test]
    fn names_end_as_their_shape_says() {
        for row in TABLE {
            assert!(row.name.starts_with("edgepush_"), "{}", row.name);
            assert_eq!(row.name.ends_with("_total"), row.shape == Shape::Counter, "{}", row.name);
            assert_eq!(row.name.ends_with("_info"), row.shape == Shape::Facts, "{}", row.name);
            assert!(!row.help.is_empty() && !row.help.ends_with('.'), "{}", row.name);
        }
    }

    #[test]
    fn shards_are_added_up_and_shown() {
        let metrics = Metrics::new(labels(), 2);
        metrics.shard(0).lines_read(1, 5);
        metrics.shard(1).lines_read(1, 7);
        metrics.shard(0).source_lag(0, 100);
        metrics.shard(1).source_lag(0, 11);
        metrics.shard(1).repaired(1, 3);
        let job = metrics.job(JobId(7), "job0");
        job.matched().fetch_add(9, std::sync::atomic::Ordering::Relaxed);
        metrics.shard(1).ring_bytes(4096);
        job.delivered(9, (900, 90), Duration::from_millis(1500));
        job.verdict(Fate::Delivered);
        job.batch_bytes(1000, 100);
        job.uploaded(crate::destination::Status::Code(204), Duration::from_millis(30));
        job.uploaded(crate::destination::Status::Word("timeout"), Duration::from_secs(61));
        metrics.delivery().spool(1 << 20, 1 << 30);
        let text = metrics.text();
        let lines: Vec<&str> = text.lines().collect();
        for wanted in [
            "edgepush_build_info{version=\"0.1.0\",runtime=\"uring\",simd=\"avx2\"} 1",
            "edgepush_lines_read_total{source=\"EDGE\"} 12",
            "edgepush_source_lag_bytes{source=\"/var/log/\\\"a\\\"\\\\*.log\"} 111",
            "edgepush_records_repaired_total{kind=\"hex_escape\"} 3",
            "edgepush_records_matched_total{job=\"job0\"} 9",
            "edgepush_records_delivered_total{job=\"job0\"} 9",
            "edgepush_batches_total{job=\"job0\",verdict=\"delivered\"} 1",
            "edgepush_batch_bytes_total{job=\"job0\",kind=\"compressed\"} 100",
            "edgepush_uploads_total{job=\"job0\",status=\"204\"} 1",
            "edgepush_uploads_total{job=\"job0\",status=\"timeout\"} 1",
            "edgepush_upload_seconds_count{job=\"job0\"} 2",
            "edgepush_upload_seconds_bucket{le=\"0.05\",job=\"job0\"} 1",
            "edgepush_upload_seconds_bucket{le=\"+Inf\",job=\"job0\"} 2",
            "edgepush_delivery_lag_seconds_sum{job=\"job0\"} 1.5",
            "edgepush_ring_bytes{shard=\"1\"} 4096",
            "edgepush_spool_limit_bytes 1073741824",
            "edgepush_backpressure 0",
        ] {
            assert!(lines.contains(&wanted), "{wanted} in\n{text}");
        }
        assert_eq!(lines.last(), Some(&"# EOF"));
        let memory = lines.iter().find_map(|l| l.strip_prefix("edgepush_memory_bytes ")).unwrap();
        assert!(memory.parse::<u64>().unwrap() > 1 << 20);
        assert_eq!((metrics.totals().lines_read, metrics.totals().lag_bytes), (12, 111));
    }

    #[test]
    fn above_200_jobs_the_busiest_keep_their_label() {
        let metrics = Metrics::new(labels(), 1);
        for job in 0..250 {
            let counters = metrics.job(JobId(job), &format!("job{job}"));
            let matched = if job < 40 { 1 } else { 1000 + job };
            counters.matched().store(matched, std::sync::atomic::Ordering::Relaxed);
        }
        let text = metrics.text();
        let samples: Vec<&str> =
            text.lines().filter(|l| l.starts_with("edgepush_records_matched_total{")).collect();
        assert_eq!(samples.len(), 201);
        // The rest: 40 with 1 each, and of the 210 others the ten least busy, 40 to 49.
        let rest = 40 + (40..50).map(|j| 1000 + j).sum::<u64>();
        assert!(
            samples.contains(&format!("edgepush_records_matched_total{{job=\"other\"}} {rest}").as_str())
        );
        assert!(samples.contains(&"edgepush_records_matched_total{job=\"job50\"} 1050"));
        assert!(!text.contains("job=\"job49\""));
        assert!(text.contains("edgepush_upload_seconds_count{job=\"other\"} 0"));
    }

    #[test]
    fn of_equals_the_older_are_named() {
        assert_eq!(busiest(&[1, 5, 1, 5], 3), [true, true, false, true]);
        assert_eq!(busiest(&[], 3), Vec::<bool>::new());
    }
}
