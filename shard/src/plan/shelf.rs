//! Shelf: in which domain and which slot of time of an archive a record belongs (INTERFACE 7).
//!
//! Promises: a record has one shelf, by its own time under the hour's rule and by the time at which it is processed under
//! the older one; what is missing, strange or too far ahead goes by the time of processing, counted. Nothing is allocated
//! per record once its domain was seen. However many hosts there are, memory is bounded: beyond the most domains all
//! others share one.
//! Must not know: files, serials, when a slot is published, clocks.
use super::digest::Map;
use super::fields::{FieldSlot, FieldTable, Resolved};
use super::host::Hosts;
use super::route::Positions;
use crate::limits::HOST_BYTES_MAX;
use crate::record::{Record, ValueKind};
use crate::ring::SlabKey;
use crate::segment::Shelf;
use crate::time::Time;
use std::borrow::Cow;
use std::sync::Arc;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
/// A record may be so much ahead of the clock, ns (INTERFACE 9).
const AHEAD_MAX: i64 = HOUR;
/// A domain that no record named for so long may give its place to another, ns.
const FORGOTTEN_AFTER: i64 = 24 * HOUR;
/// Sources whose own time is remembered.
const SOURCES_MAX: usize = 4096;
/// Keys of slabs from here on are shelves; those below are jobs.
const SHELVES: u32 = 1 << 31;

/// How an archive divides its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Whole hours of the records' own time.
    Hour,
    /// Five minutes of the time at which they are processed.
    FiveMinutes,
}

impl Rule {
    /// The other one.
    pub fn other(self) -> Rule {
        match self {
            Rule::Hour => Rule::FiveMinutes,
            Rule::FiveMinutes => Rule::Hour,
        }
    }
}

/// What an archive goes by.
#[derive(Clone, Debug)]
pub struct Shelving {
    /// In which fields a record's host stands; the first that it has.
    pub domain_fields: Arc<[String]>,
    /// In which fields its time stands; the first that it has.
    pub time_fields: Arc<[String]>,
    /// The rule.
    pub rule: Rule,
    /// Before this moment the other rule holds, ns since the epoch.
    pub since: Option<i64>,
    /// So long after its slot's end a record is late, ns; `None`: none ever is.
    pub late_after: Option<i64>,
    /// Whether late records are kept with the rejects; else they are only counted.
    pub late_kept: bool,
    /// Most domains; all others go to [`Shelving::other`].
    pub domains_max: usize,
    /// Hosts of all zones, where zones are told apart: every other host goes to [`Shelving::other`].
    pub zones: Option<Arc<[String]>>,
    /// The domain of a host.
    pub domain: fn(&[u8]) -> Cow<'_, str>,
    /// The domain of records without a host.
    pub invalid: &'static str,
    /// The domain of all other hosts.
    pub other: &'static str,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShelfCounts {
    /// Records that came too late.
    pub late: u64,
    /// Records that were too far ahead.
    pub ahead: u64,
    /// Records without a time that can be read.
    pub timeless: u64,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// A number of this shelver.
    domain: u32,
    /// The slot's start, s.
    start: i64,
    seconds: u32,
    /// The record's time, ns since the epoch.
    pub at: i64,
}

/// What a chunk is, as far as lateness goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its source.
    pub source: u64,
    /// Where it begins in it.
    pub start: u64,
    /// The source's size when it was read.
    pub size_seen: u64,
    /// What was held back by us is never late.
    pub catches_up: bool,
}

/// How far a source's own records have come.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// What lay before this was there when the source was first seen: the clock says nothing of it.
    old_below: u64,
    /// The latest time of it.
    latest: i64,
}

/// A shelf that has an open slab.
#[derive(Debug)]
struct Open {
    job: u32,
    key: (u64, i64),
    shelf: Arc<Shelf>,
}

