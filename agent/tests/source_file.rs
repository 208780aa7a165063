//! The file source's machine on real files: every kind of rotation, restart and damage.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must end")]
mod source_kit;

use edgepush::config::Start;
use edgepush::source::file::os;
use edgepush::source::{Source, SourceEvent};
use edgepush_shard::chunk::ChunkKind;
use source_kit::{LINE_MAX, SECOND, World, expected, numbered};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

#[test]
fn a_growing_file_is_followed_and_a_partial_line_waits() {
    let mut w = World::new("*.log");
    w.append("a.log", "line 00000\nline 0");
    w.start().pass(SECOND);
    assert_eq!(w.lines(), expected(0..1));
    w.append("a.log", "0001\n");
    w.pass(SECOND);
    assert_eq!(w.lines(), expected(0..2));
    assert_eq!(w.machine.lag_bytes(), [(0, 0)]);
    assert!(w.notices.is_empty(), "{:?}", w.notices);
}

#[test]
fn new_files_and_an_empty_one_get_their_row_with_their_first_byte() {
    let mut w = World::new("*.log");
    w.append("a.log", "");
    w.start().pass(3 * SECOND);
    assert!(w.rows.is_empty());
    assert_eq!(w.registrations, [vec![]], "the first look is over");
    w.append("a.log", &numbered(0..2));
    w.append("b.log", &numbered(2..4));
    w.append("c.txt", "no\n");
    w.pass(3 * SECOND);
    assert_eq!(w.lines(), expected(0..4));
    assert_eq!(w.attached(), ["a.log", "b.log"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_under_its_new_name() {
    let mut w = World::new("a.log*");
    w.append("a.log", &numbered(0..5));
    w.start().pass(SECOND);
    w.rename("a.log", "a.log.1");
    w.append("a.log.1", &numbered(5..6));
    w.append("a.log", &numbered(6..8));
    let seals = w.seals;
    w.pass(3 * SECOND);
    assert_eq!(w.lines(), expected(0..8));
    assert!(w.seals > seals, "a rename asks for a seal");
    w.append("a.log.1", &numbered(8..9));
    w.pass(SECOND);
    assert_eq!(w.lines(), expected(0..9), "late writers are read");
    assert_eq!(
        w.rows.values().map(|r| r.path.file_name().unwrap()).collect::<Vec<_>>(),
        ["a.log.1", "a.log"]
    );
}

#[test]
fn two_rotations_between_two_looks_lose_nothing() {
    let mut w = World::new("a.log*");
    w.append("a.log", &numbered(0..5));
    w.start().pass(SECOND).commit();
    w.append("a.log", &numbered(5..7));
    w.rename("a.log", "a.log.1");
    w.append("a.log", &numbered(7..9));
    w.rename("a.log.1", "a.log.2");
    w.rename("a.log", "a.log.1");
    w.append("a.log", &numbered(9..10));
    w.pass(3 * SECOND);
    assert_eq!(w.lines(), expected(0..10));
}

#[test]
fn a_file_renamed_out_of_the_glob_is_read_to_its_end() {
    let mut w = World::new("*.log");
    w.append("a.log", &numbered(0..5));
    w.start().pass(SECOND);
    w.rename("a.log", "a.log.1");
    w.append("a.log.1", &numbered(5..6));
    w.append("a.log", &numbered(6..7));
    w.pass(5 * SECOND);
    w.append("a.log.1", "line 00007");
    w.pass(5 * SECOND);
    assert_eq!(w.lines(), expected(0..7));
    w.commit().pass(700 * SECOND);
    assert_eq!(w.lines(), expected(0..8), "without newline: one record after the grace");
    w.commit().pass(700 * SECOND);
    assert_eq!(w.attached(), ["a.log"]);
    assert_eq!((w.files.len(), w.unread), (1, 0));
}

#[test]
fn copytruncate_with_the_copy_inside_the_glob() {
    let mut w = World::new("a.log*");
    w.append("a.log", &numbered(0..100));
    w.start().pass(SECOND).commit();
    w.append("a.log", &numbered(100..120));
    w.copy("a.log", "a.log.1");
    w.truncate("a.log", 0);
    w.append("a.log", &numbered(120..130));
    w.pass(3 * SECOND);
    assert_eq!(w.lines(), expected(0..130), "also what only the copy has");
    assert_eq!((w.said("copy adopted"), w.said("truncated")), (1, 1));
    w.commit().pass(100 * SECOND);
    assert_eq!(w.unread, 0);
}

#[test]
fn a_copy_that_is_seen_before_the_truncation_is_held_back() {
    let mut w = World::new("a.log*");
    w.append("a.log", &numbered(0..100));
    w.start().pass(SECOND).commit();
    w.copy("a.log", "a.log.1");
    w.pass(5 * SECOND);
    assert_eq!((w.lines(), w.said("copy held")), (expected(0..100), 1));
    w.append("a.log", &numbered(100..110));
    w.pass(SECOND);
    w.truncate("a.log", 0);
    w.append("a.log", &numbered(110..120));
    w.pass(5 * SECOND);
    assert_eq!(w.lines(), expected(0..120));
    assert_eq!(w.said("copy adopted"), 1);
}

#[test]
fn a_copy_that_stays_beside_its_original_is_never_read_twice() {
    let mut w = World::new("a.log*");
    w.append("a.log", &numbered(0..100));
    w.start().pass(SECOND).commit();
    w.copy("a.log", "a.log.1");
    w.pass(70 * SECOND);
    w.append("a.log", &numbered(100..110));
    w.append("a.log.1", &numbered(110..112));
    w.pass(5 * SECOND);
    assert_eq!(w.lines(), expected(0..112), "its own later lines are");
    assert_eq!(w.said("copy known"), 1);
}

#[test]
fn a_copy_in_the_making_is_not_taken_for_a_short_file() {
    let mut w = World::new("a.log*");
    w.append("a.log", &numbered(0..300));
    w.start().pass(SECOND).commit();
    w.append("a.log.1", &numbered(0..10));
    w.pass(SECOND);
    w.append("a.log.1", &numbered(10..300));
    w.truncate("a.log", 0);
    w.append("a.log", &numbered(300..301));
    w.pass(5 * SECOND);
    assert_eq!(w.lines(), expected(0..301));
}

#[test]
fn copytruncate_with_the_copy_outside_loses_only_what_it_must_and_says_so() {
    let mut w = World::new("a.log");
    w.append("a.log", &numbered(0..100));
    w.start().pass(SECOND).commit();
    w.append("a.log", &numbered(100..110));
    w.step(SourceEvent::Room { chunks: 0 });
    w.room = 0;
    w.pass(SECOND);
    w.truncate("a.log", 0);
    w.append("a.log", &numbered(110..120));
    w.room = 100;
    w.pass(3 * SECOND);
    let mut left = expected(0..100);
    left.extend(expected(110..120));
    assert_eq!(w.lines(), left);
    w.pass(70 * SECOND);
    assert_eq!((w.unread, w.said("unread")), (110, 1), "ten lines of eleven bytes");
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let mut w = World::new("a.log");
    w.append("a.log", &numbered(0..5));
    w.start().pass(SECOND);
    let mut open = OpenOptions::new().append(true).open(w.path("a.log")).unwrap();
    open.write_all(numbered(5..7).as_bytes()).unwrap();
    fs::remove_file(w.path("a.log")).unwrap();
    w.pass(SECOND);
    open.write_all(b"line 00007").unwrap();
    w.pass(SECOND);
    assert_eq!(w.lines(), expected(0..7));
    w.pass(5 * SECOND).commit();
    assert_eq!(w.lines(), expected(0..8));
    w.pass(5 * SECOND);
    assert_eq!((w.files.len(), w.attached().len(), w.unread), (0, 0, 0));
    w.append("a.log", &numbered(8..9));
    w.pass(3 * SECOND);
    assert_eq!(w.lines(), expected(0..9));
}

#[test]
fn a_file_that_shrinks_with_the_same_beginning_goes_on_at_its_size() {
    let mut w = World::new("a.log");
    w.append("a.log", &numbered(0..200));
    w.start().pass(SECOND);
    w.truncate("a.log", 150 * 11);
    w.pass(SECOND);
    w.append("a.log", &numbered(200..201));
    w.pass(SECOND);
    assert_eq!(w.lines(), expected(0..200), "it waits until what was read is durable");
    w.commit().pass(SECOND);
    assert_eq!(w.said("shrunk"), 1);
    w.append("a.log", &numbered(201..203));
    w.pass(SECOND);
    assert_eq!(w.lines(), expected(0..203), "what was written after it shrank");
}

#[test]
fn a_file_that_was_rewritten_behind_our_back_is_read_from_its_beginning() {
    let mut w = World::new("a.log");
    w.append("a.log", &numbered(0..200));
    w.start().pass(SECOND).commit();
    // The same size, the same beginning, other bytes before the position.
    let file = OpenOptions::new().write(true).open(w.path("a.log")).unwrap();
    file.set_len(0).unwrap();
    file.write_at(numbered(1000..1250).as_bytes(), 0).unwrap();
    w.pass(3 * SECOND);
    let mut all = expected(0..200);
    all.extend(expected(1000..1250));
    assert_eq!(w.lines(), all);
}

#[test]
fn equal_heads_are_told_apart_by_the_bytes_before_the_position() {
    let head = format!("{}\n", "#".repeat(1100));
    let mut w = World::new("a.log");
    w.append("a.log", &(head.clone() + &numbered(0..50)));
    w.start().pass(SECOND).commit();
    w.truncate("a.log", 0);
    w.append("a.log", &(head + &numbered(100..200)));
    w.pass(3 * SECOND);
    assert_eq!(w.lines()[2..52], expected(0..50));
    assert_eq!(w.lines()[52..], expected(100..200));
}

#[test]
fn a_file_without_permission_is_named_once_and_read_later() {
    let mut w = World::new("*.log");
    w.append("a.log", &numbered(0..2));
    w.append("b.log", &numbered(2..3));
    w.denied = Some(w.path("a.log"));
    w.start().pass(5 * SECOND);
    assert_eq!((w.lines(), w.said("no permission")), (expected(2..3), 1));
    w.denied = None;
    w.pass(5 * SECOND);
    assert_eq!(w.lines(), expected(0..3));
}

#[test]
fn files_of_foreign_compression_are_ignored_and_said_once() {
    let mut w = World::new("a.log*");
    w.append("a.log.2.xz", "more");
    w.append("a.log", &numbered(0..2));
    w.start().pass(10 * SECOND);
    w.append("a.log.2.xz", "more");
    w.pass(10 * SECOND);
    assert_eq!((w.lines(), w.said("compressed")), (expected(0..2), 1));
}

#[test]
fn the_first_start_may_begin_at_the_end() {
    let mut w = World::with("*.log", |s| s.start = Start::End);
    w.append("a.log", &(numbered(0..40_000) + "line 9"));
    w.append("b.log", "");
    w.start();
    assert_eq!(w.registrations[0][0].begin, 40_000 * 11, "the unfinished line has yet to come");
    w.append("a.log", "9998\n");
    w.append("b.log", &numbered(1..2));
    w.append("c.log", &numbered(50_000..50_001));
    w.pass(3 * SECOND);
    assert_eq!(
        w.lines(),
        ["line 00001", "line 50000", "line 99998"],
        "files that appear later are read from 0"
    );
}

#[test]
fn a_start_time_divides_the_files_by_when_they_were_written() {
    let mut w = World::with("*.log", |s| s.start = Start::At(1_500_000_000_000_000_000));
    w.append("old.log", &numbered(0..3));
    w.append("new.log", &numbered(3..5));
    let file = File::open(w.path("old.log")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_400_000_000)).unwrap();
    w.start().pass(SECOND);
    assert_eq!(w.lines(), expected(3..5));
}

#[test]
fn a_line_above_the_limit_is_one_reject_and_its_neighbours_pass() {
    let mut w = World::new("a.log");
    let long = "x".repeat(700_000);
    w.append("a.log", &format!("{}{long}\n{}", numbered(0..1), numbered(1..2)));
    w.append("a.log", &"y".repeat(LINE_MAX + 1));
    w.start().pass(SECOND);
    assert_eq!(w.lines(), expected(0..2));
    let of = |w: &World| w.chunks.iter().filter(|c| c.kind != ChunkKind::Lines).cloned().collect::<Vec<_>>();
    let found = of(&w);
    assert_eq!(found[0].kind, ChunkKind::TooLong { length: 700_000 });
    assert_eq!((found[0].start, found[0].end, found[0].bytes.len()), (11, 700_012, LINE_MAX.max(65_536)));
    assert_eq!(found.len(), 1, "progress passes a long line only at its newline");
    w.append("a.log", &("y".repeat(300_000) + "\n" + &numbered(2..3)));
    w.pass(SECOND);
    assert_eq!(of(&w)[1].kind, ChunkKind::TooLong { length: 320_001 });
    assert_eq!(w.lines(), expected(0..3));
    w.commit().restart().pass(SECOND);
    w.append("a.log", &numbered(3..4));
    w.pass(SECOND);
    assert_eq!(w.lines(), expected(0..4));
}

#[test]
fn holes_of_a_writer_without_o_append_are_skipped_and_counted() {
    let mut w = World::new("a.log");
    w.append("a.log", &numbered(0..500));
    w.start().pass(SECOND).commit();
    let mut writer = OpenOptions::new().write(true).open(w.path("a.log")).unwrap();
    writer.seek(SeekFrom::Start(9_000_000)).unwrap();
    w.truncate("a.log", 0);
    writer.write_all(numbered(500..502).as_bytes()).unwrap();
    w.pass(3 * SECOND);
    assert_eq!(w.lines(), expected(0..502));
    assert_eq!(w.said("nul skipped"), 1);
    w.commit().restart().pass(3 * SECOND);
    writer.write_all(numbered(502..503).as_bytes()).unwrap();
    w.pass(3 * SECOND);
    assert_eq!(w.lines(), expected(0..503));
}

#[test]
fn a_large_backlog_is_cold_and_the_rest_is_not() {
    let mut w = World::new("a.log");
    let text = numbered(0..1_200_000);
    w.append("a.log", &text);
    w.start().pass(SECOND);
    assert!(w.cold >= 4, "{}", w.cold);
    assert_eq!(w.chunks.iter().map(|c| c.bytes.len()).sum::<usize>(), text.len());
    assert!(w.chunks.iter().all(|c| c.bytes.len() <= 1 << 20));
}

#[test]
fn nothing_is_emitted_without_room() {
    let mut w = World::new("a.log");
    w.room = 0;
    w.append("a.log", &numbered(0..100_000));
    w.start().pass(SECOND);
    assert!(w.chunks.is_empty());
    assert_eq!(w.machine.lag_bytes(), [(0, 1_100_000)]);
    for _ in 0..20 {
        w.room = 1;
        w.pass(SECOND);
    }
    assert_eq!(w.lines(), expected(0..100_000));
}

mod restart {
    use super::*;

    #[test]
    fn what_was_not_committed_is_read_again_and_the_rest_is_not() {
        let mut w = World::new("a.log*");
        w.append("a.log", &numbered(0..60_000));
        w.start().pass(SECOND);
        // The first and the last chunk are decided, the middle is not.
        let (first, last) = (w.chunks[0].clone(), w.chunks.last().unwrap().clone());
        w.chunks = vec![first, last];
        w.commit().restart().pass(SECOND);
        assert_eq!(w.lines(), expected(0..60_000));
    }

    #[test]
    fn a_rename_while_down_is_found_by_its_inode() {
        let mut w = World::new("a.log*");
        w.append("a.log", &numbered(0..50));
        w.start().pass(SECOND).commit();
        w.append("a.log", &numbered(50..60));
        w.rename("a.log", "a.log.1");
        w.append("a.log", &numbered(60..70));
        w.restart().pass(SECOND);
        assert_eq!(w.lines(), expected(0..70));
        assert_eq!(w.attached(), ["a.log.1", "a.log"]);
    }

    #[test]
    fn a_copytruncate_while_down_is_found_by_its_content() {
        let mut w = World::new("a.log*");
        w.append("a.log", &numbered(0..150));
        w.start().pass(SECOND).commit();
        w.append("a.log", &numbered(150..160));
        w.copy("a.log", "a.log.1");
        w.truncate("a.log", 0);
        w.append("a.log", &numbered(160..400));
        w.restart().pass(SECOND);
        assert_eq!(w.lines(), expected(0..400));
        assert_eq!(w.said("copy adopted"), 1);
    }

    #[test]
    fn a_device_number_may_change_at_a_reboot() {
        let mut w = World::new("a.log");
        w.append("a.log", &numbered(0..50));
        w.start().pass(SECOND).commit();
        w.rows.values_mut().for_each(|row| row.ident.dev += 1);
        w.restart().pass(SECOND);
        assert_eq!(w.lines(), expected(0..50));
        assert_eq!(w.rows.len(), 1);
    }

    #[test]
    fn an_inode_that_is_reused_by_another_file_is_another_file() {
        let mut w = World::new("a.log");
        w.append("a.log", &numbered(0..50));
        w.start().pass(SECOND).commit();
        w.rename("a.log", "gone");
        w.append("a.log", &numbered(100..200));
        let ident = os::look(&w.globs, &Default::default(), &[]).look.files[0].ident;
        w.rows.values_mut().for_each(|row| row.ident = ident);
        w.restart().pass(SECOND);
        assert_eq!(w.lines()[50..], expected(100..200));
    }

    #[test]
    fn a_row_without_evidence_matches_nothing() {
        let mut w = World::new("a.log");
        w.append("a.log", &numbered(0..50));
        w.start().pass(SECOND).commit();
        w.rows.values_mut().for_each(|row| row.head = Default::default());
        w.restart().pass(SECOND);
        assert_eq!(w.lines().len(), 100, "made anew");
    }

    #[test]
    fn a_file_that_is_gone_is_reported_with_what_was_not_read() {
        let mut w = World::new("a.log");
        w.append("a.log", &numbered(0..50));
        w.start().pass(SECOND).commit();
        w.rows.values_mut().for_each(|row| row.size_seen += 100);
        w.rename("a.log", "elsewhere");
        w.restart().pass(30 * SECOND);
        assert_eq!((w.attached().len(), w.unread), (0, 0), "its copy may yet come");
        w.pass(40 * SECOND);
        assert_eq!(w.unread, 100);
        w.rename("elsewhere", "a.log");
        w.append("a.log", &numbered(50..51));
        w.pass(5 * SECOND);
        assert_eq!(w.lines(), expected(0..51), "48 h long it is known");
    }

    #[test]
    fn a_file_that_shrank_while_down_goes_on_at_its_size() {
        let mut w = World::new("a.log");
        w.append("a.log", &numbered(0..200));
        w.start().pass(SECOND).commit();
        w.truncate("a.log", 150 * 11);
        w.restart().pass(SECOND);
        w.append("a.log", &numbered(200..202));
        w.pass(SECOND);
        assert_eq!((w.lines(), w.said("shrunk")), (expected(0..202), 1));
    }
}

mod once {
    use super::*;

    fn once(glob: &str) -> World {
        World::with(glob, |s| s.once = true)
    }

    #[test]
    fn reads_up_to_the_sizes_of_the_start_and_leaves_a_live_tail() {
        let mut w = once("*.log *.log.1");
        w.append("a.log", &(numbered(0..3) + "line 0"));
        w.append("a.log.1", &(numbered(10..12) + "line 00012"));
        w.append("empty.log", "");
        w.start();
        assert!(w.machine.idle());
        let mut all = expected(0..3);
        all.extend(expected(10..13));
        assert_eq!((w.lines(), w.said("tail unread")), (all.clone(), 1));
        w.append("a.log", "0003\n");
        w.commit().restart();
        assert!(w.machine.idle());
        all.insert(3, "line 00003".into());
        assert_eq!(w.lines(), all);
    }

    #[test]
    fn nothing_new_is_nothing_read() {
        let mut w = once("*.log");
        w.append("a.log", &numbered(0..3));
        w.start().commit().restart();
        assert!(w.machine.idle());
        assert_eq!(w.lines(), expected(0..3));
        assert!(w.notices.is_empty(), "{:?}", w.notices);
    }

    #[test]
    fn nothing_there_is_idle_at_once() {
        let mut w = once("*.log");
        w.start();
        assert!(w.machine.idle());
        assert_eq!(w.registrations.len(), 1);
    }

    #[test]
    fn a_copy_is_not_read_twice() {
        let mut w = once("a.log*");
        w.append("a.log", &numbered(0..300));
        w.copy("a.log", "a.log.1");
        w.start();
        assert!(w.machine.idle());
        assert_eq!(w.lines(), expected(0..300));
        w.append("a.log", &numbered(300..302));
        w.commit().restart();
        assert!(w.machine.idle());
        assert_eq!(w.lines(), expected(0..302));
    }

    #[test]
    fn a_backlog_is_read_as_there_is_room() {
        let mut w = once("a.log");
        w.append("a.log", &numbered(0..100_000));
        w.room = 0;
        w.start();
        for _ in 0..20 {
            w.room = 1;
            w.step(SourceEvent::Room { chunks: 1 });
        }
        assert!(w.machine.idle());
        assert_eq!(w.lines(), expected(0..100_000));
    }
}
