//! config: one job as it is written (LOGPUSH 1.4), with our additions beside Cloudflare's keys.
//!
//! Promises: what is wrong is said all at once, each with the JSON pointer of its place and the remedy, and never with
//! a destination's secrets; a job that passes [`JobConfig::check`] can be compiled.
//! Must not know: other jobs, who asks.
use super::redact;
use crate::config::{Target, choice};
use crate::destination::DestinationUrl;
use edgepush_shard::codec::{CodecKind, Level};
use edgepush_shard::dataset::{DATASETS, Dataset};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// Bounds of `max_upload_bytes`, uncompressed; 0 = not said.
pub const UPLOAD_BYTES: (u64, u64) = (5_000_000, 1_000_000_000);
/// Bounds of `max_upload_records`; 0 = not said.
pub const UPLOAD_RECORDS: (u64, u64) = (1_000, 1_000_000);
/// Bounds of `max_upload_interval_seconds`; 0 = not said.
pub const UPLOAD_SECONDS: (u64, u64) = (30, 300);
/// Most characters of a name.
pub const NAME_CHARS_MAX: usize = 512;
/// Bounds of `max_egress_bytes_per_second`; 0 = not said.
pub const EGRESS_BYTES: (u64, u64) = (10_000, u64::MAX);
/// Most parallel uploads of a job.
pub const UPLOADS_MAX: u32 = 64;
/// Most characters of the legacy `logpull_options`.
const LOGPULL_CHARS_MAX: usize = 4096;

/// A job as it is written. An empty text and a 0 are a key that is not said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobConfig {
    /// The data set: `http_requests`, `raw`. Never changes.
    pub dataset: String,
    /// Where batches go. Holds secrets.
    pub destination_conf: Target,
    /// Whether it takes records.
    pub enabled: bool,
    /// For people; not unique.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Empty or `edge`: the same delivery at the high frequency. Never changes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The filter: a JSON text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// What leaves, and how it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_options: Option<Value>,
    /// Legacy form of `output_options`; ignored beside them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub logpull_options: String,
    /// Legacy: `high` or `low`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub frequency: String,
    /// Most uncompressed bytes of an upload.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_upload_bytes: u64,
    /// Most records of an upload.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_upload_records: u64,
    /// Longest time from an upload's first record to its end, seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_upload_interval_seconds: u64,
    /// Ours: `gzip`, `zstd`, `none`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub codec: String,
    /// Ours: `fast`, `balanced`, `small`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub level: String,
    /// Ours: `wait` or `drop_oldest`, when the job's share of the spool is full (INTERFACE 6).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub over_share: String,
    /// Ours: parallel uploads; 0 = as the agent's setting says.
    #[serde(skip_serializing_if = "is_none")]
    pub uploads: u32,
    /// Ours: most bytes a second that leave this host; 0 = as the agent's setting says.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_egress_bytes_per_second: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_none(value: &u32) -> bool {
    *value == 0
}

impl Default for JobConfig {
    /// Cloudflare's defaults; the destination is missing.
    fn default() -> JobConfig {
        JobConfig {
            dataset: "http_requests".into(),
            destination_conf: Target::default(),
            enabled: false,
            name: String::new(),
            kind: String::new(),
            filter: String::new(),
            output_options: None,
            logpull_options: String::new(),
            frequency: String::new(),
            max_upload_bytes: 0,
            max_upload_records: 0,
            max_upload_interval_seconds: 0,
            codec: String::new(),
            level: String::new(),
            over_share: String::new(),
            uploads: 0,
            max_egress_bytes_per_second: 0,
        }
    }
}

/// One mistake in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer of the place, in the job: `/output_options/sample_rate`.
    pub pointer: String,
    /// What is wrong and what to write instead; continues the key as a sentence.
    pub message: String,
}

impl Problem {
    /// A mistake at a key or deeper.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { pointer: pointer.into(), message: message.into() }
    }
}

