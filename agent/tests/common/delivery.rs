//! A log of 1,500 lines on its way to a real server, and what may happen to it there: the runs that every kind of target
//! has in common.
//!
//! Promises: batches of 100 lines, one upload at a time, so that the nth chance of a fault is known. Must not know: which
//! server it is, and how it is read back.
use super::servers::{ReadBack, repository};
use super::writer::{self, Load, LogWriter, Rotation};
use super::{Done, Fault, Faults, Place, Setup, say, skipped, wait_until};
use std::time::{Duration, Instant};

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
        // A disk of the tests that is nearly full would make the spool small.
        .env("EDGEPUSH_DISK_RESERVE", "1%")
}

/// Whether the runs that take minutes are wanted: `.ci/deep` does.
pub fn heavy() -> bool {
    let wanted = std::env::var("EDGEPUSH_TEST_REAL").is_ok_and(|which| which == "all");
    if !wanted {
        say("not run: this takes minutes; EDGEPUSH_TEST_REAL=all");
    }
    wanted
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
        (Redirect("http://127.0.0.1:9/".into()), false),
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

/// Delivers all lines through a server that falls silent in every way; each costs a time-out. Takes two minutes.
#[track_caller]
pub fn deliver_through_silence(port: u16, url: impl Fn(u16) -> String) {
    let faults = [Fault::HalfOpen, Fault::Stall, Fault::Hang, Fault::SlowAnswer(Duration::from_millis(300))];
    let proxy = Faults::before(port, Fault::apart(&faults));
    let place = Place::new();
    writer::append(&place.log(), "r", 0..LINES);
    let start = Instant::now();
    let done =
        to(&place, &url(proxy.port())).spawn(&["run", "--once"]).wait(Duration::from_secs(400)).exits(0);
    assert_eq!(done.count("records_delivered"), LINES);
    assert_eq!(proxy.met(), faults, "{}", done.stderr);
    say(&format!("four silences took {:?}", start.elapsed()));
}

/// Delivers what a writer appends for some seconds, so many lines in each, while its log is rotated, uploads meet random faults and the agent is
/// killed again and again; the lines that were written.
#[track_caller]
pub fn deliver_in_a_storm(port: u16, load: (u64, u64), seed: u64, url: impl Fn(u16) -> String) -> u64 {
    let (seconds, lines_per_second) = load;
    say(&format!("the storm's seed is {seed}"));
    let mut dice = seed;
    let mut roll = |below: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };
    let all = faults();
    let quick = |fault: &Fault| !matches!(fault, Fault::Refuse(429, _));
    let kinds: Vec<&Fault> = all.iter().map(|(fault, _)| fault).filter(|fault| quick(fault)).collect();
    let plan = (0..20_000).map(|_| match roll(3) {
        0 => kinds[roll(kinds.len() as u64) as usize].clone(),
        _ => Fault::Clean,
    });
    let proxy = Faults::before(port, plan);
    let place = Place::new();
    let load = Load {
        path: place.log(),
        run: "r".into(),
        lines_per_second,
        rotation: Rotation::Rename { keep: 1000 },
        rotate_every: Duration::from_secs(3),
    };
    let setup =
        to(&place, &url(proxy.port())).env("EDGEPUSH_UPLOADS", "4").env("EDGEPUSH_BATCH_RECORDS", "500");
    let writer = LogWriter::start(load);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut kills = 0;
    while Instant::now() < end {
        let agent = setup.start();
        std::thread::sleep(Duration::from_millis(2000 + roll(4000)));
        agent.kill();
        kills += 1;
    }
    let written = writer.stop();
    let met = proxy.met().len();
    proxy.forget();
    setup.spawn(&["run", "--once"]).wait(Duration::from_secs(300)).exits(0);
    say(&format!("a storm of {seconds} s: {written} lines, {kills} kills, {met} faults"));
    assert!(met > seconds as usize / 2, "only {met} faults met an upload");
    written
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
    /// A portal answers 200 to an upload that the store never saw: that is no success.
    #[track_caller]
    pub fn believes_no_portal(&self) {
        let proxy = Faults::before(self.port, [Fault::Portal]);
        deliver(&(self.url)(proxy.port(), "portal/{DATE}"));
        assert_eq!(proxy.met(), [Fault::Portal]);
        self.holds_each_line_once("portal/");
    }
    /// Refused at first, for its URL was wrong; the next agent has the right one and delivers what waited.
    #[track_caller]
    pub fn takes_what_waited_for_the_right_url(&self, wrong: &str, secret: &str) {
        let place = Place::new();
        writer::append(&place.log(), "r", 0..LINES);
        let setup = to(&place, wrong).env("EDGEPUSH_ONCE_TIMEOUT", "2s");
        let done = setup.once().exits(1);
        assert!(done.stderr.contains("403"), "{}", done.stderr);
        assert!(!done.stderr.contains(secret), "{}", done.stderr);
        assert_eq!((self.read_back)("waited/").count("objects"), 0);
        let right = (self.url)(self.port, "waited/{DATE}");
        setup.env("EDGEPUSH_DESTINATION", &right).env("EDGEPUSH_ONCE_TIMEOUT", "0").once().exits(0);
        self.holds_each_line_once("waited/");
    }
    /// With a server that falls silent.
    #[track_caller]
    pub fn takes_each_line_once_through_silence(&self) {
        deliver_through_silence(self.port, |port| (self.url)(port, "silence/{DATE}"));
        self.holds_each_line_once("silence/");
    }
    /// With everything at once, for a while.
    #[track_caller]
    pub fn takes_each_line_once_in_a_storm(&self, seconds: u64, seed: u64) {
        let written =
            deliver_in_a_storm(self.port, (seconds, 2000), seed, |port| (self.url)(port, "storm/{DATE}"));
        let found = (self.read_back)("storm/");
        found.assert_exactly_once("r", written);
        assert_eq!(found.count("unfinished"), 0, "{}", found.said);
    }
    /// One batch of 60 MB, in parts: each fault meets a part or what completes the object, in one after the other of so
    /// many requests.
    #[track_caller]
    pub fn takes_a_large_batch_once(&self, faults: &[Fault]) {
        let place = Place::new();
        let lines = 400_000;
        writer::append(&place.log(), "r", 0..lines);
        let proxy = Faults::before(self.port, faults.iter().cloned());
        let url = (self.url)(proxy.port(), "large/{DATE}");
        let setup =
            to(&place, &url).env("EDGEPUSH_BATCH_RECORDS", "1000000").env("EDGEPUSH_BATCH_BYTES", "200MB");
        let setup = setup.env("EDGEPUSH_CODEC", "none").env("EDGEPUSH_BATCH_INTERVAL", "1h");
        setup.spawn(&["run", "--once"]).wait(Duration::from_secs(400)).exits(0);
        say(&format!("in parts: {:?}", proxy.applied()));
        assert_eq!(proxy.left(), 0, "each fault has met a request");
        let found = (self.read_back)("large/");
        found.assert_exactly_once("r", lines);
        assert_eq!((found.count("objects"), found.count("unfinished")), (1, 0), "{}", found.said);
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
