//! Digests: hashes of configured hosts and values, and of what records have in their places.
//!
//! Folded multiplication, eight bytes a step: routing by one of ten thousand hosts took 85 ns, with SipHash 115. There
//! is no secret in it: only configured words are keys, so a client who chooses hosts can make no table slow.
//! Promises: the digest of a value depends on what it says as a number, if it is one, else on its bytes.
//! Must not know: what is looked up.
use super::filter::number::Decimal;
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys are hashed by [`Folded`].
pub(super) type Map<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Folded>>;

/// A hasher for digests, which are taken as they are, for texts, and for a number behind another one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Folded(u64);

// The fractions of the roots of 2, 3 and 5.
const START: u64 = 0x6a09_e667_f3bc_c908;
const STEP: u64 = 0xbb67_ae85_84ca_a73b;
const END: u64 = 0x3c6e_f372_fe94_f82b;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn bytes(state: u64, text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let state = words.iter().fold(state, |state, word| fold(state ^ u64::from_le_bytes(*word), STEP));
    let rest = rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    fold(state ^ rest, END ^ text.len() as u64)
}

impl Hasher for Folded {
    fn write(&mut self, text: &[u8]) {
        self.0 = bytes(self.0 ^ START, text);
    }
    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
    fn write_i64(&mut self, number: i64) {
        self.0 = fold(fold(self.0 ^ START, STEP) ^ number as u64, END);
    }
    fn write_usize(&mut self, length: usize) {
        self.0 = length as u64;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// What equal values share: `200`, `"200"` and `200.0` have one digest. Others may share it too.
pub(super) fn digest(value: &[u8]) -> u64 {
    match Decimal::read(value) {
        None => bytes(START, value),
        Some(number) => {
            let state = fold(STEP ^ number.point as u64, END ^ u64::from(number.negative));
            number.digits().fold(state, |state, digit| fold(state ^ u64::from(digit), STEP))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::Hash;

    #[test]
    fn equal_numbers_share_a_digest_and_others_do_not() {
        for same in [&["200", "200.0", "2e2", "0200", "20.0E+1"][..], &["0", "-0", "0.00", "0e7"]] {
            assert!(
                same.iter().all(|text| digest(text.as_bytes()) == digest(same[0].as_bytes())),
                "{same:?}"
            );
        }
        let mut seen = HashSet::new();
        for number in -20_000..20_000 {
            assert!(seen.insert(digest(number.to_string().as_bytes())), "{number}");
            assert!(seen.insert(digest(format!("{number}.example.com").as_bytes())), "{number}.example.com");
            assert!(seen.insert(digest(format!("www.site{number}.example.com").as_bytes())), "site{number}");
        }
        assert_ne!(digest(b""), digest(b"\0"));
        assert_ne!(digest(b"true"), digest(b"false"));
    }

    /// The bits that a table uses: the lowest, and the highest seven.
    fn fill_a_table_evenly(keys: impl Iterator<Item = impl Hash> + Clone) {
        for shift in [0, 57] {
            let mut counts = [0_u32; 128];
            for key in keys.clone() {
                let mut hasher = Folded::default();
                key.hash(&mut hasher);
                counts[(hasher.finish() >> shift & 127) as usize] += 1;
            }
            // A hundred each, give or take six standard deviations.
            assert!(counts.iter().all(|count| (40..160).contains(count)), "{shift}: {counts:?}");
        }
    }

    #[test]
    fn near_keys_fill_a_table_evenly() {
        fill_a_table_evenly((0..12_800).map(|n| format!("www.customer-{n:05}.example.com").into_bytes()));
        // Shelves: a job and a domain, and a slot; of many domains, and of many hours.
        let slot = |hour: i64| (1_795_262_400 + hour * 3600) << 1;
        fill_a_table_evenly((0..12_800_u64).map(|domain| ((3 << 32) | domain, slot(0))));
        fill_a_table_evenly((0..12_800_u64).map(|n| ((3 << 32) | (n % 267), slot(n as i64 / 267))));
    }
}
