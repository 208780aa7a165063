//! One customer's dead destination, with the real program: its job is parked, the other one goes on undisturbed, and when
//! it comes back everything arrives once: what was spooled, what is read again from the files, and what comes after.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::*;
use std::io::{Read, Write};
use std::time::Duration;

/// Two jobs: the environment's sends to the first destination, the API's to the second.
fn setup(place: &Place, first: &Recorder) -> Setup {
    let setup = place.setup().env("EDGEPUSH_DESTINATION", &first.url());
    setup
        .env("EDGEPUSH_CODEC", "none")
        .env("EDGEPUSH_BATCH_BYTES", "1MB")
        .env("EDGEPUSH_BATCH_INTERVAL", "300ms")
        .env("EDGEPUSH_SPOOL_MAX", "64MB")
        .env("EDGEPUSH_MEMORY_MAX", "128MB")
        .env("EDGEPUSH_STOP_TIMEOUT", "5s")
}

/// Makes a job that sends everything.
fn make_job(agent: &Agent, destination: &str) {
    let job = format!(
        r#"{{"dataset":"raw","enabled":true,"max_upload_records":1000,"destination_conf":"{destination}"}}"#
    );
    let mut stream = std::net::TcpStream::connect(agent.api().expect("an address")).unwrap();
    let head = "POST /client/v4/logpush/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    write!(stream, "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{job}", job.len())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#""success":true"#), "{answer}");
}

#[test]
fn a_dead_destination_parks_its_job_and_takes_nothing_from_the_other() {
    const PART: u64 = 50_000;
    let place = Place::new();
    let (dead, good) = (Recorder::with(|_| Answer::Status(503)), Recorder::start());
    let setup = setup(&place, &dead);
    let agent = setup.start_ready();
    make_job(&agent, &good.url());

    let mut written = 0;
    let write = |written: &mut u64| {
        writer::append(&place.log(), "r", *written..*written + PART);
        *written += PART;
        let all = *written;
        wait_until("the good destination has it", Duration::from_secs(60), || good.records() >= all - 1000);
    };
    while !agent.stderr_text().contains("it is parked") {
        assert!(written < 20 * PART, "nothing parks: {}", agent.stderr_text());
        write(&mut written);
    }
    // What the parked job has not read lies in a file with another name.
    writer::rotate_by_rename(&place.log(), 5);
    write(&mut written);
    agent.terminate().exits(0);
    let agent = setup.start_ready();
    write(&mut written);
    assert_eq!(dead.records(), 0, "it is dead, or this test shows nothing");

    dead.script(|_| Answer::Status(200));
    wait_until("the dead destination has everything", Duration::from_secs(90), || dead.records() >= written);
    wait_until("its job goes on with the other", Duration::from_secs(20), || {
        agent.stderr_text().contains("has caught up")
    });
    write(&mut written);
    wait_until("both have everything", Duration::from_secs(60), || {
        dead.records() >= written && good.records() >= written
    });
    agent.terminate().exits(0);
    assert_exactly_once("r", written, &dead.lines());
    assert_exactly_once("r", written, &good.lines());
}
