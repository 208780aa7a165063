//! The archive as an operator and a customer see it: which file a record is in, when a file is there, what stays.
mod common;

use common::{Done, Place, Setup, gunzip, lines_of, objects, wait_until};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOUR: i64 = 3600;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it can be read").as_secs() as i64
}

fn setup(place: &Place) -> Setup {
    place.setup().without("EDGEPUSH_DESTINATION").env("EDGEPUSH_ARCHIVE_PUBLISH", "0")
}

fn line(host: &str, time: i64, n: u64) -> String {
    format!("{{\"host\":\"{host}\",\"time\":{time}.25,\"n\":{n}}}\n")
}

fn append(path: &Path, text: &str) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("it can be read");
    file.write_all(text.as_bytes()).expect("it can be read");
}

/// `yyyyMMddHHmmss` of a time, by another way than the agent's.
fn stamp(at: i64) -> String {
    let out =
        std::process::Command::new("date").args(["-u", "-d", &format!("@{at}"), "+%Y%m%d%H%M%S"]).output();
    String::from_utf8(out.expect("it can be read").stdout).expect("it can be read").trim().to_owned()
}

fn hour(at: i64) -> i64 {
    at - at % HOUR
}

/// Lines by the path of the file below the archive.
fn files(place: &Place) -> BTreeMap<String, Vec<String>> {
    let root = place.state().join("archive");
    let text = |line: Vec<u8>| String::from_utf8(line).expect("it can be read");
    let lines = |path: &std::path::PathBuf| {
        let name = path.strip_prefix(&root).expect("it can be read").display().to_string();
        (
            name,
            lines_of(&gunzip(&std::fs::read(path).expect("it can be read"))).into_iter().map(text).collect(),
        )
    };
    objects(&root).iter().map(lines).collect()
}

fn path(domain: &str, at: i64, serial: u32) -> String {
    let stamp = stamp(hour(at));
    format!("{domain}/{}/{stamp}-{serial}.log.gz", &stamp[..8])
}

fn rejects(place: &Place) -> Vec<String> {
    let files = objects(&place.state().join("rejects"));
    let all = files.iter().flat_map(|path| lines_of(&gunzip(&std::fs::read(path).expect("it can be read"))));
    all.map(|line| String::from_utf8(line).expect("it can be read")).collect()
}

#[test]
fn once_puts_each_record_into_the_file_of_its_own_hour() {
    let place = Place::new();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut text = String::new();
    let mut dice = common::Dice(7);
    for n in 0..5000 {
        let host = ["a.example", "B.Example:443", "_bad"][dice.below(3) as usize];
        let domain = ["a.example", "b.example", "_invalid"]
            [["a.example", "B.Example:443", "_bad"].iter().position(|h| *h == host).expect("it can be read")];
        // A month back, shuffled: --once knows no late.
        let time = now() - dice.below(30 * 24 * 3600) as i64;
        let line = line(host, time, n);
        expected.entry(path(domain, time, 1)).or_default().push(line.trim_end().to_owned());
        text += &line;
    }
    append(&place.log(), &text);
    let done: Done = setup(&place).once().exits(0);
    assert_eq!((done.count("records_delivered"), done.count("rejected")), (5000, 0));
    let mut found = files(&place);
    found.values_mut().for_each(|lines| lines.sort());
    expected.values_mut().for_each(|lines| lines.sort());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert_eq!(found, expected);
    let before: BTreeMap<String, Vec<u8>> = bytes(&place);
    setup(&place).once().exits(0);
    assert_eq!(bytes(&place), before, "nothing new, nothing changed");
    append(&place.log(), &line("a.example", now() - 40 * 24 * HOUR, 1));
    append(&place.log(), &line("a.example", now() - 40 * 24 * HOUR, 2));
    setup(&place).once().exits(0);
    append(&place.log(), &line("a.example", now() - 40 * 24 * HOUR, 3));
    setup(&place).once().exits(0);
    let after = bytes(&place);
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes), "a listed file never changes");
    let added: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    let at = now() - 40 * 24 * HOUR;
    assert_eq!(added, [&path("a.example", at, 1), &path("a.example", at, 2)]);
}

fn bytes(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let root = place.state().join("archive");
    let name =
        |path: &std::path::PathBuf| path.strip_prefix(&root).expect("it can be read").display().to_string();
    objects(&root).iter().map(|path| (name(path), std::fs::read(path).expect("it can be read"))).collect()
}

#[test]
fn a_run_publishes_an_hour_after_its_end_and_late_ones_later() {
    let place = Place::new();
    append(&place.log(), &line("a.example", now(), 0));
    let setup = setup(&place).env("EDGEPUSH_COMMIT_INTERVAL", "1s");
    let agent = setup.start_ready();
    agent.wait_read(1);
    let last = hour(now()) - 10;
    let (old, future) = (now() - 60 * HOUR, now() + 2 * HOUR);
    append(&place.log(), &line("a.example", last, 1));
    append(&place.log(), &line("a.example", old, 2));
    append(&place.log(), &line("a.example", future, 3));
    append(&place.log(), "{\"host\":\"a.example\",\"n\":4}\n");
    wait_until("the last hour is published", Duration::from_secs(15), || {
        files(&place).contains_key(&path("a.example", last, 1))
    });
    let found = files(&place);
    assert_eq!(found.len(), 1, "the present hour is not listed: {found:?}");
    let first = bytes(&place);
    append(&place.log(), &line("a.example", last, 5));
    agent.wait_read(6);
    let metrics = agent.metrics().expect("it can be read");
    assert_eq!(metrics.sum("edgepush_archive_late_total"), 1.0);
    assert_eq!(metrics.sum("edgepush_archive_future_total"), 1.0);
    assert_eq!(metrics.sum("edgepush_archive_timeless_total"), 1.0);
    agent.terminate().exits(0);
    assert_eq!(bytes(&place), first, "what is open is durable and not listed");
    let rejected = setup.once().exits(0).count("rejected");
    assert_eq!(rejected, 0);
    let kept = rejects(&place);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].contains("\"reason\":\"late\"") && kept[0].contains("\\\"n\\\":2"), "{kept:?}");
    let found = files(&place);
    assert_eq!(bytes(&place)[&path("a.example", last, 1)], first[&path("a.example", last, 1)]);
    assert_eq!(found[&path("a.example", last, 2)], [line("a.example", last, 5).trim_end()]);
    let present: Vec<&String> =
        found.iter().filter(|(name, _)| !first.contains_key(*name)).flat_map(|f| f.1).collect();
    assert_eq!(
        present.len(),
        4,
        "present hour: its own, the future one, the timeless one; and the late one: {found:?}"
    );
}

