//! Bits: DEFLATE's bit order into a byte buffer (RFC 1951, 3.1.1).
//!
//! Promises: at most seven bits wait between two pushes; whoever reserved enough room is never refused.
//! Must not know: what the bits mean.
#![allow(unsafe_code)]

/// Bytes beyond the last one written that a push may touch.
pub(super) const SLACK: usize = 8;

/// Writes bits into the free capacity of a buffer.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pen: Pen,
}

/// Where the next bits go. It is taken out of the writer and put back: behind a reference every push would go through
/// memory.
#[derive(Clone, Copy)]
pub(super) struct Pen {
    at: *mut u8,
    bits: u64,
    count: u32,
    #[cfg(debug_assertions)]
    end: *const u8,
}

impl Pen {
    /// Pushes the low `count` bits of `bits`, at most 56; the bits above are 0.
    ///
    /// # Safety
    /// [`BitWriter::reserve`] has made room for them.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, bits: u64, count: u32) {
        debug_assert!(count <= 56 && bits >> count == 0);
        self.bits |= bits << self.count;
        self.count += count;
        #[cfg(debug_assertions)]
        assert!(self.at.wrapping_add(SLACK).cast_const() <= self.end, "INVARIANT: room was reserved");
        // SAFETY: the eight bytes lie within the reserved room.
        unsafe {
            self.at.cast::<[u8; 8]>().write(self.bits.to_le_bytes());
            self.at = self.at.add((self.count / 8) as usize);
        }
        self.bits >>= self.count & !7;
        self.count &= 7;
    }
}

impl<'a> BitWriter<'a> {
    /// Goes on at the end of `out`, with room for `bytes`.
    pub(super) fn new(out: &'a mut Vec<u8>, bytes: usize) -> BitWriter<'a> {
        let pen = Pen {
            at: out.as_mut_ptr(),
            bits: 0,
            count: 0,
            #[cfg(debug_assertions)]
            end: out.as_ptr(),
        };
        let mut writer = BitWriter { out, pen };
        writer.place(bytes);
        writer
    }

    /// Makes sure that `bytes` more can be pushed before the next reservation.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.settle();
        self.place(bytes);
    }

    fn place(&mut self, bytes: usize) {
        self.out.reserve(bytes + SLACK);
        let len = self.out.len();
        // SAFETY: `len` is at most the capacity.
        self.pen.at = unsafe { self.out.as_mut_ptr().add(len) };
        #[cfg(debug_assertions)]
        {
            self.pen.end = self.out.as_ptr().wrapping_add(self.out.capacity());
        }
    }

    /// Whole bytes that were pushed belong to the buffer from now on.
    fn settle(&mut self) {
        // SAFETY: the pen points into the buffer, and every byte before it was written.
        unsafe {
            let len = self.pen.at.offset_from_unsigned(self.out.as_ptr());
            self.out.set_len(len);
        }
    }

    /// The pen, to push with.
    #[inline]
    pub(super) fn pen(&self) -> Pen {
        self.pen
    }

    /// Puts the pen back, which came from [`BitWriter::pen`] after the last reservation.
    #[inline]
    pub(super) fn put_back(&mut self, pen: Pen) {
        self.pen = pen;
    }

    /// Pushes where speed does not matter. At most 56 bits.
    pub(super) fn push(&mut self, bits: u64, count: u32) {
        self.reserve(8);
        // SAFETY: there is room.
        unsafe { self.pen.push(bits, count) };
    }

    /// Bits that were pushed so far, from the buffer's start.
    pub(super) fn position(&self) -> u64 {
        let bytes = self.pen.at as usize - self.out.as_ptr() as usize;
        bytes as u64 * 8 + u64::from(self.pen.count)
    }

    /// Pushes the first `bits` bits of `bytes`.
    pub(super) fn paste(&mut self, bytes: &[u8], bits: u64) {
        self.reserve(bytes.len() + 8);
        let mut pen = self.pen();
        let mut left = bits as u32;
        for seven in bytes.chunks(7) {
            let mut word = [0; 8];
            word[..seven.len()].copy_from_slice(seven);
            let count = left.min(56);
            // SAFETY: there is room for all of them.
            unsafe { pen.push(u64::from_le_bytes(word) & !(u64::MAX << count), count) };
            left -= count;
        }
        self.put_back(pen);
    }

    /// Pads to a whole byte; how many bits were pushed before.
    pub(super) fn end(mut self) -> u64 {
        let bits = self.position();
        self.push(0, (8 - self.pen.count) % 8);
        self.settle();
        bits
    }

    /// An empty stored block, BFINAL=0: what follows begins on a byte.
    pub(super) fn flush(mut self) {
        self.push(0, 3);
        if self.pen.count > 0 {
            self.push(0, 8 - self.pen.count);
        }
        self.push(0xffff_0000, 32);
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_packed_from_the_lowest() {
        let mut out = vec![0xaa];
        let mut writer = BitWriter::new(&mut out, 0);
        writer.push(0b101, 3);
        writer.push(0x1f_ffff_ffff_ffff, 53);
        writer.push(0, 0);
        writer.push(1, 1);
        assert_eq!(writer.position(), 8 + 57);
        writer.flush();
        assert_eq!(out, [0xaa, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0, 0xff, 0xff]);
    }
}