/// A mistake inside a part of a job: where in it (a JSON pointer that begins in the part), and what is wrong.
pub type Told = (String, String);

/// How the parts of a job that others compile are judged. Pointers in their answers begin inside the part.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// Judges `filter`, which is never empty then: pointer and message.
    pub filter: fn(&str, &Dataset) -> Result<(), Told>,
    /// Judges `output_options`, an object.
    pub output: fn(&Value, &Dataset) -> Result<(), Vec<Told>>,
    /// Judges `logpull_options`, which is never empty then.
    pub logpull: fn(&str, &Dataset) -> Result<(), Vec<Told>>,
}

/// What a job's uploads are cut by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Most records.
    pub records: u32,
    /// Most uncompressed bytes; `None`: as the destination has it.
    pub bytes: Option<u32>,
    /// Longest time from the first record to the end.
    pub interval: Duration,
}

/// The keys that a client may write, and what each takes.
pub const KEYS: [(&str, &str); 17] = [
    ("dataset", "the name of a data set"),
    ("destination_conf", "a URL in a string"),
    ("enabled", "true or false"),
    ("name", "at most 512 of A-Z a-z 0-9 - ."),
    ("kind", "\"\" or \"edge\""),
    ("filter", "a string with the JSON of a filter: \"{\\\"where\\\":{…}}\""),
    ("output_options", "an object"),
    ("logpull_options", "a string"),
    ("frequency", "\"high\" or \"low\""),
    ("max_upload_bytes", "0 or a whole number from 5000000 to 1000000000"),
    ("max_upload_records", "0 or a whole number from 1000 to 1000000"),
    ("max_upload_interval_seconds", "0 or a whole number from 30 to 300"),
    ("codec", "\"gzip\", \"zstd\" or \"none\""),
    ("level", "\"fast\", \"balanced\" or \"small\""),
    ("over_share", "\"wait\" or \"drop_oldest\""),
    ("uploads", "0 or a whole number from 1 to 64"),
    ("max_egress_bytes_per_second", "0 or a whole number of at least 10000"),
];

/// Keys of an answer that a client sends back with what it changes: they are passed over.
pub const READ_ONLY_KEYS: [&str; 7] =
    ["id", "last_complete", "last_error", "error_message", "version", "owner", "origin"];

/// Keys of Cloudflare's that ask for what this agent does not have. Their empty values are no wish.
const FOREIGN_KEYS: [(&str, &str); 2] = [
    ("transformer_id", "is not offered: there are no transformers here; remove it"),
    ("subrequest_merging", "is not offered: subrequests are not merged here; remove it"),
];

/// Cloudflare's data sets beside ours: asking for one is a wish, not a typing error.
const FOREIGN_DATASETS: &str = "access_requests account_abuse_protection_events audit_logs audit_logs_v2 \
    biso_user_actions casb_findings device_posture_results dex_application_tests dex_device_state_events \
    dlp_forensic_copies dns_firewall_logs dns_logs email_security_alerts email_security_post_delivery_events \
    firewall_events gateway_dns gateway_http gateway_network ipsec_logs magic_bgp_logs magic_ids_detections mcp_portal_logs \
    mnm_flow_logs nel_reports network_analytics_logs page_shield_events sinkhole_http_logs spectrum_events ssh_logs \
    turnstile_events warp_config_changes warp_toggle_changes websocket_analytics workers_trace_events zaraz_events \
    zero_trust_network_sessions";

