//! The simulated log directory and its writer. Fault model: the writer never syncs; a power cut takes any part of what
//! was not synced from a file's end, in the middle of a line too; an inode number may come back for another file; the
//! writer goes on in a file that was renamed or deleted until it is told to reopen.
//!
//! It also knows where each line's bytes are ("homes"), and so which lines may be lost (PROTOCOL S5): a line that has
//! no home left and was not committed. Everything else must arrive exactly once.
use crate::rng::Rng;
use edgepush_shard::limits::HEAD_BYTES_MAX;
use std::collections::{BTreeMap, BTreeSet};

/// One file, whatever its name.
#[derive(Clone, Debug)]
pub struct Inode {
    pub ino: u64,
    pub btime: i64,
    pub mtime: i64,
    pub data: Vec<u8>,
    /// So many bytes survive a power cut for sure.
    pub synced: usize,
    pub name: Option<String>,
    /// Descriptors that the agent holds.
    pub opens: u32,
    /// It is a copy of this file, which still has what was copied.
    copy_of: Option<usize>,
    /// It began as a copy.
    copied: bool,
    /// It is compressed, of this text, and whether it is whole.
    pub packed: Option<bool>,
    /// Lines that stand in it whole: number, start, end.
    lines: Vec<(u64, usize, usize)>,
}

/// Where a line's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    File(usize),
    /// The agent has read it and holds it.
    Memory,
}

/// What a run's logs are like.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// Rotation is by copytruncate, else by renaming; a log has one kind.
    pub copies: bool,
    /// Rotated files get names outside the glob.
    pub outside: bool,
    /// The file system knows no birth times.
    pub no_btime: bool,
    /// Copies of copytruncate get names outside the glob.
    pub copy_outside: bool,
}

/// A line as it stands in a log, in a batch or in a reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    Record(u64),
    Garbage(u64),
}

impl Line {
    pub fn number(self) -> u64 {
        let (Line::Record(n) | Line::Garbage(n)) = self;
        n
    }
}

/// The directory `/log`, and `/old` outside the glob.
#[derive(Debug)]
pub struct Logs {
    pub settings: LogSettings,
    /// Path → index of the file.
    pub names: BTreeMap<String, usize>,
    pub files: Vec<Inode>,
    free: Vec<u64>,
    next_ino: u64,
    births: i64,
    pub dev: u64,
    /// The clock of the file system: wall time, ns.
    pub wall: i64,
    pub rng: Rng,
    seq: u64,
    /// The file that the writer has open.
    writer: Option<usize>,
    /// The writer has begun line `seq`: where it starts.
    partial: Option<usize>,
    /// Every line that was written whole.
    pub written: BTreeSet<Line>,
    /// Lines that may be missing (never double): no home was left and no commit held them.
    pub excused: BTreeSet<u64>,
    /// Lines in durable batches.
    pub committed: BTreeSet<u64>,
    homes: BTreeMap<u64, Vec<Home>>,
    /// A copy is being made, or was, and its original is not truncated yet: original, copy, bytes copied.
    copying: Option<(usize, usize, usize)>,
    /// A rotated file is being compressed: original, its name, compressed file.
    compressing: Option<(usize, String, usize)>,
    /// Files that changed since the world looked.
    pub touched: BTreeSet<usize>,
    /// Names changed since the world looked.
    pub moved: bool,
}

pub const LIVE: &str = "/log/access.log";
const KEPT: usize = 5;
const PACKED: &str = ".gz";

/// Reads a line as it stands in a log or in a record batch.
pub fn line_of(text: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(rest) = text.strip_prefix("not json n=") {
        return rest.strip_suffix(';')?.parse().ok().map(Line::Garbage);
    }
    let rest = text.strip_prefix("{\"n\":")?;
    let whole = text.ends_with('}') && text.matches('{').count() == 1;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    whole.then(|| rest[..digits].parse().ok().map(Line::Record)).flatten()
}

