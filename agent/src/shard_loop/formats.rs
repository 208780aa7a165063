//! Formats: how the lines of each configured source are read, and what was said about that.
//!
//! Promises: each thing is said once a source, whichever shard finds it first. Nothing of a line is in what is said.
//! Must not know: the log; what becomes of records.
use edgepush_shard::chunk::Chunk;
use edgepush_shard::format::{Format, Told, number};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the lines of all sources are read.
#[derive(Debug, Default)]
pub struct Formats {
    /// By the number of the configured source.
    sources: Vec<OfSource>,
    json: Json,
}

/// What a source is read as that nobody configured.
#[derive(Debug)]
struct Json(Format);

impl Default for Json {
    fn default() -> Json {
        Json(Format::json())
    }
}

#[derive(Debug)]
struct OfSource {
    name: String,
    format: Format,
    /// A bit for each thing that was said.
    said: AtomicU64,
}

/// Bits above those of the formats that `auto` can decide for.
const CONTRARY: u64 = 1 << 63;
const HEADLESS: u64 = 1 << 62;
const UNKNOWN: u64 = 1 << 61;

/// What an operator should know about the format of a source's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatNotice {
    /// The source's name.
    pub source: String,
    /// The format that it was given.
    pub format: &'static str,
    /// The file.
    pub path: Arc<str>,
    /// What was found.
    pub found: Found,
}

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// `auto` decided for this format.
    Decided(&'static str),
    /// `auto` knows none of the lines.
    Unknown,
    /// Lines of this other format are among them.
    Contrary(&'static str),
    /// The line that names the columns is too long, or not there.
    Headless,
}

impl Formats {
    /// For sources of these names, in the order of the configuration.
    pub fn new(sources: impl IntoIterator<Item = (String, Format)>) -> Formats {
        let source = |(name, format)| OfSource { name, format, said: AtomicU64::new(0) };
        Formats { sources: sources.into_iter().map(source).collect(), json: Json::default() }
    }

    /// The format of a source's lines.
    pub(super) fn of(&self, origin: u16) -> &Format {
        self.sources.get(usize::from(origin)).map_or(&self.json.0, |source| &source.format)
    }

    /// Notes what was found out about a chunk.
    #[inline]
    pub(super) fn note(&self, chunk: &Chunk, told: &Told, notices: &mut Vec<FormatNotice>) {
        let Some(source) = self.sources.get(usize::from(chunk.origin)) else { return };
        let unknown = source.format.name() == "auto" && told.decided.is_none();
        let unknown = unknown && told.lines.all > told.lines.blank;
        let found = [
            told.decided.map(|name| (1 << number(name), Found::Decided(name))),
            told.contrary.map(|name| (CONTRARY, Found::Contrary(name))),
            told.headless.then_some((HEADLESS, Found::Headless)),
            unknown.then_some((UNKNOWN, Found::Unknown)),
        ];
        for (bit, found) in found.into_iter().flatten() {
            // Looked at first: nearly always it was said, and another core may want the line of the cache.
            if source.said.load(Ordering::Relaxed) & bit == 0
                && source.said.fetch_or(bit, Ordering::Relaxed) & bit == 0
            {
                let (name, path) = (source.name.clone(), chunk.path.clone());
                notices.push(FormatNotice { source: name, format: source.format.name(), path, found });
            }
        }
    }
}

impl FormatNotice {
    /// Whether something has to be done about it.
    pub fn is_warning(&self) -> bool {
        !matches!(self.found, Found::Decided(_))
    }
}

impl fmt::Display for FormatNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FormatNotice { source, format, path, found } = self;
        match found {
            Found::Decided(name) => {
                write!(f, "lines of {source} are read as {name}, by the first ones of {path}")
            }
            Found::Unknown => write!(
                f,
                "no format is known of which the lines of {path} are: they are rejects; set EDGEPUSH_FORMAT to the \
                 server's own (nginx:<log_format>, apache:<LogFormat>, …)"
            ),
            Found::Contrary(name) => write!(
                f,
                "{path} has lines of the format {name}, and {source} is read as {format}: they are rejects; set \
                 EDGEPUSH_FORMAT={name}, or name the two sources apart (EDGEPUSH_SOURCE_<NAME>, EDGEPUSH_FORMAT_<NAME>)"
            ),
            Found::Headless => write!(
                f,
                "the columns of {path} have no names: the line that has them must stand in its first 1024 bytes; give \
                 the names yourself (EDGEPUSH_FORMAT=csv:time,host,…)"
            ),
        }
    }
}
