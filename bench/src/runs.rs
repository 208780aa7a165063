//! Runs: the log's lines, and the records that the formatter makes of them, as the codec gets them from the ring.
//!
//! Promises: records come with their fields' spans; every line of the log is in exactly one run.
//! Must not know: what is done with them.
use crate::corpus::{Corpus, Kind};
use edgepush_shard::codec::{Run, Span};
use edgepush_shard::parse::Parser;
use edgepush_shard::plan::{Formatter, Output};
use edgepush_shard::ring::{Full, Ring, SlabKey};

/// The projection: 12 of 26 fields.
pub const FIELDS: [&str; 12] = [
    "time",
    "request_id",
    "remote_addr",
    "country",
    "host",
    "method",
    "uri",
    "status",
    "bytes_sent",
    "request_time",
    "cache_status",
    "user_agent",
];
/// The size of a slab, and so of a segment, where nothing else is said.
pub const SLAB: usize = 1 << 20;
const KEY: SlabKey = SlabKey(1);

/// At least `bytes` of the harness's log, seed 1, in whole lines.
pub fn lines(bytes: usize) -> Vec<u8> {
    let (mut corpus, mut out) = (Corpus::new(Kind::Edge26, 1), Vec::with_capacity(bytes + 1024));
    while out.len() < bytes {
        corpus.line(&mut out, None);
    }
    out
}

/// The requests of a log as lines of the combined format, with the values that stand in each line; no user has a name.
pub fn combined(lines: &[u8]) -> (Vec<u8>, Vec<[String; 7]>) {
    let (mut out, mut values) = (String::new(), Vec::new());
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let of: serde_json::Value = serde_json::from_slice(line).expect("the log is JSON");
        let text = |name: &str| of[name].as_str().map_or_else(|| of[name].to_string(), str::to_owned);
        let clock = text("time").get(11..19).expect("a time").to_owned();
        let row = [
            text("remote_addr"),
            format!("01/Jan/2026:{clock} +0000"),
            format!("{} {}?{} {}", text("method"), text("uri"), text("query"), text("protocol")),
            text("status"),
            text("body_bytes"),
            text("referer"),
            text("user_agent"),
        ];
        let [addr, time, request, status, bytes, referer, agent] = &row;
        out += &format!("{addr} - - [{time}] \"{request}\" {status} {bytes} \"{referer}\" \"{agent}\"\n");
        values.push(row);
    }
    (out.into_bytes(), values)
}

/// What [`FIELDS`] make of a record.
pub fn projection() -> Output {
    Output::Fields(FIELDS.map(String::from).to_vec())
}

/// The records of one slab, with their fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// As [`Run::bytes`].
    pub bytes: Vec<u8>,
    ends: Vec<u32>,
    fields: Vec<Span>,
    field_ends: Vec<u32>,
}

impl Records {
    /// The run that they are.
    pub fn run(&self) -> Run<'_> {
        Run::with_fields(&self.bytes, &self.ends, &self.fields, &self.field_ends)
    }

    fn of(run: &Run<'_>) -> Records {
        Records {
            bytes: run.bytes.to_vec(),
            ends: run.ends.to_vec(),
            fields: run.fields.to_vec(),
            field_ends: run.field_ends.to_vec(),
        }
    }
}

/// The way from lines into the ring.
pub struct Filler {
    parser: Parser,
    formatter: Formatter,
    ring: Ring,
}

impl Filler {
    /// A filler of slabs of `slab` bytes.
    pub fn new(output: &Output, slab: usize) -> Filler {
        let bytes = Ring::bytes_min(slab) + 2 * slab;
        Filler { parser: Parser::new(), formatter: Formatter::from(output), ring: Ring::new(bytes, slab) }
    }

    /// Every line becomes a record in the ring; `sealed` gets each slab when it is full, and the last one.
    pub fn fill(&mut self, lines: &[u8], mut sealed: impl FnMut(&Run<'_>)) {
        let Filler { parser, formatter, ring } = self;
        parser.lines(lines, 0, |_, parsed| {
            let record = parsed.expect("the log is JSON");
            let bytes_max = formatter.bytes_max(&record);
            let fields_max = formatter.fields_max(&record);
            let mut append = |ring: &mut Ring| {
                ring.append(KEY, 0, bytes_max, fields_max, |sink| formatter.write(&record, (0, 0), sink))
            };
            if let Err(full) = append(ring) {
                assert_ne!(full, Full::TooLarge);
                seal(ring, &mut sealed);
                append(ring).expect("room in an empty slab");
            }
        });
        seal(&mut self.ring, &mut sealed);
    }
}

fn seal(ring: &mut Ring, sealed: &mut impl FnMut(&Run<'_>)) {
    if let Some(slab) = ring.slab(KEY) {
        sealed(&slab.run);
    }
    ring.release(KEY);
}

/// The records that `output` makes of `lines`, in slabs of `slab` bytes.
pub fn records(lines: &[u8], output: &Output, slab: usize) -> Vec<Records> {
    let mut all = Vec::new();
    Filler::new(output, slab).fill(lines, |run| all.push(Records::of(run)));
    all
}
