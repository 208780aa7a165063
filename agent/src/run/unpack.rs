//! Reads of compressed files for the machines of shard 0: step by step on the blocking thread.
//!
//! Promises: nothing is decompressed on the shard; walks and opens get their turn between two steps; a read that is not
//! wanted any more, because the process ends, ends after the step that it is in.
//! Must not know: which file it is, what becomes of what was read.
use super::shared::Words;
use crate::rt::Rt;
use crate::source::file::buffers::Buffers;
use crate::source::file::unpack::{Reader, Step};
use crate::source::{FileKey, ReadBack};
use std::cell::RefCell;
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;

/// One file at a time, for one machine. Clones share it.
#[derive(Clone)]
pub(super) struct Unpacker {
    rt: Rt,
    words: Arc<Words>,
    reader: Rc<RefCell<Reader>>,
    buffers: Buffers,
}

impl Unpacker {
    pub(super) fn new(rt: &Rt, words: &Arc<Words>, buffers: &Buffers) -> Unpacker {
        Unpacker { rt: rt.clone(), words: words.clone(), reader: Rc::default(), buffers: buffers.clone() }
    }

    /// The file is closed.
    pub(super) fn forget(&self, file: FileKey) {
        self.reader.borrow_mut().forget(file);
    }

    /// Reads `len` bytes of the text at `offset`. Nothing when the process ends meanwhile.
    pub(super) async fn read(
        &self,
        (key, file): (FileKey, Arc<File>),
        offset: u64,
        len: usize,
    ) -> Option<Result<ReadBack, String>> {
        while !self.words.ending() {
            let mut reader = std::mem::take(&mut *self.reader.borrow_mut());
            let (file, buffers) = (file.clone(), self.buffers.clone());
            let job = move || (reader.step((key, &file), (offset, len), &buffers), reader);
            let (step, reader) = self.rt.spawn_blocking(job).await;
            *self.reader.borrow_mut() = reader;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Done(back)) => return Some(Ok(back)),
                Err(error) => return Some(Err(error.to_string())),
            }
        }
        None
    }
}
