//! Lines that make agents fall: escapes, repeated keys, odd numbers, deep nesting, long lines, repairs, blanks, rejects.
//!
//! Promises: of every 32 lines 3 are rejects, 4 are repaired and 1 is blank; the other 24 are records.
use super::{Fate, Random, edge26, id};
use std::io::Write;

/// Appends a line, with its newline, and says what becomes of it.
pub fn line(random: &mut Random, seq: u64, at: u64, out: &mut Vec<u8>) -> Fate {
    let (head, tail) = id(seq);
    let id = format!("{{\"id\":\"{head:016x}{tail:016x}\"");
    let start = out.len();
    let fate = match seq % 32 {
        3 => broken(out, &id, &format!(",\"uri\":\"/cut/{}", random.next())),
        11 => broken(out, &format!("[{id}"), "}]"),
        19 => broken(out, "", &format!("no json at all {}", random.next())),
        5 => repaired(out, &id, ",\"user\":-}", ",\"user\":\"-\"}"),
        13 => repaired(out, &id, ",\"status\":000}", ",\"status\":\"000\"}"),
        21 => repaired(out, &id, ",\"n\":}", ",\"n\":null}"),
        29 => repaired(out, &id, ",\"u\":\"\\xc3\\xa9\"}", ",\"u\":\"é\"}"),
        27 => Fate::Blank,
        other => record(random, other, &id, out),
    };
    debug_assert!(out.len() > start || fate == Fate::Blank, "every line has bytes");
    out.push(b'\n');
    if matches!(fate, Fate::Record) && seq.is_multiple_of(32) {
        // The plain line of this corpus, so that a learned shape has something to hold on to.
        out.truncate(start);
        let mut plain = Vec::new();
        edge26::line(random, seq, at, &mut plain);
        out.extend_from_slice(id.as_bytes());
        out.push(b',');
        out.extend_from_slice(&plain[1..]);
    }
    fate
}

fn broken(out: &mut Vec<u8>, id: &str, rest: &str) -> Fate {
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(rest.as_bytes());
    Fate::Reject
}

fn repaired(out: &mut Vec<u8>, id: &str, wrong: &str, right: &str) -> Fate {
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(wrong.as_bytes());
    Fate::Repaired([id.as_bytes(), right.as_bytes()].concat())
}

/// A valid object that is not nice.
fn record(random: &mut Random, which: u64, id: &str, out: &mut Vec<u8>) -> Fate {
    out.extend_from_slice(id.as_bytes());
    let r = random.next();
    // Writing into a Vec cannot fail.
    let _ = match which % 8 {
        0 => write!(out, " , \"a\" :\t{r} ,\"a\":{r},\"A\":1,\"\":2 }}"),
        1 => write!(
            out,
            ",\"ua\":\"weird \\\"quoted\\\" \\\\ \\/ \\u00e9 \\ud83d\\ude00 {r}\",\"k\\u0065y\":1}}"
        ),
        2 => write!(out, ",\"n\":[1e-7,-0.0,1.10,1E+9,{r}{r},-{r}.{r}e-{}]}}", r % 300),
        3 => write!(out, ",\"d\":{}{r}{}}}", "[".repeat(100), "]".repeat(100)),
        4 => write!(out, ",\"text\":\"ünï©ødé ☃ 💣 {r}\",\"null\":null,\"t\":true,\"o\":{{}},\"e\":[]}}"),
        5 => write!(out, ",\"brackets\":\"}}}}]]{{{{,:{r}\",\"q\":\"\\\\\"}}"),
        6 => write!(out, ",\"o\":{{\"a\":{{\"b\":[{{\"c\":{r}}},null,\"x\"]}}}}}}"),
        _ if r.is_multiple_of(64) => {
            write!(out, ",\"long\":\"{}\"}}", "0123456789abcdef".repeat(1000 + (r >> 8) as usize % 8000))
        }
        _ => {
            let mut wide = String::new();
            for n in 0..r % 90 {
                wide.push_str(&format!(",\"f{n}\":{}", r >> (n % 60)));
            }
            write!(out, "{wide}}}")
        }
    };
    Fate::Record
}
