//! Members: goes from member to member of an archived file by their headers, without decompressing any.
//!
//! Promises: what is not a chain of whole members from the first byte to the last is an error that says where; one small
//! read a member.
//! Must not know: which file it is.
use edgepush_shard::batch::span::{self, HEADER_BYTES, Span};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// A member of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it begins.
    pub at: u64,
    /// What its header says.
    pub span: Span,
}

impl Member {
    /// Where it lies.
    pub fn bytes(&self) -> Range<u64> {
        self.at..self.at + u64::from(self.span.member_bytes)
    }

    /// Whether a record of it may lie within `from..to`, ns since the epoch.
    pub fn meets(&self, times: &Range<i64>) -> bool {
        self.span.first < times.end && self.span.last >= times.start
    }
}

/// The members of a file of so many bytes.
///
/// # Errors
/// The file cannot be read, or is no chain of members with spans.
pub fn members(file: &File, bytes: u64) -> impl Iterator<Item = io::Result<Member>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes {
            return None;
        }
        let read = member(file, at).and_then(|member| match member.bytes().end <= bytes {
            true => Ok(member),
            false => Err(broken(at, "is longer than the file")),
        });
        at = read.as_ref().map_or(bytes, |member| member.bytes().end);
        Some(read)
    })
}

fn member(file: &File, at: u64) -> io::Result<Member> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, at)?;
    let span = span::read(&header).ok_or_else(|| broken(at, "has no header with its length and its time"))?;
    Ok(Member { at, span })
}

fn broken(at: u64, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the member at byte {at} {why}"))
}

/// Where the members lie that meet `times` (ns since the epoch); neighbours are one stretch.
///
/// # Errors
/// As [`members`].
pub fn meeting(file: &File, bytes: u64, times: &Range<i64>) -> io::Result<Vec<Range<u64>>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for member in members(file, bytes) {
        let member = member?;
        match runs.last_mut() {
            _ if !member.meets(times) => {}
            Some(last) if last.end == member.at => last.end = member.bytes().end,
            _ => runs.push(member.bytes()),
        }
    }
    Ok(runs)
}
