//! Coders: the encoders that are compared, ours among them.
//!
//! Promises: raw DEFLATE without header and CRC-32; ours as the agent uses them; each reuses its working memory.
//! Must not know: how they are timed.
use super::{Decode, Point};
use edgepush_shard::codec::{CodecKind, Form, Level, Run, codec};
use flate2::{Compress, Compression, FlushCompress};
use libdeflater::{CompressionLvl, Compressor};
use std::io::{Cursor, Read};
use zstd::zstd_safe::CParameter;

/// Reads raw DEFLATE; a body without a final block gets one.
pub(super) fn inflate(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let whole = body.chain(&[3, 0][..]);
    flate2::read::DeflateDecoder::new(whole).read_to_end(&mut out).expect("valid DEFLATE");
    out
}

fn unzstd(frame: &[u8]) -> Vec<u8> {
    zstd::decode_all(frame).expect("a valid frame")
}

fn ours(kind: CodecKind, level: Level) -> Point {
    let mut codec = codec(kind, level);
    let (family, decode): (_, Decode) = match kind {
        CodecKind::Zstd => ("edgepush zstd", unzstd),
        _ => ("edgepush gzip", inflate),
    };
    let encode = Box::new(move |run: &Run<'_>, out: &mut Vec<u8>| codec.encode(Form::ONLY, run, out));
    Point { family, name: level.as_str().to_owned(), encode, decode }
}

fn zlib_rs(level: u32) -> Point {
    let mut state = Compress::new(Compression::new(level), false);
    let encode = Box::new(move |run: &Run<'_>, out: &mut Vec<u8>| {
        out.reserve(run.bytes.len() * 9 / 8 + 64);
        state.reset();
        state.compress_vec(run.bytes, out, FlushCompress::Finish).expect("a slice is encoded");
    });
    Point { family: "zlib-rs", name: level.to_string(), encode, decode: inflate }
}

fn libdeflate(level: i32) -> Point {
    let mut state = Compressor::new(CompressionLvl::new(level).expect("a level of libdeflate"));
    let encode = Box::new(move |run: &Run<'_>, out: &mut Vec<u8>| {
        out.resize(state.deflate_compress_bound(run.bytes.len()), 0);
        let bytes = state.deflate_compress(run.bytes, out).expect("the bound is enough");
        out.truncate(bytes);
    });
    Point { family: "libdeflate", name: level.to_string(), encode, decode: inflate }
}

/// zstd at a level with parameters of ours; a name of their own.
pub fn zstd_point(level: i32, parameters: &[CParameter], name: String) -> Point {
    let mut state = zstd::bulk::Compressor::new(level).expect("a level of zstd");
    for parameter in parameters {
        state.set_parameter(*parameter).expect("a parameter of zstd");
    }
    let encode = Box::new(move |run: &Run<'_>, out: &mut Vec<u8>| {
        out.reserve(zstd::zstd_safe::compress_bound(run.bytes.len()));
        let mut tail = Cursor::new(&mut *out);
        state.compress_to_buffer(run.bytes, &mut tail).expect("the bound is enough");
    });
    Point { family: "zstd", name, encode, decode: unzstd }
}

#[cfg(feature = "isal")]
fn isal() -> Vec<Point> {
    let point = |level| {
        let mut state = super::igzip::Igzip::new(level);
        let encode = Box::new(move |run: &Run<'_>, out: &mut Vec<u8>| {
            out.reserve(run.bytes.len() * 2 + 1024);
            assert!(state.encode(run.bytes, out), "twice the bytes are enough");
        });
        Point { family: "ISA-L", name: level.to_string(), encode, decode: inflate }
    };
    (0..=3).map(point).collect()
}

#[cfg(not(feature = "isal"))]
fn isal() -> Vec<Point> {
    eprintln!("SKIPPED ISA-L: built without the feature isal (Debian: libisal-dev)");
    Vec::new()
}

#[cfg(feature = "zlib-ng")]
fn zlib_ng() -> Vec<Point> {
    let point = |level: i32| {
        let mut state = super::zlib_ng::ZlibNg::new(level);
        let encode = Box::new(move |run: &Run<'_>, out: &mut Vec<u8>| state.encode(run.bytes, out));
        Point { family: "zlib-ng", name: level.to_string(), encode, decode: inflate }
    };
    (1..=9).map(point).collect()
}

#[cfg(not(feature = "zlib-ng"))]
fn zlib_ng() -> Vec<Point> {
    eprintln!("SKIPPED zlib-ng: built without the feature zlib-ng (wants cmake)");
    Vec::new()
}

/// All of them, ours first.
pub fn all() -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for kind in [CodecKind::Gzip, CodecKind::Zstd] {
        points.extend(Level::ALL.map(|level| ours(kind, level)));
    }
    points.extend((1..=9).map(zlib_rs));
    points.extend(zlib_ng());
    points.extend(isal());
    // 10 to 12 make below 12 MB a second for 0 to 2 % fewer bytes than 9, and would squeeze the plot.
    points.extend((1..=9).map(libdeflate));
    points
        .extend((-5..=9).filter(|level| *level != 0).map(|level| zstd_point(level, &[], level.to_string())));
    points
}
