//! Values that do not compress: ten fields of random hexadecimal and base64 text, the id `id`.
use super::{Random, id};
use std::io::Write;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends a line, with its newline.
pub fn line(random: &mut Random, seq: u64, out: &mut Vec<u8>) {
    let (head, tail) = id(seq);
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{{\"id\":\"{head:016x}{tail:016x}\"");
    for name in ["trace", "span", "etag"] {
        let _ = write!(out, ",\"{name}\":\"{:016x}{:016x}\"", random.next(), random.next());
    }
    for name in ["cookie", "token", "signature"] {
        let _ = write!(out, ",\"{name}\":\"");
        for _ in 0..12 {
            let mut bits = random.next();
            for _ in 0..10 {
                out.push(ALPHABET[(bits & 63) as usize]);
                bits >>= 6;
            }
        }
        out.push(b'"');
    }
    for name in ["offset", "length", "nonce"] {
        let _ = write!(out, ",\"{name}\":{}", random.next());
    }
    out.extend_from_slice(b"}\n");
}