/// Shelves the records of one shard.
#[derive(Debug)]
pub struct Shelver {
    shelving: Arc<Shelving>,
    table: FieldTable,
    domain_slots: Vec<FieldSlot>,
    time_slots: Vec<FieldSlot>,
    times: Times,
    domains: Domains,
    /// By source, and of the chunk in work.
    reached: Map<u64, Reach>,
    reading: Reading,
    reach: Reach,
    counts: ShelfCounts,
    open: Vec<Option<Open>>,
    free: Vec<u32>,
    by_key: Map<(u64, i64), u32>,
    last: Option<((u64, i64), u32)>,
}

impl Shelver {
    /// One that has seen nothing.
    pub fn new(shelving: Arc<Shelving>) -> Shelver {
        let mut table = FieldTable::new();
        let mut slots = |names: &[String]| names.iter().map(|name| table.intern(name)).collect();
        Shelver {
            domain_slots: slots(&shelving.domain_fields),
            time_slots: slots(&shelving.time_fields),
            times: Times::default(),
            domains: Domains::new(&shelving),
            reached: Map::default(),
            reading: Reading { source: u64::MAX, start: 0, size_seen: 0, catches_up: false },
            reach: Reach { old_below: 0, latest: i64::MIN },
            counts: ShelfCounts::default(),
            open: Vec::new(),
            free: Vec::new(),
            by_key: Map::default(),
            last: None,
            table,
            shelving,
        }
    }

    /// What it goes by.
    pub fn shelving(&self) -> &Arc<Shelving> {
        &self.shelving
    }

    /// What was counted since the start.
    pub fn counts(&self) -> ShelfCounts {
        self.counts
    }

    /// A chunk begins.
    pub fn begin(&mut self, reading: Reading) {
        if self.reached.len() >= SOURCES_MAX {
            self.reached.clear();
        }
        self.reached.insert(self.reading.source, self.reach);
        let first = Reach { old_below: reading.size_seen, latest: i64::MIN };
        self.reach = self.reached.get(&reading.source).copied().unwrap_or(first);
        self.reading = reading;
    }

    /// Where a record belongs that is processed at `wall`, ns since the epoch. `None`: it is too late.
    #[inline]
    pub fn shelve(&mut self, record: &Record<'_>, wall: i64) -> Option<Spot> {
        let since = self.shelving.since;
        let rule = match since.is_some_and(|since| wall < since) {
            true => self.shelving.rule.other(),
            false => self.shelving.rule,
        };
        let record = self.table.resolve(record);
        let domain = self.domains.of(&record, &self.domain_slots, wall);
        if rule == Rule::FiveMinutes {
            return Some(Spot { domain, start: slot_start(wall, 300), seconds: 300, at: wall });
        }
        let at = match self.times.of(&record, &self.time_slots) {
            None => {
                self.counts.timeless += 1;
                wall
            }
            Some(at) if at > wall.saturating_add(AHEAD_MAX) => {
                self.counts.ahead += 1;
                wall
            }
            Some(at) => at,
        };
        let start = slot_start(at, 3600);
        if self.is_late(start + 3600, wall) {
            self.counts.late += 1;
            return None;
        }
        self.reach.latest = self.reach.latest.max(at);
        Some(Spot { domain, start, seconds: 3600, at })
    }

    /// Whether a slot that ended then (s since the epoch) takes no more records. What was in a file when it was first
    /// seen may be of any age: it is late only behind what the file itself had come to.
    #[inline]
    fn is_late(&self, end: i64, wall: i64) -> bool {
        let Some(after) = self.shelving.late_after else { return false };
        if self.reading.catches_up {
            return false;
        }
        let now = if self.reading.start < self.reach.old_below { self.reach.latest } else { wall };
        now >= end.saturating_mul(SECOND).saturating_add(after)
    }

    /// The slab of a job's records on this shelf.
    #[inline]
    pub fn slab(&mut self, job: u32, spot: Spot) -> SlabKey {
        let slot = spot.start << 1 | i64::from(spot.seconds == 300);
        let key = (u64::from(job) << 32 | u64::from(spot.domain), slot);
        if let Some((last, number)) = self.last
            && last == key
        {
            return SlabKey(SHELVES | number);
        }
        let number = match self.by_key.get(&key) {
            Some(number) => *number,
            None => self.open(job, key, spot),
        };
        self.last = Some((key, number));
        SlabKey(SHELVES | number)
    }

