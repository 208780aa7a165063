//! Archive: how the built-in archive divides records, publishes files and lets them go, as an operator says it.
//!
//! Promises: what is accepted has one meaning; days of single domains name each domain once, in lower case.
//! Must not know: records, files, the environment.
use super::Reserve;
use super::value;
use std::collections::BTreeMap;
use std::time::Duration;

pub use edgepush_shard::plan::Rule;

/// The settings of the archive.
#[derive(Clone, Debug)]
pub struct ArchiveConfig {
    /// How records are divided.
    pub rule: Rule,
    /// Before this moment the other rule holds, ns since the epoch.
    pub since: Option<i64>,
    /// From a slot's end to its first file.
    pub publish: Duration,
    /// So long after the end of its hour a record is late.
    pub late: Duration,
    /// Whether late records are kept with the rejects.
    pub late_kept: bool,
    /// Most domains.
    pub domains_max: u32,
    /// Files are kept so long.
    pub days: u32,
    /// The same of single domains.
    pub domain_days: BTreeMap<String, u32>,
    /// What all files take at most.
    pub max: Reserve,
    /// In which field a record's time stands; `None` = in one of the usual ones.
    pub time_field: Option<String>,
}

impl ArchiveConfig {
    /// Only seen while the table is filled in.
    pub(super) fn blank() -> ArchiveConfig {
        ArchiveConfig {
            rule: Rule::Hour,
            since: None,
            publish: Duration::ZERO,
            late: Duration::ZERO,
            late_kept: true,
            domains_max: 0,
            days: 0,
            domain_days: BTreeMap::new(),
            max: Reserve::Percent(0),
            time_field: None,
        }
    }

    /// So long after a slot's end its list of files is final, seconds: no record may come any more, and those that came
    /// last are published.
    pub fn final_after(&self) -> i64 {
        // Late records are published every 15 minutes; the rest is for what a commit and an upload take.
        let published = self.publish.max(Duration::from_secs(15 * 60)) + Duration::from_secs(5 * 60);
        (self.late + published).as_secs() as i64
    }

    /// How many days a domain's files are kept.
    pub fn days_of(&self, domain: &str) -> u32 {
        self.domain_days.get(domain).copied().unwrap_or(self.days)
    }
}

/// Reads `hour` or `5m`.
pub(super) fn rule(text: &str) -> Result<Rule, String> {
    match text {
        "hour" => Ok(Rule::Hour),
        "5m" => Ok(Rule::FiveMinutes),
        _ => Err("must be hour or 5m".into()),
    }
}

/// Reads an RFC 3339 time, ns since the epoch.
pub(super) fn instant(text: &str) -> Result<i64, String> {
    let wanted = || "must be an RFC 3339 time like 2026-01-31T12:00:00+08:00".to_owned();
    let time: jiff::Timestamp = text.parse().map_err(|_| wanted())?;
    // Beyond 2262 is never.
    Ok(i64::try_from(time.as_nanosecond()).unwrap_or(if time.as_second() > 0 { i64::MAX } else { i64::MIN }))
}

/// Reads `keep` or `drop`.
pub(super) fn late_kept(text: &str) -> Result<bool, String> {
    match text {
        "keep" => Ok(true),
        "drop" => Ok(false),
        _ => Err("must be keep (with the rejects) or drop".into()),
    }
}

/// Most days that files can be kept: ten years.
pub(super) const DAYS_MAX: u32 = 3650;

/// Reads `example.com=90,www.example.com=7`.
pub(super) fn domain_days(text: &str) -> Result<BTreeMap<String, u32>, String> {
    let (mut days, mut wrong) = (BTreeMap::new(), Vec::new());
    for part in value::list(text) {
        let told =
            part.split_once('=').ok_or_else(|| format!("has `{part}`, which is not written domain=days"));
        let read = told.and_then(|(domain, number)| {
            let domain = domain.trim().to_ascii_lowercase();
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
            if domain.is_empty() || !domain.bytes().all(fits) {
                return Err(format!("has `{part}`, which names no domain"));
            }
            let number = value::count_within(number.trim(), 1, DAYS_MAX);
            Ok((domain, number.map_err(|why| format!("has `{part}`, whose number of days {why}"))?))
        });
        match read {
            Ok((domain, _)) if days.contains_key(&domain) => wrong.push(format!("names {domain} twice")),
            Ok((domain, number)) => _ = days.insert(domain, number),
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() { Ok(days) } else { Err(wrong.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_by_domain() {
        let days = domain_days("Example.com=90, a.b=7").expect("right");
        assert_eq!(days.into_iter().collect::<Vec<_>>(), [("a.b".into(), 7), ("example.com".into(), 90)]);
        for (text, what) in [
            ("a", "domain=days"),
            ("a=0", "days"),
            ("a=x", "days"),
            ("/=1", "names no domain"),
            ("a=1,A=2", "names a twice"),
        ] {
            let why = domain_days(text).expect_err(text);
            assert!(why.contains(what), "{text}: {why}");
        }
    }

    #[test]
    fn moments_and_rules_are_read_or_refused() {
        assert_eq!(instant("2022-09-01T00:00:00+08:00"), Ok(1_661_961_600_000_000_000));
        assert_eq!(instant("2999-01-01T00:00:00Z"), Ok(i64::MAX));
        assert!(instant("2022-09-01").is_err() && instant("now").is_err());
        assert_eq!((rule("hour"), rule("5m")), (Ok(Rule::Hour), Ok(Rule::FiveMinutes)));
        assert!(rule("5min").is_err() && late_kept("").is_err());
    }
}