impl Logs {
    pub fn new(settings: LogSettings, rng: Rng) -> Logs {
        let mut logs = Logs {
            settings,
            names: BTreeMap::new(),
            files: Vec::new(),
            free: Vec::new(),
            next_ino: 100,
            births: 1,
            dev: 1,
            wall: 0,
            rng,
            seq: 0,
            writer: None,
            partial: None,
            written: BTreeSet::new(),
            excused: BTreeSet::new(),
            committed: BTreeSet::new(),
            homes: BTreeMap::new(),
            copying: None,
            compressing: None,
            touched: BTreeSet::new(),
            moved: false,
        };
        logs.reopen();
        logs
    }

    fn create(&mut self, path: String) -> usize {
        let reuse = !self.free.is_empty() && self.rng.one_in(2);
        let ino = if reuse { self.free.swap_remove(0) } else { self.next_ino };
        if !reuse {
            self.next_ino += 1;
        }
        self.births += 1;
        let name = Some(path.clone());
        self.files.push(Inode {
            ino,
            btime: self.births,
            mtime: self.wall,
            data: Vec::new(),
            synced: 0,
            name,
            opens: 0,
            copy_of: None,
            copied: false,
            packed: None,
            lines: Vec::new(),
        });
        let at = self.files.len() - 1;
        self.place(path, at);
        at
    }

    /// Gives a file a name; what had it is deleted.
    fn place(&mut self, path: String, at: usize) {
        self.moved = true;
        if let Some(gone) = self.names.insert(path.clone(), at) {
            self.lose_name(gone);
        }
        self.files[at].name = Some(path);
        if !self.files[at].name.as_ref().is_some_and(|name| name.starts_with("/log/")) {
            self.clean(at);
        }
        if !self.reachable(at) {
            self.lose_file(at);
        }
    }

    fn lose_name(&mut self, at: usize) {
        self.files[at].name = None;
        self.touched.insert(at);
        self.clean(at);
        if !self.reachable(at) {
            self.lose_file(at);
        }
    }

    fn unlink(&mut self, path: &str) {
        if let Some(at) = self.names.remove(path) {
            self.moved = true;
            self.lose_name(at);
        }
    }

    fn rename(&mut self, from: &str, to: String) {
        if let Some(at) = self.names.remove(from) {
            self.place(to, at);
        }
    }

    /// Whether the agent can get at a file's bytes: by a name in the glob, or by its descriptor.
    fn reachable(&self, at: usize) -> bool {
        let file = &self.files[at];
        file.opens > 0 || file.name.as_ref().is_some_and(|name| name.starts_with("/log/"))
    }

    /// A file's bytes are out of reach for good.
    fn lose_file(&mut self, at: usize) {
        for (n, _, _) in std::mem::take(&mut self.files[at].lines) {
            self.lose(n, Home::File(at));
        }
    }

    fn lose(&mut self, n: u64, home: Home) {
        let homes = self.homes.entry(n).or_default();
        homes.retain(|h| *h != home);
        if homes.is_empty() && !self.committed.contains(&n) {
            self.excused.insert(n);
        }
    }

    /// The agent opened a file, or the ledger took a reference.
    pub fn open(&mut self, at: usize) {
        self.files[at].opens += 1;
    }

    /// The reverse.
    pub fn close(&mut self, at: usize) {
        self.files[at].opens -= 1;
        if !self.reachable(at) {
            self.lose_file(at);
        }
        self.recycle(at);
    }

    /// The inode number of a file that is gone may come back.
    fn recycle(&mut self, at: usize) {
        let file = &self.files[at];
        if file.opens == 0 && file.name.is_none() && self.writer != Some(at) && !self.free.contains(&file.ino)
        {
            let used = |other: &Inode| other.ino == file.ino && (other.opens > 0 || other.name.is_some());
            if !self.files.iter().any(used) {
                self.free.push(self.files[at].ino);
            }
        }
    }

