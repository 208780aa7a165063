//! looked: what a walk of the globs says about the files that are known, and about strangers.
//!
//! Promises: a walk may be old or torn (files move while it walks): it finds and misses names, it never decides that
//! a file shrank; that is for a read, which verifies.
//! Must not know: what stands in the files, beyond their heads.
use super::identity::same_inode;
use super::names::is_compressed;
use super::stream::{DELETED_GRACE_NS, GRACE_NS, Place, Stage, Stream, Token, Why};
use super::{FileSource, LOOK_EVERY, LOOK_PER_FILE, inode};
use crate::protocol::{Now, SourceChange, SourceState};
use crate::source::evidence::has_head;
use crate::source::{FileKey, KnownFiles, Look, Notice, OpenError, OpenStat, Seen, SeenHead, SourceAction};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// The paths of one inode, those that rotation gives last.
type Found<'a> = BTreeMap<(u64, u64), Vec<&'a Seen>>;

impl FileSource {
    /// What a walk need not read.
    pub(super) fn known(&self) -> KnownFiles {
        let mut judged: HashMap<_, _> = self.ignored.iter().map(|(at, seen)| (*at, Some(*seen))).collect();
        for stream in self.streams.values() {
            let at = inode(stream.target.as_ref().unwrap_or(&stream.place).ident);
            if stream.holds(at) {
                judged.insert(at, None);
            } else if stream.stage == Stage::Resting && self.looks.first_done {
                judged.insert(at, Some((stream.place.stored(), stream.place.mtime)));
            }
        }
        KnownFiles { judged }
    }

    pub(super) fn looked(&mut self, now: Now, look: &Look, out: &mut Vec<SourceAction>) {
        self.looks.outstanding = false;
        if !self.settings.once {
            let next = now.mono + LOOK_EVERY.max(LOOK_PER_FILE * look.files.len() as u32);
            self.looks.next = Some(self.looks.next.map_or(next, |at| at.min(next)));
        }
        for (path, error) in &look.failed {
            let notice = Notice::Unreadable { path: path.clone(), error: error.clone() };
            self.say_once(path, notice, out);
        }
        let mut found = Found::new();
        for seen in &look.files {
            found.entry(inode(seen.ident)).or_default().push(seen);
        }
        self.swept(now, &look.open, out);
        let strangers = self.own_files(now, &found, out);
        if look.failed.is_empty() {
            self.missing(now, &found, out);
        }
        self.ignored.retain(|at, _| found.contains_key(at));
        self.strangers(now, strangers, out);
        self.retire(now, out);
        self.looks.first_done = true;
    }

