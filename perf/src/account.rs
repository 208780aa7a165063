//! The account of a run: which of the written lines arrived, and how late.
use crate::corpus;
use crate::sink::Body;
use std::collections::HashSet;
use std::io;

/// What arrived.
#[derive(Debug, Default, PartialEq)]
pub struct Account {
    /// Bodies, each key once.
    pub bodies: u64,
    /// Bodies whose key had come before: what a receiver drops.
    pub repeated: u64,
    /// Lines.
    pub lines: u64,
    /// Uncompressed bytes.
    pub bytes: u64,
    /// Stored bytes.
    pub stored: u64,
    /// Lines that never came.
    pub lost: u64,
    /// Lines that came more than once, under different keys.
    pub doubled: u64,
    /// Lines that nobody wrote.
    pub foreign: u64,
    /// Write to acknowledgement of each line, ns, ascending. Only where asked for.
    pub delays_ns: Vec<u64>,
}

/// Counts every line of the bodies against the lines `0..written`.
pub fn account(bodies: &[Body], written: u64, delays: bool) -> io::Result<Account> {
    let mut seen = vec![0_u8; written as usize];
    let mut keys = HashSet::new();
    let mut sum = Account::default();
    for body in bodies {
        if body.key != "none" && !keys.insert(&body.key) {
            sum.repeated += 1;
            continue;
        }
        sum.bodies += 1;
        sum.stored += body.len;
        let text = body.decoded()?;
        sum.bytes += text.len() as u64;
        for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            sum.lines += 1;
            match corpus::sequence(line).and_then(|seq| seen.get_mut(seq as usize)) {
                Some(count) => *count = count.saturating_add(1),
                None => sum.foreign += 1,
            }
            if delays {
                let at = corpus::written_ns(line).unwrap_or(0);
                sum.delays_ns.push(body.acked_ns.saturating_sub(at));
            }
        }
    }
    sum.lost = seen.iter().filter(|n| **n == 0).count() as u64;
    sum.doubled = seen.iter().filter(|n| **n > 1).count() as u64;
    sum.delays_ns.sort_unstable();
    Ok(sum)
}

impl Account {
    /// Nothing lost, nothing doubled, nothing from elsewhere.
    pub fn exact(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.foreign == 0
    }
    /// A quantile of the delays, ms.
    pub fn delay_ms(&self, quantile: f64) -> f64 {
        let last = self.delays_ns.len().saturating_sub(1);
        let at = (last as f64 * quantile).ceil() as usize;
        self.delays_ns.get(at).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink;
    use std::path::Path;

    fn keep(dir: &Path, name: &str, lines: &[&[u8]]) {
        std::fs::write(dir.join(name), lines.concat()).unwrap();
    }

    #[test]
    fn lost_doubled_repeated_and_foreign_lines_are_told_apart() {
        let mut corpus = corpus::Corpus::new(1);
        let lines: Vec<Vec<u8>> = (0..4_u64)
            .map(|i| {
                let mut line = Vec::new();
                corpus.line(&mut line, Some(1_000_000 * i));
                line
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), "000000.5000000.2.none.a", &[&lines[0], &lines[1]]);
        keep(dir.path(), "000001.6000000.2.none.a", &[&lines[0], &lines[1]]);
        keep(dir.path(), "000002.7000000.3.none.b", &[&lines[1], &lines[3], b"{\"x\":1}\n"]);
        let account = account(&sink::bodies(dir.path()).unwrap(), 4, true).unwrap();
        assert_eq!((account.lost, account.doubled, account.repeated, account.foreign), (1, 1, 1, 1));
        assert_eq!((account.bodies, account.lines), (2, 5));
        assert!(!account.exact());
        assert_eq!(account.delays_ns[..4], [4_000_000, 4_000_000, 5_000_000, 6_000_000]);
        assert!((account.delay_ms(0.5) - 5.0).abs() < 1e-9);
    }
}