    fn append(&mut self, at: usize, bytes: &[u8]) {
        self.files[at].data.extend_from_slice(bytes);
        self.files[at].mtime = self.wall;
        self.touched.insert(at);
    }

    fn writer(&mut self) -> usize {
        if self.writer.is_none() {
            self.reopen();
        }
        self.writer.expect("just opened")
    }

    /// The writer opens the live file anew.
    pub fn reopen(&mut self) {
        self.finish_line();
        let old = self.writer.take();
        self.writer = Some(match self.names.get(LIVE) {
            Some(&at) => at,
            None => self.create(LIVE.into()),
        });
        if let Some(old) = old.filter(|old| Some(*old) != self.writer) {
            self.recycle(old);
        }
    }

    /// Appends one line, or begins or ends one.
    pub fn write(&mut self) {
        let at = self.writer();
        if let Some(start) = self.partial.take() {
            self.append(at, b"\"}\n");
            return self.end_line(at, start, Line::Record(self.seq));
        }
        let (start, joins) = self.begin_line(at);
        let long = self.rng.one_in(12);
        let pad = "x".repeat(if long { self.rng.below(3000) } else { self.rng.below(60) });
        let line = format!("{{\"n\":{},\"p\":\"{pad}", self.seq);
        self.append(at, line.as_bytes());
        if self.rng.one_in(8) && !joins {
            self.partial = Some(start);
            return;
        }
        self.append(at, b"\"}\n");
        if !joins {
            self.end_line(at, start, Line::Record(self.seq));
        }
    }

    /// A line that is no record: a reject.
    pub fn write_garbage(&mut self) {
        self.finish_line();
        let at = self.writer();
        let (start, joins) = self.begin_line(at);
        self.append(at, format!("not json n={};\n", self.seq).as_bytes());
        if !joins {
            self.end_line(at, start, Line::Garbage(self.seq));
        }
    }

    /// Where the next line starts, and whether it joins one that a power cut tore (then nothing is promised for it).
    fn begin_line(&mut self, at: usize) -> (usize, bool) {
        self.seq += 1;
        let data = &self.files[at].data;
        (data.len(), data.last().is_some_and(|&b| b != b'\n'))
    }

    fn end_line(&mut self, at: usize, start: usize, line: Line) {
        self.written.insert(line);
        let n = line.number();
        let end = self.files[at].data.len();
        self.files[at].lines.push((n, start, end));
        self.homes.insert(n, vec![Home::File(at)]);
        if !self.reachable(at) {
            self.lose_file(at);
        }
    }

    fn finish_line(&mut self) {
        if self.partial.is_some() {
            self.write();
        }
    }

    fn rotated(&self, n: usize, outside: bool) -> String {
        if outside { format!("/old/access.log.{n}") } else { format!("{LIVE}.{n}") }
    }

    fn shift(&mut self, outside: bool) {
        // A rotation waits for the one before.
        self.end_compress();
        for end in ["", PACKED] {
            let name = |n| format!("{}{end}", self.rotated(n, outside));
            let names: Vec<String> = (1..=KEPT).map(name).collect();
            self.unlink(&names[KEPT - 1]);
            for n in (1..KEPT).rev() {
                self.rename(&names[n - 1], names[n].clone());
            }
        }
    }