impl JobConfig {
    /// Reads a job: keys and types, not yet whether it is right. `null` is a key that is not said.
    ///
    /// # Errors
    /// Every key that is unknown or of another type.
    pub fn from_json(said: &Map<String, Value>) -> Result<JobConfig, Vec<Problem>> {
        let (mut known, mut problems) = (Map::new(), Vec::new());
        for (key, value) in said {
            if value.is_null() || READ_ONLY_KEYS.contains(&key.as_str()) {
                continue;
            }
            match take(key, value) {
                Ok(true) => drop(known.insert(key.clone(), value.clone())),
                Ok(false) => {}
                Err(why) => problems.push(Problem::at(format!("/{}", escape(key)), why)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(serde_json::from_value(Value::Object(known)).expect("INVARIANT: each key was read alone"))
    }

    /// The job as it is written, with its secrets.
    pub fn to_json(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => unreachable!("INVARIANT: a struct with texts as keys is an object"),
        }
    }

    /// Everything that is wrong with it.
    pub fn check(&self, known: &Checks) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut say = |key: &str, why: Option<String>| {
            problems.extend(why.map(|why| Problem::at(format!("/{key}"), why)));
        };
        say("dataset", self.dataset().err());
        say("destination_conf", check_destination(self.destination_conf.expose()));
        let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        let named = self.name.len() <= NAME_CHARS_MAX && self.name.bytes().all(letter);
        say("name", (!named).then(|| must_be("name")));
        let kind = match self.kind.as_str() {
            "" => None,
            "edge" if self.dataset == "http_requests" => None,
            "edge" => Some("must be \"\" for this data set: \"edge\" is for http_requests".into()),
            "instant-logs" => Some("must be \"\" or \"edge\": instant logs are not offered".into()),
            _ => Some(must_be("kind")),
        };
        say("kind", kind);
        let frequency = match self.frequency.as_str() {
            "" | "high" => None,
            "low" if self.kind == "edge" => Some("must be \"high\" in a job of kind \"edge\"".into()),
            "low" => None,
            _ => Some(must_be("frequency")),
        };
        say("frequency", frequency);
        let ranges = [
            ("max_upload_bytes", self.max_upload_bytes, UPLOAD_BYTES),
            ("max_upload_records", self.max_upload_records, UPLOAD_RECORDS),
            ("max_upload_interval_seconds", self.max_upload_interval_seconds, UPLOAD_SECONDS),
            ("uploads", u64::from(self.uploads), (1, u64::from(UPLOADS_MAX))),
            ("max_egress_bytes_per_second", self.max_egress_bytes_per_second, EGRESS_BYTES),
        ];
        for (key, value, (least, most)) in ranges {
            say(key, (value != 0 && !(least..=most).contains(&value)).then(|| must_be(key)));
        }
        let said = |text: &str, read: fn(&str) -> bool| !text.is_empty() && !read(text);
        say("codec", said(&self.codec, |t| choice::codec(t).is_ok()).then(|| must_be("codec")));
        say("level", said(&self.level, |t| choice::level(t).is_ok()).then(|| must_be("level")));
        let policy = said(&self.over_share, |t| matches!(t, "wait" | "drop_oldest"));
        say("over_share", policy.then(|| must_be("over_share")));
        if let Ok(dataset) = self.dataset() {
            self.check_output(known, dataset, &mut problems);
        }
        problems
    }

    fn check_output(&self, known: &Checks, dataset: &Dataset, problems: &mut Vec<Problem>) {
        if !self.filter.is_empty()
            && let Err((inner, why)) = (known.filter)(&self.filter, dataset)
        {
            problems.push(Problem::at(format!("/filter{inner}"), why));
        }
        let (key, found) = match &self.output_options {
            Some(options) if options.is_object() => ("output_options", (known.output)(options, dataset)),
            Some(_) => ("output_options", Err(vec![(String::new(), must_be("output_options"))])),
            None if self.logpull_options.is_empty() => return,
            None if self.logpull_options.chars().count() > LOGPULL_CHARS_MAX => {
                let why = format!("must have at most {LOGPULL_CHARS_MAX} characters");
                ("logpull_options", Err(vec![(String::new(), why)]))
            }
            None => ("logpull_options", (known.logpull)(&self.logpull_options, dataset)),
        };
        let told = found.err().into_iter().flatten();
        problems.extend(told.map(|(inner, why)| Problem::at(format!("/{key}{inner}"), why)));
    }

    /// Its data set.
    ///
    /// # Errors
    /// There is none of that name here.
    pub fn dataset(&self) -> Result<&'static Dataset, String> {
        dataset(&self.dataset)
    }

