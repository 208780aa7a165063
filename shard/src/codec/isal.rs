//! Isal: raw DEFLATE by ISA-L, for bytes of which nothing is known (cargo feature `isal`).
//!
//! Promises: what `deflate` promises of a body.
//! Must not know: gzip's headers; the library's calls.
use super::igzip::Igzip;
use super::{BODY_END, Codec, CodecKind, Form, Run, assert_not_empty};

/// A general DEFLATE encoder, faster and denser than zlib's level 1.
pub struct Isal {
    state: Igzip,
}

impl Isal {
    /// An encoder at a level of ISA-L that makes its own tables, 1..=3: level 0 can double what is noise.
    pub fn new(level: u32) -> Isal {
        assert!(level > 0, "level 0 has no tables of its own");
        Isal { state: Igzip::new(level) }
    }

    /// The most that a body of `len` bytes takes, and the room that a flush wants left over.
    fn bound(len: usize) -> usize {
        len + len / 8 + 1024
    }
}

impl Codec for Isal {
    fn kind(&self) -> CodecKind {
        CodecKind::Gzip
    }

    fn encode(&mut self, _form: Form, run: &Run<'_>, out: &mut Vec<u8>) {
        assert_not_empty(run);
        let mut room = Isal::bound(run.bytes.len());
        loop {
            out.reserve(room);
            if self.state.encode(run.bytes, out) {
                break;
            }
            // What cannot end otherwise is a bug, not weather: no body takes four times its bytes.
            assert!(room < 4 * run.bytes.len() + 4096, "INVARIANT: ISA-L encodes every slice");
            room *= 2;
        }
        debug_assert!(out.ends_with(&BODY_END));
    }
}

#[cfg(test)]
mod tests {
    use super::super::general::contract;
    use super::*;

    #[test]
    fn bodies_keep_the_contract() {
        for level in 1..=3 {
            contract::ends_with_one_empty_stored_block(&mut Isal::new(level), Isal::bound);
            contract::does_not_depend_on_what_was_before(&mut Isal::new(level));
        }
    }

    #[test]
    fn too_little_room_is_noticed() {
        let bytes = contract::noise(10_000);
        let (mut state, mut whole) = (Igzip::new(1), Vec::with_capacity(20_000));
        assert!(state.encode(&bytes, &mut whole));
        for room in [0, 1, whole.len() - 6, whole.len() - 1, whole.len(), whole.len() + 5, 20_000] {
            let mut out = Vec::with_capacity(room);
            let fits = state.encode(&bytes, &mut out);
            assert!(if fits { out == whole } else { out.is_empty() && room < 20_000 }, "{room}");
        }
    }
}
