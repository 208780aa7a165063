//! Nearest: how far what somebody wrote is from what there is. How near is near enough, whoever suggests it says.
//!
//! Must not know: what the words are of.

/// How many items must be put in, taken out or changed to make `to` of `from` (Levenshtein).
pub fn distance<T: PartialEq>(from: impl IntoIterator<Item = T>, to: impl IntoIterator<Item = T>) -> usize {
    let to: Vec<T> = to.into_iter().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, a) in from.into_iter().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], at + 1);
        for (other, b) in to.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[other + 1];
            row[other + 1] = changed.min(corner + 1).min(row[other] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_changes_are_counted() {
        let cases =
            [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("ab", "ba", 2)];
        for (from, to, least) in cases {
            assert_eq!(distance(from.chars(), to.chars()), least, "{from} {to}");
            assert_eq!(distance(to.bytes(), from.bytes()), least, "{to} {from}");
        }
    }
}
