//! Jobs change under load while the agent is killed, and every line is accounted for by job and version.
//!
//! A writer appends numbered lines; clients create, change, disable, enable and delete jobs on two shards, several at
//! once; the agent is killed twice in between. Every version of a job writes its own mark into its records. The oracle:
//! there are cuts, one for each change of a job, such that each version has exactly the lines that its filter lets pass
//! between its cut and the next one, each once. A cut lies behind every line that was delivered when the change was
//! asked for, and not behind any line that was written after its answer. Of a deleted job what was not delivered is lost,
//! and counted.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;
use common::jobs::JOBS;
use common::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

const CLIENTS: u64 = 3;
const JOBS_EACH: usize = 3;
const CHANGES_EACH: usize = 12;
const PATIENCE: Duration = Duration::from_secs(30);

/// What a version lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    All,
    Errors,
    Others,
}

impl Pass {
    fn filter(self) -> String {
        let status = |operator: &str| {
            json!({ "where": { "key": "status", "operator": operator, "value": 400 } }).to_string()
        };
        match self {
            Pass::All => String::new(),
            Pass::Errors => status("geq"),
            Pass::Others => status("lt"),
        }
    }
    fn lets(self, seq: u64) -> bool {
        let is_error = || {
            let line: Value = serde_json::from_str(&writer::line("r", seq)).unwrap();
            line["status"].as_u64().unwrap() >= 400
        };
        match self {
            Pass::All => true,
            Pass::Errors => is_error(),
            Pass::Others => !is_error(),
        }
    }
}

/// One version of a job.
#[derive(Clone, Debug)]
struct Version {
    mark: u64,
    pass: Pass,
    enabled: bool,
    cut: Bounds,
}

/// The first line of a version is one of these.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    least: u64,
    most: u64,
}

impl Bounds {
    #[track_caller]
    fn and(self, other: Bounds, what: &str) -> Bounds {
        let both = Bounds { least: self.least.max(other.least), most: self.most.min(other.most) };
        assert!(both.least <= both.most, "{what}: no cut fits {self:?} and {other:?}");
        both
    }
}

/// A job from its creation on.
#[derive(Clone, Debug)]
struct Story {
    id: u64,
    name: String,
    versions: Vec<Version>,
    deleted: Option<Gone>,
}

/// When a job was deleted: before which lines, and until when.
#[derive(Clone, Copy, Debug)]
struct Gone {
    cut: Bounds,
    by: SystemTime,
}

/// The lines that the environment job has delivered: whatever comes later does not cut before them.
struct Watermark {
    dir: PathBuf,
    seen: BTreeSet<PathBuf>,
    least: u64,
}

impl Watermark {
    fn look(&mut self) -> u64 {
        for path in objects(&self.dir) {
            if self.seen.insert(path.clone()) {
                let last = marked(&object_bytes(&path)).into_iter().map(|(_, seq)| seq + 1).max();
                self.least = self.least.max(last.unwrap_or(0));
            }
        }
        self.least
    }
}

/// Mark and number of each record.
fn marked(bytes: &[u8]) -> Vec<(u64, u64)> {
    let record = |line: &Vec<u8>| {
        let record: Value = serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        (record["mark"].as_u64().unwrap_or(0), record["seq"].as_u64().unwrap())
    };
    lines_of(bytes).iter().map(record).collect()
}

/// Who changes some jobs, one after the other.
struct Client<'a> {
    api: Api,
    out: &'a Path,
    writer: &'a LogWriter,
    marks: &'a AtomicU64,
    watermark: Watermark,
    dice: Dice,
    live: Vec<Story>,
    ended: Vec<Story>,
}

