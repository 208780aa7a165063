//! set: the jobs of a whole set of job files, read from their bytes.
//!
//! Promises: a set is read whole or not at all; all that is wrong with it is said at once, each with its file, its place
//! in there and the remedy, and never with a destination's secrets; a job keeps its key as long as its file and its name
//! (its place in the file, when it has none) stay.
//! Must not know: where bytes come from, which jobs run.
use super::config::{JobConfig, Problem};
use super::{Checks, Owner, Zones};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// One file: its name without a directory, and all its bytes.
pub type SetFile = (String, Vec<u8>);
/// One job: its key, which is unique in the set, whose it is, and what it is.
pub type SetJob = (String, Owner, JobConfig);
/// A job as it is written, behind the JSON pointer of its place.
pub type Placed = (String, Map<String, Value>);

/// What a set is judged with.
#[derive(Clone, Copy, Debug)]
pub struct Judges<'a> {
    /// Filters and output options.
    pub checks: &'a Checks,
    /// The zones that exist.
    pub zones: &'a Zones,
}

/// One mistake in a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub file: String,
    /// JSON pointer of the place in it; empty: the file as a whole.
    pub pointer: String,
    /// What is wrong and what to write instead; continues the place as a sentence.
    pub message: String,
}

impl Mistake {
    fn at(file: &str, pointer: impl Into<String>, message: impl Into<String>) -> Mistake {
        Mistake { file: file.into(), pointer: pointer.into(), message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.pointer.is_empty() { "" } else { " " };
        write!(f, "{}{gap}{} {}", self.file, self.pointer, self.message)
    }
}

/// Reads a set and judges every job of it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(files: &[SetFile], judges: Judges<'_>) -> Result<Vec<SetJob>, Vec<Mistake>> {
    let mut set = Set { judges, jobs: Vec::new(), mistakes: Vec::new(), places: BTreeMap::new() };
    for (file, bytes) in files {
        set.add_file(file, bytes);
    }
    if set.mistakes.is_empty() { Ok(set.jobs) } else { Err(set.mistakes) }
}

/// The jobs in a document: one job, a list of jobs, or `{"jobs": […]}`.
///
/// # Errors
/// Why there are none in it.
pub fn jobs_in(document: Value) -> Result<Vec<Placed>, Vec<Problem>> {
    let (front, list) = match document {
        Value::Array(list) => ("", list),
        Value::Object(mut object) if object.contains_key("jobs") => {
            let list = object.remove("jobs");
            let problems: Vec<Problem> = object
                .keys()
                .map(|key| Problem::at(pointer(key), "is no key beside jobs; remove it"))
                .collect();
            match list {
                Some(Value::Array(list)) if problems.is_empty() => ("/jobs", list),
                Some(Value::Array(_)) => return Err(problems),
                _ => return Err(vec![Problem::at("/jobs", "must be a list of jobs")]),
            }
        }
        Value::Object(object) => return Ok(vec![(String::new(), object)]),
        _ => return Err(vec![Problem::at("", "must be a job, a list of jobs, or {\"jobs\":[…]}")]),
    };
    let (mut jobs, mut problems) = (Vec::new(), Vec::new());
    for (number, job) in list.into_iter().enumerate() {
        match job {
            Value::Object(job) => jobs.push((format!("{front}/{number}"), job)),
            _ => problems.push(Problem::at(format!("{front}/{number}"), "must be a job: an object")),
        }
    }
    if problems.is_empty() { Ok(jobs) } else { Err(problems) }
}

/// The JSON pointer of a key (RFC 6901).
fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Takes the keys that say whose a job is out of it: `zone`, `account`, or `owner` as the API writes it.
///
/// # Errors
/// What is wrong with them.
pub fn take_owner(job: &mut Map<String, Value>) -> Result<Option<Owner>, Vec<Problem>> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (key, front) in [("zone", "zones/"), ("account", "accounts/"), ("owner", "")] {
        let Some(value) = job.remove(key).filter(|value| !value.is_null()) else { continue };
        let read = value.as_str().ok_or("must be a string".to_owned());
        match read.and_then(|text| format!("{front}{text}").parse::<Owner>()) {
            Ok(owner) => found.push((key, owner)),
            Err(_) if front.is_empty() => {
                problems.push(Problem::at("/owner", "must be zones/ID or accounts/ID"))
            }
            Err(_) => {
                let why = format!("must be the id of one: 1 to 64 of A-Z a-z 0-9 - _ (of {key}s)");
                problems.push(Problem::at(format!("/{key}"), why));
            }
        }
    }
    let more = found.iter().skip(1).filter(|(_, owner)| *owner != found[0].1);
    problems.extend(more.map(|(key, _)| {
        let why = format!("says another owner than {}: a job has one", found[0].0);
        Problem::at(format!("/{key}"), why)
    }));
    let owner = found.first().map(|(_, owner)| owner.clone());
    if problems.is_empty() { Ok(owner) } else { Err(problems) }
}

