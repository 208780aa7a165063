//! Lease: which files are being downloaded, so that retention leaves them.
//!
//! Promises: a lease ends with its guard, however the download ends; nobody waits for anybody.
//! The order that makes it safe: who downloads leases first, then asks the index, then opens the file; who removes asks
//! [`Leases::is_leased`] first, then removes the row, then the file. Who opens between the two reads the file to its end.
//! Must not know: files.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The files that are being downloaded, by their path below the archive's directory ([`super::name::path`]).
#[derive(Clone, Debug, Default)]
pub struct Leases(Arc<Mutex<HashMap<String, usize>>>);

/// A file that is being downloaded, until this is dropped.
#[derive(Debug)]
pub struct Lease {
    leases: Leases,
    path: String,
}

impl Leases {
    /// `path` is being downloaded until the lease is dropped; several may hold one.
    pub fn lease(&self, path: &str) -> Lease {
        *self.held().entry(path.to_owned()).or_default() += 1;
        Lease { leases: self.clone(), path: path.to_owned() }
    }

    /// Whether somebody downloads it.
    pub fn is_leased(&self, path: &str) -> bool {
        self.held().contains_key(path)
    }

    /// How many downloads there are.
    pub fn open(&self) -> usize {
        self.held().values().sum()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // A count is whole after every statement: who panicked while holding the lock has left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.leases.held();
        if let Some(count) = held.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_leased_until_the_last_download_ends() {
        let leases = Leases::default();
        let (first, second) = (leases.lease("a"), leases.clone().lease("a"));
        let other = leases.lease("b");
        assert_eq!(leases.open(), 3);
        drop(first);
        assert!(leases.is_leased("a") && leases.is_leased("b") && !leases.is_leased("c"));
        drop(second);
        assert!(!leases.is_leased("a"));
        drop(other);
        assert_eq!(leases.open(), 0);
    }
}