impl Client<'_> {
    fn run(mut self) -> Vec<Story> {
        for _ in 0..JOBS_EACH {
            self.create();
        }
        for _ in 0..CHANGES_EACH {
            std::thread::sleep(Duration::from_millis(100 + self.dice.below(700)));
            let at = self.any();
            match self.dice.below(10) {
                0..5 => self.change(at, false),
                5..8 => self.change(at, true),
                _ => {
                    self.delete(at);
                    self.create();
                }
            }
        }
        // What is held for a disabled job would never come.
        for at in 0..self.live.len() {
            if !self.live[at].versions.last().unwrap().enabled {
                self.change(at, true);
            }
        }
        self.ended.append(&mut self.live);
        self.ended
    }

    fn any(&mut self) -> usize {
        self.dice.below(self.live.len() as u64) as usize
    }

    /// Asks until the agent has answered, or has been found to have done it before it died; when that was.
    fn carry_out<T>(
        &mut self,
        ask: (&str, &str, Option<&Value>),
        mut is_done: impl FnMut(&Api) -> Option<T>,
    ) -> (T, Bounds) {
        let least = self.watermark.look();
        loop {
            let reply = self.api.try_ask(ask.0, ask.1, ask.2);
            if let Some(reply) = &reply {
                assert_eq!(reply.status, 200, "{ask:?}: {reply:?}");
            }
            // It may have been killed before it answered, or between its answer and the look at what it did.
            let done = is_done(&self.api).or_else(|| {
                let api = self.api.clone();
                wait_until("the agent is back", PATIENCE, || api.try_ask("GET", JOBS, None).is_some());
                is_done(&self.api)
            });
            if let Some(done) = done {
                return (done, Bounds { least, most: self.writer.written() });
            }
            assert!(reply.is_none(), "{ask:?} was answered and is not done");
        }
    }

    /// What a version writes, and its words.
    fn version(&mut self, enabled: bool) -> (Version, Value) {
        let pass = [Pass::All, Pass::Errors, Pass::Others][self.dice.below(3) as usize];
        let mark = self.marks.fetch_add(1, Ordering::Relaxed);
        let words = json!({
            "enabled": enabled, "filter": pass.filter(),
            "output_options": { "field_names": ["seq"], "record_prefix": format!("{{\"mark\":{mark},") },
        });
        (Version { mark, pass, enabled, cut: Bounds { least: 0, most: 0 } }, words)
    }

    fn create(&mut self) {
        let (mut version, words) = self.version(true);
        let name = format!("j{}", version.mark);
        let job = jobs::job(&name, &format!("file://{}/{name}", self.out.display()), words);
        let (id, cut) = self.carry_out(("POST", JOBS, Some(&job)), |api| {
            let all = api.try_ask("GET", JOBS, None)?.result();
            all.as_array().unwrap().iter().find(|job| job["name"] == json!(name))?["id"].as_u64()
        });
        version.cut = cut;
        self.live.push(Story { id, name, versions: vec![version], deleted: None });
    }

    fn change(&mut self, at: usize, toggle: bool) {
        let was = self.live[at].versions.last().unwrap().enabled;
        let (mut version, words) = self.version(was != toggle);
        let path = format!("{JOBS}/{}", self.live[at].id);
        let number = self.live[at].versions.len() as u64 + 1;
        let (done, cut) = self.carry_out(("PUT", &path, Some(&words)), |api| {
            let now = api.try_ask("GET", &path, None)?.result();
            let (is, is_not) = (json!(number), json!(number - 1));
            assert!(now["version"] == is || now["version"] == is_not, "version {number} or before: {now}");
            (now["version"] == is).then_some(now)
        });
        assert_eq!(done["enabled"], json!(version.enabled));
        version.cut = cut;
        self.live[at].versions.push(version);
    }

    fn delete(&mut self, at: usize) {
        let mut story = self.live.remove(at);
        let path = format!("{JOBS}/{}", story.id);
        let gone = |api: &Api| (api.try_ask("GET", &path, None)?.status == 404).then_some(());
        let ((), bounds) = self.carry_out(("DELETE", &path, None), gone);
        story.deleted = Some(Gone { cut: bounds, by: SystemTime::now() });
        self.ended.push(story);
    }
}

/// The first line from `seq` on that passes; `end` if none does.
fn next_match(pass: Pass, seq: u64, end: u64) -> u64 {
    (seq..end).find(|s| pass.lets(*s)).unwrap_or(end)
}

/// What became of a story: the records by mark, sorted; of a deleted one, how many were lost, and how many of the
/// records that are there were on their way when it went: they may be counted as lost all the same.
struct Delivered {
    by_mark: BTreeMap<u64, Vec<u64>>,
    lost: u64,
    on_their_way: u64,
}

/// An upload whose answer was lost with the process is on its way until it is made again: a restart and a verdict.
const ON_THEIR_WAY: Duration = Duration::from_secs(5);

