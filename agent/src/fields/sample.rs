//! sample: the first lines of a log, plain or compressed.
//!
//! Promises: no more is read than is asked for, and never more than [`BYTES_MAX`]; a line that is cut there is left out.
//! Must not know: what lines mean.
use crate::source::file::unpack::Kind;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// Most bytes that are read of a sample.
const BYTES_MAX: u64 = 64 << 20;

/// The first `most` lines of a file; `-`: of standard input.
///
/// # Errors
/// It cannot be read, or is broken before the first line has ended.
pub(super) fn read(path: &str, most: usize) -> io::Result<Vec<u8>> {
    let raw: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(File::open(path)?),
    };
    let mut raw = BufReader::new(raw);
    let packed: Box<dyn Read> = match Kind::of(raw.fill_buf()?) {
        Some(Kind::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        Some(Kind::Zstd) => Box::new(zstd::Decoder::with_buffer(raw)?),
        None => Box::new(raw),
    };
    lines(BufReader::new(packed.take(BYTES_MAX)), most)
}

fn lines(mut from: impl BufRead, most: usize) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for _ in 0..most {
        let start = lines.len();
        match from.read_until(b'\n', &mut lines) {
            Ok(0) => break,
            Ok(_) => {}
            // A file that is still being compressed has an end that cannot be read yet.
            Err(_) if start > 0 => {
                lines.truncate(start);
                break;
            }
            Err(error) => return Err(error),
        }
        if lines.len() as u64 >= BYTES_MAX && !lines.ends_with(b"\n") {
            lines.truncate(start);
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TEXT: &str = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}";

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn lines_are_the_same_however_they_are_compressed() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(TEXT.as_bytes()).unwrap();
        let zstd = zstd::encode_all(TEXT.as_bytes(), 1).unwrap();
        for bytes in [TEXT.as_bytes().to_vec(), gzip.finish().unwrap(), zstd] {
            let file = file(&bytes);
            let path = file.path().to_str().unwrap();
            assert_eq!(read(path, 10).unwrap(), TEXT.as_bytes());
            assert_eq!(read(path, 2).unwrap(), TEXT.as_bytes()[..16]);
        }
        assert!(read("/nowhere/at/all", 1).is_err());
    }

    #[test]
    fn what_was_compressed_before_a_cut_is_read() {
        let text: Vec<u8> = (0..20_000)
            .flat_map(|n: u32| format!("{{\"n\":{}}}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
            .collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let whole = gzip.finish().unwrap();
        let cut = read(file(&whole[..whole.len() / 2]).path().to_str().unwrap(), 1_000_000).unwrap();
        assert!(cut.len() > 1000 && cut.ends_with(b"\n") && text.starts_with(&cut));
    }
}