#[test]
fn the_older_rule_takes_turns_with_the_hours() {
    let place = Place::new();
    append(&place.log(), &line("a.example", now() - 10 * HOUR, 0));
    let older = setup(&place)
        .env("EDGEPUSH_ARCHIVE_RULE", "hour")
        .env("EDGEPUSH_ARCHIVE_RULE_SINCE", "2999-01-01T00:00:00Z");
    let before = now();
    older.once().exits(0);
    let found = files(&place);
    let slot = |at: i64| stamp(at - at % 300);
    let name = found.keys().next().expect("it can be read").clone();
    assert!([slot(before), slot(now())].iter().any(|stamp| name.contains(stamp)), "{name}");
    append(&place.log(), &line("a.example", now() - 10 * HOUR, 1));
    setup(&place).env("EDGEPUSH_ARCHIVE_RULE_SINCE", "2022-09-01T00:00:00+08:00").once().exits(0);
    let found = files(&place);
    assert!(found.contains_key(&name), "what the older rule made stays");
    assert!(found.contains_key(&path("a.example", now() - 10 * HOUR, 1)), "{found:?}");
}

#[test]
fn domains_over_the_most_share_one() {
    let place = Place::new();
    let text: String = (0..10).map(|n| line(&format!("d{n}.example"), now() - HOUR, n)).collect();
    append(&place.log(), &text);
    setup(&place).env("EDGEPUSH_ARCHIVE_DOMAINS_MAX", "4").once().exits(0);
    let found = files(&place);
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(found[&path("_other", now() - HOUR, 1)].len(), 6);
}

fn listed(place: &Place) -> Vec<String> {
    let index = edgepush::archive::Index::look(&place.state().join("archive.db")).expect("it can be read");
    let domains = index.domains().expect("it can be read");
    domains
        .iter()
        .flat_map(|d| index.list(d, i64::MIN..i64::MAX).expect("it can be read"))
        .map(|entry| entry.path())
        .collect()
}

#[test]
fn retention_keeps_the_days_of_each_domain() {
    let place = Place::new();
    let newest = hour(now());
    let mut text = String::new();
    for day in 0..10 {
        for domain in ["a.example", "b.example"] {
            text += &line(domain, newest - day * 24 * HOUR, day as u64);
        }
    }
    append(&place.log(), &text);
    let setup =
        setup(&place).env("EDGEPUSH_ARCHIVE_DAYS", "4").env("EDGEPUSH_ARCHIVE_DOMAIN_DAYS", "b.example=7");
    setup.once().exits(0);
    assert_eq!(listed(&place).len(), 20, "what was published in this run is looked at by the next one");
    // A tenth each time, and at least a file.
    for _ in 0..12 {
        setup.once().exits(0);
    }
    let kept = listed(&place);
    let of = |domain: &str| kept.iter().filter(|name| name.starts_with(domain)).count();
    assert_eq!((of("a.example"), of("b.example")), (5, 8), "{kept:?}");
    let mut there: Vec<String> = bytes(&place).into_keys().collect();
    there.sort();
    assert_eq!(there, kept);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_sweep_that_is_killed_is_carried_to_its_end() {
    for point in ["retention.unlisted", "retention.unlinked"] {
        let place = Place::new();
        let text: String =
            (0..30).map(|n| line("a.example", hour(now()) - n * 24 * HOUR, n as u64)).collect();
        append(&place.log(), &text);
        let setup = setup(&place).env("EDGEPUSH_ARCHIVE_DAYS", "10");
        setup.once().exits(0);
        let before = bytes(&place);
        for _ in 0..3 {
            let died = setup.clone().env("EDGEPUSH_FAILPOINT", &format!("{point}:2")).once();
            assert_eq!(died.code, None, "{point}: {died:?}");
            let there = bytes(&place);
            assert!(
                listed(&place).iter().all(|name| there[name] == before[name]),
                "{point}: what is listed is whole"
            );
        }
        for _ in 0..20 {
            setup.once().exits(0);
        }
        let there = bytes(&place);
        assert_eq!(there.keys().cloned().collect::<Vec<_>>(), listed(&place), "{point}");
        assert_eq!(there.len(), 11, "{point}");
        // Nor comes anything of what is gone again.
        append(&place.log(), &line("a.example", hour(now()) - 25 * 24 * HOUR, 99));
        setup.once().exits(0);
        assert!(
            listed(&place).contains(&path("a.example", now() - 25 * 24 * HOUR, 2)),
            "a serial is given once"
        );
    }
}
