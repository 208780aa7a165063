//! Retention: which files of the archive go, and how (INTERFACE 7, PROTOCOL 6.3).
//!
//! Promises: whole slots, oldest first; a domain's files are kept for its days, counted back from the newest slot that is
//! listed, so a clock that jumps ahead removes nothing; one sweep removes a tenth of the bytes at most (but always one
//! slot that must go); a file that is being downloaded stays. The rows go first, then the files: what a crash leaves
//! between the two is removed by [`leftovers`].
//! Must not know: clocks, when to sweep, how a download is made.
use super::{Entry, Index, IndexError, Leases, name};
use crate::failpoint;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const DAY: i64 = 86_400;
/// A sweep removes this part of the bytes at most.
const SWEEP_PART: u64 = 10;
/// Files that are looked at for a bound in one sweep.
const LOOKED_AT: usize = 20_000;

/// Why files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Their days are over.
    Days,
    /// All files take more than they may.
    Bound,
    /// The file system is below its reserve.
    Reserve,
}

/// What the archive may keep.
#[derive(Clone, Debug)]
pub struct Keep {
    /// Days that files are kept.
    pub days: u32,
    /// The same of single domains.
    pub domain_days: BTreeMap<String, u32>,
    /// Bytes of all files at most.
    pub bytes_max: u64,
    /// So many bytes are missing to the file system's reserve.
    pub missing: u64,
}

/// What a sweep has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files that went, by the order of [`Why`].
    pub files: [u64; 3],
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of what is listed now.
    pub left: u64,
    /// More is to go with the next sweep.
    pub more: bool,
}

impl Swept {
    /// Files that went for this reason.
    pub fn of(&self, why: Why) -> u64 {
        self.files[why as usize]
    }
}

/// Why a sweep has ended early.
#[derive(Debug)]
pub enum SweepError {
    /// The index.
    Index(IndexError),
    /// A file.
    Io(PathBuf, io::Error),
}

impl fmt::Display for SweepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SweepError::Index(error) => error.fmt(f),
            SweepError::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for SweepError {}

impl From<IndexError> for SweepError {
    fn from(error: IndexError) -> SweepError {
        SweepError::Index(error)
    }
}

/// Removes what must go below `root`. Blocks.
///
/// # Errors
/// What was removed until then is removed.
pub fn sweep(index: &Index, root: &Path, leases: &Leases, keep: &Keep) -> Result<Swept, SweepError> {
    let before = index.bytes()?;
    let budget = before / SWEEP_PART;
    let mut sweep = Sweep { index, root, leases, budget, swept: Swept::default() };
    for slot in expired(index, keep)? {
        if !sweep.take(slot, Why::Days)? {
            break;
        }
    }
    let over = |swept: &Swept| {
        let left = before - swept.bytes;
        match () {
            () if left > keep.bytes_max => Some(Why::Bound),
            () if swept.bytes < keep.missing => Some(Why::Reserve),
            () => None,
        }
    };
    if over(&sweep.swept).is_some() {
        let oldest = index.oldest(LOOKED_AT)?;
        let whole = oldest.len() < LOOKED_AT;
        let mut hours: Vec<Vec<Vec<Entry>>> = Vec::new();
        for slot in slots(oldest) {
            match hours.last_mut().filter(|hour| hour[0][0].start == slot[0].start) {
                Some(hour) => hour.push(slot),
                None => hours.push(vec![slot]),
            }
        }
        if !whole && hours.len() > 1 {
            // The last hour may not be all there.
            hours.pop();
        }
        'hours: for hour in hours {
            let Some(why) = over(&sweep.swept) else { break };
            for slot in hour {
                if !sweep.take(slot, why)? {
                    break 'hours;
                }
            }
        }
    }
    let Sweep { mut swept, .. } = sweep;
    swept.left = index.bytes()?;
    swept.more |= over(&swept).is_some();
    Ok(swept)
}