/// Holds a story against the lines that were delivered; panics on the first that does not fit. `end`: lines written.
fn judge(story: &Story, delivered: &Delivered, end: u64) {
    let whole = Bounds { least: 0, most: end };
    let mut cut = whole;
    for version in &story.versions {
        let what = format!("job {} ({}), mark {}", story.id, story.name, version.mark);
        let begin = cut.and(version.cut, &what);
        let none = Vec::new();
        let got = delivered.by_mark.get(&version.mark).unwrap_or(&none);
        assert!(got.windows(2).all(|two| two[0] < two[1]), "{what}: a line came twice: {got:?}");
        let pass = version.pass;
        cut = match (got.first(), got.last()) {
            _ if !version.enabled => {
                assert!(got.is_empty(), "{what}: it was disabled, and delivered {got:?}");
                Bounds { least: begin.least, most: end }
            }
            (Some(&first), Some(&last)) => {
                let lost = (first..=last).filter(|s| pass.lets(*s) && got.binary_search(s).is_err());
                let lost: Vec<u64> = lost.collect();
                assert!(lost.is_empty(), "{what}: between its first and its last line {lost:?} are missing");
                let strange: Vec<_> = got.iter().filter(|s| !pass.lets(**s)).collect();
                assert!(strange.is_empty(), "{what}: {strange:?} do not pass its filter");
                let before = (0..first).rev().find(|s| pass.lets(*s)).map_or(0, |s| s + 1);
                begin.and(Bounds { least: before, most: first }, &format!("{what}: its first line {first}"));
                Bounds { least: last + 1, most: next_match(pass, last + 1, end) }
            }
            _ => Bounds { least: begin.least, most: next_match(pass, begin.most, end) },
        };
    }
    let what = format!("job {} ({}): its end", story.id, story.name);
    cut.and(Bounds { least: end, most: end }, &what);
}

/// A deleted job: nothing twice, nothing under the wrong mark, nothing after; what is missing was counted as lost.
fn judge_deleted(story: &Story, gone: Gone, delivered: &Delivered) {
    let (mut least, mut most) = (0, 0);
    for (at, version) in story.versions.iter().enumerate() {
        let what = format!("deleted job {} ({}), mark {}", story.id, story.name, version.mark);
        let end = story.versions.get(at + 1).map_or(gone.cut, |next| next.cut);
        let none = Vec::new();
        let got = delivered.by_mark.get(&version.mark).unwrap_or(&none);
        assert!(got.windows(2).all(|two| two[0] < two[1]), "{what}: a line came twice: {got:?}");
        let fits =
            |s: &u64| version.enabled && version.pass.lets(*s) && (version.cut.least..end.most).contains(s);
        let strange: Vec<_> = got.iter().filter(|s| !fits(s)).collect();
        assert!(strange.is_empty(), "{what}: {strange:?} are not its lines: {version:?} until {end:?}");
        if version.enabled {
            let count = |from: u64, to: u64| (from..to).filter(|s| version.pass.lets(*s)).count() as u64;
            least += count(version.cut.most, end.least);
            most += count(version.cut.least, end.most);
        }
    }
    let accounted = delivered.by_mark.values().map(|got| got.len() as u64).sum::<u64>() + delivered.lost;
    assert!(
        (least..=most + delivered.on_their_way.min(delivered.lost)).contains(&accounted),
        "deleted job {}: {accounted} lines are delivered or counted as lost ({}), not {least} to {most}, {} of them \
         on their way when it went",
        story.id,
        delivered.lost,
        delivered.on_their_way
    );
}

/// What was delivered of one job.
fn delivered(out: &Path, story: &Story, ledger: &rusqlite::Connection) -> Delivered {
    let mut by_mark: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut on_their_way = 0;
    for object in objects(&out.join(&story.name)) {
        let records = marked(&object_bytes(&object));
        assert!(records.len() <= 1000, "{object:?} has {} records", records.len());
        assert!(records.iter().all(|r| r.0 == records[0].0), "{object:?} mixes versions");
        let written = std::fs::metadata(&object).unwrap().modified().unwrap();
        if story.deleted.is_some_and(|gone| written + ON_THEIR_WAY > gone.by) {
            on_their_way += records.len() as u64;
        }
        for (mark, seq) in records {
            by_mark.entry(mark).or_default().push(seq);
        }
    }
    by_mark.values_mut().for_each(|seqs| seqs.sort_unstable());
    let known: BTreeSet<u64> = story.versions.iter().map(|version| version.mark).collect();
    assert!(
        by_mark.keys().all(|mark| known.contains(mark)),
        "{}: {known:?}, not {:?}",
        story.name,
        by_mark.keys()
    );
    let lost = "SELECT coalesce(sum(records), 0) FROM loss WHERE job = ?1 AND reason = 'deleted'";
    let lost: i64 = ledger.query_row(lost, [story.id as i64], |row| row.get(0)).unwrap();
    Delivered { by_mark, lost: lost as u64, on_their_way }
}

