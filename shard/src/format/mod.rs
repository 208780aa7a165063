//! format: how the lines of a source are to be read, and lines of text formats as records.
//!
//! A text format compiles once to literals and fields in turn ([`pattern`]); the values of a line are found between the
//! literals, un-escaped by the rules of their server, and written as one JSON object, which is the record's text.
//!
//! Promises: records of one format have one shape; the same bytes give the same records, however they are cut into
//! chunks, as long as the source's head is the same. Nothing is allocated per line after warm-up.
//! Must not know: files, what becomes of records, the log.
mod apache;
mod auto;
mod behind;
mod field;
mod known;
mod layout;
mod logfmt;
mod marked;
mod nginx;
mod pattern;
mod reader;
mod search;
mod straight;
mod table;
mod texts;
mod unescape;
mod write;

pub use field::{Absent, Escape, Field, Kind, Piece};
pub use layout::Layout;
pub use pattern::{Found, Pattern};
pub use reader::{Reader, Stand, Told};
pub(crate) use write::push_text;

use crate::nearest::distance;
use layout::Lead;
use std::fmt;
use std::sync::Arc;
use table::Columns;

/// How the lines of a source are read.
#[derive(Clone, Debug)]
pub struct Format {
    text: String,
    how: How,
    /// Its lines may have syslog heads before them.
    behind_heads: bool,
}

/// What a format means.
#[derive(Clone, Debug)]
enum How {
    /// By the first lines.
    Auto,
    Json,
    /// Patterns, with the format's name.
    Lines(&'static str, Arc<Layout>),
    /// Columns with these names.
    Named(&'static str, Columns, Vec<String>),
    /// Columns that a head line names.
    Headed(&'static str, Columns),
    W3c,
    Logfmt,
}

/// What an operator may write.
pub const FORMATS: &str = "auto, json, combined, common, main, vhost_combined, nginx:<log_format>, apache:<LogFormat>, haproxy, \
     varnish:<format>, csv, tsv, csv:<names>, tsv:<names>, w3c, squid, logfmt, or syslog:<one of these>";

impl Format {
    /// Reads what an operator wrote: `combined`, `nginx:$remote_addr [$time_local] …`.
    ///
    /// # Errors
    /// What is wrong with it, where, and what to do.
    pub fn parse(text: &str) -> Result<Format, String> {
        let text = text.trim();
        let (word, parameter) = match text.split_once(':') {
            Some((word, rest)) => (word.trim(), Some(rest)),
            None => (text, None),
        };
        let lines = |name, pieces: Result<Vec<Piece>, String>| {
            let layout = pieces.and_then(|pieces| Layout::new(Lead::Nothing, vec![pieces]));
            layout.map(|layout| How::Lines(name, Arc::new(layout)))
        };
        match (word, parameter) {
            ("syslog", None) => return Ok(Format::auto().syslog()),
            ("syslog", Some(format)) => return Format::parse(format).map(Format::syslog),
            _ => {}
        }
        let how = match (word, parameter) {
            ("auto", None) => How::Auto,
            ("json", None) => How::Json,
            ("w3c", None) => How::W3c,
            ("logfmt", None) => How::Logfmt,
            ("csv", None) => How::Headed("csv", Columns::Csv),
            ("tsv", None) => How::Headed("tsv", Columns::Tsv),
            ("csv", Some(names)) => named("csv", Columns::Csv, names)?,
            ("tsv", Some(names)) => named("tsv", Columns::Tsv, names)?,
            ("nginx", Some(format)) => lines("nginx", nginx::read(format))?,
            ("apache", Some(format)) => lines("apache", apache::read(format, apache::Server::Apache))?,
            ("varnish", Some(format)) => lines("varnish", apache::read(format, apache::Server::Varnish))?,
            ("nginx" | "apache" | "varnish", None) => {
                return Err(format!(
                    "{word} needs its format: {word}:<the text from the server's configuration>"
                ));
            }
            (word, None) => match (known::NAMES.iter().find(|name| **name == word), known::layout(word)) {
                (Some(name), Some(layout)) => How::Lines(name, layout),
                _ => return Err(unknown(word)),
            },
            (word, Some(_))
                if known::NAMES.contains(&word) || ["auto", "json", "w3c", "logfmt"].contains(&word) =>
            {
                return Err(format!("{word} takes no text behind it: write {word}"));
            }
            (word, Some(_)) => return Err(unknown(word)),
        };
        Ok(Format::of(text, how))
    }

    /// One JSON object a line.
    pub fn json() -> Format {
        Format::of("json", How::Json)
    }

    /// By the first lines.
    pub fn auto() -> Format {
        Format::of("auto", How::Auto)
    }

    fn of(text: &str, how: How) -> Format {
        Format { text: text.to_owned(), how, behind_heads: false }
    }

    /// The same behind syslog heads, where lines have them: what a head says becomes the last members of its record.
    pub fn syslog(self) -> Format {
        let text = match (self.behind_heads, &*self.text) {
            (true, _) => self.text,
            (false, "auto") => "syslog".to_owned(),
            (false, text) => format!("syslog:{text}"),
        };
        Format { text, how: self.how, behind_heads: true }
    }

    /// Whether its lines may have syslog heads before them.
    pub fn is_behind_heads(&self) -> bool {
        self.behind_heads
    }

    /// Its name, without what belongs to it.
    pub fn name(&self) -> &'static str {
        self.how.name()
    }

    /// Whether lines of JSON are a surprise.
    pub fn is_text(&self) -> bool {
        !matches!(self.how, How::Auto | How::Json)
    }

    /// The patterns of its lines; none of tables, JSON and pairs.
    pub fn layout(&self) -> Option<&Layout> {
        match &self.how {
            How::Lines(_, layout) => Some(layout),
            _ => None,
        }
    }
}

/// A number for each name that `auto` may decide for, below 16.
pub fn number(name: &str) -> u32 {
    let others = ["json", "w3c", "logfmt"];
    known::NAMES.iter().chain(&others).position(|known| *known == name).map_or(15, |at| at as u32)
}

impl How {
    fn name(&self) -> &'static str {
        match self {
            How::Auto => "auto",
            How::Json => "json",
            How::W3c => "w3c",
            How::Logfmt => "logfmt",
            How::Lines(name, _) | How::Named(name, ..) | How::Headed(name, _) => name,
        }
    }
}

fn named(word: &'static str, columns: Columns, names: &str) -> Result<How, String> {
    let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
    match names.iter().any(String::is_empty) {
        true => Err(format!("{word}: needs the columns' names behind it, as in {word}:time,host,status")),
        false => Ok(How::Named(word, columns, names)),
    }
}

fn unknown(word: &str) -> String {
    let words = known::NAMES.iter().copied();
    let words =
        words.chain(["auto", "json", "csv", "tsv", "w3c", "logfmt", "nginx", "apache", "varnish", "syslog"]);
    let near = words.map(|known| (distance(word.chars(), known.chars()), known)).min();
    match near.filter(|(away, _)| *away <= 2) {
        Some((_, near)) => format!("is no format {word}: did you mean {near}? It must be {FORMATS}"),
        None => format!("must be {FORMATS}"),
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        self.text == other.text
    }
}

impl Eq for Format {}

impl Default for Format {
    fn default() -> Format {
        Format::auto()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
