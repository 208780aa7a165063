//! Drives one shard's machine: takes chunks and seals, pushes what it makes.
//!
//! Promises: between two chunks the shard looks whether a seal was asked for; it pauses after each chunk, so no other
//! task of its core waits longer than one chunk takes (≤ 2 ms).
use super::clock::Clock;
use super::counters::Published;
use super::shared::{SealWord, Shared};
use crate::metrics::ShardCounters;
use crate::queue::{LocalBell, Seat};
use crate::rt::Rt;
use crate::shard_loop::{FormatNotice, ShardEvent, ShardLoop};
use edgepush_shard::chunk::Chunk;
use edgepush_shard::segment::FromShard;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

enum Next {
    Seal(SealWord),
    Chunk(Chunk),
    /// A chunk of a feed.
    Arrival(Chunk),
    End,
}

/// Says that the shard is alive (INTERFACE 2: `/healthz`).
pub async fn tick(rt: Rt, clock: Arc<Clock>, counters: Arc<ShardCounters>) {
    loop {
        counters.tick(clock.now().mono);
        rt.sleep(TICK_EVERY).await;
    }
}

const TICK_EVERY: Duration = Duration::from_secs(1);

/// Runs until the shards are told to end.
pub async fn drive(
    rt: Rt,
    bell: LocalBell,
    shared: Shared,
    mut machine: ShardLoop,
    mut published: Published,
) {
    let up = shared.up[rt.shard()].clone();
    let mut sealed = 0;
    let mut push = Vec::new();
    loop {
        match bell.until(|| next(&shared, sealed)).await {
            Next::End => return,
            Next::Seal(seal) => {
                let SealWord { scope, epoch } = seal;
                let event = ShardEvent::Seal { scope, epoch, plan: shared.plan_of(seal, rt.shard()) };
                machine.step(shared.clock.now(), event, &mut push);
                sealed = epoch;
                send(&up, &bell, &mut push).await;
            }
            next @ (Next::Chunk(_) | Next::Arrival(_)) => {
                let arrived = matches!(next, Next::Arrival(_));
                let (Next::Chunk(chunk) | Next::Arrival(chunk)) = next else { continue };
                machine.step(shared.clock.now(), ShardEvent::Chunk(chunk), &mut push);
                machine.notices().for_each(|notice| tell(&notice));
                published.publish(machine.counts(), machine.ring_bytes());
                send(&up, &bell, &mut push).await;
                shared.words.feeds_processed.fetch_add(u64::from(arrived), Ordering::AcqRel);
                shared.words.processed.fetch_add(1, Ordering::AcqRel);
                // The source waits for the last chunk's end before it says that it is done.
                if shared.words.all_processed() {
                    shared.shard_bells[0].ring();
                }
                rt.pause().await;
            }
        }
    }
}

fn tell(notice: &FormatNotice) {
    if notice.is_warning() {
        tracing::warn!("{notice}");
    } else {
        tracing::info!("{notice}");
    }
}

fn next(shared: &Shared, sealed: u64) -> Option<Next> {
    let seal = shared.words.asked_seal();
    if seal.epoch > sealed {
        return Some(Next::Seal(seal));
    }
    if let Some(chunk) = shared.arrivals.try_pop() {
        return Some(Next::Arrival(chunk));
    }
    if let Some(chunk) = shared.chunks.try_pop() {
        return Some(Next::Chunk(chunk));
    }
    shared.words.shards_end.load(Ordering::Acquire).then_some(Next::End)
}

async fn send(up: &crate::queue::Queue<Vec<FromShard>>, bell: &LocalBell, push: &mut Vec<FromShard>) {
    if !push.is_empty() {
        // Closed: the agent has ended.
        let _ = up.push(bell, std::mem::take(push)).await;
    }
}
