//! The simulated destination: an object store, a name holds one body; and it knows idempotency keys as a collector
//! does. Fault model: a reply may be lost after the body was stored; a request may arrive late, after its verdict, after
//! a crash. The same name or key with another body is a broken promise (I7), whoever sent it.
use crate::logs::{Line, line_of};
use bytes::Bytes;
use edgepush::protocol::{CodecKind, JobId, Spooled};
use std::collections::BTreeMap;

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub job: JobId,
    pub records: u64,
    codec: CodecKind,
    body: Vec<u8>,
}

/// What the destination holds.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<String, Object>,
    keys: BTreeMap<String, String>,
    late: Vec<(String, String, Object)>,
}

/// The records of a body: those that the log's writer wrote whole, and how many others.
pub fn records_of(job: JobId, codec: CodecKind, body: &[u8]) -> (Vec<Line>, u64) {
    let text = edgepush_shard::batch::decode(codec, body).expect("a body does not decompress");
    assert!(text.last().is_none_or(|b| *b == b'\n'), "a body ends inside a record");
    let (mut lines, mut others) = (Vec::new(), 0);
    for record in text.split(|b| *b == b'\n').filter(|r| !r.is_empty()) {
        let line = if job == JobId::REJECTS { rejected(record) } else { line_of(record) };
        match line {
            Some(line) => lines.push(line),
            None => others += 1,
        }
    }
    (lines, others)
}

/// The line that a reject holds.
fn rejected(record: &[u8]) -> Option<Line> {
    let reject: serde_json::Value = serde_json::from_slice(record).ok()?;
    line_of(reject["line"].as_str()?.as_bytes())
}

/// The lines of a body, each with the job that has it: of a reject that a destination refused, that destination's job.
pub fn owned_records(job: JobId, codec: CodecKind, body: &[u8]) -> Vec<(JobId, Line)> {
    let lines = records_of(job, codec, body).0;
    if job != JobId::REJECTS {
        return lines.into_iter().map(|line| (job, line)).collect();
    }
    let text = edgepush_shard::batch::decode(codec, body).expect("it was decoded before");
    let rejects = text.split(|b| *b == b'\n').filter(|record| rejected(record).is_some());
    let owner = |record: &[u8]| {
        let reject: serde_json::Value = serde_json::from_slice(record).expect("it was read before");
        let refused = reject["reason"].as_str().is_some_and(|reason| reason.starts_with("refused: "));
        let job = |source: &str| JobId(source.parse().expect("a job's number"));
        reject["source"].as_str().filter(|_| refused).map_or(JobId::REJECTS, job)
    };
    rejects.map(owner).zip(lines).collect()
}

impl Store {
    /// A request arrives.
    pub fn put(&mut self, batch: &Spooled, body: &[Bytes]) {
        let (name, key, object) = request(batch, body);
        self.arrive(name, key, object);
    }

    /// A request arrives, and only the records at these places are taken.
    pub fn put_some(&mut self, batch: &Spooled, body: &[Bytes], taken: &[u32]) {
        let (name, key, object) = request(batch, body);
        let text =
            edgepush_shard::batch::decode(object.codec, &object.body[..]).expect("a body decompresses");
        let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
        assert_eq!(lines.len() as u64, batch.records, "{name}: its number of records");
        let body = taken.iter().flat_map(|place| lines[*place as usize].to_vec()).collect();
        let records = taken.len() as u64;
        self.arrive(name, key, Object { records, codec: CodecKind::None, body, ..object });
    }

    /// A request is on its way for longer than anyone waits for it.
    pub fn put_late(&mut self, batch: &Spooled, body: &[Bytes]) {
        self.late.push(request(batch, body));
    }

    /// A late request arrives.
    pub fn arrive_late(&mut self, at: usize) {
        if !self.late.is_empty() {
            let (name, key, object) = self.late.swap_remove(at % self.late.len());
            self.arrive(name, key, object);
        }
    }

    fn arrive(&mut self, name: String, key: String, object: Object) {
        if let Some(known) = self.keys.get(&key) {
            assert_eq!(*known, name, "I7: two names have the key {key}");
        }
        if let Some(known) = self.objects.get(&name) {
            assert!(*known == object, "I7: the object {name} was sent again with another body");
        }
        self.keys.insert(key, name.clone());
        self.objects.insert(name, object);
    }

    /// How often each line was delivered, by job. Checks that objects hold as many records as they say.
    pub fn delivered(&self) -> BTreeMap<(JobId, Line), u32> {
        let mut found = BTreeMap::new();
        for (name, object) in &self.objects {
            let (lines, others) = records_of(object.job, object.codec, &object.body);
            assert_eq!(lines.len() as u64 + others, object.records, "{name}: its number of records");
            for owned in owned_records(object.job, object.codec, &object.body) {
                *found.entry(owned).or_default() += 1;
            }
        }
        found
    }

    /// The objects that hold a line, for the story of a failure.
    pub fn holders(&self, line: Line) -> Vec<String> {
        let has = |object: &Object| records_of(object.job, object.codec, &object.body).0.contains(&line);
        self.objects.iter().filter(|(_, object)| has(object)).map(|(name, _)| name.clone()).collect()
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }
}

fn request(batch: &Spooled, body: &[Bytes]) -> (String, String, Object) {
    let object = Object { job: batch.job, records: batch.records, codec: batch.codec, body: body.concat() };
    (batch.name.to_string(), batch.key.to_string(), object)
}