/// Runs the clients, and kills the agent twice meanwhile; the stories of all jobs.
fn change_under_load(place: &Place, setup: &Setup, writer: &LogWriter, seed: u64) -> Vec<Story> {
    let marks = AtomicU64::new(1);
    let out = place.out();
    std::thread::scope(|scope| {
        let mut agent = setup.start_ready();
        let clients = (0..CLIENTS).map(|number| {
            let client = Client {
                api: Api::of(setup.state()),
                out: &out,
                writer,
                marks: &marks,
                watermark: Watermark { dir: out.join("env"), seen: BTreeSet::new(), least: 0 },
                dice: Dice(seed ^ (number + 1) << 40),
                live: Vec::new(),
                ended: Vec::new(),
            };
            scope.spawn(move || client.run())
        });
        let clients: Vec<_> = clients.collect();
        let mut dice = Dice(seed);
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(1500 + dice.below(1500)));
            assert!(agent.alive(), "{}", agent.stderr_text());
            agent.kill();
            agent = setup.start_ready();
        }
        while !clients.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            assert!(agent.alive(), "{}", agent.stderr_text());
            std::thread::sleep(Duration::from_millis(50));
        }
        agent.terminate().exits(0);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn every_line_has_its_version() {
    let place = Place::new();
    let seed = u64::from(std::process::id()) << 20 | 0x9e37_79b9;
    let setup = place
        .setup()
        .env("EDGEPUSH_DESTINATION", &format!("{}/env", place.to_files()))
        .env("EDGEPUSH_FIELDS", "seq")
        .env("EDGEPUSH_BATCH_INTERVAL", "300ms")
        .env("EDGEPUSH_COMMIT_INTERVAL", "1s")
        .env("EDGEPUSH_STOP_TIMEOUT", "3s")
        .env("EDGEPUSH_CORES", "2");
    let writer = LogWriter::start(Load {
        path: place.log(),
        run: "r".into(),
        lines_per_second: 1500,
        rotation: Rotation::None,
        rotate_every: Duration::MAX,
    });
    let stories = change_under_load(&place, &setup, &writer, seed);
    let end = writer.stop();
    setup.once().exits(0);

    let everything: BTreeSet<u64> = objects(&place.out().join("env"))
        .iter()
        .flat_map(|p| marked(&object_bytes(p)))
        .map(|r| r.1)
        .collect();
    let count: usize =
        objects(&place.out().join("env")).iter().map(|p| lines_of(&object_bytes(p)).len()).sum();
    assert_eq!((everything.len() as u64, count as u64), (end, end), "the environment job, seed {seed}");
    let ledger = rusqlite::Connection::open(place.state().join("ledger.db")).unwrap();
    let (mut versions, mut lines, mut lost) = (0, 0, 0);
    for story in &stories {
        let delivered = delivered(&place.out(), story, &ledger);
        match story.deleted {
            None => judge(story, &delivered, end),
            Some(gone) => judge_deleted(story, gone, &delivered),
        }
        versions += story.versions.len();
        lines += delivered.by_mark.values().map(Vec::len).sum::<usize>();
        lost += delivered.lost;
    }
    let deleted = stories.iter().filter(|story| story.deleted.is_some()).count();
    say(&format!(
        "jobs under load: {end} lines, {} jobs, {versions} versions, {deleted} deleted; {lines} records delivered, {lost} \
         lost with deleted jobs; seed {seed}",
        stories.len()
    ));
    assert!(versions + deleted >= CLIENTS as usize * (JOBS_EACH + CHANGES_EACH));
    assert!(lines as u64 > end, "the jobs were busy, or this shows nothing");
}
