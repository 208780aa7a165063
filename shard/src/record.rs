//! Record: one parsed line; spans into its text, nothing copied.
//!
//! Promises: `text` is one valid JSON object (RFC 8259), UTF-8, at most 128 levels deep; `members` are its top-level
//! members in the order of the text, duplicates included, and their spans are whole tokens of `text`.
//! Must not know: what becomes of a record.
pub use crate::codec::Span;

/// What a member's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A string, with its quotes.
    String,
    /// A number, in the input's spelling.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
    /// An object.
    Object,
    /// An array.
    Array,
}

/// One top-level member of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key's raw bytes, inside the quotes.
    pub key: Span,
    /// The value's raw bytes; a string's include its quotes.
    pub value: Span,
    /// What the value is.
    pub kind: ValueKind,
}

/// Which keys a record has, in which order and with which bytes between the values. Equal ids mean equal keys at
/// equal member indexes; an id is never given twice by one parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShapeId(pub u64);

impl ShapeId {
    /// Nothing is known: records with this id may have different keys.
    pub const UNKNOWN: ShapeId = ShapeId(0);
}

/// How a record was parsed (label `path` of `edgepush_records_parsed_total`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// By comparing with a shape that was seen before.
    Learned,
    /// By discovering its structure.
    General,
}

impl Way {
    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Learned => "learned",
            Way::General => "general",
        }
    }
}

/// One row of INTERFACE 3's table of repairs each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RepairKind {
    /// `"a":-` became `"a":"-"`.
    BareWord,
    /// `"s":000` became `"s":"000"`.
    BareNumber,
    /// `"t":0.1, 0.2` became `"t":"0.1, 0.2"`.
    BareList,
    /// `"n":,` became `"n":null`.
    MissingValue,
    /// `\xNN` became text.
    HexEscape,
    /// Bytes that are no UTF-8 became U+FFFD.
    InvalidUtf8,
    /// A NUL or raw control character in a string became `\u00NN`.
    ControlCharacter,
}

impl RepairKind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [RepairKind; 7] = [
        RepairKind::BareWord,
        RepairKind::BareNumber,
        RepairKind::BareList,
        RepairKind::MissingValue,
        RepairKind::HexEscape,
        RepairKind::InvalidUtf8,
        RepairKind::ControlCharacter,
    ];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            RepairKind::BareWord => "bare_word",
            RepairKind::BareNumber => "bare_number",
            RepairKind::BareList => "bare_list",
            RepairKind::MissingValue => "missing_value",
            RepairKind::HexEscape => "hex_escape",
            RepairKind::InvalidUtf8 => "invalid_utf8",
            RepairKind::ControlCharacter => "control_character",
        }
    }
}

/// Which kinds of repair a record needed: each kind is counted once a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs(u8);

impl Repairs {
    /// None: the record's text is the line.
    pub const NONE: Repairs = Repairs(0);

    /// Adds a kind.
    pub fn insert(&mut self, kind: RepairKind) {
        self.0 |= 1 << kind as u8;
    }

    /// Whether the record needed a kind.
    pub fn contains(self, kind: RepairKind) -> bool {
        self.0 >> kind as u8 & 1 == 1
    }

    /// Whether the record's text is the line.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds, in the order of [`RepairKind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = RepairKind> {
        RepairKind::ALL.into_iter().filter(move |&kind| self.contains(kind))
    }
}

/// One parsed line.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The line, or what it was repaired to.
    pub text: &'a [u8],
    /// The top-level members.
    pub members: &'a [Member],
    /// Which keys it has.
    pub shape: ShapeId,
    /// How it was parsed.
    pub way: Way,
    /// What was repaired.
    pub repairs: Repairs,
}

impl Span {
    /// A span of positions that fit 32 bits: a line is at most [`crate::limits::LINE_BYTES_MAX`] long.
    #[inline]
    pub fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    /// The bytes of `text` that this span covers.
    pub fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }

    /// Number of bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it covers nothing.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}
