//! The simulated log directory and its writer. Fault model: the writer never syncs; a power cut takes any part of what
//! was not synced from a file's end, in the middle of a line too; an inode number may come back for another file.
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// One file, whatever its name.
#[derive(Clone, Debug)]
pub struct Inode {
    pub ino: u64,
    pub btime: i64,
    pub data: Vec<u8>,
    pub synced: usize,
    pub nlink: u64,
}

/// The directory `/log`.
#[derive(Debug)]
pub struct Logs {
    /// Path → index of the file.
    pub names: BTreeMap<String, usize>,
    pub files: Vec<Inode>,
    free: Vec<u64>,
    next_ino: u64,
    clock: i64,
    rng: Rng,
    seq: u64,
    /// Every line that was written whole.
    pub written: BTreeSet<u64>,
    /// Lines that the log itself lost or tore, or that copytruncate cut away: may be missing, never double.
    pub excused: BTreeSet<u64>,
    /// Where each line lies: file, start, end.
    lines: BTreeMap<u64, (usize, usize, usize)>,
    /// A copy was made and its original is not truncated yet: (original, length copied).
    copying: Option<(usize, usize)>,
    partial: bool,
}

pub const LIVE: &str = "/log/access.log";

impl Logs {
    pub fn new(rng: Rng) -> Logs {
        let mut logs = Logs {
            names: BTreeMap::new(),
            files: Vec::new(),
            free: Vec::new(),
            next_ino: 100,
            clock: 1,
            rng,
            seq: 0,
            written: BTreeSet::new(),
            excused: BTreeSet::new(),
            lines: BTreeMap::new(),
            copying: None,
            partial: false,
        };
        logs.create(LIVE);
        logs
    }

    fn create(&mut self, path: &str) -> usize {
        let reuse = !self.free.is_empty() && self.rng.one_in(2);
        let ino = if reuse { self.free.swap_remove(0) } else { self.next_ino };
        if !reuse {
            self.next_ino += 1;
        }
        self.clock += 1;
        self.files.push(Inode { ino, btime: self.clock, data: Vec::new(), synced: 0, nlink: 1 });
        self.names.insert(path.into(), self.files.len() - 1);
        self.files.len() - 1
    }

    fn live(&mut self) -> usize {
        match self.names.get(LIVE) {
            Some(&at) => at,
            None => self.create(LIVE),
        }
    }

    /// Appends one line, or begins or ends one.
    pub fn write(&mut self) {
        let at = self.live();
        let start = self.files[at].data.len();
        if std::mem::take(&mut self.partial) {
            self.files[at].data.extend_from_slice(b"\"}\n");
            self.end_line(at, self.lines[&self.seq].1);
            return;
        }
        self.seq += 1;
        if self.files[at].data.last().is_some_and(|&b| b != b'\n') {
            self.excused.insert(self.seq); // It joins a line that a power cut tore.
        }
        let pad = "x".repeat(self.rng.below(60));
        let line = format!("{{\"n\":{},\"p\":\"{pad}", self.seq);
        self.files[at].data.extend_from_slice(line.as_bytes());
        self.lines.insert(self.seq, (at, start, usize::MAX));
        if self.rng.one_in(8) {
            self.partial = true;
            return;
        }
        self.files[at].data.extend_from_slice(b"\"}\n");
        self.end_line(at, start);
    }

    fn end_line(&mut self, at: usize, start: usize) {
        self.lines.insert(self.seq, (at, start, self.files[at].data.len()));
        self.written.insert(self.seq);
    }

    /// A line that is no record: a reject.
    pub fn write_garbage(&mut self) {
        if !self.partial {
            let at = self.live();
            self.files[at].data.extend_from_slice(b"not json\n");
        }
    }

    fn finish_line(&mut self) {
        if self.partial {
            self.write();
        }
    }

    /// Rename and create; keeps three old files.
    pub fn rotate(&mut self) {
        self.finish_line();
        self.copying = None;
        if let Some(gone) = self.names.remove("/log/access.log.3") {
            self.unlink(gone);
        }
        for n in (1..=2).rev() {
            if let Some(at) = self.names.remove(&format!("{LIVE}.{n}")) {
                self.names.insert(format!("{LIVE}.{}", n + 1), at);
            }
        }
        if let Some(at) = self.names.remove(LIVE) {
            self.names.insert(format!("{LIVE}.1"), at);
        }
        self.create(LIVE);
    }

    fn unlink(&mut self, at: usize) {
        self.files[at].nlink = 0;
        if self.rng.one_in(2) {
            self.free.push(self.files[at].ino);
        }
    }

    /// The first half of copytruncate: the copy gets the name `.1`, in or outside the glob.
    pub fn copy(&mut self) {
        if self.copying.is_some() {
            return;
        }
        self.finish_line();
        let at = self.live();
        for n in (1..=2).rev() {
            if let Some(old) = self.names.remove(&format!("{LIVE}.{n}")) {
                if let Some(gone) = self.names.insert(format!("{LIVE}.{}", n + 1), old) {
                    self.unlink(gone);
                }
            }
        }
        let data = self.files[at].data.clone();
        let copy = self.create(&format!("{LIVE}.1"));
        self.copying = Some((at, data.len()));
        self.files[copy].data = data;
    }

    /// The second half of copytruncate. What was written since the copy is lost by it.
    pub fn truncate(&mut self) {
        let Some((at, copied)) = self.copying.take() else { return };
        self.finish_line();
        let copy = self.names[&format!("{LIVE}.1")];
        for (&n, place) in &mut self.lines {
            if place.0 == at && place.1 >= copied {
                self.excused.insert(n);
            } else if place.0 == at {
                place.0 = copy;
            }
        }
        self.lines.retain(|_, place| place.0 != at);
        self.files[at].data.clear();
        self.files[at].synced = 0;
    }

    /// fdatasync of a file.
    pub fn sync(&mut self, at: usize) {
        self.files[at].synced = self.files[at].data.len();
    }

    /// The power goes: any part of what was not synced is gone.
    pub fn power_cut(&mut self) {
        self.copying = None;
        self.partial = false;
        for at in 0..self.files.len() {
            let file = &mut self.files[at];
            let kept = file.synced + self.rng.below(file.data.len() - file.synced + 1);
            file.data.truncate(kept);
            let torn = self.lines.iter().filter(|(_, place)| place.0 == at && place.2 > kept);
            self.excused.extend(torn.map(|(&n, _)| n));
        }
    }
}
