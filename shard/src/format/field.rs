//! Fields of text formats: what stands in one, how its server escapes it, what it is called.
//!
//! Promises: a name is made of `a-z`, `0-9` and `_` unless an operator wrote it, so that it is a JSON key as it stands.
//! Must not know: where a field stands in a line.

/// What a field's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text without a space.
    Word,
    /// Decimal digits: what else stands there means that the line was read wrongly.
    Digits,
    /// One number, without a space; what is no JSON number becomes a string.
    Number,
    /// As [`Kind::Number`], but a server that asked several others writes a list with spaces.
    Numbers,
    /// `10/Oct/2000:13:55:36 -0700`, with or without a fraction and a zone.
    Time,
    /// Text without a `}`.
    Braced,
    /// `GET /path HTTP/1.1`; its parts become fields of their own.
    Request,
}

impl Kind {
    /// Whether it is a number by its server's definition.
    #[inline]
    pub(super) fn is_number(self) -> bool {
        matches!(self, Kind::Digits | Kind::Number | Kind::Numbers)
    }

    /// Whether a value of it ends at its first space.
    pub(super) fn has_no_space(self) -> bool {
        matches!(self, Kind::Word | Kind::Digits | Kind::Number)
    }

    /// The first byte that such a value cannot have, if `value` has one.
    pub(super) fn intruder(self, value: &[u8]) -> Option<usize> {
        match self {
            Kind::Text | Kind::Numbers | Kind::Request => None,
            Kind::Digits if value == b"-" => None,
            Kind::Digits => value.iter().position(|byte| !byte.is_ascii_digit()),
            Kind::Word | Kind::Number => memchr::memchr(b' ', value),
            Kind::Braced => memchr::memchr(b'}', value),
            Kind::Time => (value != b"-" && !is_time(value)).then_some(0),
        }
    }

    /// Whether values that end before `literal` have to be asked for intruders.
    pub(super) fn is_asked(self, literal: &[u8]) -> bool {
        matches!(self, Kind::Time | Kind::Digits | Kind::Braced)
            || self.has_no_space() && literal.first() != Some(&b' ')
    }
}

fn is_time(value: &[u8]) -> bool {
    let at = |place: usize, byte: u8| value.get(place) == Some(&byte);
    value.len() >= 20 && at(2, b'/') && at(6, b'/') && at(11, b':') && at(14, b':') && at(17, b':')
}

/// How a server writes bytes that would end a value or a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Not at all.
    None,
    /// `\xHH`, `\"`, `\\`, `\n`, `\r`, `\t`, `\b`, `\v`, `\f`: nginx's default, Apache httpd, varnishncsa.
    C,
    /// As JSON strings have it: nginx's `escape=json`.
    Json,
    /// `#HH`: HAProxy.
    Hash,
}

/// What stands for a value that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// `-`.
    Dash,
    /// Nothing.
    Empty,
    /// Both.
    Either,
}

impl Absent {
    /// Whether these bytes stand for no value; a number that is not there may always be either.
    #[inline]
    pub(super) fn is(self, value: &[u8], number: bool) -> bool {
        match value {
            b"" => number || self != Absent::Dash,
            b"-" => number || self != Absent::Empty,
            _ => false,
        }
    }
}

/// One field of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The member's name.
    pub name: String,
    /// As the operator spelled it, for messages.
    pub spelled: String,
    /// What it is.
    pub kind: Kind,
    /// How its value is escaped.
    pub escape: Escape,
    /// What stands for none.
    pub absent: Absent,
    /// Spaces may stand before it.
    pub padded: bool,
}

/// What a format consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that stand in every line.
    Literal(Vec<u8>),
    /// A value.
    Field(Field),
}

/// A name as a member's key: lower case, everything but letters and digits as `_`.
pub(super) fn plain_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    text.chars().map(plain).collect()
}

/// What a value of nginx's variable, or of a column of this name, is.
pub(super) fn kind_of(name: &str) -> Kind {
    match name {
        "status"
        | "body_bytes_sent"
        | "bytes_sent"
        | "bytes_received"
        | "request_length"
        | "request_time"
        | "msec"
        | "connection"
        | "connection_requests"
        | "connection_time"
        | "pid"
        | "remote_port"
        | "server_port"
        | "proxy_port"
        | "proxy_protocol_port"
        | "realip_remote_port"
        | "gzip_ratio"
        | "session_time"
        | "limit_rate"
        | "tcpinfo_rtt"
        | "tcpinfo_rttvar"
        | "tcpinfo_snd_cwnd"
        | "tcpinfo_rcv_space" => Kind::Number,
        // W3C extended logs, as columns are named there.
        "sc_status" | "sc_substatus" | "sc_win32_status" | "sc_bytes" | "cs_bytes" | "time_taken"
        | "time_to_first_byte" | "s_port" | "c_port" | "sc_content_len" => Kind::Number,
        "upstream_status"
        | "upstream_response_time"
        | "upstream_connect_time"
        | "upstream_header_time"
        | "upstream_response_length"
        | "upstream_bytes_received"
        | "upstream_bytes_sent"
        | "upstream_queue_time"
        | "upstream_session_time"
        | "upstream_first_byte_time" => Kind::Numbers,
        "time_local" => Kind::Time,
        "remote_addr" | "remote_logname" | "binary_remote_addr" | "server_addr" | "time_iso8601"
        | "request_method" | "server_protocol" | "scheme" | "request_id" | "https" => Kind::Word,
        "request" => Kind::Request,
        _ => Kind::Text,
    }
}
