//! What the shelver promises, case by case.
use super::*;
use crate::parse::Parser;

/// 2026-11-21T12:30:00Z.
const NOW: i64 = 1_795_264_200 * SECOND;
const DAY: i64 = 24 * HOUR;

fn domain(raw: &[u8]) -> Cow<'_, str> {
    match raw {
        b"" | b"-" => Cow::Borrowed("_invalid"),
        raw => Cow::Owned(String::from_utf8_lossy(raw).to_ascii_lowercase()),
    }
}

fn shelving() -> Shelving {
    let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Shelving {
        domain_fields: fields(&["host", "vhost"]),
        time_fields: fields(&["time", "ts"]),
        rule: Rule::Hour,
        since: None,
        late_after: Some(48 * HOUR),
        late_kept: true,
        domains_max: 100,
        zones: None,
        domain,
        invalid: "_invalid",
        other: "_other",
    }
}

struct Bench {
    shelver: Shelver,
    parser: Parser,
}

impl Bench {
    fn new(shelving: Shelving) -> Bench {
        Bench { shelver: Shelver::new(Arc::new(shelving)), parser: Parser::new() }
    }

    /// Domain, slot's start and length, and the time.
    fn at(&mut self, line: &str, wall: i64) -> Option<(String, i64, u32, i64)> {
        let record = self.parser.parse(line.as_bytes()).expect("a record");
        let spot = self.shelver.shelve(&record, wall)?;
        let slab = self.shelver.slab(3, spot);
        let (job, shelf) = self.shelver.shelf(slab).expect("a shelf");
        assert_eq!(job, 3);
        let found = (shelf.domain.to_string(), shelf.start, shelf.seconds, spot.at);
        self.shelver.close(slab);
        Some(found)
    }
}

fn hour(at: i64) -> i64 {
    at / HOUR * 3600
}

