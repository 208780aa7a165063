//! The account of a run: which of the expected lines arrived, and how late.
//!
//! Promises: every line of every body is looked at, as a stream; a body is never held whole. Must not know: who sent it.
use crate::corpus::written_ns;
use crate::expect::{Expected, hash};
use crate::sink::Body;
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader};

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
    /// Bodies whose last line had no newline.
    pub unended: u64,
    /// Stored bytes.
    pub stored: u64,
    /// Lines that never came.
    pub lost: u64,
    /// Lines that came more than once, under different keys.
    pub doubled: u64,
    /// Lines that nobody expected: changed, or from elsewhere.
    pub foreign: u64,
    /// The beginning of the first of these.
    pub first_foreign: String,
    /// Write to acknowledgement of each line, ns, ascending. Only where asked for.
    pub delays_ns: Vec<u64>,
}

/// Holds every line of the bodies against what is expected.
pub fn account(bodies: &[Body], expected: &Expected, delays: bool) -> io::Result<Account> {
    let mut tally = Tally { expected, seen: vec![0; expected.lines.len()], sum: Account::default() };
    let mut keys = HashSet::new();
    for body in bodies {
        if body.key != "none" && !keys.insert(&body.key) {
            tally.sum.repeated += 1;
            continue;
        }
        tally.sum.bodies += 1;
        tally.sum.stored += body.len;
        tally.body(body, delays)?;
    }
    Ok(tally.done())
}

struct Tally<'a> {
    expected: &'a Expected,
    seen: Vec<u8>,
    sum: Account,
}

impl Tally<'_> {
    fn body(&mut self, body: &Body, delays: bool) -> io::Result<()> {
        let mut text = BufReader::with_capacity(1 << 18, body.open()?);
        let mut line = Vec::new();
        while text.read_until(b'\n', &mut line)? > 0 {
            self.sum.bytes += line.len() as u64;
            if line.last() == Some(&b'\n') {
                line.pop();
            } else {
                self.sum.unended += 1;
            }
            if !line.is_empty() {
                self.line(&line);
                if delays {
                    let at = written_ns(&line).unwrap_or(0);
                    self.sum.delays_ns.push(body.acked_ns.saturating_sub(at));
                }
            }
            line.clear();
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) {
        self.sum.lines += 1;
        let lines = &self.expected.lines;
        let wanted = hash(line, self.expected.by);
        let mut at = lines.partition_point(|h| *h < wanted);
        if lines.get(at) != Some(&wanted) {
            self.sum.foreign += 1;
            if self.sum.first_foreign.is_empty() {
                self.sum.first_foreign = String::from_utf8_lossy(&line[..line.len().min(160)]).into_owned();
            }
            return;
        }
        // Equal lines stand side by side: each has its own place, and the last one takes what is too many.
        while self.seen[at] > 0 && lines.get(at + 1) == Some(&wanted) {
            at += 1;
        }
        self.seen[at] = self.seen[at].saturating_add(1);
    }

    fn done(self) -> Account {
        let mut sum = self.sum;
        sum.lost = self.seen.iter().filter(|n| **n == 0).count() as u64;
        sum.doubled = self.seen.iter().filter(|n| **n > 1).count() as u64;
        sum.delays_ns.sort_unstable();
        sum
    }
}

impl Account {
    /// An error that says what is wrong, unless every expected line came once, as it should, and nothing else did.
    pub fn exact(self) -> io::Result<Account> {
        if self.lost == 0 && self.doubled == 0 && self.foreign == 0 {
            return Ok(self);
        }
        let mut said = format!(
            "wrong answer: {} lost, {} doubled, {} changed or foreign, of {} lines that came",
            self.lost, self.doubled, self.foreign, self.lines
        );
        if !self.first_foreign.is_empty() {
            said = format!("{said}; the first foreign one begins {}", self.first_foreign);
        }
        Err(io::Error::other(said))
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
    use crate::corpus::{Corpus, Kind};
    use crate::expect::By;
    use crate::sink;
    use std::path::Path;

    fn keep(dir: &Path, name: &str, lines: &[&[u8]]) {
        std::fs::write(dir.join(name), lines.concat()).unwrap();
    }

    #[test]
    fn lost_doubled_repeated_and_foreign_lines_are_told_apart() {
        let mut corpus = Corpus::new(Kind::Edge26, 1);
        let mut expected = Expected::new(By::Bytes);
        let lines: Vec<Vec<u8>> = (0..4_u64)
            .map(|i| {
                let mut line = Vec::new();
                corpus.line(&mut line, Some(1_000_000 * i));
                expected.push(&line[..line.len() - 1]);
                line
            })
            .collect();
        expected.lines.sort_unstable();
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), "000000.5000000.2.none.a", &[&lines[0], &lines[1]]);
        keep(dir.path(), "000001.6000000.2.none.a", &[&lines[0], &lines[1]]);
        keep(dir.path(), "000002.7000000.3.none.b", &[&lines[1], &lines[3], b"{\"x\":1}\n"]);
        let account = account(&sink::bodies(dir.path()).unwrap(), &expected, true).unwrap();
        assert_eq!((account.lost, account.doubled, account.repeated, account.foreign), (1, 1, 1, 1));
        assert_eq!((account.bodies, account.lines), (2, 5));
        assert_eq!(account.delays_ns[..4], [4_000_000, 4_000_000, 5_000_000, 6_000_000]);
        assert!((account.delay_ms(0.5) - 5.0).abs() < 1e-9);
        assert!(account.exact().unwrap_err().to_string().contains("1 lost, 1 doubled, 1 changed"));
    }

    #[test]
    fn equal_lines_are_counted_as_often_as_they_were_written() {
        let mut expected = Expected::new(By::Bytes);
        (0..2).for_each(|_| expected.push(b"{}"));
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), "000000.5.2.none.a", &[b"{}\n{}\n"]);
        let two = account(&sink::bodies(dir.path()).unwrap(), &expected, false).unwrap();
        assert_eq!((two.lost, two.doubled), (0, 0));
        keep(dir.path(), "000001.6.1.none.b", &[b"{}\n"]);
        let three = account(&sink::bodies(dir.path()).unwrap(), &expected, false).unwrap();
        assert_eq!((three.lost, three.doubled), (0, 1));
    }
}
