//! oracle: the same answers as the data plane's, in the plainest way; and where other parsers differ by intent.
//!
//! Promises: shares no code with what it judges.
//! Must not know: speed.

/// A member as the oracle sees it: key inside the quotes, value, both as byte ranges of the text.
pub type NaiveMember = (std::ops::Range<usize>, std::ops::Range<usize>);

/// The top-level members of a line that is one valid JSON object of at most 128 levels, in UTF-8; else `None`.
pub fn naive_object(line: &[u8]) -> Option<Vec<NaiveMember>> {
    let text = std::str::from_utf8(line).ok()?;
    let mut naive = Naive { text: text.as_bytes(), at: 0, top: Vec::new() };
    naive.space();
    (naive.text.get(naive.at) == Some(&b'{')).then_some(())?;
    naive.value(1)?;
    naive.space();
    (naive.at == line.len()).then_some(naive.top)
}

struct Naive<'a> {
    text: &'a [u8],
    at: usize,
    top: Vec<NaiveMember>,
}

impl Naive<'_> {
    fn take(&mut self, byte: u8) -> Option<()> {
        (*self.text.get(self.at)? == byte).then(|| self.at += 1)
    }
    fn space(&mut self) {
        while b" \t\r\n".iter().any(|&b| self.take(b).is_some()) {}
    }
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while (b'0'..=b'9').any(|b| self.take(b).is_some()) {}
        (self.at > from).then_some(())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match *self.text.get(self.at)? {
            b'{' | b'[' if depth > 128 => None,
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string(),
            b't' => b"true".iter().try_for_each(|&b| self.take(b)),
            b'f' => b"false".iter().try_for_each(|&b| self.take(b)),
            b'n' => b"null".iter().try_for_each(|&b| self.take(b)),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.take(b'{')?;
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.space();
            let key = self.at + 1;
            self.string()?;
            let key = key..self.at - 1;
            self.space();
            self.take(b':')?;
            self.space();
            let value = self.at;
            self.value(depth + 1)?;
            if depth == 1 {
                self.top.push((key, value..self.at));
            }
            self.space();
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.take(b'[')?;
        self.space();
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.space();
            self.value(depth + 1)?;
            self.space();
            if self.take(b',').is_none() {
                return self.take(b']');
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            let byte = *self.text.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                0..=0x1f => return None,
                b'\\' => {
                    let escape = *self.text.get(self.at)?;
                    self.at += 1;
                    if escape == b'u' {
                        let digits = self.text.get(self.at..self.at + 4)?;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                        self.at += 4;
                    } else if !br#""\/bfnrt"#.contains(&escape) {
                        return None;
                    }
                }
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            let _ = self.take(b'+').or_else(|| self.take(b'-'));
            self.digits()?;
        }
        Some(())
    }
}

/// The lines of a source, split the plain way: offset and line.
pub fn naive_lines(bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut lines = Vec::new();
    let mut offset = 0;
    for whole in bytes.split_inclusive(|&b| b == b'\n') {
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if offset == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        lines.push((offset, line));
        offset += whole.len();
    }
    lines
}

/// Another parser of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// simd-json's tape.
    SimdJson,
    /// serde_json's `Value`, with `arbitrary_precision`.
    SerdeValue,
    /// serde_json's `RawValue`.
    SerdeRaw,
}

/// A kind of line about which another parser and ours differ by intent (RULINGS 15).
#[derive(Clone, Copy, Debug)]
pub struct Deviation {
    /// Its name.
    pub name: &'static str,
    /// Who differs.
    pub other: Other,
    /// Whether ours takes such lines; the other one does the opposite.
    pub ours_takes: bool,
    /// One such line: `head`, `middle` so many times, `tail`.
    pub head: &'static str,
    /// What is repeated.
    pub middle: (&'static str, usize),
    /// The end of the line.
    pub tail: (&'static str, usize, &'static str),
}

impl Deviation {
    /// The example line.
    pub fn example(&self) -> String {
        let (close, count, end) = self.tail;
        [self.head, &self.middle.0.repeat(self.middle.1), &close.repeat(count), end].concat()
    }
}

/// All deviations. A property that finds another one is a bug.
pub const DEVIATIONS: [Deviation; 5] = [
    // RFC 8259 sets no range of numbers; their bytes pass through.
    deviation("number beyond f64", Other::SimdJson, true, r#"{"n":1e400}"#),
    // RFC 8259 section 8.2: the grammar allows them; their bytes pass through.
    deviation("lone surrogate escape", Other::SimdJson, true, r#"{"s":"\ud800"}"#),
    deviation("lone surrogate escape", Other::SerdeValue, true, r#"{"s":"\ud800"}"#),
    // serde_json counts levels down from 128 and refuses at 0.
    Deviation {
        name: "exactly 128 levels",
        other: Other::SerdeValue,
        ours_takes: true,
        head: r#"{"a":"#,
        middle: ("[", 127),
        tail: ("]", 127, "}"),
    },
    // RawValue does not recurse, so it has no bound.
    Deviation {
        name: "more than 128 levels",
        other: Other::SerdeRaw,
        ours_takes: false,
        head: r#"{"a":"#,
        middle: ("[", 128),
        tail: ("]", 128, "}"),
    },
];

const fn deviation(name: &'static str, other: Other, ours_takes: bool, line: &'static str) -> Deviation {
    Deviation { name, other, ours_takes, head: line, middle: ("", 0), tail: ("", 0, "") }
}
