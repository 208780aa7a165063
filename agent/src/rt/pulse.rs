//! pulse: how long ago each shard ticked, as a watchdog or a health check asks it.
//!
//! Promises: pure; the clock is passed in; asking more often than a shard ticks gives no false alarm.
//! Must not know: what is done about a shard that stands still.
use super::Tick;
use std::time::{Duration, Instant};

/// Watches the heartbeats of all shards. Whoever asks owns one.
#[derive(Debug)]
pub struct Pulse {
    shards: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    tick: Tick,
    count: u64,
    at: Instant,
}

impl Pulse {
    /// Starts to watch these shards, as if all had ticked now.
    pub fn new(ticks: impl IntoIterator<Item = Tick>, now: Instant) -> Pulse {
        let shards = ticks.into_iter().map(|tick| Seen { count: tick.count(), tick, at: now }).collect();
        Pulse { shards }
    }

    /// The shard (its place in the list) that stands still the longest, and for how long: since the last time this was
    /// asked before its count stopped. Ask once a second or more often. Nothing if there is no shard.
    pub fn slowest(&mut self, now: Instant) -> Option<(usize, Duration)> {
        for seen in &mut self.shards {
            let count = seen.tick.count();
            if count != seen.count {
                (seen.count, seen.at) = (count, now);
            }
        }
        let still = self.shards.iter().map(|seen| now.saturating_duration_since(seen.at)).enumerate();
        still.max_by_key(|(_, still)| *still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_that_stands_still_is_named() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let ticks = [Tick::default(), Tick::default()];
        let mut pulse = Pulse::new(ticks.clone(), start);
        ticks.iter().for_each(Tick::bump);
        assert_eq!(pulse.slowest(at(1)).unwrap().1, Duration::ZERO);
        ticks[0].bump();
        assert_eq!(pulse.slowest(at(9)), Some((1, Duration::from_secs(8))));
        ticks[1].bump();
        assert_eq!(pulse.slowest(at(12)), Some((0, Duration::from_secs(3))));
        assert_eq!(Pulse::new([], start).slowest(start), None);
    }
}
