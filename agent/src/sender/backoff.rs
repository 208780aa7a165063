//! Back-off: how long to wait before the next try (INTERFACE 5: 0.5 s × 2 up to 60 s, full jitter).
//!
//! Promises: a function of its seed and of how often it was asked: a simulation repeats.
//! Must not know: what is tried.
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(60);
/// No wait is shorter: full jitter may say 0, and a target that refuses at once must not be hammered.
const LEAST: Duration = Duration::from_millis(10);
/// A target's own wish is obeyed up to this.
pub(super) const WISH_MAX: Duration = Duration::from_secs(3600);

/// Gives waits.
#[derive(Debug)]
pub(super) struct Backoff {
    state: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Backoff {
        Backoff { state: seed }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Anything between nothing and `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64((self.next() >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// The wait after so many failures in a row (from 1).
    pub(super) fn after(&mut self, failures: u32) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(MOST);
        self.up_to(ceiling).max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_with_full_jitter() {
        let mut backoff = Backoff::new(1);
        for (failures, ceiling) in [(1, 500), (2, 1000), (3, 2000), (7, 32_000), (8, 60_000), (40, 60_000)] {
            let waits: Vec<u128> = (0..2000).map(|_| backoff.after(failures).as_millis()).collect();
            assert!(waits.iter().all(|ms| (10..=ceiling).contains(ms)), "{failures}");
            let mean = waits.iter().sum::<u128>() / 2000;
            assert!((ceiling * 45 / 100..ceiling * 55 / 100).contains(&mean), "{failures}: {mean}");
        }
    }
}
