//! parse: one line becomes a record, or a fault with its place.
//!
//! Two ways give one result. The *learned* way compares a line with the shapes of earlier lines; the *general* way
//! discovers its structure. What is no JSON but has one meaning is repaired (INTERFACE 3); the rest is a reject.
//!
//! Promises: the learned way gives what the general way gives, on every input. A valid line is never changed. Nothing
//! is allocated per record once the buffers have grown to their working size.
//! Must not know: where lines come from, and what becomes of records.
mod learned;
mod lines;
mod repair;
pub(crate) mod strict;
mod template;
mod typed;

pub use lines::{Lines, Parsed};

use crate::limits::{LINE_BYTES_MAX, PARSE_BYTES_KEPT};
use crate::record::{Member, Record, Repairs, ShapeId, Way};
use crate::scan::{self, Marks, Simd};

/// Why a line is not a record (label of `edgepush_records_rejected_total`, member `reason` of a reject).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The line does not begin with `{`.
    NotAnObject,
    /// The line ends inside the object.
    Cut,
    /// More than 128 levels.
    Depth,
    /// A byte that cannot stand there.
    Syntax,
    /// Bytes follow the object.
    Trailing,
    /// What should be a number in an array is none (a member's value becomes a string instead).
    Number,
    /// A backslash that begins no escape.
    Escape,
    /// A raw control character in a string: repaired, never a reject's reason.
    Control,
    /// The line is longer than `EDGEPUSH_LINE_MAX`.
    TooLong,
    /// The file ended for good inside the line.
    NoNewline,
    /// The line is not as the source's format has it.
    Format,
    /// It is a record, and came too late for the archive.
    Late,
}

impl Reason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Reason; 12] = [
        Reason::NotAnObject,
        Reason::Cut,
        Reason::Depth,
        Reason::Syntax,
        Reason::Trailing,
        Reason::Number,
        Reason::Escape,
        Reason::Control,
        Reason::TooLong,
        Reason::NoNewline,
        Reason::Format,
        Reason::Late,
    ];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::NotAnObject => "not_an_object",
            Reason::Cut => "cut",
            Reason::Depth => "depth",
            Reason::Syntax => "syntax",
            Reason::Trailing => "trailing",
            Reason::Number => "number",
            Reason::Escape => "escape",
            Reason::Control => "control",
            Reason::TooLong => "too_long",
            Reason::NoNewline => "no_newline",
            Reason::Format => "format",
            Reason::Late => "late",
        }
    }
}

/// Why and where a line is not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// The byte where it shows, 1-based; one past the end for a cut line.
    pub column: u32,
}

/// Parses the lines of one shard; owns every buffer that takes.
pub struct Parser {
    level: Simd,
    members: Vec<Member>,
    shapes: learned::Shapes,
    typer: typed::Typer,
    marks: Option<Box<Marks>>,
    repaired: Vec<u8>,
    unescaped: Vec<u8>,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser::new()
    }
}

impl Parser {
    /// A parser that has seen nothing.
    pub fn new() -> Parser {
        Parser::with_level(scan::level())
    }

    /// The same with these vector instructions, which the machine has.
    pub fn with_level(level: Simd) -> Parser {
        Parser {
            level,
            members: Vec::new(),
            shapes: learned::Shapes::new(),
            typer: typed::Typer::new(),
            marks: None,
            repaired: Vec::new(),
            unescaped: Vec::new(),
        }
    }

    /// Parses one line (no line end). The record borrows the line, or the parser's buffer when it was repaired.
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Fault> {
        let utf8 = is_utf8(line)?;
        self.let_go(line);
        if utf8 && let Some(shape) = self.shapes.compare(line, &mut self.members) {
            let (members, repairs) = (&self.members[..], Repairs::NONE);
            return Ok(Record { text: line, members, shape, way: Way::Learned, repairs });
        }
        self.discover(line, utf8, true)
    }

    /// As [`Parser::parse`], without ever comparing: the oracle of the learned way.
    pub fn parse_general<'a>(&'a mut self, line: &'a [u8]) -> Result<Record<'a>, Fault> {
        let utf8 = is_utf8(line)?;
        self.let_go(line);
        self.discover(line, utf8, false)
    }

