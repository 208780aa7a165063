//! Decode: a body's records again, for splitting a batch, for proofs and tests.
//!
//! Promises: reads what any number of pieces make, all members and frames; anything else in the body is an error.
//! Must not know: how the body was made.
use crate::codec::CodecKind;
use std::io::{self, BufRead, Read};

/// A reader of the records in a body.
pub fn reader<'a>(kind: CodecKind, body: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match kind {
        CodecKind::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(body)),
        CodecKind::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(body)?),
        CodecKind::None => Box::new(body),
    })
}

/// The records in a body, all at once.
pub fn decode(kind: CodecKind, body: impl BufRead) -> io::Result<Vec<u8>> {
    let mut records = Vec::new();
    reader(kind, body)?.read_to_end(&mut records)?;
    Ok(records)
}
