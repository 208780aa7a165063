//! Files that are rotated, truncated, deleted, forbidden or new while the agent follows them (INTERFACE 9).
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

fn following(place: &Place, backend: &str) -> Setup {
    place.setup().env("EDGEPUSH_RUNTIME", backend).env("EDGEPUSH_BATCH_INTERVAL", "300ms")
}

fn wait_delivered(place: &Place, count: u64) {
    let mut delivered = Delivered::below(&place.out());
    let what = format!("{count} lines are delivered");
    wait_until(&what, Duration::from_secs(15), || delivered.count() >= count);
}

/// A writer that rotates under load while the agent follows; then every line is there once.
fn under_load(rotation: Rotation, backend: &str, sources: impl Fn(&Place) -> String) {
    let place = Place::new();
    let setup = following(&place, backend).env("EDGEPUSH_SOURCES", &sources(&place));
    let agent = setup.start_ready();
    let writer = LogWriter::start(Load {
        path: place.log(),
        run: "r".into(),
        lines_per_second: 5000,
        rotation,
        rotate_every: Duration::from_millis(900),
    });
    std::thread::sleep(Duration::from_secs(6));
    let written = writer.stop();
    wait_delivered(&place, written);
    agent.terminate().exits(0);
    setup.once().exits(0);
    assert_exactly_once("r", written, &lines_in_dir(&place.out()));
}

#[test]
fn rename_and_create_under_load() {
    for backend in backends("rename") {
        under_load(Rotation::Rename { keep: 3 }, backend, Place::all_logs);
    }
}

#[test]
fn rename_out_of_the_glob_is_read_to_its_end() {
    for backend in backends("rename out of the glob") {
        under_load(Rotation::Rename { keep: 20 }, backend, Place::one_log);
    }
}

#[test]
fn copytruncate_with_its_copies_inside_the_glob() {
    for backend in backends("copytruncate") {
        under_load(Rotation::CopyTruncate { keep: 20 }, backend, Place::all_logs);
    }
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..1000);
    let agent = following(&place, "auto").start_ready();
    wait_delivered(&place, 1000);
    // The server still has it open: it writes after the deletion, as one that was not told does.
    let mut server = std::fs::OpenOptions::new().append(true).open(place.log()).unwrap();
    std::fs::remove_file(place.log()).unwrap();
    std::io::Write::write_all(&mut server, writer::text("r", 1000..1500).as_bytes()).unwrap();
    writer::append(&place.log(), "r", 1500..2000);
    wait_delivered(&place, 2000);
    agent.terminate().exits(0);
    assert_exactly_once("r", 2000, &lines_in_dir(&place.out()));
}

#[test]
fn two_rotations_between_two_looks() {
    for backend in backends("two rotations") {
        let place = Place::new();
        writer::append(&place.log(), "r", 0..1000);
        let setup = following(&place, backend);
        let agent = setup.start_ready();
        wait_delivered(&place, 1000);
        agent.signal(Signal::STOP);
        for part in 1..4_u64 {
            writer::append(&place.log(), "r", part * 1000..part * 1000 + 500);
            writer::rotate_by_rename(&place.log(), 9);
            writer::append(&place.log(), "r", part * 1000 + 500..part * 1000 + 1000);
        }
        agent.signal(Signal::CONT);
        wait_delivered(&place, 4000);
        agent.terminate().exits(0);
        assert_exactly_once("r", 4000, &lines_in_dir(&place.out()));
    }
}

#[test]
fn rotations_while_no_agent_runs() {
    let place = Place::new();
    let setup = place.setup();
    writer::append(&place.log(), "r", 0..1000);
    setup.once().exits(0);
    writer::append(&place.log(), "r", 1000..1500);
    writer::rotate_by_rename(&place.log(), 9);
    writer::append(&place.log(), "r", 1500..2000);
    setup.once().exits(0);
    writer::append(&place.log(), "r", 2000..2500);
    writer::rotate_by_copy(&place.log(), 9);
    writer::append(&place.log(), "r", 2500..3000);
    setup.once().exits(0);
    assert_exactly_once("r", 3000, &lines_in_dir(&place.out()));
}

