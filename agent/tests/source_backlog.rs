//! The file source's machine on real compressed files: order, identity, copies, damage, restarts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must end")]
mod source_kit;

use edgepush::config::Start;
use edgepush::protocol::SourceState;
use edgepush_shard::chunk::ChunkKind;
use source_kit::{LINE_MAX, SECOND, World, expected, lines_of, numbered};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

/// Sets a file's time of change: so many hours before now.
fn aged(w: &World, name: &str, hours: u64) {
    let file = OpenOptions::new().append(true).open(w.path(name)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600 * hours)).unwrap();
}

fn put(w: &World, name: &str, bytes: &[u8]) {
    fs::write(w.path(name), bytes).unwrap();
}

/// As `gzip` does: the copy is written beside the original, which goes then.
fn compress(w: &World, from: &str, to: &str) {
    put(w, to, &gzip(&fs::read(w.path(from)).unwrap()));
    fs::remove_file(w.path(from)).unwrap();
}

/// Each line is there once, in its order; says little if not.
#[track_caller]
fn assert_lines(lines: &[String], range: std::ops::Range<usize>, what: &str) {
    let wanted = expected(range);
    let first = lines.iter().zip(&wanted).position(|(a, b)| a != b);
    let differ = first.map(|at| (&lines[at], &wanted[at]));
    assert!(
        first.is_none() && lines.len() == wanted.len(),
        "{what}: {} lines for {}, {differ:?}",
        lines.len(),
        wanted.len()
    );
}

/// Lines in the order in which they were emitted.
fn in_order(w: &World) -> Vec<String> {
    w.chunks.iter().flat_map(lines_of).collect()
}

#[test]
fn compressed_and_rotated_files_are_read_oldest_first_and_before_the_live_one() {
    let mut w = World::new("a.log*");
    put(&w, "a.log.4.gz", &gzip(numbered(0..10).as_bytes()));
    put(&w, "a.log.3.zst", &zstd(numbered(10..20).as_bytes()));
    put(&w, "a.log.2", numbered(20..30).as_bytes());
    put(&w, "a.log.1.gz", &gzip(numbered(30..40).as_bytes()));
    put(&w, "a.log", numbered(40..50).as_bytes());
    for (name, hours) in [("a.log.4.gz", 40), ("a.log.3.zst", 30), ("a.log.2", 20), ("a.log.1.gz", 10)] {
        aged(&w, name, hours);
    }
    w.start().pass(3 * SECOND);
    assert_eq!(in_order(&w), expected(0..50));
    assert!(w.notices.is_empty(), "{:?}", w.notices);
}

#[test]
fn a_live_file_waits_only_for_files_of_its_own_glob() {
    let mut w = World::new("a.log* b.log");
    put(&w, "a.log.1.gz", &gzip(numbered(0..100_000).as_bytes()));
    aged(&w, "a.log.1.gz", 1);
    put(&w, "a.log", b"live a\n");
    put(&w, "b.log", b"live b\n");
    w.start().pass(3 * SECOND);
    let lines = in_order(&w);
    let at = |line: &str| lines.iter().position(|l| l == line).unwrap();
    assert!(at("live b") < at("line 99999"), "the other glob's live file does not wait");
    assert!(at("live a") > at("line 99999"));
}

#[test]
fn a_compressed_file_is_known_by_its_content_and_not_by_its_name() {
    let mut w = World::new("*.log");
    put(&w, "packed.log", &gzip(numbered(0..5).as_bytes()));
    w.start().pass(SECOND);
    put(&w, "other.log", &zstd(numbered(5..10).as_bytes()));
    w.pass(3 * SECOND);
    assert_eq!(w.lines(), expected(0..10));
    let mut w = World::new("*");
    put(&w, "plain.gz", numbered(0..5).as_bytes());
    put(&w, "foreign.xz", b"\xfd7zXZ");
    w.start().pass(SECOND);
    assert_eq!(w.lines(), expected(0..5));
    assert_eq!(w.said("compressed"), 1);
}