    #[cold]
    fn open(&mut self, job: u32, key: (u64, i64), spot: Spot) -> u32 {
        let domain = self.domains.names[spot.domain as usize].clone();
        let shelf = Arc::new(Shelf { domain, start: spot.start, seconds: spot.seconds });
        let open = Some(Open { job, key, shelf });
        let number = match self.free.pop() {
            Some(number) => {
                self.open[number as usize] = open;
                number
            }
            None => {
                self.open.push(open);
                self.open.len() as u32 - 1
            }
        };
        self.by_key.insert(key, number);
        number
    }

    /// The job and the shelf of a slab; `None`: the slab is a job's own.
    #[inline]
    pub fn shelf(&self, slab: SlabKey) -> Option<(u32, &Arc<Shelf>)> {
        let number = Shelver::number(slab)?;
        let open = self.open[number as usize].as_ref().expect("INVARIANT: a shelf has its slab");
        Some((open.job, &open.shelf))
    }

    /// The shelves of a job that have a slab.
    pub fn slabs_of(&self, job: u32) -> impl Iterator<Item = SlabKey> + '_ {
        let of = move |(number, open): (usize, &Option<Open>)| {
            open.as_ref().filter(|open| open.job == job).map(|_| SlabKey(SHELVES | number as u32))
        };
        self.open.iter().enumerate().filter_map(of)
    }

    /// The shelf of a slab has none any more.
    pub fn close(&mut self, slab: SlabKey) {
        let Some(number) = Shelver::number(slab) else { return };
        if let Some(open) = self.open[number as usize].take() {
            self.by_key.remove(&open.key);
            self.free.push(number);
            self.last = None;
        }
    }

    /// Whether a slab is a shelf's.
    #[inline]
    pub fn is_shelf(slab: SlabKey) -> bool {
        slab.0 >= SHELVES
    }

    fn number(slab: SlabKey) -> Option<u32> {
        Shelver::is_shelf(slab).then_some(slab.0 & !SHELVES)
    }

    /// No slab is open: domains that nobody names any more may go.
    pub fn tidy(&mut self) {
        debug_assert!(self.by_key.is_empty(), "a shelf has a slab");
        self.domains.tidy();
    }
}

/// The start of the slot of so many seconds in which a time (ns) lies, s.
#[inline]
fn slot_start(at: i64, seconds: i64) -> i64 {
    let at = at.div_euclid(SECOND);
    at - at.rem_euclid(seconds)
}

/// The times of records, of which neighbours often have one.
#[derive(Debug, Default)]
struct Times {
    text: Vec<u8>,
    at: Option<i64>,
}

impl Times {
    /// A record's time, ns since the epoch.
    #[inline]
    fn of(&mut self, record: &Resolved<'_>, slots: &[FieldSlot]) -> Option<i64> {
        let member = slots.iter().find_map(|&slot| record.get(slot))?;
        if !matches!(member.kind, ValueKind::String | ValueKind::Number) {
            return None;
        }
        record.with_value(member, |text| {
            if self.text != text {
                self.text.clear();
                self.text.extend_from_slice(&text[..text.len().min(TIME_BYTES_MAX)]);
                self.at = read(text);
            }
            self.at
        })
    }
}

/// No time is longer; what is may not push the buffer out of its size.
const TIME_BYTES_MAX: usize = 128;

/// A time in any form that logs have, ns since the epoch. What stands at or before the epoch was never set.
fn read(text: &[u8]) -> Option<i64> {
    let time = if text.len() <= TIME_BYTES_MAX { Time::parse(text)? } else { return None };
    let nanos = time.seconds.checked_mul(SECOND)?.checked_add(i64::from(time.nanos))?;
    (nanos > 0).then_some(nanos)
}