/// Slots whose days are over.
fn expired(index: &Index, keep: &Keep) -> Result<Vec<Vec<Entry>>, SweepError> {
    let (Some(newest), Some(oldest)) = (index.newest()?, index.oldest(1)?.pop()) else {
        return Ok(Vec::new());
    };
    let least = keep.domain_days.values().copied().chain([keep.days]).min().unwrap_or(keep.days);
    if oldest.start >= newest - i64::from(least) * DAY {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for domain in index.domains()? {
        let days = keep.domain_days.get(&domain).copied().unwrap_or(keep.days);
        all.extend(slots(index.list(&domain, i64::MIN..newest - i64::from(days) * DAY)?));
    }
    all.sort_by(|a, b| (a[0].start, &a[0].domain).cmp(&(b[0].start, &b[0].domain)));
    Ok(all)
}

/// Files by slot; they come side by side.
fn slots(files: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut slots: Vec<Vec<Entry>> = Vec::new();
    for file in files {
        match slots.last_mut().filter(|slot| slot[0].start == file.start && slot[0].domain == file.domain) {
            Some(slot) => slot.push(file),
            None => slots.push(vec![file]),
        }
    }
    slots
}

struct Sweep<'a> {
    index: &'a Index,
    root: &'a Path,
    leases: &'a Leases,
    /// Bytes that may still go.
    budget: u64,
    swept: Swept,
}

impl Sweep<'_> {
    /// Removes a slot, unless one of its files is being downloaded. False: this sweep has done its part.
    fn take(&mut self, slot: Vec<Entry>, why: Why) -> Result<bool, SweepError> {
        let bytes: u64 = slot.iter().map(|file| file.bytes).sum();
        if self.swept.bytes > 0 && self.swept.bytes + bytes > self.budget {
            self.swept.more = true;
            return Ok(false);
        }
        if slot.iter().any(|file| self.leases.is_leased(&file.path())) {
            return Ok(true);
        }
        self.index.remove(&[(slot[0].domain.clone(), slot[0].start)])?;
        failpoint::hit("retention.unlisted");
        for file in &slot {
            unlink(self.root, &file.path())?;
        }
        failpoint::hit("retention.unlinked");
        self.swept.bytes += bytes;
        self.swept.files[why as usize] += slot.len() as u64;
        Ok(true)
    }
}

/// Removes a file, and the directories that are empty without it.
fn unlink(root: &Path, path: &str) -> Result<(), SweepError> {
    let file = root.join(path);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(SweepError::Io(file, error)),
        _ => {}
    }
    let day = file.parent();
    for dir in [day, day.and_then(Path::parent)].into_iter().flatten() {
        // It is not empty: nearly always.
        if fs::remove_dir(dir).is_err() {
            break;
        }
    }
    Ok(())
}

/// Removes files whose rows an earlier sweep has removed, when the process ended before the files went too. Once a
/// start. Answers how many there were. Blocks.
///
/// # Errors
/// The index or a directory cannot be read.
pub fn leftovers(index: &Index, root: &Path) -> Result<u64, SweepError> {
    let mut removed = 0;
    for domain in children(root)?.into_iter().filter(|domain| name::is_domain(domain)) {
        // Slots go oldest first: what is left over is not younger than the oldest that stays.
        let until = index.oldest_of(&domain)?.map(|start| name::stamp(start)[..8].to_owned());
        for day in children(&root.join(&domain))? {
            if until.as_ref().is_some_and(|until| day > *until) {
                continue;
            }
            for file in children(&root.join(&domain).join(&day))? {
                let path = format!("{domain}/{day}/{file}");
                let Some((_, start, serial)) = name::read_path(&path) else { continue };
                let listed = index.get(&domain, start, serial)?.is_some();
                // A serial that was never listed belongs to a batch that will be sent again.
                if !listed && serial < index.serial_after(&domain, start)? {
                    unlink(root, &path)?;
                    removed += 1;
                }
            }
        }
    }
    Ok(removed)
}