#[test]
fn many_members_and_frames_are_one_text() {
    let mut w = World::new("*");
    let mut members = Vec::new();
    for n in 0..50 {
        members.extend(gzip(numbered(n * 10..n * 10 + 10).as_bytes()));
        members.extend(gzip(b""));
    }
    members.extend([0; 512]);
    put(&w, "a.gz", &members);
    let frames: Vec<u8> = (50..100).flat_map(|n| zstd(numbered(n * 10..n * 10 + 10).as_bytes())).collect();
    let skippable = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    put(&w, "b.zst", &[&skippable[..], &frames, &skippable].concat());
    w.start().pass(SECOND);
    assert_eq!(w.lines(), expected(0..1000));
    assert!(w.notices.is_empty(), "{:?}", w.notices);
}

#[test]
fn an_unterminated_last_line_of_a_compressed_file_is_a_line() {
    for once in [true, false] {
        let mut w = World::with("*", |s| s.once = once);
        put(&w, "a.gz", &gzip(b"line 00000\nline 00001"));
        put(&w, "b.zst", &zstd(b"line 00002"));
        w.start().pass(SECOND);
        assert_eq!(w.lines(), expected(0..3));
    }
}

#[test]
fn what_was_read_is_not_decompressed_again_after_a_restart() {
    let mut w = World::new("*");
    put(&w, "a.log.1.gz", &gzip(numbered(0..100_000).as_bytes()));
    put(&w, "b.log.1.zst", &zstd(numbered(100_000..100_001).as_bytes()));
    w.start().pass(3 * SECOND).commit().pass(3 * SECOND);
    assert_eq!(w.lines().len(), 100_001);
    assert!(w.files.is_empty(), "they are closed");
    let steps = w.steps;
    w.restart().pass(10 * SECOND);
    assert_eq!((w.lines().len(), w.steps), (100_001, steps));
    // A file that is renamed is the same one.
    w.rename("a.log.1.gz", "a.log.2.gz");
    w.restart().pass(10 * SECOND);
    assert_eq!((w.lines().len(), w.steps), (100_001, steps));
}

#[test]
fn a_kill_in_the_middle_goes_on_at_the_durable_offset() {
    let mut w = World::new("*");
    put(&w, "a.log.1.gz", &gzip(numbered(0..300_000).as_bytes()));
    w.start().pass(SECOND);
    assert!(w.chunks.len() > 3);
    w.commit_up_to(2).restart().pass(3 * SECOND);
    assert_lines(&in_order(&w), 0..300_000, "a kill");
    w.commit().pass(3 * SECOND);
    let steps = w.steps;
    w.restart().pass(3 * SECOND);
    assert_eq!((w.lines().len(), w.steps), (300_000, steps));
}

#[test]
fn once_again_reads_nothing_twice() {
    let mut w = World::with("*", |s| s.once = true);
    put(&w, "a.log.1.gz", &gzip(numbered(0..1000).as_bytes()));
    put(&w, "a.log", numbered(1000..1005).as_bytes());
    w.start().pass(SECOND).commit();
    assert_eq!(in_order(&w), expected(0..1005));
    let steps = w.steps;
    w.restart().pass(SECOND);
    assert_eq!((w.lines().len(), w.steps), (1005, steps));
}

#[test]
fn the_ways_of_logrotate_lose_and_repeat_nothing() {
    for delay in [true, false] {
        let mut w = World::new("a.log*");
        w.append("a.log", &numbered(0..1000));
        w.start().pass(SECOND).commit();
        w.append("a.log", &numbered(1000..1010));
        w.rename("a.log", "a.log.1");
        w.append("a.log.1", &numbered(1010..1012));
        w.append("a.log", &numbered(1012..1100));
        if delay {
            w.pass(5 * SECOND).commit().pass(700 * SECOND);
        }
        compress(&w, "a.log.1", "a.log.1.gz");
        w.pass(5 * SECOND).commit().pass(100 * SECOND);
        assert_eq!(w.lines(), expected(0..1100), "delayed: {delay}");
        assert_eq!(w.attached(), ["a.log.1.gz", "a.log"]);
        assert_eq!(w.unread, 0);
        w.restart().pass(100 * SECOND);
        assert_eq!(w.lines().len(), 1100);
    }
}