    /// Compresses a rotated file, all at once or its first part: the original goes when it is done.
    pub fn compress(&mut self) {
        if self.compressing.is_some() {
            return self.end_compress();
        }
        let busy = |at: usize| {
            self.writer == Some(at)
                || self.files[at].packed.is_some()
                || self.copying.is_some_and(|(original, copy, _)| original == at || copy == at)
        };
        let plain =
            self.names.iter().filter(|(path, at)| path.starts_with("/log/access.log.") && !busy(**at));
        let plain: Vec<(String, usize)> = plain.map(|(path, at)| (path.clone(), *at)).collect();
        if plain.is_empty() {
            return;
        }
        let (path, original) = plain[self.rng.below(plain.len())].clone();
        if self.files[original].data.len() < 2 * HEAD_BYTES_MAX {
            return;
        }
        let packed = self.create(format!("{path}{PACKED}"));
        let file = &mut self.files[packed];
        (file.copy_of, file.copied, file.packed) = (Some(original), true, Some(false));
        let size = self.files[original].data.len();
        let part = HEAD_BYTES_MAX + self.rng.below(size - HEAD_BYTES_MAX);
        self.copy_part(original, packed, 0, part);
        self.compressing = Some((original, path, packed));
        if self.rng.one_in(2) {
            self.end_compress();
        }
    }

    fn end_compress(&mut self) {
        let Some((original, path, packed)) = self.compressing.take() else { return };
        let done = self.files[packed].data.len();
        self.copy_part(original, packed, done, self.files[original].data.len());
        // Of a copy that was given up it is one, too, and goes with it ([`Logs::clean`]).
        let of = self.files[original].copy_of;
        (self.files[packed].packed, self.files[packed].copy_of) = (Some(true), of);
        if self.names.get(&path) == Some(&original) {
            self.unlink(&path);
        }
    }

    /// Renames the live file; the writer goes on in it until it reopens. Keeps some old files.
    pub fn rotate(&mut self) {
        if !self.names.contains_key(LIVE) {
            return self.reopen();
        }
        self.copying = None;
        self.shift(self.settings.outside);
        self.rename(LIVE, self.rotated(1, self.settings.outside));
        if self.rng.one_in(2) {
            self.reopen();
        }
    }

    /// Someone deletes the live file.
    pub fn delete(&mut self) {
        self.finish_line();
        self.copying = None;
        self.unlink(LIVE);
        if self.rng.one_in(2) {
            self.reopen();
        }
    }

    /// The first half of copytruncate, in steps: the copy gets the name `.1`.
    pub fn copy(&mut self) {
        if let Some((original, copy, done)) = self.copying {
            return self.copy_more(original, copy, done);
        }
        let Some(&original) = self.names.get(LIVE) else { return self.reopen() };
        if self.files[original].data.is_empty() {
            return;
        }
        self.clean(original);
        self.shift(self.settings.copy_outside);
        let copy = self.create(self.rotated(1, self.settings.copy_outside));
        self.files[copy].copy_of = Some(original);
        self.files[copy].copied = true;
        self.copy_more(original, copy, 0);
    }

    /// The original goes, or is copied once more: copies of it that were given up go too. (Once its bytes are gone nobody
    /// can tell a file shorter than the head that is remembered of it from a new one, PROTOCOL S5.)
    fn clean(&mut self, original: usize) {
        let stub = |file: &&Inode| file.copy_of == Some(original);
        let stubs: Vec<String> =
            self.files.iter().filter(stub).filter_map(|file| file.name.clone()).collect();
        for name in stubs {
            self.unlink(&name);
        }
    }

    fn copy_more(&mut self, original: usize, copy: usize, done: usize) {
        let size = self.files[original].data.len();
        let end = if self.rng.one_in(3) { done + self.rng.below(size - done + 1) } else { size };
        self.copy_part(original, copy, done, end);
        self.copying = Some((original, copy, end));
    }

    fn copy_part(&mut self, original: usize, copy: usize, done: usize, end: usize) {
        let bytes = self.files[original].data[done..end].to_vec();
        self.append(copy, &bytes);
        let whole = self.files[original].lines.iter().filter(|l| l.2 > done && l.2 <= end);
        let whole: Vec<_> = whole.copied().collect();
        for line in whole {
            self.files[copy].lines.push(line);
            self.homes.entry(line.0).or_default().push(Home::File(copy));
        }
        if !self.reachable(copy) {
            self.lose_file(copy);
        }
    }

