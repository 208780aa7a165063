//! Huffman: code lengths from counts, and canonical codes from lengths (RFC 1951, 3.2.2).
//!
//! Promises: every code is complete (its Kraft sum is exactly one) and no length exceeds the limit; nothing is
//! allocated. Must not know: what the symbols mean.

/// Most symbols of an alphabet here.
pub(super) const SYMBOLS_MAX: usize = 288;

/// Code lengths for `counts`, none above `limit`. Every symbol whose count is not 0 gets a code; there are at least
/// two of them, and at most `2^limit`.
pub(super) fn code_lengths(counts: &[u32], limit: u8, lengths: &mut [u8]) {
    debug_assert!(counts.len() == lengths.len() && counts.len() <= SYMBOLS_MAX);
    lengths.fill(0);
    // Ascending by count; the symbol breaks ties, so that equal counts give equal codes everywhere.
    let mut order = [0_u64; SYMBOLS_MAX];
    let mut used = 0;
    for (symbol, &count) in counts.iter().enumerate() {
        if count > 0 {
            order[used] = u64::from(count) << 16 | symbol as u64;
            used += 1;
        }
    }
    assert!(used >= 2, "a code of {used} symbols");
    let order = &mut order[..used];
    order.sort_unstable();
    let mut depths = [0_u32; SYMBOLS_MAX];
    let depths = &mut depths[..used];
    for (depth, &entry) in depths.iter_mut().zip(order.iter()) {
        *depth = (entry >> 16) as u32;
    }
    minimum_redundancy(depths);
    let mut per_length = limited(depths, limit);
    // The rarest symbols take the longest codes.
    let mut length = limit;
    for &entry in order.iter() {
        while per_length[usize::from(length)] == 0 {
            length -= 1;
        }
        per_length[usize::from(length)] -= 1;
        lengths[(entry & 0xffff) as usize] = length;
    }
}

/// Replaces ascending weights by the depths of an optimal code, descending: Moffat and Katajainen, "In-place
/// calculation of minimum-redundancy codes" (1995).
fn minimum_redundancy(weights: &mut [u32]) {
    let count = weights.len();
    // Phase 1: weights become the parents of inner nodes.
    weights[0] += weights[1];
    let (mut root, mut leaf) = (0, 2);
    for next in 1..count - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            if leaf >= count || (root < next && weights[root] < weights[leaf]) {
                sum += weights[root];
                weights[root] = next as u32;
                root += 1;
            } else {
                sum += weights[leaf];
                leaf += 1;
            }
        }
        weights[next] = sum;
    }
    // Phase 2: parents become depths of inner nodes.
    weights[count - 2] = 0;
    for next in (0..count - 2).rev() {
        weights[next] = weights[weights[next] as usize] + 1;
    }
    // Phase 3: depths of inner nodes become depths of leaves.
    let (mut available, mut depth) = (1_usize, 0_u32);
    let (mut root, mut next) = (count as isize - 2, count as isize - 1);
    while available > 0 {
        let mut used = 0;
        while root >= 0 && weights[root as usize] == depth {
            used += 1;
            root -= 1;
        }
        while available > used {
            weights[next as usize] = depth;
            next -= 1;
            available -= 1;
        }
        available = 2 * used;
        depth += 1;
    }
}

/// How many codes of each length: depths above `limit` are cut to it, and codes are lengthened until all fit again.
fn limited(depths: &[u32], limit: u8) -> [u32; 16] {
    let limit = usize::from(limit);
    let mut per_length = [0_u32; 16];
    for &depth in depths {
        per_length[(depth as usize).min(limit)] += 1;
    }
    // In units of the longest code: a complete code has exactly 2^limit.
    let mut units: u32 = (1..=limit).map(|length| per_length[length] << (limit - length)).sum();
    let whole = 1_u32 << limit;
    while units > whole {
        // The longest code that is shorter than the limit goes one deeper, beside one of the longest.
        let Some(length) = (1..limit).rev().find(|&length| per_length[length] > 0) else {
            unreachable!("INVARIANT: no more symbols than codes");
        };
        per_length[length] -= 1;
        per_length[length + 1] += 1;
        units -= 1 << (limit - length - 1);
    }
    // What was given away too much goes back to codes that can be shortened for it.
    while units < whole {
        let spare = whole - units;
        let fits = |length: &usize| per_length[*length] > 0 && 1 << (limit - length) <= spare;
        let Some(length) = (2..=limit).find(fits) else {
            unreachable!("INVARIANT: a code of the longest length can always be shortened");
        };
        per_length[length] -= 1;
        per_length[length - 1] += 1;
        units += 1 << (limit - length);
    }
    per_length
}

