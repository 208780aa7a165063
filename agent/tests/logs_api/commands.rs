//! `edgepush keys` and `edgepush archive`, beside a running agent and without one.
use crate::common::Place;
use crate::kit::{HOUR, lines, publish};
use crate::python::{logs_addr, setup};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn keys_are_made_shown_changed_and_removed() {
    let place = Place::new();
    let setup = setup(&place);
    let run = |args: &[&str]| setup.finish(args);
    assert_eq!(run(&["keys", "ls", "--json"]).exits(0).stdout.trim(), "[]");
    let added = run(&["keys", "add", "--name", "customer", "--domain", "A.example,b.example"]).exits(0);
    let word = |n: usize| added.stdout.lines().nth(n).unwrap().split_whitespace().last().unwrap().to_owned();
    let (id, secret) = (word(0), word(1));
    assert!(id.starts_with("EP") && secret.len() > 40, "{}", added.stdout);
    let listed = run(&["keys"]).exits(0);
    assert!(
        listed.stdout.contains(&id) && listed.stdout.contains("a.example,b.example"),
        "{}",
        listed.stdout
    );
    assert!(!listed.stdout.contains(&secret) && !listed.stderr.contains(&secret));
    let json: Value = serde_json::from_str(&run(&["keys", "ls", "--json"]).exits(0).stdout).unwrap();
    assert_eq!(
        (&json[0]["access_key_id"], &json[0]["access_key_secret"]),
        (&Value::from(id.clone()), &Value::Null)
    );
    run(&["keys", "disable", "customer"]).exits(0);
    let json: Value = serde_json::from_str(&run(&["keys", "ls", "--json"]).exits(0).stdout).unwrap();
    assert_eq!(json[0]["disabled"], true);
    run(&["keys", "enable", &id]).exits(0);
    run(&["keys", "set", &id, "--domain", "*"]).exits(0);
    for wrong in [
        &["keys", "rm", "nobody"][..],
        &["keys", "add", "--name", "x", "--domain", "a/b"],
        &["keys", "add", "--name", "", "--domain", "a"],
        &["keys", "add", "--name", "x", "--domain", "*,a"],
    ] {
        run(wrong).exits(2);
    }
    run(&["keys", "rm", &id]).exits(0);
    assert_eq!(run(&["keys", "ls", "--json"]).exits(0).stdout.trim(), "[]");
    let mode = std::fs::metadata(setup.state().join("keys.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_archive_is_listed_copied_checked_and_read() {
    let place = Place::new();
    let setup = setup(&place);
    let parts: Vec<_> = (0..6).map(|n| lines("a.example", HOUR + n * 600, 600)).collect();
    let entry = publish(&place.state(), "a.example", HOUR, 1, &parts);
    publish(&place.state(), "a.example", HOUR + 3600, 1, &[lines("a.example", HOUR + 3600, 7)]);
    publish(&place.state(), "b.example", HOUR, 1, &[lines("b.example", HOUR, 3)]);
    let check = || {
        let run = |args: &[&str]| setup.finish(&[&["archive"], args].concat());
        let json = |args: &[&str]| -> Value { serde_json::from_str(&run(args).exits(0).stdout).unwrap() };
        assert_eq!(json(&["ls", "--json"]).as_array().unwrap().len(), 3);
        assert_eq!(json(&["ls", "a.example", "--json"]).as_array().unwrap().len(), 2);
        let ranged = json(&["ls", "a.example", "--from", "2022-09-01T02:00:00Z", "--json"]);
        assert_eq!(ranged[0]["file"], "a.example/20220901/20220901020000-1.log.gz");
        let text = run(&["ls"]).exits(0).stdout;
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(json(&["verify", "--json"])["good"], 3);
        let all: String = parts.iter().flatten().map(|(_, line)| format!("{line}\n")).collect();
        let to = &["--to", "2022-09-01T02:00:00Z"];
        assert_eq!(run(&[&["cat", "--domain", "a.example"], &to[..]].concat()).exits(0).stdout, all);
        let (from, to) = ((HOUR + 600).to_string(), (HOUR + 1200).to_string());
        let some: String = parts[1].iter().map(|(_, line)| format!("{line}\n")).collect();
        assert_eq!(
            run(&["cat", "--domain", "a.example", "--from", &from, "--to", &to]).exits(0).stdout,
            some
        );
        for wrong in [
            &["ls", "a/b"][..],
            &["ls", "--from", "yesterday"],
            &["cat", "--domain", "a", "--from", "9", "--to", "9"],
        ] {
            run(wrong).exits(2);
        }
    };
    check();
    let agent = setup.start_ready();
    logs_addr(&setup);
    check();
    agent.terminate().exits(0);
    let out = place.path("copies");
    let get = |what: &str| setup.finish(&["archive", "get", what, "--dir", out.to_str().unwrap(), "--json"]);
    let copied: Value = serde_json::from_str(&get("a.example").exits(0).stdout).unwrap();
    assert_eq!(copied["copied"].as_array().unwrap().len(), 2);
    let original = std::fs::read(place.state().join("archive").join(entry.path())).unwrap();
    assert_eq!(std::fs::read(out.join(entry.path())).unwrap(), original);
    let again: Value = serde_json::from_str(&get(&entry.path()).exits(0).stdout).unwrap();
    assert_eq!(again["there_already"], 1);
    std::fs::write(out.join(entry.path()), "mine").unwrap();
    get(&entry.path()).exits(1);
    assert_eq!(std::fs::read(out.join(entry.path())).unwrap(), b"mine", "nothing is written over");
}

#[test]
fn verify_finds_every_difference() {
    let place = Place::new();
    let setup = setup(&place);
    let entry = publish(
        &place.state(),
        "a.example",
        HOUR,
        1,
        &[lines("a.example", HOUR, 60), lines("a.example", HOUR + 9, 9)],
    );
    let path = place.state().join("archive").join(entry.path());
    let good = std::fs::read(&path).unwrap();
    let verify = || setup.finish(&["archive", "verify", "--json"]);
    verify().exits(0);
    let last = good.len() - 1;
    for (at, what) in
        [(16, "a length"), (20, "a count"), (28, "a time"), (60, "its records"), (last, "its trailer")]
    {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let said = verify().exits(1);
        assert!(said.stderr.contains(&entry.path()), "{what}: {}", said.stderr);
    }
    std::fs::write(&path, &good[..last]).unwrap();
    verify().exits(1);
    // Whole members, and too few of them.
    let first = u32::from_le_bytes(good[16..20].try_into().unwrap()) as usize;
    std::fs::write(&path, [&good[..first], &good[..first]].concat()).unwrap();
    verify().exits(1);
    std::fs::remove_file(&path).unwrap();
    verify().exits(1);
    std::fs::write(&path, &good).unwrap();
    verify().exits(0);
}