#[test]
fn a_record_goes_by_its_own_time_in_any_form() {
    let mut bench = Bench::new(shelving());
    let own = 1_795_250_000;
    for time in [
        "1795250000",
        "1795250000.000",
        "1795250000000",
        "1795250000000000",
        "1795250000000000000",
        "1.795250000e9",
        r#""2026-11-21T08:33:20Z""#,
        r#""2026-11-21T09:33:20+01:00""#,
        r#""21/Nov/2026:08:33:20 +0000""#,
        r#""1795250000""#,
    ] {
        let found = bench.at(&format!(r#"{{"host":"A.example","time":{time}}}"#), NOW);
        assert_eq!(found, Some(("a.example".into(), hour(own * SECOND), 3600, own * SECOND)), "{time}");
    }
    assert_eq!(bench.shelver.counts(), ShelfCounts::default());
}

#[test]
fn the_first_field_that_is_there_wins() {
    let mut bench = Bench::new(shelving());
    let mut ask = |line: &str| bench.at(line, NOW).expect("on a shelf");
    let own = NOW - 5 * HOUR;
    let own_s = own / SECOND;
    assert_eq!(ask(&format!(r#"{{"vhost":"b","host":"a","ts":1,"time":{own_s}}}"#)).0, "a");
    assert_eq!(ask(&format!(r#"{{"vhost":"b","host":null,"time":null,"ts":{own_s}}}"#)).0, "b");
    assert_eq!(ask(&format!(r#"{{"vhost":"b","host":null,"time":null,"ts":{own_s}}}"#)).3, own);
    for (line, what) in
        [("{}", "none"), (r#"{"host":7,"vhost":"b"}"#, "a number"), (r#"{"host":"-"}"#, "a dash")]
    {
        assert_eq!(ask(line).0, "_invalid", "{what}");
    }
}

#[test]
fn what_is_missing_strange_or_ahead_goes_by_the_clock() {
    let mut bench = Bench::new(shelving());
    for line in
        [r#"{"host":"a"}"#, r#"{"time":"soon"}"#, r#"{"time":0}"#, r#"{"time":-5}"#, r#"{"time":true}"#]
    {
        assert_eq!(bench.at(line, NOW).expect("kept").3, NOW, "{line}");
    }
    assert_eq!(bench.shelver.counts(), ShelfCounts { timeless: 5, ..ShelfCounts::default() });
    let ahead = |by: i64| format!(r#"{{"time":{}}}"#, NOW + by);
    assert_eq!(bench.at(&ahead(HOUR), NOW).expect("kept").3, NOW + HOUR, "an hour ahead is its own time");
    assert_eq!(bench.at(&ahead(HOUR + 1), NOW).expect("kept").3, NOW);
    assert_eq!(bench.shelver.counts().ahead, 1);
}

fn reading(source: u64, start: u64, size_seen: u64) -> Reading {
    Reading { source, start, size_seen, catches_up: false }
}

#[test]
fn late_is_48_hours_after_the_end_of_the_hour() {
    let mut bench = Bench::new(shelving());
    bench.shelver.begin(reading(1, 0, 0));
    // 12:30 now: the hour that ended at 12:00 two days ago is final, the one after it not.
    let late = NOW - 2 * DAY - HOUR / 2;
    let line = |at: i64| format!(r#"{{"time":{at}}}"#);
    assert_eq!(bench.at(&line(late - 1), NOW), None);
    assert_eq!(bench.at(&line(late), NOW).expect("in time").1, late / SECOND);
    assert_eq!(bench.shelver.counts().late, 1);
    let mut once = Bench::new(Shelving { late_after: None, ..shelving() });
    assert_eq!(once.at(&line(1_000_000_000), NOW).expect("--once knows no late").1, 999_997_200);
}

#[test]
fn an_old_file_is_late_only_behind_itself() {
    let mut bench = Bench::new(shelving());
    let line = |at: i64| format!(r#"{{"time":{at}}}"#);
    let old = NOW - 30 * DAY;
    bench.shelver.begin(reading(1, 0, 1000));
    assert!(bench.at(&line(old), NOW).is_some());
    assert!(bench.at(&line(old + 2 * DAY), NOW).is_some());
    assert!(bench.at(&line(old - 2 * HOUR), NOW).is_none(), "late behind its own neighbours");
    bench.shelver.begin(reading(2, 0, 500));
    assert!(bench.at(&line(old - 2 * HOUR), NOW).is_some(), "another file's time is its own");
    bench.shelver.begin(reading(1, 900, 1500));
    assert!(bench.at(&line(old - 2 * HOUR), NOW).is_none(), "remembered over chunks");
    assert!(bench.at(&line(old + 2 * DAY), NOW).is_some());
    bench.shelver.begin(reading(1, 1000, 1500));
    assert!(
        bench.at(&line(old + 2 * DAY), NOW).is_none(),
        "what was written since is held against the clock"
    );
    bench.shelver.begin(Reading { catches_up: true, ..reading(1, 1000, 1500) });
    assert!(bench.at(&line(old), NOW).is_some(), "a parked job's delay is ours");
}

#[test]
fn the_older_rule_goes_by_the_clock_and_the_two_take_turns() {
    let since = NOW;
    let mut bench = Bench::new(Shelving { since: Some(since), ..shelving() });
    let own = NOW - 5 * HOUR;
    let line = format!(r#"{{"host":"a","time":{own}}}"#);
    let before = bench.at(&line, since - 1).expect("kept");
    assert_eq!((before.1, before.2), ((since / SECOND - 300), 300));
    let after = bench.at(&line, since).expect("kept");
    assert_eq!((after.1, after.2), (hour(own), 3600));
    let mut older = Bench::new(Shelving { rule: Rule::FiveMinutes, ..shelving() });
    let found = older.at(r#"{"host":"a","time":1}"#, NOW + 299 * SECOND).expect("kept");
    assert_eq!((found.1, found.2), (NOW / SECOND, 300));
}

#[test]
fn beyond_the_most_domains_and_outside_the_zones_all_share_one() {
    let mut bench = Bench::new(Shelving { domains_max: 2, ..shelving() });
    let mut ask = |host: &str, wall| bench.at(&format!(r#"{{"host":"{host}"}}"#), wall).expect("kept").0;
    assert_eq!(
        [ask("a", NOW), ask("b", NOW), ask("c", NOW), ask("A", NOW), ask("-", NOW)],
        ["a", "b", "_other", "a", "_invalid"]
    );
    // A day later nobody names b any more: it makes room.
    assert_eq!(ask("a", NOW + DAY), "a");
    bench.shelver.tidy();
    let mut ask = |host: &str| bench.at(&format!(r#"{{"host":"{host}"}}"#), NOW + DAY).expect("kept").0;
    assert_eq!([ask("a"), ask("c"), ask("b")], ["a", "c", "_other"]);
    let zones = ["a.example".to_owned(), "*.b.example".to_owned()];
    let mut zoned = Bench::new(Shelving { zones: Some(zones.into()), ..shelving() });
    let mut ask = |host: &str| zoned.at(&format!(r#"{{"host":"{host}"}}"#), NOW).expect("kept").0;
    assert_eq!(
        [ask("A.example"), ask("x.b.example"), ask("b.example"), ask("-")],
        ["a.example", "x.b.example", "_other", "_invalid"]
    );
}

#[test]
fn slabs_have_a_number_while_they_are_open() {
    let mut bench = Bench::new(shelving());
    let mut slab = |host: &str, job: u32| {
        let line = format!(r#"{{"host":"{host}"}}"#);
        let record = bench.parser.parse(line.as_bytes()).expect("a record");
        let spot = bench.shelver.shelve(&record, NOW).expect("kept");
        bench.shelver.slab(job, spot)
    };
    let (a, b, other_job) = (slab("a", 0), slab("b", 0), slab("a", 1));
    assert!(a != b && a != other_job && Shelver::is_shelf(a) && !Shelver::is_shelf(SlabKey(0)));
    assert_eq!((slab("a", 0), slab("b", 0)), (a, b));
    bench.shelver.close(a);
    let mut of: Vec<SlabKey> = bench.shelver.slabs_of(0).collect();
    of.sort_unstable();
    assert_eq!(of, [b]);
    assert!(bench.shelver.shelf(SlabKey(7)).is_none());
}