/// The domains that were seen.
#[derive(Debug)]
struct Domains {
    shelving: Arc<Shelving>,
    zones: Option<Hosts>,
    /// By number; the first two are those of no host and of all other hosts.
    names: Vec<Arc<str>>,
    /// When a record of it was looked up last, ns.
    used: Vec<i64>,
    by_name: Map<Arc<str>, u32>,
    /// By the host as records write it.
    by_host: Map<Box<[u8]>, u32>,
    last_host: Vec<u8>,
    last: u32,
    /// When domains were forgotten last, ns.
    tidied: i64,
}

/// Records without a host.
const INVALID: u32 = 0;
/// All other hosts.
const OTHER: u32 = 1;

impl Domains {
    fn new(shelving: &Arc<Shelving>) -> Domains {
        let hosts = |zones: &Arc<[String]>| {
            let all = zones.iter().map(|host| (host.as_str(), 0));
            Hosts::new(all, &mut Positions::default())
        };
        Domains {
            zones: shelving.zones.as_ref().map(hosts),
            names: vec![shelving.invalid.into(), shelving.other.into()],
            used: vec![i64::MAX; 2],
            by_name: Map::default(),
            by_host: Map::default(),
            last_host: Vec::new(),
            last: INVALID,
            tidied: i64::MIN,
            shelving: shelving.clone(),
        }
    }

    #[inline]
    fn of(&mut self, record: &Resolved<'_>, slots: &[FieldSlot], wall: i64) -> u32 {
        let member = slots.iter().find_map(|&slot| record.get(slot));
        let Some(member) = member.filter(|member| member.kind == ValueKind::String) else { return INVALID };
        record.with_value(member, |host| {
            if host.len() > HOST_BYTES_MAX {
                return INVALID;
            }
            if self.last_host != host {
                self.last = self.look_up(host, wall);
                self.last_host.clear();
                self.last_host.extend_from_slice(host);
            }
            self.last
        })
    }

    fn look_up(&mut self, host: &[u8], wall: i64) -> u32 {
        let number = match self.by_host.get(host) {
            Some(number) => *number,
            None => self.learn(host),
        };
        if number > OTHER {
            self.used[number as usize] = wall;
        }
        number
    }

    #[cold]
    fn learn(&mut self, host: &[u8]) -> u32 {
        let domain = (self.shelving.domain)(host);
        let is_ours = |zones: &Hosts| {
            let mut found = false;
            zones.find(host, |_| found = true);
            found
        };
        let number = match &*domain {
            name if name == self.shelving.invalid => return INVALID,
            _ if self.zones.as_ref().is_some_and(|zones| !is_ours(zones)) => OTHER,
            name => match self.by_name.get(name) {
                Some(number) => *number,
                None if self.by_name.len() >= self.shelving.domains_max => return OTHER,
                None => self.add(name),
            },
        };
        // One domain has as many spellings as a client likes to invent.
        if self.by_host.len() >= 2 * self.shelving.domains_max + 1024 {
            self.by_host.clear();
        }
        self.by_host.insert(host.into(), number);
        number
    }

    fn add(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.used.push(0);
        let number = self.names.len() as u32 - 1;
        self.by_name.insert(name, number);
        number
    }

    /// Once there are as many domains as there may be, those that no record named for a day make room, once an hour.
    /// Numbers change: nothing may hold one.
    fn tidy(&mut self) {
        let now = self.used[2..].iter().copied().max().unwrap_or(i64::MIN);
        if self.by_name.len() < self.shelving.domains_max || now < self.tidied.saturating_add(HOUR) {
            return;
        }
        self.tidied = now;
        let mut kept: Vec<(Arc<str>, i64)> = Vec::new();
        for (name, used) in self.names.drain(..).zip(self.used.drain(..)).skip(2) {
            if used.saturating_add(FORGOTTEN_AFTER) > now {
                kept.push((name, used));
            }
        }
        self.names = vec![self.shelving.invalid.into(), self.shelving.other.into()];
        self.used = vec![i64::MAX; 2];
        self.by_name.clear();
        self.by_host.clear();
        self.last_host.clear();
        self.last = INVALID;
        for (name, used) in kept {
            let number = self.add(&name);
            self.used[number as usize] = used;
        }
    }
}

#[cfg(test)]
#[path = "shelf/tests.rs"]
mod tests;
