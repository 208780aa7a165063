//! Igzip: the calls into ISA-L, the distribution's `libisal` (cargo feature `isal`).
//!
//! Promises: one call makes one raw DEFLATE body that ends with one empty stored block, or says that there was too
//! little room; it refers to nothing before its own first byte.
//! Must not know: codecs, runs. The benches include this file by its path.
#![allow(unsafe_code)]
use std::ffi::{c_int, c_void};
use std::ptr::{null, null_mut};

/// `SYNC_FLUSH` of `igzip_lib.h`.
const SYNC_FLUSH: u16 = 1;
/// `COMP_OK` of `igzip_lib.h`.
const OK: c_int = 0;
/// More than any level's `ISAL_DEF_LVLn_DEFAULT` (340 KiB for level 3).
const LEVEL_BYTES: usize = 512 << 10;
/// More than `struct isal_zstate` (80.4 KiB in 2.30): the library grows it within one ABI version.
const INTERNAL_WORDS: usize = 16 << 10;
/// Less room than this left over may mean that the last flush is not complete: a block's header has 328 bytes.
const ROOM_LEFT_MIN: usize = 512;

/// `struct isal_zstream` of `libisal.so.2`, with more room for its internal state than it takes.
#[repr(C)]
struct Stream {
    next_in: *const u8,
    avail_in: u32,
    total_in: u32,
    next_out: *mut u8,
    avail_out: u32,
    total_out: u32,
    hufftables: *mut c_void,
    level: u32,
    level_buf_size: u32,
    level_buf: *mut u8,
    end_of_stream: u16,
    flush: u16,
    gzip_flag: u16,
    hist_bits: u16,
    internal: [u64; INTERNAL_WORDS],
}

#[link(name = "isal")]
unsafe extern "C" {
    fn isal_deflate_init(stream: *mut Stream);
    fn isal_deflate(stream: *mut Stream) -> c_int;
}

/// An encoder with its working memory.
pub struct Igzip {
    stream: Box<Stream>,
    level_buf: Box<[u64]>,
    level: u32,
}

// SAFETY: the pointers in `stream` are set at the start of each call and are null between calls.
unsafe impl Send for Igzip {}

impl Igzip {
    /// An encoder at one of ISA-L's levels, 0..=3.
    pub fn new(level: u32) -> Igzip {
        assert!(level <= 3, "ISA-L has no level {level}");
        let stream = Stream {
            next_in: null(),
            avail_in: 0,
            total_in: 0,
            next_out: null_mut(),
            avail_out: 0,
            total_out: 0,
            hufftables: null_mut(),
            level: 0,
            level_buf_size: 0,
            level_buf: null_mut(),
            end_of_stream: 0,
            flush: SYNC_FLUSH,
            gzip_flag: 0,
            hist_bits: 0,
            internal: [0; INTERNAL_WORDS],
        };
        Igzip { stream: Box::new(stream), level_buf: vec![0; LEVEL_BYTES / 8].into(), level }
    }

    /// Appends the body of `bytes` within the free capacity of `out`; false, with `out` as it was, when that is too
    /// small.
    pub fn encode(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let room = out.spare_capacity_mut();
        let room_len = u32::try_from(room.len()).unwrap_or(u32::MAX);
        let stream = &mut *self.stream;
        // SAFETY: `stream` is a whole `isal_zstream`; init only writes into it.
        unsafe { isal_deflate_init(stream) };
        stream.next_in = bytes.as_ptr();
        stream.avail_in = u32::try_from(bytes.len()).expect("INVARIANT: a slab is below 4 GiB");
        stream.next_out = room.as_mut_ptr().cast();
        stream.avail_out = room_len;
        stream.level = self.level;
        stream.level_buf = self.level_buf.as_mut_ptr().cast();
        stream.level_buf_size = LEVEL_BYTES as u32;
        stream.flush = SYNC_FLUSH;
        // SAFETY: input, output and level buffer are live and of the lengths just set; nothing else has the last two.
        let answer = unsafe { isal_deflate(stream) };
        let (left_in, left_out) = (stream.avail_in, stream.avail_out as usize);
        (stream.next_in, stream.next_out, stream.level_buf) = (null(), null_mut(), null_mut());
        if answer != OK || left_in != 0 || left_out < ROOM_LEFT_MIN {
            return false;
        }
        let written = room_len as usize - left_out;
        // SAFETY: the library has written these bytes of the spare capacity.
        unsafe { out.set_len(out.len() + written) };
        true
    }
}