/// The canonical codes of `lengths`, bits reversed as DEFLATE packs them.
pub(super) fn codes(lengths: &[u8], codes: &mut [u16]) {
    let mut per_length = [0_u16; 16];
    for &length in lengths {
        per_length[usize::from(length)] += 1;
    }
    per_length[0] = 0;
    let mut next = [0_u16; 16];
    for length in 1..16 {
        next[length] = (next[length - 1] + per_length[length - 1]) << 1;
    }
    for (code, &length) in codes.iter_mut().zip(lengths) {
        if length > 0 {
            *code = next[usize::from(length)].reverse_bits() >> (16 - length);
            next[usize::from(length)] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kraft(lengths: &[u8]) -> f64 {
        lengths.iter().filter(|&&length| length > 0).map(|&length| 0.5_f64.powi(i32::from(length))).sum()
    }

    /// The cost of an optimal code without a limit, by the textbook's method.
    fn optimal(counts: &[u32]) -> u64 {
        let mut heap: std::collections::BinaryHeap<_> = counts
            .iter()
            .filter(|&&count| count > 0)
            .map(|&count| std::cmp::Reverse(u64::from(count)))
            .collect();
        let mut cost = 0;
        while heap.len() > 1 {
            let (a, b) = (heap.pop().expect("two are there").0, heap.pop().expect("two are there").0);
            cost += a + b;
            heap.push(std::cmp::Reverse(a + b));
        }
        cost
    }

    proptest! {
        #[test]
        fn codes_are_complete_and_within_the_limit(
            counts in prop::collection::vec(prop_oneof![Just(0_u32), 1..5_u32, 1..100_000_u32], 4..=286),
            limit in 9..=15_u8,
        ) {
            let mut counts = counts;
            (counts[0], counts[1]) = (counts[0].max(1), counts[1].max(1));
            let mut lengths = vec![0; counts.len()];
            code_lengths(&counts, limit, &mut lengths);
            prop_assert_eq!(kraft(&lengths), 1.0);
            prop_assert!(lengths.iter().all(|&length| length <= limit));
            prop_assert!(counts.iter().zip(&lengths).all(|(&count, &length)| (count > 0) == (length > 0)));
            let cost: u64 = counts.iter().zip(&lengths).map(|(&c, &l)| u64::from(c) * u64::from(l)).sum();
            if limit == 15 && counts.iter().map(|&c| u64::from(c)).sum::<u64>() < 987 {
                // A tree deeper than 15 takes a Fibonacci's worth of counts.
                prop_assert_eq!(cost, optimal(&counts));
            }
            prop_assert!(cost >= optimal(&counts));
        }
    }

    #[test]
    fn fibonacci_counts_are_limited() {
        let mut counts = vec![1_u32, 1];
        while counts.len() < 40 {
            counts.push(counts[counts.len() - 1] + counts[counts.len() - 2]);
        }
        let mut lengths = vec![0; 40];
        code_lengths(&counts, 7, &mut lengths);
        assert_eq!((kraft(&lengths), lengths.iter().max()), (1.0, Some(&7)));
    }

    /// The example of RFC 1951, 3.2.2.
    #[test]
    fn codes_are_canonical() {
        let lengths = [3, 3, 3, 3, 3, 2, 4, 4];
        let mut got = [0; 8];
        codes(&lengths, &mut got);
        let expected = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111_u16];
        let reversed = std::array::from_fn(|i| expected[i].reverse_bits() >> (16 - lengths[i]));
        assert_eq!(got, reversed);
    }
}