    fn discover<'a>(&'a mut self, line: &'a [u8], utf8: bool, compare: bool) -> Result<Record<'a>, Fault> {
        if utf8 && strict::scan(line, &mut self.members).is_ok() {
            let shape = self.type_and_learn_line(line);
            let (members, repairs) = (&self.members[..], Repairs::NONE);
            return Ok(Record { text: line, members, shape, way: Way::General, repairs });
        }
        let repairs = repair::repair(line, utf8, &mut self.repaired, &mut self.unescaped)?;
        let shape = self.validate_repaired(compare)?;
        let (text, members) = (&self.repaired[..], &self.members[..]);
        Ok(Record { text, members, shape, way: Way::General, repairs })
    }

    /// Gives back what an extraordinary line made the buffers grow to: memory is bounded whatever comes in.
    fn let_go(&mut self, line: &[u8]) {
        const MEMBERS_KEPT: usize = PARSE_BYTES_KEPT / size_of::<Member>();
        if line.len() >= PARSE_BYTES_KEPT / 8 {
            return;
        }
        for buffer in [&mut self.repaired, &mut self.unescaped] {
            if buffer.capacity() > PARSE_BYTES_KEPT {
                buffer.clear();
                buffer.shrink_to(PARSE_BYTES_KEPT);
            }
        }
        if self.members.capacity() > MEMBERS_KEPT {
            self.members.clear();
            self.members.shrink_to(MEMBERS_KEPT);
        }
    }

    fn type_and_learn_line(&mut self, line: &[u8]) -> ShapeId {
        self.typer.type_members(line, &mut self.members);
        self.shapes.learn(line, &self.members)
    }

    /// What was repaired is validated anew, like any line.
    fn validate_repaired(&mut self, compare: bool) -> Result<ShapeId, Fault> {
        if compare && let Some(shape) = self.shapes.compare(&self.repaired, &mut self.members) {
            return Ok(shape);
        }
        strict::scan(&self.repaired, &mut self.members)?;
        self.typer.type_members(&self.repaired, &mut self.members);
        Ok(self.shapes.learn(&self.repaired, &self.members))
    }
}

/// Whether a line that is not too long to be parsed is UTF-8: decided once for the whole line.
fn is_utf8(line: &[u8]) -> Result<bool, Fault> {
    if line.len() > LINE_BYTES_MAX {
        return Err(strict::fault(Reason::TooLong, LINE_BYTES_MAX));
    }
    Ok(line.is_ascii() || std::str::from_utf8(line).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_let_go_of_what_one_line_needed() {
        let mut parser = Parser::new();
        let huge = format!("{{{}\"a\":\"{}\"}}", "\"a\":1,".repeat(400_000), "\\x01".repeat(600_000));
        assert_eq!(parser.parse(huge.as_bytes()).map(|record| record.members.len()), Ok(400_001));
        let small = br#"{"a":"\x01"}"#;
        assert!(parser.parse(small).is_ok());
        assert!(parser.repaired.capacity() <= PARSE_BYTES_KEPT, "{}", parser.repaired.capacity());
        assert!(parser.members.capacity() * size_of::<Member>() <= PARSE_BYTES_KEPT);
    }

    #[test]
    fn a_line_beyond_the_bound_is_too_long() {
        let line = vec![b' '; LINE_BYTES_MAX + 1];
        let fault = Fault { reason: Reason::TooLong, column: LINE_BYTES_MAX as u32 + 1 };
        assert_eq!(Parser::new().parse(&line).map(|record| record.shape), Err(fault));
    }

    #[test]
    fn simd_json_types_what_it_takes_and_no_more() {
        let line =
            br#"{"s":"x","n":-1.5e3,"t":true,"f":false,"z":null,"o":{"k":[1,{}]},"a":[{},[2]],"e":""}"#;
        let mut members = Vec::new();
        assert_eq!(strict::scan(line, &mut members), Ok(()));
        let kinds: Vec<_> = members.iter().map(|member| member.kind).collect();
        let mut typer = typed::Typer::new();
        // What the tape says is what is written: every kind is lost first.
        let lose = |members: &mut Vec<Member>| {
            members.iter_mut().for_each(|m| m.kind = crate::record::ValueKind::Null)
        };
        lose(&mut members);
        assert!(typer.type_members(line, &mut members));
        assert_eq!(members.iter().map(|member| member.kind).collect::<Vec<_>>(), kinds);
        for line in [&br#"{"n":1e400}"#[..], br#"{"s":"\ud800"}"#, br#"{"n":01}"#] {
            assert!(!typer.type_members(line, &mut members), "{}", line.escape_ascii());
        }
    }
}
