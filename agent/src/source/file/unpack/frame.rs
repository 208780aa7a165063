//! frame: what stands in a compressed file: gzip's members (RFC 1952), zstd's frames (RFC 8878), one after the other.
//!
//! Promises: members and frames are checked (CRC-32 and length, zstd's checksum where it has one); everything that can be
//! decompressed comes out before a fault is told; NUL behind the last member is padding, as gzip itself has it.
//! Must not know: offsets of the text.
use crate::source::PackedState;
use flate2::{Decompress, FlushDecompress, Status};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// Stored bytes that are held: a gzip header is within this (its extra field alone may have 64 KiB).
const HELD_BYTES: usize = 128 * 1024;
/// The first read of a file: mostly only its head is wanted.
const FIRST_BYTES: usize = 4096;
/// NUL behind the last member, at most.
const PADDING_BYTES_MAX: u64 = 1 << 20;
/// The largest window of a zstd frame that is decompressed, a power of two: 8 MiB, which `zstd -19` keeps within, and
/// which every decoder must have (RFC 8878 3.1.1.1.2).
const WINDOW_LOG_MAX: u32 = 23;
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
const GZIP_TRAILER_BYTES: usize = 8;
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A skippable frame's first bytes, but for the lower half of the first one.
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gzip,
    Zstd,
}

impl Kind {
    /// By a file's first bytes; two of them are enough.
    pub(crate) fn of(begin: &[u8]) -> Option<Kind> {
        let known = |magic: &[u8]| {
            let len = begin.len().min(magic.len());
            len >= 2 && begin[..len] == magic[..len]
        };
        if known(&GZIP) {
            return Some(Kind::Gzip);
        }
        let skippable = begin.len() >= 4 && begin[0] & 0xf0 == SKIPPABLE[0] && begin[1..4] == SKIPPABLE[1..];
        (known(&ZSTD) || skippable).then_some(Kind::Zstd)
    }
}

/// What a run came to.
#[derive(Debug)]
pub(super) enum Fed {
    /// There is more.
    More,
    /// Nothing more comes of what is there.
    Ended(PackedState),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Between two members, or before the first one.
    Between,
    Body,
    Trailer,
}

enum Codec {
    Gzip { inflate: Decompress, crc: crc32fast::Hasher, bytes: u32 },
    Zstd(Decoder<'static>),
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Codec::Gzip { .. } => "gzip",
            Codec::Zstd(_) => "zstd",
        })
    }
}

/// Members or frames, and the stored bytes that are on their way into them.
#[derive(Debug)]
pub(super) struct Frames {
    kind: Kind,
    codec: Codec,
    part: Part,
    /// Stored bytes: `held[at..]` are not taken yet, and end at `next` of the file.
    held: Vec<u8>,
    at: usize,
    next: u64,
    /// Members that are whole.
    members: u64,
    padding: u64,
    /// The first fault; after one of a checksum it goes on.
    fault: Option<PackedState>,
    stopped: bool,
}

