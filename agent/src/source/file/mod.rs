//! FileSource: follows the files that match the globs, through every kind of rotation (PROTOCOL 3).
//!
//! Promises: a position only passes what was emitted as a chunk; a file's content, not its name, says which file it
//! is; what cannot be read stays in the lag. Decides only: [`os`] and [`watch`] do the I/O for the driver.
//! Must not know: the shards, the ledger, metrics.
mod adopt;
mod backlog;
pub mod buffers;
pub(in crate::source) mod cut;
mod identity;
mod looked;
mod names;
pub mod os;
mod packed;
mod stream;
mod take;
pub mod unpack;
pub mod watch;

use crate::config::Start;
use crate::protocol::{FileIdent, NewSource, Now, SourceChange, SourceId, SourceRow, SourceState};
use crate::source::evidence::Tail;
use crate::source::{Dirty, FileKey, Notice, Source, SourceAction, SourceEvent};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use stream::{Ask, Stage, Stream, Token};

/// Reads under way at once: one is served while the chunk of the other is on its way.
const READS_MAX: usize = 2;
/// A hot file is polled this often instead of by inotify (RUNTIME 5): a poll costs some 300 µs with all that it sets off,
/// and ten of them a second are what the budget of 0.5 % of a core has room for.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Polls that find nothing before inotify is asked again.
const POLLS: u8 = 2;
/// Open files are looked at this often in case inotify is blind (NFS, bind mounts), and longer by the second for each.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
const SWEEP_PER_FILE: Duration = Duration::from_millis(5);
/// The globs are walked this often in case inotify is blind, and longer by the second for each file.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_PER_FILE: Duration = Duration::from_millis(4);
/// A walk that something has asked for waits so long for more of the same.
const LOOK_SOON: Duration = Duration::from_millis(5);
/// A stranger that equals a followed file is held back so long (PROTOCOL S4).
const HOLD: Duration = Duration::from_secs(60);
/// A detached row waits so long for its copy before its unread bytes count as lost.
const REPORT_AFTER: Duration = Duration::from_secs(60);
/// A detached row finds its copy for so long, ns (INTERFACE 9: 48 h, less what the ledger's own sweep may be early).
const DETACHED_NS: i64 = 47 * 3_600_000_000_000;

/// How the files are to be read.
#[derive(Clone, Copy, Debug)]
pub struct FileSettings {
    /// Read what is there now, then end.
    pub once: bool,
    /// Where files begin at the first start.
    pub start: Start,
    /// The ledger is new.
    pub first_start: bool,
    /// Longest line, bytes.
    pub line_max: usize,
}

/// Walks of the globs.
#[derive(Debug, Default)]
struct Looks {
    outstanding: bool,
    next: Option<Duration>,
    /// The first one is over.
    first_done: bool,
    /// So is the registration of what it found.
    first_registered: bool,
}

/// One known file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    /// The file.
    pub path: Arc<str>,
    /// Number of its glob.
    pub glob: u32,
    /// Everything before is read, bytes.
    pub read: u64,
    /// Everything before is durable, bytes.
    pub durable: u64,
    /// Size seen last, bytes.
    pub size: u64,
    /// Bytes that are there and not read.
    pub lag_bytes: u64,
    /// Its last read failed.
    pub unreadable: bool,
}

/// The machine.
#[derive(Debug)]
pub struct FileSource {
    settings: FileSettings,
    streams: BTreeMap<Token, Stream>,
    next_token: Token,
    next_file: u32,
    by_file: HashMap<FileKey, Token>,
    by_id: HashMap<SourceId, Token>,
    /// Streams that want to be read, in turn.
    queue: VecDeque<Token>,
    reads: usize,
    /// The stream that is decompressed, if one is.
    unpacking: Option<Token>,
    /// What is read before other files.
    backlog: backlog::Order,
    /// Outstanding reads of which a chunk may come.
    reserved: usize,
    room: usize,
    /// Files that get their row with the next registration.
    new: Vec<NewSource>,
    opening: usize,
    /// Strangers that are open and wait for those that were found with them.
    unjudged: Vec<Token>,
    /// Files that are not followed, as they were when they were judged.
    ignored: HashMap<(u64, u64), (u64, i64)>,
    said: HashSet<PathBuf>,
    looks: Looks,
    sweep_at: Duration,
    poll_at: Option<Duration>,
    wake_at: Option<Duration>,
    /// Something happened that strangers which are held back, or rows without a file, may wait for.
    review: bool,
    /// Parked groups are being read: what was read of a file that shrank is not all decided.
    catching_up: bool,
}