#[test]
fn compressed_at_once_under_a_glob_that_names_only_the_compressed_ones() {
    let mut w = World::new("a.log a.log*.gz");
    w.append("a.log", &numbered(0..1000));
    w.start().pass(SECOND).commit();
    w.append("a.log", &numbered(1000..1010));
    w.rename("a.log", "a.log.1");
    w.append("a.log", &numbered(1010..1100));
    compress(&w, "a.log.1", "a.log.1.gz");
    w.pass(5 * SECOND).commit().pass(100 * SECOND);
    assert_eq!(w.lines(), expected(0..1100));
    assert_eq!(w.attached(), ["a.log.1.gz", "a.log"]);
}

#[test]
fn copytruncate_and_compress() {
    for glob in ["a.log*", "a.log a.log*.gz"] {
        let mut w = World::new(glob);
        w.append("a.log", &numbered(0..1000));
        w.start().pass(SECOND).commit();
        w.append("a.log", &numbered(1000..1010));
        w.copy("a.log", "a.log.1");
        w.truncate("a.log", 0);
        w.append("a.log", &numbered(1010..1020));
        w.pass(SECOND);
        compress(&w, "a.log.1", "a.log.1.gz");
        w.pass(5 * SECOND).commit().pass(200 * SECOND);
        assert_eq!(w.lines(), expected(0..1020), "{glob}");
        assert_eq!(w.unread, 0, "{glob}");
    }
}

#[test]
fn what_was_rotated_and_compressed_while_we_were_down_goes_on_at_the_known_offset() {
    for once in [false, true] {
        let mut w = World::with("a.log*", |s| s.once = once);
        w.append("a.log", &numbered(0..100_000));
        w.start().pass(SECOND).commit();
        w.files.clear();
        w.append("a.log", &numbered(100_000..200_000));
        compress(&w, "a.log", "a.log.2.gz");
        aged(&w, "a.log.2.gz", 2);
        put(&w, "a.log.1.gz", &gzip(numbered(200_000..300_000).as_bytes()));
        aged(&w, "a.log.1.gz", 1);
        w.append("a.log", &numbered(300_000..300_100));
        w.restart().pass(5 * SECOND);
        assert_lines(&in_order(&w), 0..300_100, &format!("once: {once}"));
        assert_eq!(w.said("copy adopted"), 1);
    }
}

#[test]
fn a_compressed_copy_is_held_back_while_its_original_is_followed() {
    let mut w = World::new("a.log*");
    w.append("a.log", &numbered(0..1000));
    w.start().pass(SECOND).commit();
    put(&w, "a.log.1.gz", &gzip(&fs::read(w.path("a.log")).unwrap()));
    w.pass(5 * SECOND);
    assert_eq!((w.said("copy held"), w.lines().len()), (1, 1000));
    w.append("a.log", &numbered(1000..1010));
    w.pass(100 * SECOND).commit();
    assert_eq!(w.lines(), expected(0..1010));
    assert_eq!(w.said("copy known"), 1);
    w.restart().pass(100 * SECOND);
    assert_eq!(w.lines().len(), 1010);
}

#[test]
fn a_file_that_is_still_being_compressed_is_waited_for() {
    let mut w = World::new("*.gz");
    let whole = gzip(numbered(0..50_000).as_bytes());
    let mut file = File::create(w.path("a.log.1.gz")).unwrap();
    w.start();
    for part in whole.chunks(whole.len() / 7 + 1) {
        file.write_all(part).unwrap();
        w.pass(10 * SECOND);
        assert_eq!(w.said("broken"), 0);
    }
    w.pass(200 * SECOND).commit().pass(3 * SECOND);
    assert_lines(&in_order(&w), 0..50_000, "in pieces");
    assert!(w.notices.is_empty() && w.files.is_empty(), "{:?}", w.notices);
}