struct Set<'a> {
    judges: Judges<'a>,
    jobs: Vec<SetJob>,
    mistakes: Vec<Mistake>,
    /// Where each key and each name is, to tell of the second.
    places: BTreeMap<String, String>,
}

impl Set<'_> {
    fn add_file(&mut self, file: &str, bytes: &[u8]) {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            let why = "is empty: write the job into it, or remove the file";
            return self.mistakes.push(Mistake::at(file, "", why));
        }
        // serde_json says where and what it expected, and repeats nothing of the file.
        let document = match serde_json::from_slice(bytes) {
            Ok(document) => document,
            Err(error) => {
                let why = format!("is not JSON (cut off, or half-written?): {error}");
                return self.mistakes.push(Mistake::at(file, "", why));
            }
        };
        match jobs_in(document) {
            Ok(jobs) => {
                for (number, (place, job)) in jobs.into_iter().enumerate() {
                    self.add_job(file, number, &place, job);
                }
            }
            Err(problems) => self.tell(file, "", problems),
        }
    }

    fn add_job(&mut self, file: &str, number: usize, place: &str, mut job: Map<String, Value>) {
        let owner = take_owner(&mut job);
        let config = JobConfig::from_json(&job);
        let (owner, config) = match (owner, config) {
            (Ok(owner), Ok(config)) => (owner.unwrap_or_else(Owner::local), config),
            (owner, config) => {
                let problems = [owner.err(), config.err()].into_iter().flatten().flatten();
                return self.tell(file, place, problems.collect());
            }
        };
        let mut problems = config.check(self.judges.checks);
        if let Owner::Zone(id) = &owner
            && !self.judges.zones.knows(id)
        {
            let why = format!("is {id}, which EDGEPUSH_ZONES does not name; add it there, or mend the id");
            problems.push(Problem::at("/zone", why));
        }
        let here = format!("{file}{place}");
        let key = match config.name.as_str() {
            "" => format!("{file}#{number}"),
            name => {
                self.place(&mut problems, format!("name {name}"), &here);
                format!("{file}#{name}")
            }
        };
        self.place(&mut problems, key.clone(), &here);
        self.tell(file, place, problems);
        self.jobs.push((key, owner, config));
    }

    /// Notes where a key or a name is; each is there once.
    fn place(&mut self, problems: &mut Vec<Problem>, what: String, here: &str) {
        match self.places.entry(what) {
            Entry::Vacant(free) => drop(free.insert(here.into())),
            // A name that is there twice in one file gives the same key twice: one mistake.
            Entry::Occupied(_) if problems.iter().any(|problem| problem.pointer == "/name") => {}
            Entry::Occupied(taken) => {
                let why = format!("is that of {} too: names are unique in a set; change one", taken.get());
                problems.push(Problem::at("/name", why));
            }
        }
    }

    fn tell(&mut self, file: &str, place: &str, problems: Vec<Problem>) {
        let told = problems.into_iter();
        self.mistakes.extend(
            told.map(|problem| Mistake::at(file, format!("{place}{}", problem.pointer), problem.message)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CHECKS: Checks = Checks {
        filter: |text, _| match text {
            "bad" => Err(("/where".into(), "is bad".into())),
            _ => Ok(()),
        },
        output: |_, _| Ok(()),
        logpull: |_, _| Ok(()),
    };

    fn zones() -> Zones {
        Zones::new(Some([("z1".to_owned(), vec!["a.example".to_owned()])].into()))
    }

    fn file(name: &str, document: &Value) -> SetFile {
        (name.into(), document.to_string().into_bytes())
    }

    fn job(more: Value) -> Value {
        let mut job = json!({ "dataset": "raw", "destination_conf": "null:" });
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        job
    }

    fn read_all(files: &[SetFile]) -> Result<Vec<(String, String)>, Vec<String>> {
        let zones = zones();
        let read = read(files, Judges { checks: &CHECKS, zones: &zones });
        let shown = |(key, owner, _): SetJob| (key, owner.to_string());
        read.map(|jobs| jobs.into_iter().map(shown).collect())
            .map_err(|wrong| wrong.iter().map(Mistake::to_string).collect())
    }

    #[test]
    fn every_form_is_read_and_keys_are_stable() {
        let files = [
            file("one.json", &job(json!({ "name": "first", "zone": "z1" }))),
            file("list.json", &json!([job(json!({})), job(json!({ "name": "b", "account": "acme" }))])),
            file("wrapped.json", &json!({ "jobs": [job(json!({ "owner": "zones/z1" }))] })),
            file("none.json", &json!([])),
        ];
        let told = [
            ("one.json#first", "zones/z1"),
            ("list.json#0", "accounts/local"),
            ("list.json#b", "accounts/acme"),
            ("wrapped.json#0", "zones/z1"),
        ];
        let wanted: Vec<_> = told.iter().map(|(key, owner)| (key.to_string(), owner.to_string())).collect();
        assert_eq!(read_all(&files), Ok(wanted));
        assert_eq!(read_all(&[]), Ok(Vec::new()), "that an empty set is none is the guard's to say");
    }

    #[test]
    fn what_an_answer_of_the_api_says_is_no_owner_of_its_own() {
        let answered = job(json!({ "id": 7, "version": 2, "origin": "api", "owner": "accounts/acme" }));
        assert_eq!(
            read_all(&[file("a.json", &answered)]),
            Ok(vec![("a.json#0".into(), "accounts/acme".into())])
        );
        let two = job(json!({ "owner": "accounts/acme", "zone": "z1" }));
        let wrong = read_all(&[file("a.json", &two)]).unwrap_err();
        assert_eq!(wrong, ["a.json /owner says another owner than zone: a job has one"]);
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_places() {
        let files = [
            ("empty.json".to_owned(), Vec::new()),
            ("blank.json".to_owned(), b" \n".to_vec()),
            ("cut.json".to_owned(), br#"[{"dataset":"raw","destination_conf":"#.to_vec()),
            file("five.json", &json!(5)),
            file("wrap.json", &json!({ "jobs": {}, "x": 1 })),
            file("beside.json", &json!({ "jobs": [], "nmae": "x" })),
            file("list.json", &json!([job(json!({ "filter": "bad" })), 7])),
            file(
                "many.json",
                &json!([
                    job(json!({ "filter": "bad", "zone": "z2" })),
                    { "destination_conf": "http://u:hunter2@h/?gzip=maybe", "enabld": true, "zone": "a/b" },
                ]),
            ),
        ];
        let wrong = read_all(&files).unwrap_err();
        let begins = [
            "empty.json is empty: ",
            "blank.json is empty: ",
            "cut.json is not JSON (cut off, or half-written?): EOF while parsing",
            "five.json must be a job, a list of jobs",
            "wrap.json /jobs must be a list",
            "beside.json /nmae is no key beside jobs",
            "list.json /1 must be a job",
            "many.json /0/filter/where is bad",
            "many.json /0/zone is z2, which EDGEPUSH_ZONES does not name",
            "many.json /1/zone must be the id",
            "many.json /1/enabld is no key of a job; did you mean enabled?",
        ];
        assert_eq!(wrong.len(), begins.len(), "{wrong:#?}");
        for (wrong, begin) in wrong.iter().zip(begins) {
            assert!(wrong.starts_with(begin), "{wrong}");
            assert!(!wrong.contains("hunter2"), "{wrong}");
        }
    }

    #[test]
    fn names_are_unique_in_a_set() {
        let named = |name: &str| job(json!({ "name": name }));
        let two = [file("a.json", &named("x")), file("b.json", &json!([named("y"), named("x")]))];
        assert_eq!(
            read_all(&two).unwrap_err(),
            ["b.json /1/name is that of a.json too: names are unique in a set; change one"]
        );
        let twice = [file("a.json", &json!([named("x"), named("x")]))];
        assert_eq!(read_all(&twice).unwrap_err().len(), 1, "one mistake, told once");
        let number = [file("a.json", &json!([named("1"), job(json!({}))]))];
        let wrong = read_all(&number).unwrap_err();
        assert!(wrong[0].starts_with("a.json /1/name is that of a.json/0 too"), "{wrong:?}");
    }
}