impl FileSource {
    /// A source that has been told nothing yet.
    pub fn new(settings: FileSettings) -> FileSource {
        FileSource {
            settings,
            streams: BTreeMap::new(),
            next_token: 1,
            next_file: 1,
            by_file: HashMap::new(),
            by_id: HashMap::new(),
            queue: VecDeque::new(),
            reads: 0,
            unpacking: None,
            backlog: backlog::Order::default(),
            reserved: 0,
            room: 0,
            new: Vec::new(),
            opening: 0,
            unjudged: Vec::new(),
            ignored: HashMap::new(),
            said: HashSet::new(),
            looks: Looks::default(),
            sweep_at: Duration::ZERO,
            poll_at: None,
            wake_at: None,
            review: false,
            catching_up: false,
        }
    }

    /// Outstanding reads of which a chunk may come.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// Whether a file has shrunk that waits until what was read of it is decided: nothing more of it is to be read by
    /// anybody.
    pub fn is_draining(&self) -> bool {
        self.streams.values().any(|stream| matches!(stream.stage, Stage::Draining(_)))
    }

    /// Whether it stands still: it has no room, no chunk can come of what it has asked for, and all that it emitted is
    /// durable.
    pub fn is_still(&self) -> bool {
        let durable = |stream: &Stream| stream.id.is_none() || stream.durable >= stream.pos;
        self.room == 0 && self.reserved == 0 && self.streams.values().all(durable)
    }

    fn catching_up(&mut self, now: Now, busy: bool, out: &mut Vec<SourceAction>) {
        self.catching_up = busy;
        let draining = |stream: &Stream| matches!(stream.stage, Stage::Draining(_));
        let tokens: Vec<Token> =
            self.streams.iter().filter(|(_, stream)| draining(stream)).map(|(token, _)| *token).collect();
        for token in tokens {
            self.end_draining(now, token, out);
        }
    }

    /// Whether the globs have been walked and what was found has its rows.
    pub fn is_open(&self) -> bool {
        self.looks.first_registered
    }

    /// Every file that is known and not gone.
    pub fn files(&self) -> impl Iterator<Item = FileState> {
        let known = self.streams.values().filter(|s| s.stage != Stage::Detached);
        // Where `EDGEPUSH_START` has passed over a compressed file, no one knows how long it is.
        let known_of = |at: u64| if at < packed::PASSED { at } else { 0 };
        known.map(move |s| FileState {
            path: s.label.clone(),
            glob: s.place.glob,
            read: known_of(s.pos),
            durable: known_of(s.durable),
            size: known_of(s.place.size),
            lag_bytes: s.lag(),
            unreadable: s.said_error,
        })
    }

    /// Which of the configured sources found a row's file; none when no look of this process has found it.
    pub fn origin_of(&self, source: SourceId) -> Option<u16> {
        let found = self.streams.values().find(|stream| stream.id == Some(source) && !stream.unseen);
        found.map(|stream| stream.place.glob as u16)
    }

    fn stream(&mut self, token: Token) -> &mut Stream {
        self.streams.get_mut(&token).expect("INVARIANT: a token in the machine's tables has its stream")
    }

    fn add(&mut self, stream: Stream) -> Token {
        let token = self.next_token;
        self.next_token += 1;
        self.streams.insert(token, stream);
        token
    }

    /// Something may be there to read.
    fn want(&mut self, token: Token) {
        let stream = self.stream(token);
        stream.want = true;
        if !stream.queued && stream.asked.is_none() && stream.file.is_some() {
            stream.queued = true;
            self.queue.push_back(token);
        }
    }

    fn start(&mut self, rows: Vec<SourceRow>) {
        for row in rows {
            let id = row.id;
            let token = self.add(Stream::of_row(row));
            self.by_id.insert(id, token);
        }
        self.looks.next = Some(Duration::ZERO);
    }

