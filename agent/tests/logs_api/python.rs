//! A client in Python that shares no code with us, against the real agent; and DuckDB over what it downloaded.
use crate::common::{Place, Setup};
use crate::kit::{HOUR, lines, publish};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The address that stands in the state directory.
pub fn logs_addr(setup: &Setup) -> String {
    let file = setup.state().join("logs.addr");
    crate::common::wait_until("logs.addr is written", std::time::Duration::from_secs(20), || file.exists());
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

pub fn setup(place: &Place) -> Setup {
    std::fs::write(place.log(), "").unwrap();
    place.setup().env("EDGEPUSH_LOGS_API", "127.0.0.1:0")
}

pub fn key(setup: &Setup, domains: &str) -> (String, String) {
    let added = setup.finish(&["keys", "add", "--name", "client", "--domain", domains, "--json"]).exits(0);
    let added: serde_json::Value = serde_json::from_str(&added.stdout).unwrap();
    let part = |name: &str| added[name].as_str().unwrap().to_owned();
    (part("access_key_id"), part("access_key_secret"))
}

#[test]
fn a_client_that_shares_no_code() {
    let place = Place::new();
    let setup = setup(&place);
    let mut written = 0;
    for hour in 0..24 {
        let at = HOUR - 3600 + hour * 3600;
        // One hour is so large that no socket holds a download of it.
        let n = if hour == 7 { 300_000 } else { 300 + hour as usize };
        let mut all = lines("a.example", at, n);
        if hour == 7 {
            all.iter_mut().enumerate().for_each(|(i, (_, line))| noise(line, i as u64));
        }
        let members: Vec<_> = all.chunks(20_000).map(<[_]>::to_vec).collect();
        written += n;
        publish(&place.state(), "a.example", at, 1, &members);
    }
    let late = lines("a.example", HOUR, 11);
    publish(&place.state(), "a.example", HOUR, 2, &[late]);
    publish(&place.state(), "b.example", HOUR, 1, &[lines("b.example", HOUR, 5)]);
    let agent = setup.start_ready();
    let (id, secret) = key(&setup, "a.example");
    let folder = place.path("downloads");
    std::fs::create_dir(&folder).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(600));
    let base = format!("http://{}", logs_addr(&setup));
    let day = ["2022-09-01T00:00:00Z", "2022-09-02T00:00:00Z"];
    let said = client(&[&base, &id, &secret, "a.example", "b.example", day[0], day[1]], &folder, &[]);
    let found: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(found["lines"], written + 11, "{found}");
    assert_eq!(found["files"].as_array().unwrap().len(), 25);
    let metrics = agent.metrics().unwrap();
    assert!(metrics.sum("edgepush_logs_bytes_total") > 0.0);
    assert!(metrics.sum_where("edgepush_logs_requests_total", "status=\"429\"") >= 1.0);
    agent.terminate().exits(0);
    assert!(!setup.state().join("logs.addr").exists(), "the file goes with the listener");
    duckdb(&folder, written as u64 + 11);
}

/// What a source log holds of a domain and a day is what a customer downloads, file by file.
#[test]
fn a_day_as_the_agent_archived_it() {
    let place = Place::new();
    let today = jiff::Timestamp::now().as_second() / 86_400 * 86_400;
    let day = today - 3 * 86_400;
    let (mut text, mut own) = (String::new(), 0);
    for n in 0..30_000i64 {
        let domain = ["a.example", "b.example"][(n * 7 % 3 % 2) as usize];
        // Shuffled over two days, of which one is asked for.
        let at = day + n * 7919 % (2 * 86_400);
        own += u64::from(domain == "a.example" && at < day + 86_400);
        text += &format!("{{\"seq\":{n},\"ts\":{at},\"host\":\"{domain}\"}}\n");
    }
    let setup = setup(&place).without("EDGEPUSH_DESTINATION");
    std::fs::write(place.log(), text).unwrap();
    setup.once().exits(0);
    let verified = setup.finish(&["archive", "verify", "--json"]).exits(0);
    let verified: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!(verified["good"], 96, "two domains, 48 hours: {verified}");
    let agent = setup.start_ready();
    let (id, secret) = key(&setup, "a.example");
    let folder = place.path("downloads");
    std::fs::create_dir(&folder).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(600));
    let base = format!("http://{}", logs_addr(&setup));
    let [from, to] = [day, day + 86_400].map(edgepush::logs_api::times::write);
    let said = client(&[&base, &id, &secret, "a.example", "b.example", &from, &to], &folder, &["small"]);
    let found: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((found["lines"].as_u64(), found["files"].as_array().unwrap().len()), (Some(own), 24));
    let cat =
        setup.finish(&["archive", "cat", "--domain", "a.example", "--from", &from, "--to", &to]).exits(0);
    assert_eq!(
        cat.stdout.lines().count() as u64,
        own,
        "each file is of one hour, so members end with the day"
    );
    agent.terminate().exits(0);
    duckdb(&folder, own);
}

/// Makes a line one that hardly gets smaller.
fn noise(line: &mut String, seed: u64) {
    let mix =
        |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let noise: String = (0..6).map(|i| format!("{:016x}", mix(seed * 6 + i))).collect();
    line.insert_str(line.len() - 1, &format!(",\"noise\":\"{noise}\""));
}

fn client(args: &[&str], folder: &Path, more: &[&str]) -> Output {
    let out = Command::new("python3")
        .arg(repository("agent/tests/readback/logs_client.py"))
        .args(args)
        .arg(folder)
        .args(more)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out
}

/// DuckDB counts the lines of the downloaded day, as a customer would.
fn duckdb(folder: &Path, lines: u64) {
    let python = repository(".cache/venv/bin/python3");
    let python = if python.exists() { python } else { repository(".cache/servers-py/bin/python3") };
    let has =
        Command::new(&python).args(["-c", "import duckdb"]).output().is_ok_and(|out| out.status.success());
    if !has {
        eprintln!("SKIPPED: DuckDB is not installed; .ci/python-env does it");
        return;
    }
    let out =
        Command::new(python).arg(repository("agent/tests/readback/duck.py")).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(said.split(' ').next(), Some(&*lines.to_string()), "{}", String::from_utf8_lossy(&out.stderr));
}
