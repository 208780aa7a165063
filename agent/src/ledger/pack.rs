//! Packs: preallocated append-only files that hold the larger pieces, without any framing (DESIGN 5).
//!
//! Promises: a piece lies in one pack; a pack's end moves only after the transaction that names its bytes, so what a
//! rolled back commit wrote is written over; the id of a pack that a row has named never comes back.
//! Must not know: SQLite, batches.
use super::disk::Disk;
use super::error::Fault;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Packs are at most this large, bytes.
const PACK_BYTES_MAX: u64 = 64 << 20;

/// One pack file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pack {
    /// Offset after the last byte that a row names.
    pub end: u64,
    /// Bytes that rows name.
    pub live: u64,
    /// Bytes that the file takes of the disk.
    pub allocated: u64,
}

/// All packs of the spool.
#[derive(Debug)]
pub(super) struct Packs {
    all: BTreeMap<u64, Pack>,
    current: Option<u64>,
    next: u64,
    pack_bytes: u64,
    dir_dirty: bool,
    pinned: BTreeSet<u64>,
}

/// What a transaction is about to change: becomes true only by [`Packs::apply`].
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// For each pack: its new end, and the bytes that rows name more or less.
    packs: BTreeMap<u64, (u64, i64)>,
    writes: Vec<Write>,
}

#[derive(Debug)]
struct Write {
    pack: u64,
    offset: u64,
    len: u64,
    parts: Vec<Bytes>,
}

/// A failure point.
pub(super) fn point<D: Disk>(disk: &mut D, name: &'static str) -> Result<(), Fault> {
    disk.point(name).map_err(|error| Fault::sync(name.to_owned(), "failure point", error))
}

/// How large packs are below a limit of the whole spool (RULINGS 7).
fn pack_bytes(limit_bytes: u64) -> u64 {
    (limit_bytes / 16).clamp(1, PACK_BYTES_MAX)
}

impl Packs {
    /// No packs yet; `next` is an id that no pack ever had.
    pub fn new(limit_bytes: u64, next: u64) -> Packs {
        Packs {
            all: BTreeMap::new(),
            current: None,
            next,
            pack_bytes: pack_bytes(limit_bytes),
            dir_dirty: false,
            pinned: BTreeSet::new(),
        }
    }

    /// A pack that an earlier start has left.
    pub fn found(&mut self, id: u64, pack: Pack) {
        self.all.insert(id, pack);
    }

    /// The spool's present limit: new packs are a sixteenth of it.
    pub fn set_limit(&mut self, limit_bytes: u64) {
        self.pack_bytes = pack_bytes(limit_bytes);
    }

    /// How large a new pack is made, bytes.
    pub fn pack_bytes(&self) -> u64 {
        self.pack_bytes
    }

    /// What all packs take of the disk, bytes.
    pub fn allocated(&self) -> u64 {
        self.all.values().map(|pack| pack.allocated).sum()
    }

    /// Room in the pack that is being filled, bytes.
    pub fn spare(&self) -> u64 {
        self.current.map_or(0, |id| self.all[&id].allocated.saturating_sub(self.all[&id].end))
    }

    /// What `len` more bytes need at most beyond the present room.
    pub fn growth(&self, len: u64) -> u64 {
        if len <= self.spare() { 0 } else { len.div_ceil(self.pack_bytes) * self.pack_bytes }
    }

    /// Finds a place for a piece; makes a pack when it must. Nothing is written yet.
    pub fn place<D: Disk>(
        &mut self,
        disk: &mut D,
        draft: &mut Draft,
        parts: &[Bytes],
        len: u64,
    ) -> Result<(u64, u64), Fault> {
        let room = |packs: &Packs, draft: &Draft, id: u64| {
            let end = draft.packs.get(&id).map_or(packs.all[&id].end, |(end, _)| *end);
            (packs.all[&id].allocated.saturating_sub(end) >= len).then_some(end)
        };
        let (pack, offset) = match self.current.and_then(|id| Some((id, room(self, draft, id)?))) {
            Some(place) => place,
            None => (self.create(disk, len.max(self.pack_bytes))?, 0),
        };
        let entry = draft.packs.entry(pack).or_insert((offset, 0));
        entry.0 = offset + len;
        entry.1 += len as i64;
        match draft.writes.last_mut() {
            Some(write) if write.pack == pack && write.offset + write.len == offset => {
                write.len += len;
                write.parts.extend_from_slice(parts);
            }
            _ => draft.writes.push(Write { pack, offset, len, parts: parts.to_vec() }),
        }
        Ok((pack, offset))
    }

    fn create<D: Disk>(&mut self, disk: &mut D, bytes: u64) -> Result<u64, Fault> {
        let id = self.next;
        point(disk, "pack.create.before")?;
        disk.pack_create(id, bytes)
            .map_err(|error| Fault::write(disk.pack_label(id), "preallocate", error))?;
        self.next += 1;
        self.all.insert(id, Pack { end: 0, live: 0, allocated: bytes });
        self.current = Some(id);
        self.dir_dirty = true;
        point(disk, "pack.create.after")?;
        Ok(id)
    }

