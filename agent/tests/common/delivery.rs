//! A log of 1,500 lines on its way to a real server, and what may happen to it there: the runs that every kind of target
//! has in common.
//!
//! Promises: batches of 100 lines, one upload at a time, so that the nth chance of a fault is known. Must not know: which
//! server it is, and how it is read back.
use super::servers::{ReadBack, repository};
use super::{Done, Fault, Faults, Place, Setup, skipped, wait_until, writer};
use std::time::Duration;

/// Lines of a run.
pub const LINES: u64 = 1500;
/// Batches of a run.
pub const BATCHES: u64 = LINES / 100;

/// An agent that delivers the log of a place.
pub fn to(place: &Place, url: &str) -> Setup {
    place
        .setup()
        .env("EDGEPUSH_DESTINATION", url)
        .env("EDGEPUSH_BATCH_RECORDS", "100")
        .env("EDGEPUSH_BATCH_INTERVAL", "200ms")
        .env("EDGEPUSH_UPLOADS", "1")
}

/// Delivers all lines with `run --once`.
#[track_caller]
pub fn deliver(url: &str) -> Done {
    let place = Place::new();
    writer::append(&place.log(), "r", 0..LINES);
    let done = to(&place, url).once().exits(0);
    assert_eq!((done.count("records_delivered"), done.count("undelivered_batches")), (LINES, 0));
    done
}

/// Everything that can happen to an upload; `true`: the server has taken it all.
pub fn faults() -> Vec<(Fault, bool)> {
    use Fault::*;
    vec![
        (ResetOnAccept, false),
        (ResetAfterHead, false),
        (ResetInBody, false),
        (ResetBeforeAnswer, true),
        (ResetInAnswer, true),
        (SwallowAnswer, true),
        (AnswerInstead(500), true),
        (SlowAnswer(Duration::from_millis(1)), false),
        (Refuse(429, "1"), false),
        (Refuse(503, "0"), false),
        (AnswerInstead(503), true),
    ]
}

/// Delivers all lines through a proxy before the server on port `port`, each fault meeting one upload; the uploads that
/// were taken though the agent was told otherwise.
#[track_caller]
pub fn deliver_through_faults(port: u16, url: impl Fn(u16) -> String) -> u64 {
    let faults = faults();
    let taken = faults.iter().filter(|(_, taken)| *taken).count();
    let faults: Vec<Fault> = faults.into_iter().map(|(fault, _)| fault).collect();
    let proxy = Faults::before(port, Fault::apart(&faults));
    deliver(&url(proxy.port()));
    assert_eq!(proxy.met(), faults, "each fault has met an upload: {:?}", proxy.applied());
    for (fault, answer) in proxy.applied() {
        let good = ["200", "201", "204"].iter().any(|status| answer.ends_with(status));
        assert!(good || !answer.contains("->"), "{fault:?} was to meet what the server takes: {answer}");
    }
    taken as u64
}

/// Kills the agent four times while the server has taken an upload whose answer is on its way, then delivers the rest.
#[track_caller]
pub fn deliver_with_kills(port: u16, url: impl Fn(u16) -> String) {
    let slow = || Fault::SlowAnswer(Duration::from_millis(100));
    let proxy = Faults::before(port, (0..8).map(|_| slow()));
    let place = Place::new();
    let setup = to(&place, &url(proxy.port()));
    writer::append(&place.log(), "r", 0..LINES);
    for kill in 1..=4 {
        let agent = setup.start();
        wait_until("an upload is taken", Duration::from_secs(30), || proxy.applied().len() >= kill);
        agent.kill();
    }
    proxy.forget();
    setup.once().exits(0);
}

/// A store with a place for each run: its port, the URL of a path there through a port, and what stands below a path.
pub struct Store<'a> {
    pub port: u16,
    pub url: &'a dyn Fn(u16, &str) -> String,
    pub read_back: &'a dyn Fn(&str) -> ReadBack,
}

impl Store<'_> {
    /// The lines of a run, each once, in one object for each batch, and nothing else.
    #[track_caller]
    fn holds_each_line_once(&self, path: &str) -> ReadBack {
        let found = (self.read_back)(path);
        found.assert_exactly_once("r", LINES);
        assert_eq!((found.count("objects"), found.count("unfinished")), (BATCHES, 0), "{}", found.said);
        found
    }
    /// Straight to the store; DuckDB reads it, too.
    #[track_caller]
    pub fn takes_each_line_once(&self) {
        deliver(&(self.url)(self.port, "direct/{DATE}"));
        let found = self.holds_each_line_once("direct/");
        for (name, head) in found.said["heads"].as_object().expect("an object") {
            let plain = head["encoding"].as_str().unwrap_or_default();
            assert_eq!((plain, &head["type"]), ("", &"application/gzip".into()), "{name}");
        }
        duckdb_counts(&found);
    }
    /// Through every fault.
    #[track_caller]
    pub fn takes_each_line_once_through_faults(&self) {
        let doubled = deliver_through_faults(self.port, |port| (self.url)(port, "faults/{DATE}"));
        assert_eq!(doubled, 5, "uploads that came again");
        self.holds_each_line_once("faults/");
    }
    /// With agents that are killed.
    #[track_caller]
    pub fn takes_each_line_once_with_kills(&self) {
        deliver_with_kills(self.port, |port| (self.url)(port, "kills/{DATE}"));
        let found = (self.read_back)("kills/");
        found.assert_exactly_once("r", LINES);
        assert_eq!(found.count("unfinished"), 0, "{}", found.said);
    }
}

/// DuckDB counts the lines of all objects, as a customer would.
#[track_caller]
pub fn duckdb_counts(found: &ReadBack) {
    let python = repository(".cache/venv/bin/python3");
    if !python.exists() {
        return skipped("DuckDB", "it is not installed; .ci/python-env does it");
    }
    let script = repository("agent/tests/readback/duck.py");
    let out = std::process::Command::new(python).arg(script).arg(found.dir()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let last = LINES - 1;
    let sum = LINES * last / 2;
    let expected = format!("{LINES} {LINES} 0 {last} {sum}");
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&out.stderr));
}

/// A value in a query.
pub fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}
