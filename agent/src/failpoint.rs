//! Failure points: named places where a crash test ends the process, as a power cut or `kill -9` would.
//!
//! Promises: without the cargo feature `failpoints` a hit costs nothing and does nothing.
//! Must not know: what stands before or after a point.

/// Ends the process (SIGKILL to itself) at the n-th hit of the point that `EDGEPUSH_FAILPOINT=name[:n]` names.
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| std::env::var("EDGEPUSH_FAILPOINT").ok().map(|text| wanted(&text)));
    let Some((point, nth)) = wanted else { return };
    if point != name || HITS.fetch_add(1, Ordering::Relaxed) + 1 != *nth {
        return;
    }
    // Nothing may run after this point: no destructor, no flush, no other thread's write.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

/// Does nothing: the feature `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &str) {}

/// `name` or `name:n`; n counts from 1.
#[cfg(any(feature = "failpoints", test))]
fn wanted(text: &str) -> (String, u64) {
    match text.rsplit_once(':') {
        Some((name, nth)) => (name.to_owned(), nth.parse().unwrap_or(1)),
        None => (text.to_owned(), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_a_point_and_a_count() {
        assert_eq!(wanted("ledger.commit.before"), ("ledger.commit.before".to_owned(), 1));
        assert_eq!(wanted("pack.sync.after:7"), ("pack.sync.after".to_owned(), 7));
    }
}