    /// Writes what was placed and makes it durable: P4 (a), (b), (c).
    pub fn write<D: Disk>(&mut self, disk: &mut D, draft: &Draft) -> Result<(), Fault> {
        for write in &draft.writes {
            point(disk, "pack.append.before")?;
            disk.pack_append(write.pack, write.offset, &write.parts)
                .map_err(|error| Fault::write(disk.pack_label(write.pack), "write", error))?;
            point(disk, "pack.append.after")?;
        }
        let written: BTreeSet<u64> = draft.writes.iter().map(|write| write.pack).collect();
        for pack in written {
            point(disk, "pack.sync.before")?;
            disk.pack_sync(pack).map_err(|error| Fault::sync(disk.pack_label(pack), "fdatasync", error))?;
            point(disk, "pack.sync.after")?;
        }
        if self.dir_dirty {
            point(disk, "dir.sync.before")?;
            disk.dir_sync().map_err(|error| Fault::sync("spool directory".to_owned(), "fsync", error))?;
            self.dir_dirty = false;
            point(disk, "dir.sync.after")?;
        }
        Ok(())
    }

    /// Notes that rows will name `len` bytes less of a pack.
    pub fn release(&self, draft: &mut Draft, pack: u64, len: u64) {
        let end = self.all.get(&pack).map_or(0, |found| found.end);
        draft.packs.entry(pack).or_insert((end, 0)).1 -= len as i64;
    }

    /// The packs that the transaction changes, as they will be.
    pub fn drafted(&self, draft: &Draft) -> Vec<(u64, Pack)> {
        let becomes = |id: &u64, (end, change): &(u64, i64)| {
            let pack = self.all[id];
            let live = pack.live.checked_add_signed(*change).expect("INVARIANT: live bytes of a pack");
            (*id, Pack { end: *end, live, ..pack })
        };
        draft.packs.iter().map(|(id, change)| becomes(id, change)).collect()
    }

    /// The transaction is durable: the draft is true now. Answers with the packs that rows name no byte of any more.
    pub fn apply(&mut self, draft: &Draft) -> Vec<u64> {
        for (id, pack) in self.drafted(draft) {
            debug_assert!(pack.end <= pack.allocated && pack.live <= pack.end, "pack {id}: {pack:?}");
            self.all.insert(id, pack);
        }
        self.emptied(&Draft::default())
    }

    /// Packs that rows will name no byte of after the transaction, without the one that is being filled.
    pub fn emptied(&self, draft: &Draft) -> Vec<u64> {
        let becomes: BTreeMap<u64, Pack> = self.drafted(draft).into_iter().collect();
        let live = |id: &u64, pack: &Pack| becomes.get(id).unwrap_or(pack).live;
        let unused =
            |(id, pack): (&u64, &Pack)| (live(id, pack) == 0 && !self.is_current(*id)).then_some(*id);
        self.all.iter().filter_map(unused).collect()
    }

    /// Whether a pack is the one that is being filled.
    pub fn is_current(&self, id: u64) -> bool {
        self.current == Some(id)
    }

    /// Removes a pack whose row is gone (PROTOCOL I9: only packs of our own spool are ever seen here).
    pub fn unlink<D: Disk>(&mut self, disk: &mut D, id: u64) -> Result<(), Fault> {
        point(disk, "pack.unlink.before")?;
        disk.pack_unlink(id).map_err(|error| Fault::sync(disk.pack_label(id), "unlink", error))?;
        self.all.remove(&id);
        point(disk, "pack.unlink.after")
    }

    /// Gives the unused rest of packs back that are not filled any more.
    pub fn trim<D: Disk>(&mut self, disk: &mut D) -> Result<(), Fault> {
        for (id, pack) in &mut self.all {
            if Some(*id) != self.current && pack.allocated > pack.end {
                point(disk, "pack.trim.before")?;
                disk.pack_trim(*id, pack.end)
                    .map_err(|error| Fault::sync(disk.pack_label(*id), "truncate", error))?;
                pack.allocated = pack.end;
                point(disk, "pack.trim.after")?;
            }
        }
        Ok(())
    }

    /// The pack stays where it is until this process ends: something in it cannot be read.
    pub fn pin(&mut self, id: u64) {
        self.pinned.insert(id);
    }

    /// The pack whose live rest is the smallest part of it, when moving that on is worth it: at most a quarter, or three
    /// when there is little room. A job whose batches stay then takes little more than they are, however its packs were
    /// shared with jobs that have delivered theirs.
    pub fn sparse(&self, tight: bool) -> Option<u64> {
        let quarters = if tight { 3 } else { 1 };
        let old = self.all.iter().filter(|(id, _)| Some(**id) != self.current && !self.pinned.contains(id));
        let sparse = old.filter(|(_, pack)| pack.live > 0 && pack.live <= pack.end / 4 * quarters);
        sparse.min_by_key(|(_, pack)| pack.live * 1000 / pack.end.max(1)).map(|(id, _)| *id)
    }
}
