//! Auto: which format lines are of, by the lines themselves.
//!
//! Promises: the first line that is of a known format decides, so that what comes later changes nothing.
//! Must not know: files, which formats an operator knows.
use super::known::{self, NAMES};
use super::layout::Hands;
use super::reader::message;
use super::{How, Told, logfmt};
use crate::frame::frames;
use crate::record::ValueKind;

/// Lines that are looked at.
const LINES_MAX: usize = 50;

/// The format of the first line in `bytes` that is of one; whether the last line is `whole` although it has no line end,
/// and whether lines are `behind_heads` of syslog.
pub(super) fn decide(
    bytes: &[u8],
    (start, whole): (u64, bool),
    behind_heads: bool,
    hands: &mut Hands,
) -> Option<How> {
    for frame in frames(bytes, start).take(LINES_MAX) {
        let own = message(frame.line, behind_heads);
        let line = own.trim_ascii_start();
        if line.starts_with(b"{") {
            return Some(How::Json);
        }
        if [&b"#Fields:"[..], b"#Version:", b"#Software:"].iter().any(|head| line.starts_with(head)) {
            return Some(How::W3c);
        }
        let ended = frame.offset + frame.line.len() < bytes.len();
        if (ended || whole)
            && let Some(how) = text(own, hands)
        {
            return Some(how);
        }
    }
    None
}

/// The text format of one line.
pub(super) fn text(line: &[u8], hands: &mut Hands) -> Option<How> {
    let utf8 = std::str::from_utf8(line).is_ok();
    for name in NAMES {
        if let Some(layout) = known::layout(name)
            && layout.read(line, (0, line.len()), utf8, hands).is_ok()
        {
            return Some(How::Lines(name, layout));
        }
    }
    let pairs = logfmt::read(hands.level, line, (0, line.len()), utf8, &mut hands.writer).ok()?;
    // A word alone is no pair, whatever the format allows; nor is one pair a log.
    let sure = pairs.members.len() > 1 && pairs.members.iter().all(|member| member.kind != ValueKind::Bool);
    sure.then_some(How::Logfmt)
}

impl Told {
    /// Notes that a line which is no record is of another format.
    #[cold]
    pub(super) fn note_contrary(&mut self, expected_json: bool, line: &[u8], hands: &mut Hands) {
        if self.contrary.is_some() {
            return;
        }
        let line = line.trim_ascii();
        self.contrary = match expected_json {
            false if line.starts_with(b"{\"") && line.ends_with(b"}") => Some("json"),
            false => None,
            true => text(line, hands).map(|how| how.name()),
        };
    }
}