fn children(dir: &Path) -> Result<Vec<String>, SweepError> {
    let told = |error| SweepError::Io(dir.to_owned(), error);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(told(error)),
    };
    entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(told))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Slot;
    use tempfile::TempDir;

    const HOUR: i64 = 3600;
    /// 2026-11-21T12:00:00Z.
    const NOON: i64 = 1_795_262_400;

    struct Bench {
        dir: TempDir,
        index: Index,
        leases: Leases,
    }

    impl Bench {
        fn new() -> Bench {
            let dir = tempfile::tempdir().unwrap();
            let index = Index::open(&dir.path().join("archive.db")).unwrap();
            Bench { dir, index, leases: Leases::default() }
        }

        fn root(&self) -> PathBuf {
            self.dir.path().join("archive")
        }

        fn add(&self, domain: &str, start: i64, serial: u32) {
            let entry = Entry {
                domain: domain.into(),
                start,
                serial,
                slot: Slot::Hour,
                bytes: 100,
                raw_bytes: 1000,
                records: 1,
                crc32: 0,
                first: 0,
                last: 0,
                published: start,
            };
            let path = self.root().join(entry.path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, [0; 100]).unwrap();
            self.index.add(&entry).unwrap();
        }

        fn sweep(&self, keep: &Keep) -> Swept {
            sweep(&self.index, &self.root(), &self.leases, keep).unwrap()
        }

        /// Starts of a domain's listed files; they are there, and no other is.
        fn starts(&self, domain: &str) -> Vec<i64> {
            let listed = self.index.list(domain, i64::MIN..i64::MAX).unwrap();
            let there: usize = children(&self.root().join(domain))
                .unwrap()
                .iter()
                .map(|day| children(&self.root().join(domain).join(day)).unwrap().len())
                .sum();
            assert_eq!(there, listed.len());
            assert!(listed.iter().all(|file| self.root().join(file.path()).exists()));
            listed.iter().map(|file| file.start).collect()
        }
    }

    fn keep() -> Keep {
        Keep { days: 2, domain_days: BTreeMap::new(), bytes_max: u64::MAX, missing: 0 }
    }

    #[test]
    fn days_count_back_from_the_newest_slot_and_domains_have_their_own() {
        let bench = Bench::new();
        for hour in 0..100 {
            for domain in ["a", "b", "c"] {
                bench.add(domain, NOON + hour * HOUR, 1);
            }
        }
        let domain_days = BTreeMap::from([("b".to_owned(), 1), ("c".to_owned(), 90)]);
        let keep = Keep { domain_days, ..keep() };
        let first = bench.sweep(&keep);
        assert_eq!((first.of(Why::Days), first.more), (30, true), "a tenth at most");
        while bench.sweep(&keep).more {}
        let newest = NOON + 99 * HOUR;
        assert_eq!(bench.starts("a")[0], newest - 48 * HOUR);
        assert_eq!(bench.starts("b")[0], newest - 24 * HOUR);
        assert_eq!(bench.starts("c").len(), 100);
        assert_eq!(bench.sweep(&keep), Swept { left: bench.index.bytes().unwrap(), ..Swept::default() });
    }

    #[test]
    fn a_bound_takes_whole_hours_oldest_first_and_never_what_is_downloaded() {
        let bench = Bench::new();
        for hour in 0..20 {
            for (domain, serial) in [("a", 1), ("a", 2), ("b", 1)] {
                bench.add(domain, NOON + hour * HOUR, serial);
            }
        }
        let lease = bench.leases.lease(&name::path("a", NOON, 2));
        let keep = Keep { bytes_max: 5600, ..keep() };
        let swept = bench.sweep(&keep);
        // The hour of b goes, that of a stays with both its files; then a's next hour, and so on.
        assert_eq!((swept.of(Why::Bound), swept.left, swept.more), (4, 5600, false));
        assert_eq!(bench.starts("a")[..3], [NOON, NOON, NOON + 2 * HOUR]);
        assert_eq!(bench.starts("b")[0], NOON + 2 * HOUR);
        drop(lease);
        let swept = bench.sweep(&Keep { bytes_max: u64::MAX, missing: 150, ..keep });
        assert_eq!((swept.of(Why::Reserve), swept.bytes), (2, 200));
        assert_eq!(bench.starts("a")[0], NOON + 2 * HOUR);
    }

    #[test]
    fn one_slot_goes_however_large_it_is() {
        let bench = Bench::new();
        bench.add("a", NOON, 1);
        bench.add("a", NOON + HOUR, 1);
        let swept = bench.sweep(&Keep { bytes_max: 0, ..keep() });
        assert_eq!((swept.of(Why::Bound), swept.more), (1, true));
        assert_eq!(bench.starts("a"), [NOON + HOUR]);
    }

    #[test]
    fn what_a_crash_left_goes_and_what_is_not_listed_yet_stays() {
        let bench = Bench::new();
        for hour in 0..3 {
            bench.add("a", NOON + hour * HOUR, 1);
        }
        bench.add("gone", NOON, 1);
        // The rows went, the files did not.
        bench.index.remove(&[("a".into(), NOON), ("gone".into(), NOON)]).unwrap();
        let unlisted = bench.root().join(name::path("a", NOON, 2));
        fs::write(&unlisted, b"of a batch that is still in the spool").unwrap();
        assert_eq!(leftovers(&bench.index, &bench.root()).unwrap(), 2);
        assert!(unlisted.exists() && !bench.root().join("gone").exists());
        fs::remove_file(unlisted).unwrap();
        assert_eq!(bench.starts("a"), [NOON + HOUR, NOON + 2 * HOUR]);
        assert_eq!(leftovers(&bench.index, &bench.root()).unwrap(), 0);
    }
}
