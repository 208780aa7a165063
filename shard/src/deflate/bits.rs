//! Bits: DEFLATE's bit order into a byte buffer (RFC 1951, 3.1.1).
//!
//! Promises: at most seven bits wait between two calls; whoever announced enough room is never refused.
//! Must not know: what the bits mean.
#![allow(unsafe_code)]

/// Bytes beyond the last one written that a push may touch.
pub(super) const SLACK: usize = 8;

/// Writes bits into the free capacity of a buffer. Lives in locals: behind a reference every push would go through
/// memory.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
    bits: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    /// Goes on at the end of `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        let at = out.len();
        BitWriter { out, at, bits: 0, count: 0 }
    }

    /// Makes sure that `bytes` more can be pushed before the next reservation.
    #[inline]
    pub(super) fn reserve(&mut self, bytes: usize) {
        if self.out.capacity() - self.at < bytes + SLACK {
            self.grow(bytes);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        // SAFETY: `reserve` has always been called before bytes up to `at` were written, so they are initialised and
        // lie within the capacity.
        unsafe { self.out.set_len(self.at) };
        self.out.reserve(bytes + SLACK);
    }

    /// Pushes the low `count` bits of `bits`, at most 56; the bits above are 0.
    #[inline(always)]
    pub(super) fn push(&mut self, bits: u64, count: u32) {
        debug_assert!(count <= 56 && (count == 64 || bits >> count == 0));
        debug_assert!(self.at + SLACK <= self.out.capacity());
        self.bits |= bits << self.count;
        self.count += count;
        // SAFETY: the room was reserved (asserted in debug builds): the eight bytes lie within the capacity.
        unsafe { self.out.as_mut_ptr().add(self.at).cast::<[u8; 8]>().write(self.bits.to_le_bytes()) };
        self.at += (self.count / 8) as usize;
        self.bits >>= self.count & !7;
        self.count &= 7;
    }

    /// Bits written so far, those that wait included.
    pub(super) fn position(&self) -> u64 {
        self.at as u64 * 8 + u64::from(self.count)
    }

    /// An empty stored block, BFINAL=0: what follows begins on a byte.
    pub(super) fn flush(mut self) {
        self.reserve(8);
        self.push(0, 3);
        if self.count > 0 {
            let pad = 8 - self.count;
            self.push(0, pad);
        }
        self.push(0xffff_0000, 32);
        // SAFETY: as in `grow`.
        unsafe { self.out.set_len(self.at) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_packed_from_the_lowest() {
        let mut out = vec![0xaa];
        let mut writer = BitWriter::new(&mut out);
        writer.reserve(100);
        writer.push(0b101, 3);
        writer.push(0x1f_ffff_ffff_ffff, 53);
        writer.push(0, 0);
        writer.push(1, 1);
        assert_eq!(writer.position(), 8 + 57);
        writer.flush();
        assert_eq!(out, [0xaa, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0, 0xff, 0xff]);
    }
}