    fn registered(&mut self, now: Now, rows: &[(Token, SourceId, u64)], out: &mut Vec<SourceAction>) {
        for (token, id, seed) in rows {
            self.by_id.insert(*id, *token);
            let once = self.settings.once;
            let stream = self.stream(*token);
            debug_assert_eq!(stream.stage, Stage::Registering);
            stream.id = Some(*id);
            stream.seed = *seed;
            stream.durable = stream.pos;
            if stream.pos == packed::PASSED {
                stream.stage = if once { Stage::Done } else { Stage::Resting };
                self.close(*token, out);
                continue;
            }
            stream.stage = Stage::Following;
            stream.polls = POLLS;
            // A copy of what was read, and measured: there is nothing to be decompressed again for.
            stream.settled = stream.is_known_whole() && stream.pos >= stream.place.size;
            let (file, reads) = (stream.file, !stream.settled);
            out.extend(file.map(|file| SourceAction::Attach { source: *id, file }));
            if reads {
                self.want(*token);
            } else {
                self.packed_end(now, *token, out);
            }
        }
    }

    fn durable(&mut self, now: Now, low: &[(SourceId, u64)], out: &mut Vec<SourceAction>) {
        for (id, low) in low {
            let Some(token) = self.by_id.get(id).copied() else { continue };
            let stream = self.stream(token);
            stream.durable = stream.durable.max(*low);
            self.end_draining(now, token, out);
        }
    }

    /// Once everything that was read of a file that shrank is durable, it goes on at its size (RULINGS 4).
    fn end_draining(&mut self, now: Now, token: Token, out: &mut Vec<SourceAction>) {
        if self.catching_up {
            return;
        }
        let stream = self.stream(token);
        let (Stage::Draining(size), Some(id)) = (stream.stage, stream.id) else { return };
        if stream.durable < stream.pos {
            return;
        }
        let (path, position) = (stream.place.path.clone(), stream.pos);
        stream.pos = size;
        stream.durable = size;
        stream.above.clear();
        stream.hot.clear();
        stream.tails.clear();
        stream.tail = Tail::default();
        stream.line = stream::Line::Usual { ask: 0 };
        stream.stage = Stage::Following;
        stream.grown = now.wall;
        out.push(SourceAction::Change(SourceChange::Shrunk { id, size }));
        out.push(SourceAction::Notice(Notice::Shrunk { path, position, size }));
        self.want(token);
    }

    fn dirty(&mut self, now: Now, dirty: Vec<Dirty>) {
        for what in dirty {
            match what {
                Dirty::File(file) => {
                    if let Some(token) = self.by_file.get(&file).copied() {
                        self.stream(token).polls = POLLS;
                        self.want(token);
                    }
                }
                Dirty::Dir(_) => self.look_soon(now),
                Dirty::Everything => {
                    self.look_soon(now);
                    self.sweep_at = now.mono;
                }
            }
        }
    }

    fn look_soon(&mut self, now: Now) {
        let soon = now.mono + LOOK_SOON;
        if !self.settings.once {
            self.looks.next = Some(self.looks.next.map_or(soon, |at| at.min(soon)));
        }
    }

    /// What inotify did not tell.
    fn swept(&mut self, now: Now, open: &[(FileKey, u64, u64)], out: &mut Vec<SourceAction>) {
        self.review = true;
        for (file, size, nlink) in open {
            let Some(token) = self.by_file.get(file).copied() else { continue };
            let stream = self.stream(token);
            if *nlink == 0 && !std::mem::replace(&mut stream.unlinked, true) {
                stream.grown = now.wall;
                out.push(SourceAction::SealNow);
            }
            if stream.place.packed.is_some() {
                self.swept_packed(now, token, *size);
                continue;
            }
            let changed = *size != stream.place.size;
            if *size > stream.place.size {
                stream.resize(*size, now.wall);
            }
            // A last line without newline becomes one when its grace is over.
            let tail = stream.pos < stream.place.size && stream.tail_is_final(now.wall, false);
            if changed || tail || stream.said_error {
                self.want(token);
            }
        }
    }

    /// What time alone brings about.
    fn tick(&mut self, now: Now, out: &mut Vec<SourceAction>) {
        if self.poll_at.is_some_and(|at| at <= now.mono) {
            self.poll_at = None;
            let polled: Vec<Token> =
                self.streams.iter().filter(|(_, s)| s.polls > 0).map(|(t, _)| *t).collect();
            for token in polled {
                self.want(token);
            }
        }
        if self.sweep_at <= now.mono && !self.settings.once {
            self.sweep_at = now.mono + SWEEP_EVERY + SWEEP_PER_FILE * self.by_file.len() as u32;
            if !self.by_file.is_empty() {
                out.push(SourceAction::Sweep);
            }
        }
    }

