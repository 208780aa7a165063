//! Id: what a receiver knows a record by, so that the same line is there once however often it is sent.
//!
//! Promises: a function of the ledger, the source's seed and the record's offset alone: a line has the same id in every
//! retry, restart, re-read and split, and for every job. 128 bits of a keyed hash: no two lines share one.
//! Must not know: records, which receiver, what it does with ids.
use super::privacy::HashKey;
use crate::ring::RecordSink;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use std::hash::Hasher as _;

/// What ends the line of an id; it begins with [`crate::batch::ID_OPEN`], both in the words of Elasticsearch's bulk requests.
const CLOSE: &[u8] = b"\"}}\n";
/// Characters of an id: base64url without padding, which Elasticsearch stores in 16 bytes.
const ID_CHARS: usize = 22;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Writes the lines with ids that stand before records.
pub(in crate::plan) struct Ids {
    /// A record's delimiter, and [`crate::batch::ID_OPEN`].
    head: Vec<u8>,
    hasher: SipHasher24,
}

impl Ids {
    pub(in crate::plan) fn new(head: &str, key: &HashKey) -> Ids {
        Ids { head: head.as_bytes().to_vec(), hasher: SipHasher24::new_with_key(key.ids()) }
    }

    /// Bytes of each line.
    pub(in crate::plan) fn bytes(&self) -> usize {
        self.head.len() + ID_CHARS + CLOSE.len()
    }

    /// Out of the way of those who want none.
    #[inline(never)]
    pub(in crate::plan) fn write<S: RecordSink>(&self, line: (u64, u64), sink: &mut S) {
        sink.put(&self.head);
        sink.value(&self.id(line));
        sink.put(CLOSE);
    }

    fn id(&self, (seed, offset): (u64, u64)) -> [u8; ID_CHARS] {
        let mut hasher = self.hasher;
        hasher.write(&seed.to_le_bytes());
        hasher.write(&offset.to_le_bytes());
        let bits = hasher.finish128().as_u128();
        // 21 digits of six bits from the top, and the last two bits, filled up.
        std::array::from_fn(|at| match at {
            21 => DIGITS[(bits as usize & 3) << 4],
            _ => DIGITS[(bits >> (122 - 6 * at)) as usize & 63],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ids(key: u128) -> Ids {
        Ids::new("", &HashKey::new(&[0; 32]).of_ledger(key))
    }

    fn text(ids: &Ids, line: (u64, u64)) -> String {
        String::from_utf8(ids.id(line).to_vec()).expect("ASCII")
    }

    #[test]
    fn an_id_is_kept_for_ever() {
        // SipHash-2-4-128 of the bytes 00 to 0f under the key 00 to 0f, which its authors publish as
        // 6ee2a4ca67b054bbfd3315bf85230577: an upgrade must not change the id of a line that was sent.
        let key = u128::from_le_bytes(std::array::from_fn(|at| at as u8));
        let line = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        assert_eq!(text(&ids(key), line), "dwUjhb8VM_27VLBnyqTibg");
    }

    #[test]
    fn no_two_lines_share_an_id() {
        let mut known = HashSet::new();
        // Seeds and offsets that differ in few bits, and in both alike.
        let seeds = [0, 1, 2, 3, 1 << 32, 1 << 63, u64::MAX, 0x9e37_79b9_7f4a_7c15];
        let offsets = (0..15_000_u64).map(|line| line * 137).chain((0..64).map(|bit| 1 << bit | 5));
        let offsets: Vec<u64> = offsets.collect::<HashSet<u64>>().into_iter().collect();
        for ledger in [0, 1, 1 << 127] {
            let ids = ids(ledger);
            for &seed in &seeds {
                for &offset in &offsets {
                    let id = ids.id((seed, offset));
                    assert!(known.insert(id), "{ledger} {seed} {offset}");
                }
            }
        }
        assert_eq!(known.len(), 3 * seeds.len() * offsets.len());
        // Half of an id would do for these few.
        for half in [0..11, 11..22] {
            let halves: HashSet<&[u8]> = known.iter().map(|id| &id[half.clone()]).collect();
            assert_eq!(halves.len(), known.len(), "characters {half:?}");
        }
    }

    #[test]
    fn each_bit_depends_on_all() {
        let ids = ids(7);
        let bits = |line| {
            let text = ids.id(line);
            text.map(|digit| DIGITS.iter().position(|known| *known == digit).expect("a digit"))
        };
        let (mut changed, mut all) = (0, 0);
        for n in 0..200_u64 {
            let line = (n << 40, n * 701);
            for bit in 0..64 {
                for other in [(line.0 ^ 1 << bit, line.1), (line.0, line.1 ^ 1 << bit)] {
                    let (one, another) = (bits(line), bits(other));
                    changed += one.iter().zip(another).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
                    all += 128;
                }
            }
        }
        let share = f64::from(changed) / f64::from(all);
        assert!((0.499..0.501).contains(&share), "{share} of all bits change with one");
    }

    #[test]
    fn an_id_is_base64url_as_elasticsearch_stores_it_shortly() {
        let ids = ids(3);
        for offset in 0..1000 {
            let id = text(&ids, (1, offset));
            assert_eq!(id.len(), 22);
            assert!(
                id.bytes().all(|byte| DIGITS.contains(&byte)) && id.ends_with(['A', 'Q', 'g', 'w']),
                "{id}"
            );
        }
    }
}
