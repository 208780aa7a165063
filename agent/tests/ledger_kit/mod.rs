//! What the ledger's tests share: a disk that forgets what was not synced, and short ways to say events.
//!
//! Promises: [`MemDisk::power_cut`] keeps synced bytes and names only, and tears the rest by a seed.
//! Must not know: what a test asserts.
#![allow(dead_code, clippy::unwrap_used)]
use bytes::Bytes;
use edgepush::ledger::{Disk, Ledger, LedgerError, LedgerEvent, LedgerReply, LedgerSettings, Recovered};
use edgepush::protocol::*;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

pub const WALL: i64 = 1_700_000_000_000_000_000;

#[derive(Clone, Debug, Default)]
struct PackFile {
    written: Vec<u8>,
    synced: Vec<u8>,
    name_synced: bool,
}

/// A disk in memory: what was not synced is torn by a power cut.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    packs: BTreeMap<u64, PackFile>,
    pub free: u64,
    pub total: u64,
    /// Every operation and point in order.
    pub journal: Vec<String>,
    /// The operation (from 0) that fails, and every one after it.
    pub fail_at: Option<usize>,
    pub fail_with: Option<i32>,
    /// The operation of this name fails once with this errno.
    pub fail_once: Option<(String, i32)>,
    pub synced_sources: BTreeSet<SourceId>,
}

impl MemDisk {
    pub fn new() -> MemDisk {
        MemDisk { free: 1 << 40, total: 1 << 40, ..MemDisk::default() }
    }

    fn op(&mut self, name: &str) -> io::Result<()> {
        let at = self.journal.len();
        self.journal.push(name.to_owned());
        if self.fail_at.is_some_and(|fail| at >= fail) {
            return Err(io::Error::from_raw_os_error(self.fail_with.unwrap_or(libc::EIO)));
        }
        if self.fail_once.as_ref().is_some_and(|(op, _)| op == name) {
            let (_, errno) = self.fail_once.take().unwrap();
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(())
    }

    fn rearm(&mut self) {
        self.journal.clear();
        self.fail_at = None;
        self.fail_once = None;
    }

    /// The process dies; the machine lives: everything written is there.
    pub fn kill(mut self) -> MemDisk {
        self.rearm();
        self
    }

    /// The machine dies: what was not synced is gone, or torn, or there, by the seed.
    pub fn power_cut(mut self, seed: u64) -> MemDisk {
        self.rearm();
        let mut dice = seed;
        let mut roll = |n: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % n
        };
        self.packs.retain(|_, pack| {
            if !pack.name_synced && roll(2) == 0 {
                return false;
            }
            for at in 0..pack.written.len() {
                let old = pack.synced.get(at).copied();
                if old != Some(pack.written[at]) && roll(2) == 0 {
                    pack.written[at] = old.unwrap_or(0xEE);
                }
            }
            let least = pack.synced.len().min(pack.written.len());
            let keep = least + roll((pack.written.len() - least + 1) as u64) as usize;
            pack.written.truncate(keep);
            pack.synced = pack.written.clone();
            pack.name_synced = true;
            true
        });
        self
    }

    pub fn pack_ids(&self) -> Vec<u64> {
        self.packs.keys().copied().collect()
    }

    pub fn put_pack(&mut self, id: u64, written: &[u8]) {
        let written = written.to_vec();
        self.packs.insert(id, PackFile { synced: written.clone(), written, name_synced: true });
    }

    pub fn pack_len(&self, id: u64) -> usize {
        self.packs[&id].written.len()
    }
}

fn missing() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