    /// Files that belong to a stream; gives those that do not.
    fn own_files<'a>(&mut self, now: Now, found: &Found<'a>, out: &mut Vec<SourceAction>) -> Vec<&'a Seen> {
        let mut strangers = Vec::new();
        let open: HashMap<(u64, u64), Token> = self
            .streams
            .iter()
            .map(|(token, stream)| {
                (inode(stream.target.as_ref().unwrap_or(&stream.place).ident), *token, stream)
            })
            .filter(|(at, _, stream)| stream.holds(*at))
            .map(|(at, token, _)| (at, token))
            .collect();
        for (at, paths) in found {
            let seen = first_name(paths);
            match open.get(at) {
                Some(token) => self.seen_open(*token, paths, out),
                None => match self.resting(seen) {
                    Some(token) => {
                        if !self.resume(now, token, seen, out) {
                            strangers.push(seen);
                        }
                    }
                    None => strangers.push(seen),
                },
            }
        }
        strangers
    }

    /// An open file has been found: perhaps under another name.
    fn seen_open(&mut self, token: Token, paths: &[&Seen], out: &mut Vec<SourceAction>) {
        let stream = self.stream(token);
        stream.missed = 0;
        stream.left = false;
        if stream.target.is_some() || paths.iter().any(|seen| seen.path == stream.place.path) {
            return;
        }
        let seen = first_name(paths);
        stream.move_to(&seen.path);
        stream.place.glob = seen.glob;
        stream.renamed = true;
        if let Some(id) = stream.id {
            let (ident, path) = (stream.place.ident, seen.path.clone());
            out.push(SourceAction::Change(SourceChange::Moved {
                id,
                ident,
                path,
                state: SourceState::Attached,
            }));
            out.push(SourceAction::SealNow);
        }
    }

    /// The row whose file this is, as far as the inode tells. A row that no walk of this run has found may have its
    /// file under another device number (PROTOCOL S1: it changes at a reboot, and the start that saw the reboot may
    /// have ended before it wrote the new one); then its head must be there too.
    fn resting(&self, seen: &Seen) -> Option<Token> {
        let resting = |s: &Stream, with_dev| {
            s.stage == Stage::Resting && same_inode(s.place.ident, seen.ident, with_dev)
        };
        let begins = |s: &Stream| match &seen.head {
            SeenHead::Bytes(head) => s.head.len > 0 && has_head(head, s.head),
            _ => false,
        };
        let exact = self.streams.iter().find(|(_, s)| resting(s, true));
        let moved = || self.streams.iter().find(|(_, s)| s.unseen && resting(s, false) && begins(s));
        exact.or_else(moved).map(|(token, _)| *token)
    }

    /// A row's inode is there: whether its file is. If so it is opened when it has something to read.
    fn resume(&mut self, now: Now, token: Token, seen: &Seen, out: &mut Vec<SourceAction>) -> bool {
        let once = self.settings.once;
        let stream = self.stream(token);
        stream.missed = 0;
        let first = std::mem::take(&mut stream.unseen);
        match &seen.head {
            SeenHead::Skipped => return true,
            SeenHead::Bytes(head) => {
                if stream.head.len == 0 || !has_head(head, stream.head) {
                    if stream.pos > 0 {
                        let (path, position) = (stream.place.path.clone(), stream.pos);
                        out.push(SourceAction::Notice(Notice::Truncated { path, position }));
                    }
                    self.detach(now, token, out);
                    return false;
                }
                // A stranger may be the beginning of a copy of it, before it has been opened.
                stream.head_bytes = head.clone();
            }
            SeenHead::Denied | SeenHead::Failed(_) => {
                self.unreadable(seen, out);
                return true;
            }
        }
        if stream.place.path != seen.path || stream.place.ident != seen.ident {
            stream.renamed |= stream.place.path != seen.path;
            stream.move_to(&seen.path);
            stream.place.ident = seen.ident;
            if let Some(id) = stream.id {
                let (ident, path) = (seen.ident, seen.path.clone());
                out.push(SourceAction::Change(SourceChange::Moved {
                    id,
                    ident,
                    path,
                    state: SourceState::Attached,
                }));
            }
        }
        let stream = self.stream(token);
        stream.grown = grown(seen, now);
        let opens = if seen.packed {
            stream.limit = None;
            stream.resume_packed(seen, first)
        } else {
            stream.place = Place::of(seen);
            stream.limit = once.then_some(seen.size);
            seen.size != stream.pos || !stream.rotated_name
        };
        if opens {
            self.open(token, Why::Resume, out);
            self.line_up(token);
        }
        true
    }

    fn open(&mut self, token: Token, why: Why, out: &mut Vec<SourceAction>) {
        let file = FileKey(self.next_file);
        self.next_file += 1;
        self.opening += 1;
        self.by_file.insert(file, token);
        let stream = self.stream(token);
        stream.stage = Stage::Opening(why);
        let (path, ident) = (stream.place.path.clone(), stream.place.ident);
        out.push(SourceAction::Open { file, path, ident });
    }

    /// Streams whose file no glob finds.
    fn missing(&mut self, now: Now, found: &Found<'_>, out: &mut Vec<SourceAction>) {
        let once = self.settings.once;
        let mut gone = Vec::new();
        let mut torn = false;
        for (token, stream) in &mut self.streams {
            let at = inode(stream.target.as_ref().unwrap_or(&stream.place).ident);
            if found.contains_key(&at) && !(stream.unseen && stream.stage == Stage::Resting) {
                continue;
            }
            if stream.stage == Stage::Resting {
                stream.missed += 1;
                torn |= stream.missed == 1;
                if stream.missed >= 2 || once {
                    gone.push(*token);
                }
            } else if stream.file.is_some() && !stream.unlinked && !stream.left {
                // A file that moves during the walk may be missed: only the second time counts.
                stream.missed += 1;
                torn |= stream.missed == 1;
                if stream.missed >= 2 {
                    stream.left = true;
                    out.push(SourceAction::SealNow);
                }
            }
        }
        for token in gone {
            self.detach(now, token, out);
        }
        if torn {
            self.look_soon(now);
        }
    }

    fn strangers(&mut self, now: Now, mut strangers: Vec<&Seen>, out: &mut Vec<SourceAction>) {
        // Live names first: of two files that begin alike, the rotated one is the copy.
        strangers.sort_by_key(|seen| (super::names::live_name(&seen.path).is_some(), &seen.path));
        for seen in strangers {
            let as_it_was = Some(&(seen.size, seen.mtime));
            if seen.head == SeenHead::Skipped && self.ignored.get(&inode(seen.ident)) == as_it_was {
                continue;
            }
            if !seen.packed && is_compressed(&seen.path) {
                self.ignored.insert(inode(seen.ident), (seen.size, seen.mtime));
                self.say_once(&seen.path, Notice::Compressed { path: seen.path.clone() }, out);
            } else if matches!(seen.head, SeenHead::Denied | SeenHead::Failed(_)) {
                self.unreadable(seen, out);
            } else {
                let mut stream = Stream::new(Place::of(seen), Bytes::new());
                if seen.packed {
                    stream.resume_packed(seen, true);
                    stream.place.size = 0;
                }
                stream.limit = (self.settings.once && !seen.packed).then_some(seen.size);
                stream.grown = if self.looks.first_done { now.wall } else { grown(seen, now) };
                let token = self.add(stream);
                self.open(token, Why::New, out);
                self.line_up(token);
            }
        }
    }

    fn unreadable(&mut self, seen: &Seen, out: &mut Vec<SourceAction>) {
        let path = seen.path.clone();
        let notice = match &seen.head {
            SeenHead::Denied => Notice::NoPermission { path },
            SeenHead::Failed(error) => Notice::Unreadable { path, error: error.clone() },
            SeenHead::Skipped | SeenHead::Bytes(_) => return,
        };
        self.say_once(&seen.path, notice, out);
    }

    /// Files that are read to their end and will not grow any more.
    fn retire(&mut self, now: Now, out: &mut Vec<SourceAction>) {
        let ended = |s: &Stream| {
            let quiet = now.wall.saturating_sub(s.grown);
            // Not before it is durable: the commit that names an offset in it must sync it first (PROTOCOL I5).
            let to_end = s.pos >= s.place.size || s.unlinked && s.adopted;
            let read = to_end && s.asked.is_none() && s.durable >= s.pos;
            if s.is_packed() && s.stage == Stage::Following && !s.unlinked && !s.left {
                return read && s.settled && !s.want;
            }
            let at_end = match s.stage {
                Stage::Following => read,
                // A read that is outstanding counts until it is answered, which a closed file's is not.
                Stage::Fresh => s.unlinked && s.asked.is_none() && (s.place.size == 0 || s.held.is_some()),
                _ => false,
            };
            let deleted = s.unlinked && quiet >= DELETED_GRACE_NS;
            at_end && (deleted || (s.renamed || s.rotated_name || s.left) && quiet >= GRACE_NS)
        };
        let ended: Vec<Token> =
            self.streams.iter().filter(|(_, s)| ended(s)).map(|(token, _)| *token).collect();
        for token in ended {
            self.end_packed(token, out);
            self.close(token, out);
            let stream = self.stream(token);
            if stream.id.is_none() {
                self.streams.remove(&token);
            } else if stream.unlinked || stream.left {
                self.detach(now, token, out);
            } else {
                stream.stage = Stage::Resting;
                let id = stream.id;
                out.extend(id.map(|source| SourceAction::Detach { source }));
            }
        }
    }

    pub(super) fn opened(
        &mut self,
        now: Now,
        file: FileKey,
        result: Result<OpenStat, OpenError>,
        out: &mut Vec<SourceAction>,
    ) {
        self.opening -= 1;
        let Some(token) = self.by_file.get(&file).copied() else { return };
        let stream = self.stream(token);
        let Stage::Opening(why) = stream.stage else { return };
        let stat = match result {
            Ok(stat) => stat,
            Err(error) => return self.not_opened(now, (file, token), (why, error), out),
        };
        stream.file = Some(file);
        stream.place.ident = stat.ident;
        stream.place.mtime = stat.mtime;
        stream.place.size = match &stat.packed {
            Some(_) if why == Why::Resume => stream.place.size.max(stat.size),
            _ => stat.size,
        };
        stream.place.packed = stat.packed;
        stream.unlinked = stat.nlink == 0;
        if why == Why::New {
            stream.stage = Stage::Fresh;
            stream.head_bytes = stat.head;
            self.unjudged.push(token);
            return;
        }
        if let Some(source) = stream.id {
            out.push(SourceAction::Attach { source, file });
        }
        stream.stage = Stage::Probing(Why::Resume);
        // How long a compressed file is, reads will tell.
        let size = self.stream(token).place.size;
        if self.verified(now, token, size, &stat.head, out) {
            self.want(token);
        }
    }

    fn not_opened(
        &mut self,
        now: Now,
        (file, token): (FileKey, Token),
        (why, error): (Why, OpenError),
        out: &mut Vec<SourceAction>,
    ) {
        self.by_file.remove(&file);
        let path = self.stream(token).place.path.clone();
        match error {
            OpenError::Gone => self.look_soon(now),
            OpenError::Denied => {
                let notice = Notice::NoPermission { path: path.clone() };
                self.say_once(&path, notice, out);
            }
            OpenError::Failed(error) => {
                let notice = Notice::Unreadable { path: path.clone(), error };
                self.say_once(&path, notice, out);
            }
        }
        if why == Why::New {
            self.streams.remove(&token);
        } else {
            let stream = self.stream(token);
            stream.stage = Stage::Resting;
            // The next walk judges it anew.
            stream.place.mtime = -1;
        }
    }
}

/// When a file that is seen for the first time in this process has grown last. However old it is, it is watched for a
/// while: what was interrupted by the same crash as we were may go on.
fn grown(seen: &Seen, now: Now) -> i64 {
    seen.mtime.max(now.wall - GRACE_NS + FIRST_WATCH_NS)
}

/// So long, ns.
const FIRST_WATCH_NS: i64 = 60_000_000_000;

fn first_name<'a>(paths: &[&'a Seen]) -> &'a Seen {
    paths
        .iter()
        .min_by_key(|seen| (super::names::live_name(&seen.path).is_some(), &seen.path))
        .expect("INVARIANT: a found inode has a path")
}
