//! proof: what lies in the archive, counted by decompressing every file.
//!
//! Promises: two sums are equal only if the same lines are there equally often, in whatever order (but for a collision
//! of 64-bit hashes).
//! Must not know: the agent.
use edgepush_shard::batch::reader;
use edgepush_shard::codec::CodecKind;
use siphasher::sip::SipHasher13;
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// A count of lines and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Lines.
    pub lines: u64,
    hashes: u64,
}

impl Sum {
    /// Adds one line, without its line end.
    pub fn add(&mut self, line: &[u8]) {
        let mut hasher = SipHasher13::new();
        hasher.write(line);
        self.lines += 1;
        self.hashes = self.hashes.wrapping_add(hasher.finish());
    }
}

/// What lies below a directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Files.
    pub files: u64,
    /// Their bytes, as they are stored.
    pub stored_bytes: u64,
    /// Their lines.
    pub sum: Sum,
}

/// Decompresses every file below `dir`, to its end.
pub fn count(dir: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    visit(dir, &mut found)?;
    Ok(found)
}

fn visit(dir: &Path, found: &mut Found) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            visit(&path, found)?;
            continue;
        }
        found.files += 1;
        found.stored_bytes += entry.metadata()?.len();
        let file = BufReader::new(File::open(&path)?);
        let codec = match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => CodecKind::Gzip,
            Some("zst") => CodecKind::Zstd,
            _ => CodecKind::None,
        };
        lines(BufReader::new(reader(codec, file)?), &mut found.sum)?;
    }
    Ok(())
}

fn lines(mut reader: impl BufRead, sum: &mut Sum) -> io::Result<()> {
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        sum.add(line.strip_suffix(b"\n").unwrap_or(&line));
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(lines: &[&str]) -> Sum {
        let mut sum = Sum::default();
        lines.iter().for_each(|line| sum.add(line.as_bytes()));
        sum
    }

    #[test]
    fn order_does_not_matter_and_doubles_do() {
        assert_eq!(sum(&["a", "b"]), sum(&["b", "a"]));
        assert_ne!(sum(&["a", "b"]), sum(&["a", "a"]));
        assert_ne!(sum(&["a", "b"]), sum(&["a", "b", "b"]));
    }
}
