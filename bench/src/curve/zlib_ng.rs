//! zlib-ng by its own interface: raw DEFLATE of a slice (feature `zlib-ng`).
//!
//! Promises: one call makes one whole stream.
//! Must not know: who compares it.
#![allow(unsafe_code)]
use libz_ng_sys::{Z_BEST_SPEED, Z_DEFAULT_STRATEGY, Z_DEFLATED, Z_FINISH, Z_OK, Z_STREAM_END, z_stream};
use libz_ng_sys::{deflate, deflateBound, deflateEnd, deflateInit2_, deflateReset, zlibVersion};
use std::mem::MaybeUninit;

/// An encoder with its working memory. It stays where it is: the library keeps the stream's address.
pub(super) struct ZlibNg {
    stream: Box<z_stream>,
}

impl ZlibNg {
    pub(super) fn new(level: i32) -> ZlibNg {
        assert!((Z_BEST_SPEED..=9).contains(&level));
        let mut zeroed = Box::new(MaybeUninit::<z_stream>::zeroed());
        let size = size_of::<z_stream>() as i32;
        // SAFETY: a zeroed stream is what init wants (the library's own allocator); a window of -15 means raw DEFLATE.
        let answer = unsafe {
            deflateInit2_(
                zeroed.as_mut_ptr(),
                level,
                Z_DEFLATED,
                -15,
                8,
                Z_DEFAULT_STRATEGY,
                zlibVersion(),
                size,
            )
        };
        assert_eq!(answer, Z_OK);
        // SAFETY: init has set every field that has a value of its own; the box is not moved.
        ZlibNg { stream: unsafe { zeroed.assume_init() } }
    }

    pub(super) fn encode(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        // SAFETY: the stream was made by init.
        let bound = unsafe { deflateBound(&mut *self.stream, bytes.len() as _) } as usize;
        out.resize(bound, 0);
        self.stream.next_in = bytes.as_ptr().cast_mut();
        self.stream.avail_in = bytes.len() as u32;
        self.stream.next_out = out.as_mut_ptr();
        self.stream.avail_out = bound as u32;
        // SAFETY: input and output are live and of the lengths just set.
        let answer = unsafe { deflate(&mut *self.stream, Z_FINISH) };
        assert_eq!(answer, Z_STREAM_END);
        out.truncate(bound - self.stream.avail_out as usize);
        // SAFETY: the stream was made by init.
        assert_eq!(unsafe { deflateReset(&mut *self.stream) }, Z_OK);
    }
}

impl Drop for ZlibNg {
    fn drop(&mut self) {
        // SAFETY: the stream was made by init and is not used again.
        unsafe { deflateEnd(&mut *self.stream) };
    }
}
