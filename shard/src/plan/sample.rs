//! Sample: which share of the records a job takes.
//!
//! Promises: a function of the source's seed and the record's offset alone: the same line has the same fate in every
//! run, shard and job, and a larger rate takes every line that a smaller one takes.
//! Must not know: records, jobs.

/// A share of all records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The largest draw that is taken.
    most: u64,
}

impl Sample {
    /// Every record.
    pub const ALL: Sample = Sample { most: u64::MAX };

    /// A share above 0 and at most 1.
    pub fn of_rate(rate: f64) -> Option<Sample> {
        let valid = rate > 0.0 && rate <= 1.0;
        // 2^64 as a float; what it gives is below it for every rate below 1.
        let share = (rate * 18_446_744_073_709_551_616.0) as u64;
        valid.then(|| if rate == 1.0 { Sample::ALL } else { Sample { most: share.saturating_sub(1) } })
    }

    /// Whether the record at `offset` of a source is in the sample.
    pub fn takes(self, seed: u64, offset: u64) -> bool {
        self == Sample::ALL || self.takes_draw(Sample::draw(seed, offset))
    }

    /// A record's lot: the same for all jobs.
    pub(crate) fn draw(seed: u64, offset: u64) -> u64 {
        mix(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ offset)
    }

    pub(crate) fn takes_draw(self, draw: u64) -> bool {
        draw <= self.most
    }
}

/// SplitMix64's finaliser: each bit of the input changes each bit of the output half of the time.
fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets as lines of about 750 bytes have them.
    fn offsets() -> impl Iterator<Item = u64> {
        (0..100_000_u64).map(|line| line * 700 + line * line % 101)
    }

    #[test]
    fn rates_are_met() {
        for seed in [0, 1, 2, u64::MAX] {
            for rate in [0.001, 0.01, 0.1, 0.5, 0.9, 0.999] {
                let sample = Sample::of_rate(rate).expect("a rate");
                let taken = offsets().filter(|&offset| sample.takes(seed, offset)).count() as f64;
                // Six standard deviations.
                let (mean, spread) = (1e5 * rate, 6.0 * (1e5 * rate * (1.0 - rate)).sqrt());
                assert!((taken - mean).abs() < spread, "{taken} of 100000 at {rate}, seed {seed}");
            }
        }
    }

    #[test]
    fn larger_rates_take_what_smaller_ones_take() {
        let rates = [f64::MIN_POSITIVE, 1e-9, 0.01, 0.3, 0.3000001, 0.999_999_999, 1.0];
        let samples = rates.map(|rate| Sample::of_rate(rate).expect("a rate"));
        for offset in offsets() {
            let takes = samples.map(|sample| sample.takes(7, offset));
            assert!(takes.is_sorted() && takes[6], "{takes:?} at {offset}");
        }
    }

    #[test]
    fn a_lot_depends_on_seed_and_offset_only() {
        let half = Sample::of_rate(0.5).expect("a rate");
        let taken = |seed: u64| offsets().map(|offset| half.takes(seed, offset)).collect::<Vec<_>>();
        assert_eq!(taken(3), taken(3));
        let same = taken(3).iter().zip(taken(4)).filter(|(a, b)| **a == *b).count();
        assert!((49_000..51_000).contains(&same), "{same} of 100000 alike under another seed");
        // The definition is kept for ever: restarts and upgrades must not change a line's fate.
        assert_eq!(Sample::draw(1, 2), 583_880_340_377_267_059);
    }

    #[test]
    fn rates_beyond_the_range_are_refused() {
        for rate in [0.0, -0.1, 1.000_001, f64::NAN, f64::INFINITY, -0.0] {
            assert_eq!(Sample::of_rate(rate), None, "{rate}");
        }
        assert_eq!(Sample::of_rate(1.0), Some(Sample::ALL));
        assert!(Sample::of_rate(1.0 - f64::EPSILON).is_some_and(|sample| sample != Sample::ALL));
    }
}
