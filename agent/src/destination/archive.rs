//! `archive:`: a batch of a shelf becomes a listed file of the archive below the state directory (INTERFACE 7).
//!
//! Promises: a file is listed only when it is whole and durable; one that is listed is never written again, so that a
//! batch that comes once more after a crash is simply there. Batches without a shelf (of an older program, or of a job
//! that went elsewhere when it made them) become files under their names, as of `file:///`, and are not listed.
//! Must not know: who asks, when a slot is published.
use super::file::{FileDestination, admit, blocking, store};
use super::{Answer, Boxed, Destination, Outgoing, Status, Verdict};
use crate::archive::compose::{Composed, Title, compose};
use crate::archive::{DIR, INDEX_FILE, Index, Slot, name};
use crate::config::Reserve;
use crate::failpoint;
use bytes::Bytes;
use edgepush_shard::segment::Shelf;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The archive of a state directory.
pub struct ArchiveDestination {
    plain: FileDestination,
    files: Arc<Files>,
}

/// What a publication needs.
struct Files {
    root: PathBuf,
    index_file: PathBuf,
    /// Opened with the first file.
    index: Mutex<Option<Index>>,
    keep_free: Reserve,
}

impl ArchiveDestination {
    /// Below this state directory; nothing is written that would take the file system below `keep_free`.
    pub fn new(state: &Path, keep_free: Reserve) -> ArchiveDestination {
        let root = state.join(DIR);
        ArchiveDestination {
            plain: FileDestination::new(root.clone()).flat().keeping_free(keep_free),
            files: Arc::new(Files {
                root,
                index_file: state.join(INDEX_FILE),
                index: Mutex::new(None),
                keep_free,
            }),
        }
    }
}

impl Files {
    /// Makes the file of a shelf's batch, and lists it. Blocks.
    fn publish(&self, batch: &Outgoing, shelf: &Shelf) -> io::Result<()> {
        let serial = match name::read_path(&batch.name) {
            Some((domain, start, serial)) if domain == &*shelf.domain && start == shelf.start => serial,
            _ => {
                let why = format!("{}: this is no name of a file of its shelf", batch.name);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        };
        let (domain, start) = (&*shelf.domain, shelf.start);
        if self.with_index(|index| index.get(domain, start, serial))?.is_some() {
            return Ok(());
        }
        admit(&self.root, batch.len(), self.keep_free)?;
        let slot = if shelf.seconds == 300 { Slot::FiveMinutes } else { Slot::Hour };
        let published = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |at| at.as_secs() as i64);
        let Composed { body, entry } =
            compose(Title { domain, start, serial, slot, published }, &batch.body)?;
        failpoint::hit("archive.write.before");
        store(&self.root, &batch.name, &body)?;
        failpoint::hit("archive.renamed");
        self.with_index(|index| index.add(&entry))?;
        failpoint::hit("archive.listed");
        Ok(())
    }

    fn with_index<T>(
        &self,
        ask: impl FnOnce(&Index) -> Result<T, crate::archive::IndexError>,
    ) -> io::Result<T> {
        let told = |error: crate::archive::IndexError| {
            let kind = match error.is_no_space() {
                true => io::ErrorKind::StorageFull,
                false => io::ErrorKind::Other,
            };
            io::Error::new(kind, error.to_string())
        };
        let mut guard = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            *guard = Some(Index::open(&self.index_file).map_err(told)?);
        }
        ask(guard.as_ref().expect("INVARIANT: opened above")).map_err(told)
    }
}

impl Destination for ArchiveDestination {
    fn prepare(&self) -> Boxed<'_, ()> {
        self.plain.prepare()
    }

    fn deliver(&self, batch: Outgoing) -> Boxed<'_, Answer> {
        let Some(shelf) = batch.shelf.clone() else { return self.plain.deliver(batch) };
        let files = self.files.clone();
        Box::pin(async move {
            match blocking(move || files.publish(&batch, &shelf)).await {
                Ok(()) => Verdict::Delivered.into(),
                Err(error) => {
                    let why = format!("{}: {error}", self.plain.redacted());
                    let verdict = match error.kind() {
                        // What is rotten stays so: it is held aside, and its job goes on.
                        io::ErrorKind::InvalidData => Verdict::Refused { why },
                        _ => Verdict::Retry { after: None, why },
                    };
                    Answer { verdict, status: Status::Word("error") }
                }
            }
        })
    }

    fn probe(&self, write: bool) -> Boxed<'_, Result<(), String>> {
        self.plain.probe(write)
    }

    fn put_object(&self, name: &str, body: Bytes) -> Boxed<'_, Result<String, String>> {
        self.plain.put_object(name, body)
    }

    fn redacted(&self) -> &str {
        self.plain.redacted()
    }
}
