//! Seats: the domains that an archive has, of all shards together.
//!
//! Promises: never more than there are seats; a domain that several shards name has one; it is free again when the last of
//! them has left it. Asked for once a shard and domain.
//! Must not know: records, what a domain is.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many seats, which clones share.
#[derive(Clone, Debug)]
pub struct Seats {
    most: usize,
    /// How many shards hold each.
    held: Arc<Mutex<HashMap<Arc<str>, usize>>>,
}

impl Seats {
    /// All are free.
    pub fn new(most: usize) -> Seats {
        Seats { most, held: Arc::default() }
    }

    /// How many there are, taken or not.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Whether nobody who has none can have one.
    pub(super) fn are_taken(&self) -> bool {
        self.held().len() >= self.most
    }

    /// A shard takes a domain's seat, once; `None`: there is none for it.
    pub(super) fn take(&self, name: &str) -> Option<Arc<str>> {
        let mut held = self.held();
        if let Some((name, shards)) = held.get_key_value(name).map(|(name, shards)| (name.clone(), *shards)) {
            held.insert(name.clone(), shards + 1);
            return Some(name);
        }
        if held.len() >= self.most {
            return None;
        }
        let name: Arc<str> = name.into();
        held.insert(name.clone(), 1);
        Some(name)
    }

    /// A shard leaves it.
    pub(super) fn leave(&self, name: &str) {
        let mut held = self.held();
        match held.get_mut(name) {
            Some(shards) if *shards > 1 => *shards -= 1,
            _ => _ = held.remove(name),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        // Whole after every statement.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_when_the_last_one_has_left() {
        let seats = Seats::new(2);
        let other = seats.clone();
        assert!(seats.take("a").is_some() && other.take("a").is_some() && other.take("b").is_some());
        assert!(seats.are_taken() && seats.take("c").is_none());
        seats.leave("a");
        assert!(seats.take("c").is_none());
        other.leave("a");
        assert!(!seats.are_taken() && seats.take("c").is_some());
    }
}