#[test]
fn a_copy_may_take_longer_to_be_compressed_than_it_is_held_back() {
    for pause in [40, 150] {
        let mut w = World::new("a.log*");
        w.append("a.log.1", &numbered(0..50_000));
        w.start().pass(5 * SECOND).commit();
        let whole = gzip(numbered(0..50_000).as_bytes());
        let mut file = File::create(w.path("a.log.1.gz")).unwrap();
        for part in whole.chunks(whole.len() / 5 + 1) {
            file.write_all(part).unwrap();
            w.pass(pause * SECOND).commit();
        }
        fs::remove_file(w.path("a.log.1")).unwrap();
        w.pass(200 * SECOND).commit().pass(5 * SECOND);
        assert_lines(&in_order(&w), 0..50_000, &format!("{pause} s between the parts"));
        w.restart().pass(100 * SECOND);
        assert_eq!(w.lines().len(), 50_000);
    }
}

#[test]
fn a_damaged_file_gives_what_it_has_is_said_once_and_holds_nothing_up() {
    let whole = gzip(numbered(0..50_000).as_bytes());
    let cut_off = whole[..whole.len() / 2].to_vec();
    let mut wrong_crc = whole.clone();
    let at = wrong_crc.len() - 8;
    wrong_crc[at] ^= 1;
    let mut garbled = whole.clone();
    garbled[whole.len() / 2..].fill(0xff);
    let with_garbage = [&whole[..], b"garbage"].concat();
    let packed = zstd(numbered(0..50_000).as_bytes());
    let cut_zstd = packed[..packed.len() / 2].to_vec();
    let all =
        [(cut_off, false), (wrong_crc, true), (garbled, false), (with_garbage, true), (cut_zstd, false)];
    for (at, (bytes, has_all)) in all.into_iter().enumerate() {
        let mut w = World::new("a.log*");
        put(&w, "a.log.1.gz", &bytes);
        aged(&w, "a.log.1.gz", 5);
        put(&w, "a.log", b"live\n");
        // The kit's clock is ahead of the files' times.
        w.start().pass(SECOND);
        assert!(w.lines().contains(&"live".to_owned()), "case {at} holds the live file up");
        w.pass(100 * SECOND).commit().pass(100 * SECOND);
        let lines: Vec<String> = in_order(&w).into_iter().filter(|line| line != "live").collect();
        assert!(lines.len() > 10_000, "case {at}: {} lines", lines.len());
        let whole_lines = if has_all { lines.len() } else { lines.len() - 1 };
        assert_lines(&lines[..whole_lines], 0..whole_lines, &format!("case {at}"));
        assert_eq!(has_all, lines.len() == 50_000, "case {at}");
        assert_eq!(w.said("broken"), 1, "case {at}: {:?}", w.notices);
        let steps = w.steps;
        w.restart().pass(100 * SECOND);
        assert_eq!(w.steps, steps, "case {at} is not read again");
    }
}

#[test]
fn once_says_what_is_wrong_with_a_damaged_file() {
    let mut w = World::with("*", |s| s.once = true);
    let whole = gzip(numbered(0..50_000).as_bytes());
    put(&w, "a.gz", &whole[..whole.len() / 2]);
    put(&w, "b.gz", &whole[..5]);
    put(&w, "empty.gz", &gzip(b""));
    w.start().pass(SECOND);
    assert!(w.lines().len() > 10_000);
    assert_eq!(w.said("broken"), 2, "{:?}", w.notices);
}