    /// What its uploads are cut by: its own words, else those of its frequency.
    pub fn limits(&self) -> UploadLimits {
        let (records, seconds) = if self.frequency == "low" { (1_000_000, 300) } else { (100_000, 30) };
        let own = |said: u64, preset: u64| if said == 0 { preset } else { said };
        UploadLimits {
            records: own(self.max_upload_records, records) as u32,
            bytes: (self.max_upload_bytes != 0).then_some(self.max_upload_bytes as u32),
            interval: Duration::from_secs(own(self.max_upload_interval_seconds, seconds)),
        }
    }

    /// How its batches are compressed; `None`: as the agent's setting says.
    pub fn codec(&self) -> Option<CodecKind> {
        choice::codec(&self.codec).ok()
    }

    /// How hard the codec tries; `None`: as the agent's setting says.
    pub fn level(&self) -> Option<Level> {
        choice::level(&self.level).ok()
    }

    /// Most bytes a second that leave this host; `None`: as the agent's setting says.
    pub fn egress_max(&self) -> Option<u64> {
        (self.max_egress_bytes_per_second != 0).then_some(self.max_egress_bytes_per_second)
    }

    /// Whether its oldest batches may go when its share of the spool is full.
    pub fn drops_oldest(&self) -> bool {
        self.over_share == "drop_oldest"
    }
}

/// The data set of a name.
///
/// # Errors
/// Why there is none, and what there is.
pub fn dataset(name: &str) -> Result<&'static Dataset, String> {
    if let Some(dataset) = Dataset::by_name(name) {
        return Ok(dataset);
    }
    let known = DATASETS.map(|dataset| dataset.name).join(", ");
    if FOREIGN_DATASETS.split_whitespace().any(|foreign| foreign == name) {
        return Err(format!("{name} is a data set that this agent has no records for; it has {known}"));
    }
    let shown: String = name.escape_debug().take(60).collect();
    Err(format!("`{shown}` is no data set; this agent has {known}"))
}

/// Whether a key is one that is kept; an error when it is unknown or its value of another type.
fn take(key: &str, value: &Value) -> Result<bool, String> {
    if KEYS.iter().any(|(known, _)| *known == key) {
        let alone = Map::from_iter([(key.to_owned(), value.clone())]);
        let read = serde_json::from_value::<JobConfig>(Value::Object(alone));
        return read.map(|_| true).map_err(|_| must_be(key));
    }
    if let Some((_, why)) = FOREIGN_KEYS.iter().find(|(foreign, _)| *foreign == key) {
        let empty = [Value::Bool(false), Value::from(0), Value::from("")].contains(value);
        return if empty { Ok(false) } else { Err((*why).into()) };
    }
    let words = KEYS.iter().map(|(known, _)| *known);
    let near = crate::destination::nearest(key, words).map(|near| format!("; did you mean {near}?"));
    Err(format!("is no key of a job{}", near.unwrap_or_default()))
}

fn must_be(key: &str) -> String {
    let takes = KEYS
        .iter()
        .find(|(known, _)| *known == key)
        .map_or("what the documentation says", |(_, takes)| takes);
    format!("must be {takes}")
}

fn check_destination(conf: &str) -> Option<String> {
    if conf.is_empty() {
        return Some("is missing: a job needs the URL of its destination".into());
    }
    if redact::is_redacted(conf) {
        return Some(format!(
            "has {} where a secret was hidden, and differs from the destination that the job has: send the whole URL",
            redact::MARK
        ));
    }
    DestinationUrl::parse(conf).err()
}

/// A key as it stands in a JSON pointer (RFC 6901).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
