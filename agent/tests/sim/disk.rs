//! The simulated spool disk. Fault model: what is not synced may be kept, zeroed, torn in the middle or gone after a
//! power cut; a file whose directory entry is not synced may be gone; a kill loses nothing that was written. Every call
//! may be the one at which the process ends (the fuse), before or after its effect.
use crate::rng::Rng;
use bytes::Bytes;
use edgepush::ledger::Disk;
use edgepush::protocol::SourceId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

#[derive(Clone, Debug, Default)]
struct Pack {
    data: Vec<u8>,
    unsynced: Vec<(usize, usize)>,
    named: bool,
}

/// What survives the process.
#[derive(Debug)]
pub struct DiskState {
    packs: BTreeMap<u64, Pack>,
    rng: Rng,
    /// Disk calls until the process ends.
    pub fuse: Option<u32>,
    /// The process ended at a disk call; its name.
    pub crashed: Option<&'static str>,
    /// Sources to fdatasync (PROTOCOL P4d); the world does it.
    pub sync_sources: Vec<SourceId>,
    /// Writes answer with ENOSPC.
    pub full: bool,
    /// Names of the points that were passed, for coverage.
    pub passed: BTreeMap<&'static str, u64>,
    /// How often the process ended at which call.
    pub ended: BTreeMap<&'static str, u64>,
}

/// A handle for the ledger; the state outlives it.
#[derive(Clone)]
pub struct SimDisk(pub Rc<RefCell<DiskState>>);

impl SimDisk {
    pub fn new(rng: Rng) -> SimDisk {
        SimDisk(Rc::new(RefCell::new(DiskState {
            packs: BTreeMap::new(),
            rng,
            fuse: None,
            crashed: None,
            sync_sources: Vec::new(),
            full: false,
            passed: BTreeMap::new(),
            ended: BTreeMap::new(),
        })))
    }

    /// What a power cut leaves.
    pub fn power_cut(&self) {
        let state = &mut *self.0.borrow_mut();
        let rng = &mut state.rng;
        state.packs.retain(|_, pack| pack.named || rng.one_in(2));
        for pack in state.packs.values_mut() {
            pack.named = true;
            for (start, end) in std::mem::take(&mut pack.unsynced) {
                let kept = start + rng.below(end - start + 1);
                match rng.below(3) {
                    0 => pack.data[start..end].fill(0),
                    1 => pack.data[kept..end].fill(0),
                    _ => {}
                }
            }
        }
    }

    /// Bytes of a pack, as the running system sees them.
    pub fn read(&self, pack: u64, offset: u64, len: u64) -> Option<Vec<u8>> {
        let state = self.0.borrow();
        let data = &state.packs.get(&pack)?.data;
        data.get(offset as usize..(offset + len) as usize).map(<[u8]>::to_vec)
    }

    fn call(&self, name: &'static str) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        if state.crashed.is_some() {
            return Err(io::Error::other("the process has ended"));
        }
        *state.passed.entry(name).or_default() += 1;
        if let Some(fuse) = &mut state.fuse {
            if *fuse == 0 {
                state.fuse = None;
                state.crashed = Some(name);
                *state.ended.entry(name).or_default() += 1;
                return Err(io::Error::other("the process has ended"));
            }
            *fuse -= 1;
        }
        Ok(())
    }

    fn space(&self) -> io::Result<()> {
        if self.0.borrow().full { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no such pack")
}

impl Disk for SimDisk {
    fn pack_create(&mut self, pack: u64, bytes: u64) -> io::Result<()> {
        self.call("pack_create")?;
        self.space()?;
        let data = vec![0; bytes as usize];
        self.0.borrow_mut().packs.insert(pack, Pack { data, ..Pack::default() });
        Ok(())
    }

    fn pack_append(&mut self, pack: u64, offset: u64, parts: &[Bytes]) -> io::Result<()> {
        let before = self.call("pack_append");
        self.space()?;
        let state = &mut *self.0.borrow_mut();
        let file = state.packs.get_mut(&pack).ok_or_else(gone)?;
        let whole: usize = parts.iter().map(Bytes::len).sum();
        let mut left = if before.is_err() { state.rng.below(whole + 1) } else { whole };
        let mut at = offset as usize;
        for part in parts {
            let n = part.len().min(left);
            if file.data.len() < at + n {
                file.data.resize(at + n, 0);
            }
            file.data[at..at + n].copy_from_slice(&part[..n]);
            at += n;
            left -= n;
        }
        file.unsynced.push((offset as usize, at));
        before
    }

    fn pack_sync(&mut self, pack: u64) -> io::Result<()> {
        self.call("pack_sync")?;
        self.0.borrow_mut().packs.get_mut(&pack).ok_or_else(gone)?.unsynced.clear();
        Ok(())
    }

    fn dir_sync(&mut self) -> io::Result<()> {
        self.call("dir_sync")?;
        self.0.borrow_mut().packs.values_mut().for_each(|pack| pack.named = true);
        Ok(())
    }

    fn pack_read(&mut self, pack: u64, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        self.call("pack_read")?;
        self.read(pack, offset, len).ok_or_else(gone)
    }

    fn pack_unlink(&mut self, pack: u64) -> io::Result<()> {
        self.call("pack_unlink")?;
        self.0.borrow_mut().packs.remove(&pack);
        Ok(())
    }

    fn pack_trim(&mut self, pack: u64, bytes: u64) -> io::Result<()> {
        self.call("pack_trim")?;
        let state = &mut *self.0.borrow_mut();
        let file = state.packs.get_mut(&pack).ok_or_else(gone)?;
        file.data.truncate(bytes as usize);
        file.unsynced.retain_mut(|(start, end)| {
            *end = (*end).min(bytes as usize);
            start < end
        });
        Ok(())
    }

    fn packs(&mut self) -> io::Result<Vec<u64>> {
        self.call("packs")?;
        Ok(self.0.borrow().packs.keys().copied().collect())
    }

    fn source_sync(&mut self, source: SourceId) -> io::Result<()> {
        self.call("source_sync")?;
        self.0.borrow_mut().sync_sources.push(source);
        Ok(())
    }

    fn free_bytes(&mut self) -> io::Result<(u64, u64)> {
        Ok((1 << 40, 1 << 41))
    }

    fn point(&mut self, name: &'static str) -> io::Result<()> {
        self.call(name)
    }
}
