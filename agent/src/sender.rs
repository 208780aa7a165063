//! Sender (integration stand-in until the real one is merged).
use crate::destination::{Destination, Outgoing, Verdict};
use crate::ledger::{SplitChild, SpoolReader};
use crate::protocol::*;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub struct SendJob {
    pub job: JobId,
    pub uploads: usize,
}
#[derive(Debug)]
pub enum SendEvent {
    Spooled(Vec<Spooled>),
    Outcome { id: BatchId, verdict: Verdict },
    Durable(Vec<BatchId>),
    Split { parent: BatchId, children: Vec<Spooled> },
    Tick,
    Stop,
}
#[derive(Debug)]
pub enum SendAction {
    Upload { batch: Arc<Spooled>, attempt: u32 },
    Judge(Vec<Judged>),
    Split { batch: Arc<Spooled> },
    Wake { after: Duration },
    Notice(String),
}
pub struct Sender {
    queue: VecDeque<Arc<Spooled>>,
    flight: HashMap<BatchId, Arc<Spooled>>,
    judged: usize,
    stop: bool,
}
impl Sender {
    pub fn new(_: Vec<SendJob>, _: u64) -> Sender {
        Sender { queue: VecDeque::new(), flight: HashMap::new(), judged: 0, stop: false }
    }
    pub fn pending(&self) -> usize {
        self.queue.len() + self.flight.len() + self.judged
    }
    pub fn in_flight(&self) -> usize {
        self.flight.len() + self.judged
    }
    pub fn bodies_bytes(&self) -> u64 {
        0
    }
    pub fn deadline(&self) -> Option<Duration> {
        None
    }
    pub fn step(&mut self, _now: Now, event: SendEvent, out: &mut Vec<SendAction>) {
        match event {
            SendEvent::Spooled(b) => self.queue.extend(b.into_iter().map(Arc::new)),
            SendEvent::Outcome { id, verdict } => {
                let b = self.flight.remove(&id).unwrap();
                match verdict {
                    Verdict::Delivered => {
                        self.judged += 1;
                        out.push(SendAction::Judge(vec![Judged {
                            id,
                            fate: Fate::Delivered,
                            reason: String::new(),
                        }]))
                    }
                    _ => self.queue.push_front(b),
                }
            }
            SendEvent::Durable(ids) => self.judged -= ids.len(),
            SendEvent::Stop => self.stop = true,
            _ => {}
        }
        while !self.stop && self.flight.len() < 4 {
            let Some(b) = self.queue.pop_front() else { break };
            self.flight.insert(b.id, b.clone());
            out.push(SendAction::Upload { batch: b, attempt: 1 });
        }
    }
}
pub enum Uploaded {
    Outcome { id: BatchId, verdict: Verdict },
    Split { parent: BatchId, children: Vec<SplitChild> },
}
pub struct Uploads {
    reader: Arc<SpoolReader>,
    set: tokio::task::JoinSet<Uploaded>,
}
impl Uploads {
    pub fn new(reader: Arc<SpoolReader>, _: u64) -> Uploads {
        Uploads { reader, set: tokio::task::JoinSet::new() }
    }
    pub fn start(&mut self, to: Arc<dyn Destination>, batch: Arc<Spooled>, _attempt: u32) {
        let reader = self.reader.clone();
        self.set.spawn(async move {
            let pieces = match &batch.body {
                Some(b) => vec![b.clone()],
                None => {
                    let b = batch.clone();
                    tokio::task::spawn_blocking(move || reader.read(&b)).await.unwrap().unwrap()
                }
            };
            let body = edgepush_shard::batch::join(batch.container, batch.codec, pieces).unwrap();
            let out = Outgoing {
                name: batch.name.clone(),
                key: batch.key.clone(),
                codec: batch.codec,
                container: batch.container,
                records: batch.records,
                body,
            };
            Uploaded::Outcome { id: batch.id, verdict: to.deliver(out).await }
        });
    }
    pub fn split(&mut self, _: Arc<Spooled>) {}
    pub async fn next(&mut self) -> Uploaded {
        loop {
            match self.set.join_next().await {
                Some(r) => return r.unwrap(),
                None => std::future::pending().await,
            }
        }
    }
}