    /// Gives out the reads that there is room for, in turn.
    fn pump(&mut self, out: &mut Vec<SourceAction>) {
        let mut passed = 0;
        while self.reads < READS_MAX && passed < self.queue.len() {
            let Some(token) = self.queue.pop_front() else { return };
            let Some(stream) = self.streams.get_mut(&token) else { continue };
            let Some(ask) = stream.next_read() else {
                stream.queued = false;
                continue;
            };
            let takes_room = ask.what.takes_room();
            let (packed, glob) = (stream.is_packed(), stream.place.glob);
            let waits = takes_room && (self.reserved >= self.room || !self.is_turn(token, glob))
                || packed && !self.may_unpack(token);
            if waits {
                self.queue.push_back(token);
                passed += 1;
                continue;
            }
            if packed {
                self.unpacking = Some(token);
            }
            let stream = self.stream(token);
            stream.queued = false;
            stream.asked = Some(ask);
            self.reads += 1;
            self.reserved += usize::from(takes_room);
            let stream = self.stream(token);
            let file = stream.file.expect("INVARIANT: a read is asked of an open file only");
            let offset = ask.offset;
            out.push(match ask.what {
                Ask::Seek => SourceAction::SeekData { file, offset },
                _ => {
                    let cold = takes_room && stream.is_cold();
                    SourceAction::Read { file, offset, len: ask.len, cold, packed }
                }
            });
        }
    }

    /// Asks for rows once everything that was found together is ready for one: the first start's are durable at once.
    fn register(&mut self, out: &mut Vec<SourceAction>) {
        if self.looks.first_registered && self.new.is_empty() {
            return;
        }
        let waits = self.opening > 0 || self.streams.values().any(|s| s.stage == Stage::Backing);
        if waits || !self.looks.first_done {
            return;
        }
        let first = !std::mem::replace(&mut self.looks.first_registered, true);
        if first || !self.new.is_empty() {
            out.push(SourceAction::Register(std::mem::take(&mut self.new)));
        }
    }

    /// What every step ends with.
    fn settle(&mut self, now: Now, out: &mut Vec<SourceAction>) {
        let quiet = self.settings.once && self.is_quiet();
        if std::mem::take(&mut self.review) || quiet {
            self.judge_held(now, quiet, out);
            self.report_unread(now, quiet, out);
        }
        self.judge_new(now, out);
        self.register(out);
        if !self.looks.outstanding && self.looks.next.is_some_and(|at| at <= now.mono) {
            self.looks.outstanding = true;
            self.looks.next = None;
            out.push(SourceAction::Look(self.known()));
        }
        self.pump(out);
        self.wake(now, out);
    }

    fn wake(&mut self, now: Now, out: &mut Vec<SourceAction>) {
        let sweep = (!self.by_file.is_empty() && !self.settings.once).then_some(self.sweep_at);
        let look = self.looks.next.filter(|_| !self.looks.outstanding);
        let at = [sweep, look, self.poll_at].into_iter().flatten().min();
        if self.wake_at.is_none_or(|said| said <= now.mono) || at < self.wake_at {
            self.wake_at = at;
            if let Some(at) = at {
                out.push(SourceAction::Wake { after: at.saturating_sub(now.mono) });
            }
        }
    }

    /// A read found nothing more: polls go on for a while, then inotify is asked.
    fn rest(&mut self, now: Now, token: Token, found: bool, out: &mut Vec<SourceAction>) {
        let once = self.settings.once;
        let stream = self.stream(token);
        stream.want = false;
        if once {
            return;
        }
        if found {
            stream.polls = POLLS;
        } else if stream.polls > 0 {
            stream.polls -= 1;
            if stream.polls == 0 {
                self.watch(token, out);
            }
        }
        if self.stream(token).polls > 0 && self.poll_at.is_none() {
            self.poll_at = Some(now.mono + POLL_EVERY);
        }
    }

    fn watch(&mut self, token: Token, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        if let Some(file) = stream.file {
            out.push(SourceAction::Watch { file, size: stream.at().stored() });
        }
    }

    /// Everything read of a file that is gone or done; its descriptor goes.
    fn close(&mut self, token: Token, out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        stream.want = false;
        stream.polls = 0;
        if let Some(file) = stream.file.take() {
            self.by_file.remove(&file);
            out.push(SourceAction::Close { file });
        }
    }