#[test]
fn a_bomb_is_one_long_line_and_takes_no_memory() {
    let mut w = World::new("*");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        encoder.write_all(&vec![b'a'; 1 << 20]).unwrap();
    }
    encoder.write_all(b"\nline 00000\n").unwrap();
    for _ in 0..64 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    encoder.write_all(b"line 00001\n").unwrap();
    put(&w, "a.gz", &encoder.finish().unwrap());
    w.start().pass(SECOND);
    assert_eq!(w.lines(), expected(0..2));
    let long = w.chunks.iter().find(|c| matches!(c.kind, ChunkKind::TooLong { .. })).unwrap();
    assert_eq!(long.kind, ChunkKind::TooLong { length: 64 << 20 });
    assert!(long.bytes.len() <= 64 * 1024 && LINE_MAX < 64 << 20);
    assert!(w.chunks.iter().any(|c| c.kind == ChunkKind::Nul && c.end - c.start == 64 << 20));
}

#[test]
fn a_window_that_is_too_large_is_said_with_its_reason() {
    let mut w = World::new("*");
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(numbered(0..100_000).as_bytes()).unwrap();
    put(&w, "a.zst", &encoder.finish().unwrap());
    w.start().pass(200 * SECOND);
    assert_eq!((w.lines().len(), w.said("broken")), (0, 1));
    assert!(w.notices[0].to_string().contains("memory"), "{}", w.notices[0]);
}

#[test]
fn start_at_the_end_passes_over_compressed_files_for_good() {
    for start in [Start::End, Start::At(i64::MAX)] {
        let mut w = World::with("*", |s| s.start = start);
        put(&w, "a.log.1.gz", &gzip(numbered(0..100).as_bytes()));
        w.start().pass(3 * SECOND).commit();
        w.restart().pass(3 * SECOND);
        w.rename("a.log.1.gz", "a.log.2.gz");
        w.pass(3 * SECOND);
        assert_eq!((w.lines().len(), w.steps), (0, 0));
        assert_eq!(w.machine.files().map(|f| (f.read, f.lag_bytes)).collect::<Vec<_>>(), [(0, 0)]);
        put(&w, "b.log.1.gz", &gzip(numbered(100..200).as_bytes()));
        w.pass(3 * SECOND);
        assert_eq!(w.lines(), expected(100..200), "what appears later is read");
    }
    let mut w = World::with("*", |s| s.start = Start::At(0));
    put(&w, "a.log.1.gz", &gzip(numbered(0..100).as_bytes()));
    w.start().pass(3 * SECOND);
    assert_eq!(w.lines(), expected(0..100));
}

#[test]
fn members_that_are_added_later_are_read_on() {
    let mut w = World::new("*");
    put(&w, "a.log.gz", &gzip(numbered(0..100).as_bytes()));
    w.start().pass(3 * SECOND).commit().pass(3 * SECOND);
    let mut file = OpenOptions::new().append(true).open(w.path("a.log.gz")).unwrap();
    file.write_all(&gzip(numbered(100..200).as_bytes())).unwrap();
    w.pass(5 * SECOND);
    assert_eq!(in_order(&w), expected(0..200));
}

#[test]
fn a_compressed_file_that_goes_before_it_is_read_is_counted() {
    let mut w = World::new("*");
    put(&w, "a.log.1.gz", &gzip(numbered(0..300_000).as_bytes()));
    w.room = 1;
    w.start();
    w.commit();
    fs::remove_file(w.path("a.log.1.gz")).unwrap();
    // The process ends before it has read on.
    w.room = 1000;
    w.restart().pass(100 * SECOND);
    assert!(w.unread > 0 && w.said("unread") == 1, "{} {:?}", w.unread, w.notices);
    assert!(w.rows.values().all(|row| row.state == SourceState::Detached));
}

#[test]
fn a_file_of_head_lines_alone_is_no_copy_of_another() {
    let mut w = World::new("*.log");
    let head = "#Version: 1.0\n#Fields: date time cs-method\n";
    w.append("a.log", &format!("{head}{}", numbered(0..100)));
    w.start().pass(SECOND).commit();
    w.append("b.log", head);
    w.pass(100 * SECOND);
    w.append("b.log", &numbered(100..200));
    w.pass(5 * SECOND);
    let lines: Vec<String> = w.lines().into_iter().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, expected(0..200));
    assert_eq!(w.said("copy held"), 0, "{:?}", w.notices);
}
