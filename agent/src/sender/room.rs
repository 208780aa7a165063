//! Room: memory for the bodies of uploads under way, shared so that no destination keeps another's from it.
//!
//! The rule. Bodies of failing destinations take a quarter, those, the slow ones and strangers half: the other half is
//! always left to destinations that give their room back quickly. A body that is larger than half would have all others wait
//! until it is alone; it goes beside them instead, one of good destinations and one of all others at a time. So the
//! bound is the room and two large bodies.
//!
//! Promises: those who ask are served in their order, within their kind.
//! Must not know: what the memory is for.
use super::turns::Standing;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A semaphore counts in 32 bits.
const KIB: u64 = 1024;

/// A semaphore that gives what is asked for, or all that it ever has.
#[derive(Debug)]
struct Part {
    free: Semaphore,
    kib: u32,
}

impl Part {
    fn new(kib: u32) -> Part {
        Part { free: Semaphore::new(kib.max(1) as usize), kib: kib.max(1) }
    }

    async fn take(&self, kib: u32) -> SemaphorePermit<'_> {
        let taken = self.free.acquire_many(kib.min(self.kib)).await;
        taken.expect("INVARIANT: this semaphore is never closed")
    }
}

#[derive(Debug)]
pub(super) struct Room {
    all: Part,
    unsure: Part,
    failing: Part,
    large_good: Part,
    large_unsure: Part,
}

/// Memory that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    _parts: [Option<SemaphorePermit<'a>>; 3],
}

impl Room {
    pub(super) fn new(bytes: u64) -> Room {
        let kib = u32::try_from(bytes / KIB).unwrap_or(u32::MAX).clamp(1, Semaphore::MAX_PERMITS as u32);
        Room {
            all: Part::new(kib),
            unsure: Part::new(kib / 2),
            failing: Part::new(kib / 4),
            large_good: Part::new(1),
            large_unsure: Part::new(1),
        }
    }

    /// Room for so many bytes.
    pub(super) async fn take(&self, standing: Standing, bytes: u64) -> Taken<'_> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX).max(1);
        let (good, failing) = (standing == Standing::Good, standing == Standing::Failing);
        let failing = if failing { Some(self.failing.take(kib).await) } else { None };
        let unsure = if good { None } else { Some(self.unsure.take(kib).await) };
        let last = match (kib > self.all.kib / 2, good) {
            (false, _) => self.all.take(kib).await,
            (true, true) => self.large_good.take(1).await,
            (true, false) => self.large_unsure.take(1).await,
        };
        Taken { _parts: [failing, unsure, Some(last)] }
    }
}
