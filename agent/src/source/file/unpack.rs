//! unpack: reads compressed files as if they were plain ones: gzip of any number of members, zstd of any number of frames.
//!
//! Promises: a file is compressed if it begins like one, whatever its name; every offset is one of the decompressed
//! text; memory is fixed, whatever the file says of itself; a step ends after a bounded amount of work, so that the
//! thread that runs it is free for others; what is there later is read on from where the last byte was.
//! Must not know: what is asked for, and why.
mod frame;

use super::buffers::Buffers;
use super::os;
use crate::source::{FileKey, Packed, PackedState, ReadBack};
use bytes::Bytes;
use edgepush_shard::limits::HEAD_BYTES_MAX;
pub(crate) use frame::Kind;
use frame::{Fed, Frames};
use std::fs::File;
use std::io;
use std::sync::Arc;

/// Decompressed bytes that one step passes over at most.
const SKIP_BYTES: u64 = 16 << 20;
/// Stored bytes that one step takes at most: a file may hold a lot that decompresses to nothing.
const STORED_BYTES: u64 = 16 << 20;
/// What is passed over goes into pieces of this size.
const SCRATCH_BYTES: usize = 128 * 1024;

/// Whether a file that begins so is compressed. The beginning of a file that is being written may be less than a
/// format's first bytes: then it is one as far as one can see.
pub fn is_packed(begin: &[u8]) -> bool {
    Kind::of(begin).is_some()
}

/// The decompressed first ≤ 1 KiB of a compressed file, and what is known of the rest. Blocks.
///
/// # Errors
/// The system's.
pub fn head(file: &Arc<File>) -> io::Result<(Bytes, Packed)> {
    let unpacker = Unpacker::new(file)?;
    Ok((unpacker.head.clone(), unpacker.packed()?))
}

/// What comes of a step.
#[derive(Debug)]
pub enum Step {
    /// What was asked for.
    Done(ReadBack),
    /// More steps are needed.
    Again,
}

/// Reads one compressed file at a time: of another one it begins anew.
#[derive(Debug, Default)]
pub struct Reader {
    at: Option<(FileKey, Unpacker)>,
}

impl Reader {
    /// A step of a read of `len` bytes at `offset`. Blocks. What was read of the file before goes fast when reads
    /// follow one another, at most by the length of one backwards.
    ///
    /// # Errors
    /// The system's; never what the file's bytes are.
    pub fn step(
        &mut self,
        (key, file): (FileKey, &Arc<File>),
        (offset, len): (u64, usize),
        buffers: &Buffers,
    ) -> io::Result<Step> {
        let held = self.at.take().filter(|(of, unpacker)| *of == key && unpacker.last_at <= offset);
        let mut unpacker = match held {
            Some((_, unpacker)) => unpacker,
            None if is_packed(&os::stored_head(file)?) => Unpacker::new(file)?,
            None => return os::verify(file, Bytes::new()).map(Step::Done),
        };
        let step = unpacker.step(offset, len, buffers)?;
        if !unpacker.stale {
            self.at = Some((key, unpacker));
        }
        Ok(step)
    }

    /// The file is closed.
    pub fn forget(&mut self, key: FileKey) {
        self.at.take_if(|(of, _)| *of == key);
    }
}

/// One file, decompressed from its beginning to where it is.
#[derive(Debug)]
struct Unpacker {
    file: Arc<File>,
    frames: Frames,
    /// The stored first bytes: the file is another one when they change.
    begin: Bytes,
    head: Bytes,
    /// What was decompressed last, and where it begins.
    last: Bytes,
    last_at: u64,
    /// One byte that was decompressed to see whether there is one.
    ahead: Option<u8>,
    state: PackedState,
    /// The file is not what was decompressed.
    stale: bool,
}

impl Unpacker {
    fn new(file: &Arc<File>) -> io::Result<Unpacker> {
        let begin = os::stored_head(file)?;
        let mut unpacker = Unpacker {
            file: file.clone(),
            frames: Frames::new(&begin)?,
            begin,
            head: Bytes::new(),
            last: Bytes::new(),
            last_at: 0,
            ahead: None,
            state: PackedState::More,
            stale: false,
        };
        unpacker.fill_head()?;
        Ok(unpacker)
    }

    /// Where decompressing stands.
    fn position(&self) -> u64 {
        self.last_at + self.last.len() as u64
    }

