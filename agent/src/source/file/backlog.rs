//! backlog: what was there at the start is read oldest first, and before the live files of the same glob.
//!
//! Promises: rotated and compressed files that the first walk finds are read one after the other, by the time of their
//! last change, then by name; a live file waits for them, but never for one that cannot be read on now.
//! Must not know: how a file is read, other globs.
use super::FileSource;
use super::stream::{Stage, Stream, Token};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

type Key = (i64, PathBuf, Token);

/// What is still to be read first, by glob.
#[derive(Debug, Default)]
pub(super) struct Order {
    globs: BTreeMap<u32, BTreeSet<Key>>,
    keys: HashMap<Token, (u32, Key)>,
}

impl Order {
    fn add(&mut self, glob: u32, key: Key) {
        self.keys.insert(key.2, (glob, key.clone()));
        self.globs.entry(glob).or_default().insert(key);
    }

    fn remove(&mut self, token: Token) -> Option<(u32, Key)> {
        let (glob, key) = self.keys.remove(&token)?;
        if let Some(keys) = self.globs.get_mut(&glob) {
            keys.remove(&key);
            if keys.is_empty() {
                self.globs.remove(&glob);
            }
        }
        Some((glob, key))
    }

    fn first(&self, glob: u32) -> Option<Token> {
        self.globs.get(&glob)?.first().map(|key| key.2)
    }

    /// The file is another stream's from now on.
    pub(super) fn hand_over(&mut self, from: Token, to: Token) {
        if let Some((glob, (mtime, path, _))) = self.remove(from) {
            self.add(glob, (mtime, path, to));
        }
    }
}

impl FileSource {
    /// A file that the first walk has found.
    pub(super) fn line_up(&mut self, token: Token) {
        let stream = &self.streams[&token];
        if !self.looks.first_done && (stream.rotated_name || stream.is_packed()) {
            let key = (stream.place.mtime, stream.place.path.clone(), token);
            self.backlog.add(stream.place.glob, key);
        }
    }

    /// Whether lines of this stream may be read now.
    pub(super) fn is_turn(&mut self, token: Token, glob: u32) -> bool {
        while let Some(first) = self.backlog.first(glob) {
            if first == token {
                return true;
            }
            if self.streams.get(&first).is_some_and(|stream| self.is_under_way(first, stream)) {
                return false;
            }
            self.backlog.remove(first);
        }
        true
    }

    /// Whether lines of it are about to come, without anything that has to happen to its file first.
    fn is_under_way(&self, token: Token, stream: &Stream) -> bool {
        let asks = stream.file.is_some() && (stream.want || stream.asked.is_some()) && !stream.said_error;
        match stream.stage {
            Stage::Opening(_) | Stage::Registering | Stage::Probing(_) | Stage::Backing => true,
            Stage::Following => asks,
            Stage::Fresh => {
                // Perhaps the copy of one whose file was rotated away while no one looked: that is known soon.
                let of = stream.held.and_then(|held| self.streams.get(&held.of));
                let gone =
                    |of: &Stream| of.stage == Stage::Detached || of.stage == Stage::Resting && of.unseen;
                asks || self.unjudged.contains(&token) || of.is_some_and(gone)
            }
            Stage::Resting | Stage::Draining(_) | Stage::Detached | Stage::Done => false,
        }
    }
}