impl Disk for MemDisk {
    fn pack_create(&mut self, pack: u64, _bytes: u64) -> io::Result<()> {
        self.op("create")?;
        assert!(self.packs.insert(pack, PackFile::default()).is_none());
        Ok(())
    }
    fn pack_append(&mut self, pack: u64, offset: u64, parts: &[Bytes]) -> io::Result<()> {
        let torn = self.op("append");
        let file = self.packs.get_mut(&pack).ok_or_else(missing)?;
        let bytes = parts.concat();
        // A write that fails may have written a part.
        let len = if torn.is_err() { bytes.len() / 2 } else { bytes.len() };
        let end = offset as usize + len;
        if file.written.len() < end {
            file.written.resize(end, 0);
        }
        file.written[offset as usize..end].copy_from_slice(&bytes[..len]);
        torn
    }
    fn pack_sync(&mut self, pack: u64) -> io::Result<()> {
        self.op("sync")?;
        let file = self.packs.get_mut(&pack).ok_or_else(missing)?;
        file.synced = file.written.clone();
        Ok(())
    }
    fn dir_sync(&mut self) -> io::Result<()> {
        self.op("dir_sync")?;
        self.packs.values_mut().for_each(|pack| pack.name_synced = true);
        Ok(())
    }
    fn pack_read(&mut self, pack: u64, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        self.op("read")?;
        let written = &self.packs.get(&pack).ok_or_else(missing)?.written;
        Ok(written
            .get(offset as usize..(offset + len) as usize)
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .to_vec())
    }
    fn pack_unlink(&mut self, pack: u64) -> io::Result<()> {
        self.op("unlink")?;
        self.packs.remove(&pack);
        Ok(())
    }
    fn pack_trim(&mut self, pack: u64, bytes: u64) -> io::Result<()> {
        self.op("trim")?;
        let file = self.packs.get_mut(&pack).ok_or_else(missing)?;
        file.written.truncate(bytes as usize);
        file.synced.truncate(bytes as usize);
        Ok(())
    }
    fn packs(&mut self) -> io::Result<Vec<u64>> {
        self.op("packs")?;
        Ok(self.pack_ids())
    }
    fn source_sync(&mut self, source: SourceId) -> io::Result<()> {
        self.op("source_sync")?;
        self.synced_sources.insert(source);
        Ok(())
    }
    fn free_bytes(&mut self) -> io::Result<(u64, u64)> {
        Ok((self.free, self.total))
    }
    fn point(&mut self, name: &'static str) -> io::Result<()> {
        assert!(edgepush::ledger::POINTS.contains(&name), "{name} is not in POINTS");
        self.op(name)
    }
}

/// A directory for SQLite's files: in memory where there is one, as no test here cuts SQLite's own power.
pub fn quick_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub fn now() -> Now {
    Now { wall: WALL, ..Now::default() }
}

pub fn settings() -> LedgerSettings {
    LedgerSettings {
        limit_bytes: 64_000_000,
        machine_id: "machine-1".into(),
        boot_id: "boot-1".into(),
        new_id: Some(0xfeed_0000_0000_0000_0000_0000_0000_0001),
        small_bytes: 64,
        ..LedgerSettings::default()
    }
}

pub fn open_at(
    dir: &Path,
    disk: MemDisk,
    settings: LedgerSettings,
) -> Result<(Ledger<MemDisk>, Recovered), LedgerError> {
    Ledger::open(Connection::open(dir.join("ledger.db")).unwrap(), disk, settings, now())
}

pub fn open(dir: &Path, disk: MemDisk) -> (Ledger<MemDisk>, Recovered) {
    open_at(dir, disk, settings()).unwrap()
}

/// The process ends without a word; the disk as it is.
pub fn kill(ledger: Ledger<MemDisk>) -> MemDisk {
    ledger.into_parts().1.kill()
}

pub fn new_source(token: u64, begin: u64) -> NewSource {
    NewSource {
        token,
        ident: FileIdent { dev: 1, ino: 100 + token, btime: Some(5) },
        path: format!("/var/log/{token}.log").into(),
        head: Head { len: 10, hash: token },
        size: 1000,
        begin,
    }
}

pub fn naming() -> Arc<Naming> {
    Arc::new(Naming {
        path: "{JOB}/{DATE}".into(),
        suffix: ".log.gz".into(),
        host: "edge1".into(),
        job: "env".into(),
        dataset: "raw".into(),
        ..Naming::default()
    })
}