#[test]
fn a_shrunk_file_goes_on_at_its_size_and_nothing_is_read_again() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..2000);
    let agent = following(&place, "auto").start_ready();
    wait_delivered(&place, 2000);
    let kept = writer::text("r", 0..1000).len() as u64;
    std::fs::OpenOptions::new().write(true).open(place.log()).unwrap().set_len(kept).unwrap();
    wait_until("it is counted", Duration::from_secs(10), || {
        agent.metrics().is_some_and(|m| m.sum("edgepush_source_shrunk_total") >= 1.0)
    });
    writer::append(&place.log(), "r", 2000..2500);
    wait_delivered(&place, 2500);
    agent.terminate().exits(0);
    assert_exactly_once("r", 2500, &lines_in_dir(&place.out()));
}

#[test]
fn a_line_that_comes_in_parts_is_one_line() {
    let place = Place::new();
    let agent = following(&place, "auto").start_ready();
    let line = writer::text("r", 0..1);
    let mut file = std::fs::File::create(place.log()).unwrap();
    for part in line.as_bytes().chunks(40) {
        std::io::Write::write_all(&mut file, part).unwrap();
        std::thread::sleep(Duration::from_millis(120));
    }
    wait_delivered(&place, 1);
    agent.terminate().exits(0);
    assert_exactly_once("r", 1, &lines_in_dir(&place.out()));
}

#[test]
fn new_files_and_new_directories_of_a_glob_are_followed_from_their_beginning() {
    let place = Place::new();
    let glob = format!("file:{}", place.path("log/*/access*.log").display());
    let setup = following(&place, "auto").env("EDGEPUSH_SOURCES", &glob).env("EDGEPUSH_START", "end");
    std::fs::create_dir(place.path("log/old")).unwrap();
    writer::append(&place.path("log/old/access.log"), "before", 0..100);
    let agent = setup.start_ready();
    std::thread::sleep(Duration::from_millis(500));
    writer::append(&place.path("log/old/access.log"), "r", 0..100);
    writer::append(&place.path("log/old/access-2.log"), "r", 100..200);
    std::fs::create_dir(place.path("log/new")).unwrap();
    writer::append(&place.path("log/new/access.log"), "r", 200..300);
    writer::append(&place.path("log/new/other.txt"), "no", 0..100);
    wait_delivered(&place, 300);
    agent.terminate().exits(0);
    assert_exactly_once("r", 300, &lines_in_dir(&place.out()));
}

#[test]
fn compressed_copies_are_ignored_and_named_once() {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..1000);
    place.setup().once().exits(0);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &std::fs::read(place.log()).unwrap()).unwrap();
    std::fs::write(place.path("log/access.log.1.gz"), gz.finish().unwrap()).unwrap();
    writer::append(&place.log(), "r", 1000..1010);
    let done = place.setup().once().exits(0);
    assert_eq!((done.count("records_delivered"), done.count("rejected")), (10, 0));
    assert!(done.stderr.contains("access.log.1.gz"), "it is said: {}", done.stderr);
    assert_exactly_once("r", 1010, &lines_in_dir(&place.out()));
}

#[test]
fn a_forbidden_file_is_weather_until_it_may_be_read() {
    if !rustix::process::geteuid().is_root() {
        return skipped("forbidden file", "only root can run the agent as another user");
    }
    const NOBODY: u32 = 65_534;
    let place = Place::new();
    let binary = place.path("edgepush");
    std::fs::copy(agent::binary(), &binary).unwrap();
    for path in [place.path(""), place.path("log"), place.path("state"), place.path("out"), binary.clone()] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let open = place.path("log/access.log.open");
    writer::append(&open, "r", 0..100);
    writer::append(&place.log(), "r", 100..200);
    std::fs::set_permissions(place.log(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let agent = following(&place, "auto").user(NOBODY, &binary).start_ready();
    wait_delivered(&place, 100);
    wait_until("the file is named", Duration::from_secs(10), || agent.stderr_text().contains("access.log"));
    let said = agent.stderr_text();
    for word in ["WARN", "root", "0600", "group"] {
        assert!(
            said.contains(word),
            "the warning names owner, mode and remedy; {word} is missing in:\n{said}"
        );
    }
    std::fs::set_permissions(place.log(), std::fs::Permissions::from_mode(0o644)).unwrap();
    wait_delivered(&place, 200);
    agent.terminate().exits(0);
    assert_exactly_once("r", 200, &lines_in_dir(&place.out()));
}

#[test]
fn a_glob_that_matches_nothing_yet_is_weather() {
    let place = Place::new();
    let mut agent = following(&place, "auto").start_ready();
    std::thread::sleep(Duration::from_millis(500));
    assert!(agent.alive());
    writer::append(&place.log(), "r", 0..10);
    wait_delivered(&place, 10);
    agent.terminate().exits(0);
}