    /// The first bytes are what every answer carries; a file that grows may have more of them later.
    fn fill_head(&mut self) -> io::Result<()> {
        if self.head.len() == HEAD_BYTES_MAX || self.position() != self.head.len() as u64 {
            return Ok(());
        }
        let mut bytes = vec![0; HEAD_BYTES_MAX];
        bytes[..self.head.len()].copy_from_slice(&self.head);
        let filled = self.head.len() + self.fill(&mut bytes[self.head.len()..])?;
        bytes.truncate(filled);
        self.head = bytes.into();
        self.last = self.head.clone();
        self.last_at = 0;
        Ok(())
    }

    /// Decompresses into all of `out`, less at the end of what is there, or when it took too much to get there.
    fn fill(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        if let (Some(byte), Some(first)) = (self.ahead, out.first_mut()) {
            *first = byte;
            self.ahead = None;
            filled = 1;
        }
        if out.is_empty() {
            return Ok(0);
        }
        let until = self.frames.taken() + STORED_BYTES;
        filled += self.decompress(&mut out[filled..], until)?;
        let mut one = [0];
        if filled == out.len() && self.ahead.is_none() && self.decompress(&mut one, until)? == 1 {
            self.ahead = Some(one[0]);
        }
        Ok(filled)
    }

    fn decompress(&mut self, out: &mut [u8], until: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < out.len() && self.frames.taken() < until {
            let (fed, made) = self.frames.run(&self.file, &mut out[filled..])?;
            filled += made;
            match fed {
                Fed::More => self.state = PackedState::More,
                Fed::Ended(state) => {
                    self.state = state;
                    break;
                }
            }
        }
        Ok(filled)
    }

    fn packed(&self) -> io::Result<Packed> {
        let stat = rustix::fs::fstat(&self.file)?;
        let state = if self.ahead.is_some() { PackedState::More } else { self.state.clone() };
        Ok(Packed { stored: stat.st_size as u64, taken: self.frames.taken(), state })
    }

    fn step(&mut self, offset: u64, len: usize, buffers: &Buffers) -> io::Result<Step> {
        self.fill_head()?;
        if offset > self.position() {
            let (from, passed) = (self.position(), self.pass(offset)?);
            let ended = self.ahead.is_none() && self.state != PackedState::More;
            if from + passed < offset && !ended {
                return Ok(Step::Again);
            }
        }
        let mut bytes = Bytes::new();
        if offset <= self.position() && len > 0 {
            let from = (offset - self.last_at) as usize;
            let known = (self.last.len() - from).min(len);
            let mut into = buffers.take(len);
            into[..known].copy_from_slice(&self.last[from..from + known]);
            if known < len {
                let filled = known + self.fill(&mut into[known..len])?;
                self.last = buffers.lend(into, filled);
                self.last_at = offset;
                bytes = self.last.clone();
                let ended = self.ahead.is_none() && self.state != PackedState::More;
                if filled < len && !ended {
                    return Ok(Step::Again);
                }
            } else {
                bytes = buffers.lend(into, known);
            }
        } else if len == 0 {
            self.look_ahead()?;
        }
        self.verify(bytes)
    }

    /// Passes over what lies before `offset`; says how much it was.
    fn pass(&mut self, offset: u64) -> io::Result<u64> {
        let wanted = (offset - self.position()).min(SKIP_BYTES);
        let mut scratch = vec![0; SCRATCH_BYTES];
        let mut passed = 0;
        while passed < wanted {
            let piece = scratch.len().min((wanted - passed) as usize);
            let filled = self.fill(&mut scratch[..piece])?;
            passed += filled as u64;
            if filled < piece {
                break;
            }
        }
        if passed > 0 {
            self.last_at = self.position() + passed;
            self.last = Bytes::new();
        }
        Ok(passed)
    }

    /// Whether there is anything behind what is known.
    fn look_ahead(&mut self) -> io::Result<()> {
        let mut one = [0];
        let until = self.frames.taken() + STORED_BYTES;
        if self.ahead.is_none() && self.decompress(&mut one, until)? == 1 {
            self.ahead = Some(one[0]);
        }
        Ok(())
    }

    /// What the file looks like after a read (PROTOCOL S3). If its stored bytes are others now, nothing was read.
    fn verify(&mut self, bytes: Bytes) -> io::Result<Step> {
        let begin = os::stored_head(&self.file)?;
        let stat = rustix::fs::fstat(&self.file)?;
        if !begin.starts_with(&self.begin) || (stat.st_size as u64) < self.frames.taken() {
            self.stale = true;
            return os::verify(&self.file, Bytes::new()).map(Step::Done);
        }
        self.begin = begin;
        Ok(Step::Done(ReadBack {
            bytes,
            size_after: self.position() + u64::from(self.ahead.is_some()),
            nlink: stat.st_nlink as u64,
            head: self.head.clone(),
            packed: Some(self.packed()?),
        }))
    }
}