pub fn batch(row: Option<BatchId>, body: &[u8], close: bool) -> BatchCommit {
    BatchCommit {
        open: OpenKey(row.map_or(77, |id| id.0)),
        row,
        job: JobId::ENV,
        version: 3,
        codec: CodecKind::Gzip,
        container: Container::Members,
        naming: naming(),
        piece: if body.is_empty() { Vec::new() } else { vec![Bytes::copy_from_slice(body)] },
        records: u32::from(!body.is_empty()) * 10,
        raw: body.len() as u64 * 4,
        first: WALL,
        last: WALL + 1_000_000_000,
        close,
    }
}

/// A whole batch of rejects.
pub fn rejects(body: &[u8], records: u32) -> BatchCommit {
    let naming = Naming { path: String::new(), job: "_rejects".into(), ..(*naming()).clone() };
    BatchCommit {
        job: JobId::REJECTS,
        version: 1,
        records,
        naming: Arc::new(naming),
        ..batch(None, body, true)
    }
}

pub fn logged(source: SourceId, start: u64, end: u64) -> Logged {
    let evidence = Evidence { head_len: 20, head_hash: 99, tail_hash: end ^ 0xabc, size_seen: end + 5 };
    Logged { source, start, end, evidence }
}

pub fn commit(epoch: u64, batches: Vec<BatchCommit>, log: Vec<Logged>) -> LedgerEvent {
    LedgerEvent::Commit(Commit {
        epoch,
        batches,
        shelves: Vec::new(),
        logs: vec![(GroupId::MAIN, log)],
        jobs: None,
    })
}

pub fn judged(id: BatchId, fate: Fate) -> LedgerEvent {
    LedgerEvent::Judge(vec![Judged { id, fate, reason: String::new() }])
}

/// What groups have decided, and changes of the jobs.
pub fn commit_of(logs: Vec<(GroupId, Vec<Logged>)>, jobs: Option<JobsCommit>) -> LedgerEvent {
    LedgerEvent::Commit(Commit {
        epoch: 1,
        batches: Vec::new(),
        shelves: Vec::new(),
        logs,
        jobs: jobs.map(Arc::new),
    })
}

/// A job's row in its group.
pub fn job_row(id: JobId, group: GroupId) -> JobRow {
    JobRow {
        id,
        group,
        version: 1,
        config: "{}".into(),
        last_complete: None,
        last_error: None,
        error_message: None,
    }
}

pub fn committed(replies: Vec<LedgerReply>) -> Committed {
    match replies.into_iter().next().unwrap() {
        LedgerReply::Committed(committed) => committed,
        other => panic!("not committed: {other:?}"),
    }
}

pub fn register<D: Disk>(ledger: &mut Ledger<D>, new: Vec<NewSource>) -> Vec<(u64, SourceId, u64)> {
    match ledger.step(now(), LedgerEvent::Register(new)).unwrap().swap_remove(0) {
        LedgerReply::Registered(rows) => rows,
        other => panic!("not registered: {other:?}"),
    }
}

/// A body that cannot be told from random, of its own for each seed.
pub fn body(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| ((seed + 1).wrapping_mul(at.wrapping_mul(0x9E37_79B9) + 7) >> 13) as u8)
        .collect()
}

/// The bytes of a batch, from the disk, with their CRC checked.
pub fn stored<D: Disk>(ledger: &mut Ledger<D>, batch: &Spooled) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in &batch.pieces {
        let bytes = match piece.at {
            PieceAt::Pack { pack, offset } => ledger.disk_mut().pack_read(pack, offset, piece.len).unwrap(),
            PieceAt::Ledger { seq } => ledger
                .connection()
                .query_row(
                    "SELECT bytes FROM piece WHERE batch = ?1 AND seq = ?2",
                    [batch.id.0 as i64, i64::from(seq)],
                    |r| r.get(0),
                )
                .unwrap(),
        };
        assert_eq!(crc32fast::hash(&bytes), piece.crc, "piece of {:?}", batch.id);
        out.extend_from_slice(&bytes);
    }
    out
}