    /// Whether a copy was made whose original is to be truncated.
    pub fn is_copying(&self) -> bool {
        self.copying.is_some()
    }

    /// A copy that is being made is finished with or given up: none takes a minute (PROTOCOL S4).
    pub fn end_copy(&mut self) {
        if self.rng.one_in(2) {
            self.truncate();
        }
        self.copying = None;
    }

    /// The second half of copytruncate. What was written since the copy ended is lost by it.
    pub fn truncate(&mut self) {
        let Some((original, copy, mut done)) = self.copying else { return };
        while done < self.files[original].data.len() && !self.rng.one_in(3) {
            self.copy_more(original, copy, done);
            done = self.copying.expect("set by copy_more").2;
        }
        self.copying = None;
        self.partial = self.partial.filter(|_| self.writer != Some(original));
        self.lose_file(original);
        let copied = self.files[copy].data.len();
        if copied < self.files[original].data.len() && copied < HEAD_BYTES_MAX {
            self.clean(original);
        }
        let file = &mut self.files[original];
        file.data.clear();
        file.synced = 0;
        for file in &mut self.files {
            file.copy_of = file.copy_of.filter(|of| *of != original);
        }
        let file = &mut self.files[original];
        file.mtime = self.wall;
        self.touched.insert(original);
    }

    /// fdatasync of a file.
    pub fn sync(&mut self, at: usize) {
        self.files[at].synced = self.files[at].data.len();
    }

    /// The agent holds these lines in memory now.
    pub fn held(&mut self, lines: impl Iterator<Item = u64>) {
        for n in lines {
            let homes = self.homes.entry(n).or_default();
            if !homes.contains(&Home::Memory) {
                homes.push(Home::Memory);
            }
        }
    }

    /// The agent's process has ended: its descriptors and its memory are gone.
    pub fn process_ended(&mut self) {
        let held: Vec<u64> =
            self.homes.iter().filter(|(_, homes)| homes.contains(&Home::Memory)).map(|(n, _)| *n).collect();
        for n in held {
            self.lose(n, Home::Memory);
        }
        for at in 0..self.files.len() {
            self.files[at].opens = 0;
            if !self.reachable(at) {
                self.lose_file(at);
            }
            self.recycle(at);
        }
    }

    /// The power goes: any part of what was not synced is gone, and so are writer and agent.
    pub fn power_cut(&mut self) {
        self.copying = None;
        self.partial = None;
        self.writer = None;
        if let Some((_, _, packed)) = self.compressing.take() {
            // What was begun is begun again one day.
            let name = self.files[packed].name.clone();
            name.into_iter().for_each(|name| self.unlink(&name));
        }
        self.process_ended();
        for at in 0..self.files.len() {
            let unsynced = self.files[at].data.len() - self.files[at].synced;
            let all = self.rng.one_in(2);
            let mut kept = self.files[at].synced + if all { unsynced } else { self.rng.below(unsynced + 1) };
            // A copy that is torn within the head that is remembered of its original is a stranger to everyone (S5).
            if self.files[at].copied {
                kept = kept.max(self.files[at].data.len().min(HEAD_BYTES_MAX));
            }
            // What a copy was made of reached the disk before the copy: else it is nobody's copy any more.
            if let Some(original) = self.files[at].copy_of {
                kept = kept.min(self.files[original].data.len());
            }
            if kept < self.files[at].data.len() {
                self.files[at].packed = self.files[at].packed.map(|_| false);
            }
            self.files[at].data.truncate(kept);
            self.files[at].synced = kept;
            let (lines, torn): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.files[at].lines).into_iter().partition(|line| line.2 <= kept);
            self.files[at].lines = lines;
            for (n, _, _) in torn {
                self.lose(n, Home::File(at));
            }
        }
        if self.rng.one_in(2) {
            self.dev += 1;
        }
    }
}
