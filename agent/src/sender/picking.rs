//! Picking: what is made of a batch whose records were answered one by one: a batch of those that are sent again, and
//! rejects of those that were refused.
//!
//! Promises: pure; a record that is sent again has the same bytes; a refused one is kept whole, with the target's words and
//! the object that it was in; what is held beside the batch's text is encoded, so that it takes no more room than a split.
//! Must not know: how the text was read, what becomes of the parts.
use crate::ledger::SplitChild;
use crate::protocol::{CodecKind, Container, REJECTS_LIMITS, Spooled};
use bytes::Bytes;
use edgepush_shard::batch::{Part, Records, SplitError, piece_of};
use edgepush_shard::codec::{Codec, Level, Run, codec};
use edgepush_shard::limits::CHUNK_BYTES_MAX;
use edgepush_shard::reject::{Reject, write_reject};

/// The target's words about a record are cut to this, bytes.
const WORDS_BYTES: usize = 500;

/// Records of a batch that its destination has not taken, by their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picks {
    /// Sent again; ascending.
    pub again: Vec<u32>,
    /// Never taken, each with the target's words; ascending, none of them in `again`.
    pub refused: Vec<(u32, String)>,
}

impl Picks {
    pub(super) fn len(&self) -> u64 {
        (self.again.len() + self.refused.len()) as u64
    }
}

/// What rejects tell beside the record.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The job's name, in the place of a source.
    pub job: &'a str,
    /// When the target answered, ns since the epoch.
    pub wall: i64,
}

/// What was made of a batch.
#[derive(Clone, Debug)]
pub struct Picked {
    /// What is sent again.
    pub again: Option<SplitChild>,
    /// Rejects.
    pub refused: Vec<RefusedPart>,
}

/// What one batch of rejects holds: gzip, [`Container::Members`].
#[derive(Clone, Debug)]
pub struct RefusedPart {
    /// Its only piece.
    pub piece: Vec<Bytes>,
    /// Records.
    pub records: u32,
    /// Uncompressed bytes.
    pub raw: u64,
}

/// Picks the records out of a batch's body. Blocks for as long as it takes to decode and encode them.
///
/// # Errors
/// The body is not readable, or where its records begin and end cannot be told.
pub fn pick(batch: &Spooled, picks: &Picks, said: Said<'_>, body: &[Bytes]) -> Result<Picked, SplitError> {
    let records = Records::of(batch.codec, &batch.naming.framing, batch.records, body)?;
    let again = (!picks.again.is_empty()).then(|| {
        let mut codec = codec(batch.codec, Level::Fast);
        let half = records.pick(&mut *codec, batch.container, &picks.again);
        let pieces = vec![half.piece.concat().into()];
        SplitChild { pieces, records: u64::from(half.records), raw: half.raw }
    });
    Ok(Picked { again, refused: rejects(batch, picks, said, &records) })
}

/// The refused records as lines of rejects, in as many batches as their limits ask for.
fn rejects(batch: &Spooled, picks: &Picks, said: Said<'_>, records: &Records) -> Vec<RefusedPart> {
    let mut codec = codec(CodecKind::Gzip, Level::Fast);
    let (mut done, mut lines, mut line) = (Vec::new(), Lines::default(), Vec::new());
    for (place, words) in &picks.refused {
        let record = records.bare(*place as usize);
        let reject = Reject {
            time: said.wall,
            source: said.job,
            offset: records.range(*place as usize).start as u64,
            length: record.len() as u64,
            reason: &format!("refused: {}", &words[..words.floor_char_boundary(WORDS_BYTES)]),
            column: 0,
            object: Some(&batch.name),
            line: record,
        };
        line.clear();
        write_reject(&mut line, &reject);
        if lines.records > 0 && !lines.takes(line.len()) {
            done.push(std::mem::take(&mut lines).close(&mut *codec));
        }
        lines.push(&mut *codec, &line);
    }
    if lines.records > 0 {
        done.push(lines.close(&mut *codec));
    }
    done
}

/// Lines of one batch of rejects, encoded a segment at a time.
#[derive(Default)]
struct Lines {
    parts: Vec<Part>,
    run: Vec<u8>,
    ends: Vec<u32>,
    records: u32,
    raw: u64,
}

impl Lines {
    fn takes(&self, bytes: usize) -> bool {
        let (records, raw) = (u64::from(self.records) + 1, self.raw + bytes as u64);
        records <= REJECTS_LIMITS.records as u64 && raw <= REJECTS_LIMITS.bytes as u64
    }

    fn push(&mut self, codec: &mut dyn Codec, line: &[u8]) {
        if self.run.len() + line.len() > CHUNK_BYTES_MAX {
            self.encode(codec);
        }
        self.run.extend_from_slice(line);
        self.ends.push(self.run.len() as u32);
        self.records += 1;
        self.raw += line.len() as u64;
    }

    fn encode(&mut self, codec: &mut dyn Codec) {
        if !self.ends.is_empty() {
            self.parts.push(Part::encode(codec, &Run::new(&self.run, &self.ends)));
            self.run.clear();
            self.ends.clear();
        }
    }

    fn close(mut self, codec: &mut dyn Codec) -> RefusedPart {
        self.encode(codec);
        let piece = piece_of(Container::Members, CodecKind::Gzip, &self.parts);
        RefusedPart { piece, records: self.records, raw: self.raw }
    }
}