impl Frames {
    /// Of a file that begins so.
    ///
    /// # Errors
    /// It is not compressed (any more).
    pub(super) fn new(begin: &[u8]) -> io::Result<Frames> {
        let Some(kind) = Kind::of(begin) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not compressed any more"));
        };
        let codec = match kind {
            Kind::Gzip => {
                Codec::Gzip { inflate: Decompress::new(false), crc: crc32fast::Hasher::new(), bytes: 0 }
            }
            Kind::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
                Codec::Zstd(decoder)
            }
        };
        Ok(Frames {
            kind,
            codec,
            part: Part::Between,
            held: Vec::new(),
            at: 0,
            next: 0,
            members: 0,
            padding: 0,
            fault: None,
            stopped: false,
        })
    }

    /// Stored bytes that were taken.
    pub(super) fn taken(&self) -> u64 {
        self.next - (self.held.len() - self.at) as u64
    }

    /// Goes on by one piece of work: says what it came to, and how many bytes of `out` it made.
    pub(super) fn run(&mut self, file: &File, out: &mut [u8]) -> io::Result<(Fed, usize)> {
        if self.stopped {
            return Ok((Fed::Ended(self.end_state()), 0));
        }
        match self.part {
            Part::Between => self.between(file).map(|fed| (fed, 0)),
            Part::Trailer => self.trailer(file).map(|fed| (fed, 0)),
            Part::Body => self.body(file, out),
        }
    }

    fn end_state(&self) -> PackedState {
        self.fault.clone().unwrap_or(PackedState::Whole)
    }

    fn broken(&mut self, why: &str) -> Fed {
        let at = self.taken();
        self.fault.get_or_insert_with(|| PackedState::Broken { at, why: why.to_owned() });
        self.stopped = true;
        Fed::Ended(self.end_state())
    }

    /// Reads more of the file; says whether there was any.
    fn more(&mut self, file: &File) -> io::Result<bool> {
        self.held.drain(..self.at);
        self.at = 0;
        let have = self.held.len();
        let wanted = if self.next == 0 { FIRST_BYTES } else { HELD_BYTES - have };
        self.held.resize(have + wanted, 0);
        let read = loop {
            match file.read_at(&mut self.held[have..], self.next) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.held.truncate(have + *read.as_ref().unwrap_or(&0));
        let read = read?;
        self.next += read as u64;
        Ok(read > 0)
    }

    /// What stands before a member: nothing, padding, or its header.
    fn between(&mut self, file: &File) -> io::Result<Fed> {
        if self.members > 0 && self.kind == Kind::Gzip {
            let padding = self.held[self.at..].iter().take_while(|byte| **byte == 0).count();
            self.at += padding;
            self.padding += padding as u64;
            if self.padding > PADDING_BYTES_MAX {
                return Ok(self.broken("NUL bytes stand behind its end"));
            }
        }
        let held = &self.held[self.at..];
        let begun = match self.kind {
            Kind::Gzip => gzip_header(held),
            Kind::Zstd if held.len() < 4 => Begun::Partial,
            Kind::Zstd if Kind::of(held) == Some(Kind::Zstd) => Begun::At(0),
            Kind::Zstd => Begun::Other("something that is no zstd stands behind its last frame"),
        };
        match begun {
            Begun::Other(why) => Ok(self.broken(why)),
            Begun::At(len) => {
                self.at += len;
                self.part = Part::Body;
                match &mut self.codec {
                    Codec::Gzip { inflate, crc, bytes } => {
                        inflate.reset(false);
                        (*crc, *bytes) = (crc32fast::Hasher::new(), 0);
                    }
                    Codec::Zstd(decoder) => decoder.reinit()?,
                }
                Ok(Fed::More)
            }
            Begun::Partial if held.len() >= HELD_BYTES => Ok(self.broken("its header does not end")),
            Begun::Partial => {
                let empty = held.is_empty();
                if self.more(file)? {
                    return Ok(Fed::More);
                }
                Ok(Fed::Ended(if empty && self.members > 0 { self.end_state() } else { PackedState::Torn }))
            }
        }
    }

    fn body(&mut self, file: &File, out: &mut [u8]) -> io::Result<(Fed, usize)> {
        let input = &self.held[self.at..];
        let (taken, made, ended) = match &mut self.codec {
            Codec::Gzip { inflate, crc, bytes } => {
                let before = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(input, out, FlushDecompress::None);
                let made = (inflate.total_out() - before.1) as usize;
                crc.update(&out[..made]);
                *bytes = bytes.wrapping_add(made as u32);
                let ended = status.map(|status| status == Status::StreamEnd).map_err(|e| e.to_string());
                ((inflate.total_in() - before.0) as usize, made, ended)
            }
            Codec::Zstd(decoder) => {
                let (mut from, mut into) = (InBuffer::around(input), OutBuffer::around(&mut *out));
                let left = decoder.run(&mut from, &mut into);
                let ended = left.map(|left| left == 0).map_err(|error| error.to_string());
                (from.pos(), into.pos(), ended)
            }
        };
        self.at += taken;
        match ended {
            Err(why) => Ok((self.broken(&why), made)),
            Ok(true) => {
                self.part = match self.kind {
                    Kind::Gzip => Part::Trailer,
                    Kind::Zstd => Part::Between,
                };
                self.members += 1;
                Ok((Fed::More, made))
            }
            // Nothing comes of what is held.
            Ok(false) if made == 0 && (taken == 0 || self.at == self.held.len()) && !self.more(file)? => {
                Ok((Fed::Ended(PackedState::Torn), 0))
            }
            Ok(false) => Ok((Fed::More, made)),
        }
    }

    fn trailer(&mut self, file: &File) -> io::Result<Fed> {
        let Some((trailer, _)) = self.held[self.at..].split_first_chunk::<GZIP_TRAILER_BYTES>() else {
            return Ok(if self.more(file)? { Fed::More } else { Fed::Ended(PackedState::Torn) });
        };
        let [a, b, c, d, e, f, g, h] = *trailer;
        let (crc, bytes) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let good = match &self.codec {
            Codec::Gzip { crc: made, bytes: len, .. } => crc == made.clone().finalize() && bytes == *len,
            Codec::Zstd(_) => true,
        };
        if !good {
            let (at, why) = (self.taken(), "a checksum is not that of its text".to_owned());
            self.fault.get_or_insert(PackedState::Broken { at, why });
        }
        self.at += GZIP_TRAILER_BYTES;
        self.part = Part::Between;
        Ok(Fed::More)
    }
}

/// How a member begins.
enum Begun {
    /// Its body is so far away.
    At(usize),
    /// More is needed to say.
    Partial,
    /// It is none.
    Other(&'static str),
}

/// A gzip header (RFC 1952 2.3).
fn gzip_header(held: &[u8]) -> Begun {
    let known = held.len().min(GZIP.len());
    if held[..known] != GZIP[..known] {
        return Begun::Other("something that is no gzip stands behind its last member");
    }
    let Some(flags) = held.get(3) else { return Begun::Partial };
    let mut at = 10;
    if flags & 4 != 0 {
        let Some(extra) = held.get(at..at + 2) else { return Begun::Partial };
        at += 2 + usize::from(u16::from_le_bytes([extra[0], extra[1]]));
    }
    for text in [8, 16] {
        if flags & text != 0 {
            let rest = held.get(at..).unwrap_or_default();
            let Some(nul) = memchr::memchr(0, rest) else { return Begun::Partial };
            at += nul + 1;
        }
    }
    at += if flags & 2 != 0 { 2 } else { 0 };
    if held.len() >= at { Begun::At(at) } else { Begun::Partial }
}
