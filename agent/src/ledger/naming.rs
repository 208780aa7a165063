//! Names of batches (INTERFACE 4): `<path>/<start>_<end>_<id><suffix>`.
//!
//! Promises: pure; a name depends on the ledger's id, the batch's row id, its times and its [`Naming`] only. Row ids never
//! come back, and the id in the name is a permutation of them, so no name of one ledger is ever used twice.
//! Must not know: the ledger's tables, destinations.
use crate::protocol::{BatchId, Framing, Naming};
use jiff::Timestamp;
use siphasher::sip::SipHasher13;

/// The 64-bit id in a name: a permutation of the row ids, keyed by the ledger's id (RULINGS 11).
pub fn public_id(ledger: u128, batch: BatchId) -> u64 {
    let hasher = SipHasher13::new_with_key(&ledger.to_le_bytes());
    let (mut left, mut right) = ((batch.0 >> 32) as u32, batch.0 as u32);
    // Four Feistel rounds with a keyed round function: one-to-one by construction, random to whoever lacks the key.
    for round in 0..4u8 {
        let mut block = [round; 5];
        block[1..].copy_from_slice(&right.to_le_bytes());
        (left, right) = (right, left ^ hasher.hash(&block) as u32);
    }
    u64::from(left) << 32 | u64::from(right)
}

/// The 16 lower-case hex digits of [`public_id`]: the `Idempotency-Key`.
pub fn key(ledger: u128, batch: BatchId) -> String {
    format!("{:016x}", public_id(ledger, batch))
}

/// The object's name. `first` and `last` are processing times, ns since the epoch.
pub fn object_name(naming: &Naming, key: &str, first: i64, last: i64) -> String {
    let (start, end) = (stamp(first), stamp(last));
    let mut name = expand(naming, &start);
    if !name.is_empty() {
        name.push('/');
    }
    name.push_str(&start);
    name.push('_');
    name.push_str(&end);
    name.push('_');
    name.push_str(key);
    name.push_str(&naming.suffix);
    name
}

/// Name and key of the n-th child (from 1) of a batch that was split: `<parent>-1`, before the suffix.
pub fn child(name: &str, key: &str, suffix: &str, nth: usize) -> (String, String) {
    let stem = name.strip_suffix(suffix).unwrap_or(name);
    let suffix = &name[stem.len()..];
    (format!("{stem}-{nth}{suffix}"), format!("{key}-{nth}"))
}

/// The framing as the table keeps it: a JSON array, or nothing when it is that of a plain batch.
pub(super) fn framing_text(naming: &Naming) -> String {
    if naming.framing == Framing::default() && !naming.csv {
        return String::new();
    }
    let Framing { prefix, delimiter, suffix, record_prefix, record_suffix } = &naming.framing;
    let parts = [prefix, delimiter, suffix, record_prefix, record_suffix];
    let parts = parts.map(|part| String::from_utf8_lossy(part));
    serde_json::json!([parts, naming.csv]).to_string()
}

/// What [`framing_text`] wrote. What makes no sense is a plain batch.
pub(super) fn framing_of(text: &str) -> (Framing, bool) {
    let parsed: Option<([String; 5], bool)> = serde_json::from_str(text).ok();
    let Some((parts, csv)) = parsed else { return Default::default() };
    let [prefix, delimiter, suffix, record_prefix, record_suffix] = parts.map(String::into_bytes);
    (Framing { prefix, delimiter, suffix, record_prefix, record_suffix }, csv)
}

/// `YYYYMMDDThhmmssZ`.
fn stamp(wall: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(wall)).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The path with its placeholders replaced, in one pass: a value that holds a brace is not expanded again.
fn expand(naming: &Naming, start: &str) -> String {
    let path = naming.path.trim_matches('/');
    let mut out = String::with_capacity(path.len() + 64);
    let mut rest = path;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let values = [
            ("{DATE}", &start[..8]),
            ("{HOUR}", &start[9..11]),
            ("{HOST}", naming.host.as_str()),
            ("{JOB}", naming.job.as_str()),
            ("{DATASET}", naming.dataset.as_str()),
        ];
        let known = values.iter().find(|(word, _)| rest.starts_with(word));
        let (word, value) = known.copied().unwrap_or(("{", "{"));
        out.push_str(value);
        rest = &rest[word.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const NOON: i64 = 1_700_000_000_000_000_000; // 2023-11-14T22:13:20Z

    fn naming(path: &str) -> Naming {
        Naming {
            path: path.into(),
            suffix: ".log.gz".into(),
            host: "edge{JOB}1".into(),
            job: "env".into(),
            dataset: "raw".into(),
            ..Naming::default()
        }
    }

    #[test]
    fn golden_names() {
        let key = key(7, BatchId(1));
        let full = object_name(
            &naming("/logs/{HOST}/{DATASET}/{JOB}/{DATE}/{HOUR}/"),
            &key,
            NOON,
            NOON + 61_000_000_000,
        );
        assert_eq!(
            full,
            format!("logs/edge{{JOB}}1/raw/env/20231114/22/20231114T221320Z_20231114T221421Z_{key}.log.gz")
        );
        assert_eq!(
            object_name(&naming(""), &key, 0, 0),
            format!("19700101T000000Z_19700101T000000Z_{key}.log.gz")
        );
        assert_eq!(
            object_name(&naming("a{b}{"), "k", 0, 0),
            "a{b}{/19700101T000000Z_19700101T000000Z_k.log.gz"
        );
    }

    #[test]
    fn the_key_is_stable_for_ever() {
        // Changing the permutation would let an old key come back after an upgrade.
        let keys: Vec<String> =
            (1..4).map(|id| key(0x0123_4567_89ab_cdef_0011_2233_4455_6677, BatchId(id))).collect();
        assert_eq!(keys, GOLDEN_KEYS);
    }
    const GOLDEN_KEYS: [&str; 3] = ["0f987732fc22587a", "2a4b37be52759f34", "4d258c35a8929a1f"];

    #[test]
    fn the_id_is_a_permutation() {
        let near: HashSet<u64> = (0..50_000).map(|id| public_id(42, BatchId(id))).collect();
        let far: HashSet<u64> = (0..50_000u64).map(|id| public_id(42, BatchId(id << 32 | 5))).collect();
        assert_eq!((near.len(), far.len()), (50_000, 50_000));
        assert_ne!(public_id(42, BatchId(1)), public_id(43, BatchId(1)));
    }

    #[test]
    fn children_are_named_after_their_parent() {
        assert_eq!(child("a/x_k.log.gz", "k", ".log.gz", 2), ("a/x_k-2.log.gz".into(), "k-2".into()));
        let (name, key) = child("a/x_k-2.log.gz", "k-2", ".log.gz", 1);
        assert_eq!((name.as_str(), key.as_str()), ("a/x_k-2-1.log.gz", "k-2-1"));
        assert_eq!(child("plain", "k", "", 1).0, "plain-1");
    }
}
