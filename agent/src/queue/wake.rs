//! wake: the flag by which a sleeper asks to be woken, so that nobody pays for waking one who is awake.
//!
//! Promises: if the sleeper runs `prepare`, then looks, then sleeps, and the waker changes what the sleeper looks at,
//! then runs `take`, either the look sees the change or `take` says "ring". No wake-up is lost.
//!
//! Why: both sides write, fence, then read the other's word (Dekker). Two sequentially consistent fences have an
//! order; the side whose fence is second sees what the other wrote before its own. A look before `prepare` only, or no
//! fence, loses wake-ups: `tests/loom_wake.rs` shows that both fail.
//!
//! Must not know: what is changed, how one sleeps and how one rings. `super::sync` is `std` here and `loom` in the model.
use super::sync::{AtomicBool, Ordering, fence};

/// "Somebody over there wants to be rung."
pub(super) struct Wake {
    wanted: AtomicBool,
}

impl Wake {
    pub(super) fn new() -> Wake {
        Wake { wanted: AtomicBool::new(false) }
    }

    /// The sleeper's side: before the last look. Nothing undoes it: a ring too many is only a look too many, and
    /// another sleeper of the same bell may need it.
    pub(super) fn prepare(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The waker's side: after the change. `true` obliges the caller to ring; of several callers one gets it.
    pub(super) fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::AcqRel)
    }
}