    /// The row waits for its copy; what was read of it needs no sync any more.
    fn detach(&mut self, now: Now, token: Token, out: &mut Vec<SourceAction>) {
        self.review = true;
        let report_at = if self.settings.once { now.mono } else { now.mono + REPORT_AFTER };
        let stream = self.stream(token);
        stream.stage = Stage::Detached;
        stream.detached_at = now.wall;
        stream.report_at = Some(report_at);
        stream.target = None;
        stream.want = false;
        stream.polls = 0;
        if let Some(id) = stream.id {
            let (ident, path) = (stream.place.ident, stream.place.path.clone());
            out.push(SourceAction::Detach { source: id });
            out.push(SourceAction::Change(SourceChange::Moved {
                id,
                ident,
                path,
                state: SourceState::Detached,
            }));
        }
    }

    /// Says once what left the disk unread, and forgets rows that no copy will come for.
    fn report_unread(&mut self, now: Now, quiet: bool, out: &mut Vec<SourceAction>) {
        let busy = self.settings.once && !quiet;
        let mut forgotten = Vec::new();
        for (token, stream) in self.streams.iter_mut().filter(|(_, s)| s.stage == Stage::Detached) {
            if now.wall.saturating_sub(stream.detached_at) > DETACHED_NS && stream.report_at.is_none() {
                forgotten.push(*token);
            }
            if busy || stream.report_at.is_none_or(|at| at > now.mono) {
                continue;
            }
            stream.report_at = None;
            let (Some(id), unread) = (stream.id, stream.unread()) else { continue };
            out.push(SourceAction::Change(SourceChange::Closed { id, unread }));
            if unread > 0 {
                out.push(SourceAction::Notice(Notice::Unread {
                    path: stream.place.path.clone(),
                    bytes: unread,
                }));
            }
        }
        for token in forgotten {
            if let Some(id) = self.streams.remove(&token).and_then(|s| s.id) {
                self.by_id.remove(&id);
            }
        }
    }

    /// `--once`: nothing but strangers that are held back is left to do.
    fn is_quiet(&self) -> bool {
        let done = |s: &Stream| {
            matches!(s.stage, Stage::Done | Stage::Detached | Stage::Resting)
                || s.stage == Stage::Fresh && s.held.is_some() && s.asked.is_none() && !s.want
        };
        self.reads == 0
            && self.opening == 0
            && self.looks.first_registered
            && !self.looks.outstanding
            && self.new.is_empty()
            && self.streams.values().all(done)
    }

    /// A message about a file, once.
    fn say_once(&mut self, path: &Path, notice: Notice, out: &mut Vec<SourceAction>) {
        if self.said.insert(path.to_owned()) {
            out.push(SourceAction::Notice(notice));
        }
    }
}

fn inode(ident: FileIdent) -> (u64, u64) {
    (ident.dev, ident.ino)
}

impl Source for FileSource {
    fn step(&mut self, now: Now, event: SourceEvent, out: &mut Vec<SourceAction>) {
        match event {
            SourceEvent::Start { rows } => self.start(rows),
            SourceEvent::Looked(look) => self.looked(now, &look, out),
            SourceEvent::Opened { file, result } => self.opened(now, file, result, out),
            SourceEvent::Read { file, offset, result } => self.read(now, (file, offset), result, out),
            SourceEvent::DataAt { file, offset } => self.data_at(file, offset),
            SourceEvent::Registered(rows) => self.registered(now, &rows, out),
            SourceEvent::Durable(low) => self.durable(now, &low, out),
            SourceEvent::Room { chunks } => self.room = chunks,
            SourceEvent::Swept(open) => self.swept(now, &open, out),
            SourceEvent::Dirty(dirty) => self.dirty(now, dirty),
            SourceEvent::CatchingUp { busy } => self.catching_up(now, busy, out),
            SourceEvent::Tick => self.tick(now, out),
        }
        self.settle(now, out);
    }

    fn idle(&self) -> bool {
        if self.settings.once {
            let held = |s: &Stream| s.held.is_some() && s.stage == Stage::Fresh;
            return self.is_quiet() && !self.streams.values().any(held);
        }
        self.looks.first_registered && self.reads == 0 && !self.streams.values().any(|s| s.want)
    }

    fn lag_bytes(&self) -> Vec<(u32, u64)> {
        let mut lag = BTreeMap::new();
        for stream in self.streams.values() {
            *lag.entry(stream.place.glob).or_insert(0) += stream.lag();
        }
        lag.into_iter().collect()
    }
}
