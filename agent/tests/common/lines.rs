//! What was delivered: objects below a directory, their lines, their names, and who is missing or doubled.
//!
//! Promises: a line is compared as bytes, and decoders are not the agent's own code.
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Every file below a directory, sorted, whatever its name.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Every delivered object below a directory: what is still being written under a temporary name is none.
pub fn objects(dir: &Path) -> Vec<PathBuf> {
    let hidden = |p: &PathBuf| p.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
    files_below(dir).into_iter().filter(|p| !hidden(p)).collect()
}

/// The bytes of an object, decoded by its suffix.
pub fn object_bytes(path: &Path) -> Vec<u8> {
    let stored = std::fs::read(path).unwrap();
    let name = path.to_string_lossy();
    if name.ends_with(".gz") {
        gunzip(&stored)
    } else if name.ends_with(".zst") {
        zstd::decode_all(&stored[..]).unwrap()
    } else {
        stored
    }
}

/// Decodes all members of a gzip file; panics on anything after the last.
pub fn gunzip(stored: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut all).expect("whole gzip members only");
    all
}

/// Decodes each gzip member by itself.
pub fn gunzip_members(mut stored: &[u8]) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    while !stored.is_empty() {
        let mut member = Vec::new();
        let mut decoder = flate2::bufread::GzDecoder::new(&mut stored);
        decoder.read_to_end(&mut member).expect("a whole gzip member");
        members.push(member);
    }
    members
}

/// The lines of some text; it must end with a newline unless it is empty.
pub fn lines_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "an object ends with a newline");
    let mut lines: Vec<_> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    lines.pop();
    lines
}

/// The lines of every object below a directory.
pub fn lines_in_dir(dir: &Path) -> Vec<Vec<u8>> {
    objects(dir).iter().flat_map(|p| lines_of(&object_bytes(p))).collect()
}

/// Counts the delivered lines below a directory again and again, each object decoded once: objects never change.
pub struct Delivered {
    dir: PathBuf,
    seen: BTreeMap<PathBuf, u64>,
}

impl Delivered {
    pub fn below(dir: &Path) -> Delivered {
        Delivered { dir: dir.into(), seen: BTreeMap::new() }
    }
    pub fn count(&mut self) -> u64 {
        for path in objects(&self.dir) {
            self.seen.entry(path).or_insert_with_key(|p| lines_of(&object_bytes(p)).len() as u64);
        }
        self.seen.values().sum()
    }
}

/// The number behind `"seq":` in a line of run `run`.
pub fn sequence(run: &str, line: &[u8]) -> u64 {
    let text = std::str::from_utf8(line).expect("UTF-8");
    assert!(text.contains(&format!("\"run\":\"{run}\"")), "a line that nobody wrote: {text}");
    let digits = text.split_once("\"seq\":").expect("a sequence number").1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().expect("a number")
}

/// Asserts that the lines `0..written` of a run are there, each once, each as it was written.
#[track_caller]
pub fn assert_exactly_once(run: &str, written: u64, lines: &[Vec<u8>]) {
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    let mut changed = 0;
    for line in lines {
        let seq = sequence(run, line);
        *seen.entry(seq).or_default() += 1;
        changed += u32::from(line != super::writer::line(run, seq).as_bytes());
    }
    let lost: Vec<u64> = (0..written).filter(|s| !seen.contains_key(s)).collect();
    let doubled: Vec<u64> = seen.iter().filter(|(_, n)| **n > 1).map(|(s, _)| *s).collect();
    let beyond = seen.range(written..).count();
    assert!(
        lost.is_empty() && doubled.is_empty() && beyond == 0 && changed == 0,
        "{run}: {written} lines written, {} delivered: {} lost ({}), {} doubled ({}), {beyond} never written, {changed} changed",
        lines.len(),
        lost.len(),
        ranges(&lost),
        doubled.len(),
        ranges(&doubled),
    );
}

/// `1-3 7 9-12 …`: the first ten runs of some ascending numbers.
pub fn ranges(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for n in numbers {
        match runs.last_mut() {
            Some(last) if last.1 + 1 == *n => last.1 = *n,
            _ => runs.push((*n, *n)),
        }
    }
    let shown: Vec<String> = runs.iter().take(10).map(|(a, b)| format!("{a}-{b}")).collect();
    shown.join(" ") + if runs.len() > 10 { " …" } else { "" }
}

/// The parts of an object name of INTERFACE 4: start, end, id. `None` when it has another form.
pub fn name_parts(name: &str, suffix: &str) -> Option<(String, String, String)> {
    let stem = name.strip_suffix(suffix)?;
    let parts: Vec<&str> = stem.split('_').collect();
    let [start, end, id] = parts[..] else { return None };
    let time = |t: &str| {
        let b = t.as_bytes();
        b.len() == 16 && b[8] == b'T' && b[15] == b'Z' && (0..15).all(|i| i == 8 || b[i].is_ascii_digit())
    };
    let hex = id.len() == 16 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (time(start) && time(end) && start <= end && hex).then(|| (start.into(), end.into(), id.into()))
}
