//! Uploads: performs what the sender's machine asks for, on the delivery thread's runtime.
//!
//! Promises: a body that is not in memory is read on a blocking thread and checked; bytes in memory ([`Room`]) and bytes
//! a second are bounded, and what is slow does not keep others from either; every upload that is begun has an end, and a destination's panic is not swallowed.
//! Must not know: retries, order.
use super::picking::{self, Picked, Picks};
use super::room::{Room, Taken};
use super::turns::Standing;
use super::waitlist::stored;
use crate::destination::{Answer, Destination, Outgoing, Status, Verdict};
use crate::ledger::{ReadError, SplitChild, SpoolReader};
use crate::protocol::{BatchId, Spooled};
use bytes::Bytes;
use edgepush_shard::batch::{self, SplitError};
use edgepush_shard::codec::{Level, codec};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How an action of the machine ended.
#[derive(Debug)]
pub enum Uploaded {
    /// The destination has answered, or could not be asked.
    Outcome {
        /// The batch.
        batch: Arc<Spooled>,
        /// What it said.
        answer: Answer,
        /// How long it took.
        took: Duration,
        /// Bytes that were sent, or were to be sent.
        bytes: u64,
    },
    /// A batch was cut in two: to be made durable.
    Split {
        /// The batch that was too large.
        parent: BatchId,
        /// Its parts, in order.
        children: Vec<SplitChild>,
    },
    /// What a destination has not taken of a batch was picked: to be made durable.
    Picked {
        /// The batch.
        parent: BatchId,
        /// When its destination answered, ns since the epoch.
        wall: i64,
        /// Its records.
        picked: Picked,
    },
    /// What is in the spool is not what was put there, or cannot be cut.
    Unreadable {
        /// The batch.
        id: BatchId,
        /// Why.
        why: String,
    },
}

/// A batch that is to be cut and cannot be read for the moment is tried again after this.
const SPLIT_AGAIN: Duration = Duration::from_secs(1);

/// Batches that are read from the spool at once. Ten thousand small ones had 512 threads, and 200 MB for them.
const READS: usize = 4;

/// The uploads under way.
pub struct Uploads {
    wire: Arc<Wire>,
    set: JoinSet<Uploaded>,
}

/// What all uploads share.
struct Wire {
    reader: Arc<SpoolReader>,
    /// Turns at reading the spool: each read has a thread for its time, and more threads read no faster.
    reads: Semaphore,
    /// For bodies in memory.
    room: Room,
    egress: Option<Egress>,
}

/// Bytes a second that may leave this host.
struct Egress {
    bytes_per_second: u64,
    /// When the next upload may begin.
    next: Mutex<Instant>,
}

impl Egress {
    /// Waits for the turn of an upload of so many bytes.
    async fn turn(&self, bytes: u64) {
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = Instant::now().max(*next);
            *next = at + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

impl Uploads {
    /// No upload yet. `bytes_max`: of bodies in memory for uploads (two larger than half of it go beside it).
    pub fn new(reader: Arc<SpoolReader>, bytes_max: u64, egress_max: Option<u64>) -> Uploads {
        let egress =
            egress_max.map(|rate| Egress { bytes_per_second: rate.max(1), next: Mutex::new(Instant::now()) });
        let wire = Wire { reader, reads: Semaphore::new(READS), room: Room::new(bytes_max), egress };
        Uploads { wire: Arc::new(wire), set: JoinSet::new() }
    }

    /// Begins an upload to a destination that is like this.
    pub fn start(&mut self, to: Arc<dyn Destination>, batch: Arc<Spooled>, standing: Standing) {
        let wire = self.wire.clone();
        self.set.spawn(async move { wire.upload(to, batch, standing).await });
    }

    /// Begins to cut a batch in two.
    pub fn split(&mut self, batch: Arc<Spooled>) {
        let wire = self.wire.clone();
        self.set.spawn(async move { wire.split(batch).await });
    }

    /// Begins to pick records of a batch of the job of this name, answered at this wall time.
    pub fn pick(&mut self, batch: Arc<Spooled>, picks: Picks, job: String, wall: i64) {
        let wire = self.wire.clone();
        self.set.spawn(async move { wire.pick(batch, picks, job, wall).await });
    }

    /// The next end of an upload; never when none is under way. Safe to drop and call again.
    pub async fn next(&mut self) -> Uploaded {
        match self.set.join_next().await {
            Some(ended) => joined_task(ended),
            None => std::future::pending().await,
        }
    }

    /// An upload that has ended already, if there is one.
    pub fn try_next(&mut self) -> Option<Uploaded> {
        self.set.try_join_next().map(joined_task)
    }
}

fn joined_task(ended: Result<Uploaded, tokio::task::JoinError>) -> Uploaded {
    match ended {
        Ok(uploaded) => uploaded,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("INVARIANT: no upload is ever cancelled"),
        },
    }
}

impl Wire {
    async fn upload(&self, to: Arc<dyn Destination>, batch: Arc<Spooled>, standing: Standing) -> Uploaded {
        // The turn comes before the room: what waits for its turn must not keep others from theirs.
        if let Some(egress) = self.egress.as_ref().filter(|_| to.leaves_host()) {
            egress.turn(stored(&batch)).await;
        }
        let _room = self.room.take(standing, stored(&batch)).await;
        let begun = Instant::now();
        let body = match self.body(&batch).await {
            Ok(body) => body,
            Err(Trouble::Rotten(why)) => return Uploaded::Unreadable { id: batch.id, why },
            Err(Trouble::Weather(why)) => {
                let answer = Answer {
                    verdict: Verdict::Retry { after: None, why },
                    status: Status::Word("unreadable"),
                };
                return Uploaded::Outcome { batch, answer, took: begun.elapsed(), bytes: 0 };
            }
        };
        let outgoing = Outgoing {
            name: batch.name.clone(),
            key: batch.key.clone(),
            codec: batch.codec,
            container: batch.container,
            records: batch.records,
            csv: batch.naming.csv,
            body,
            shelf: batch.shelf.clone(),
        };
        let (bytes, begun) = (outgoing.len(), Instant::now());
        let mut answer = to.deliver(outgoing).await;
        answer.verdict = answer.verdict.plain(batch.records);
        Uploaded::Outcome { batch, answer, took: begun.elapsed(), bytes }
    }

    /// The whole body as it goes out.
    async fn body(&self, batch: &Arc<Spooled>) -> Result<Vec<Bytes>, Trouble> {
        if let Some(parts) = &batch.body {
            return joined(batch, vec![parts.clone()]);
        }
        let (reader, batch) = (self.reader.clone(), batch.clone());
        let _turn = self.reads.acquire().await.expect("INVARIANT: the turns are never closed");
        blocking(move || {
            let pieces = reader.read(&batch).map_err(|error| Trouble::reading(&error))?;
            joined(&batch, pieces)
        })
        .await
    }

    /// The whole body of a batch that is taken apart, with room for its records beside it.
    async fn body_to_cut(&self, batch: &Arc<Spooled>) -> Result<(Taken<'_>, Vec<Bytes>), String> {
        loop {
            // Its records lie in memory beside its body. Cuts are rare and slow: they take no room from good ones.
            let room = self.room.take(Standing::Slow, stored(batch).saturating_add(batch.raw)).await;
            match self.body(batch).await {
                Ok(body) => return Ok((room, body)),
                Err(Trouble::Rotten(why)) => return Err(why),
                Err(Trouble::Weather(_)) => drop(room),
            }
            tokio::time::sleep(SPLIT_AGAIN).await;
        }
    }

    async fn pick(&self, batch: Arc<Spooled>, picks: Picks, job: String, wall: i64) -> Uploaded {
        let (id, records) = (batch.id, batch.records);
        let left = picks.len();
        let (_room, body) = match self.body_to_cut(&batch).await {
            Ok(found) => found,
            Err(why) => return Uploaded::Unreadable { id, why },
        };
        let picked =
            blocking(move || picking::pick(&batch, &picks, picking::Said { job: &job, wall }, &body)).await;
        match picked {
            Ok(picked) => Uploaded::Picked { parent: id, wall, picked },
            Err(error) => {
                let why =
                    format!("{left} of {records} records were not taken, and cannot be picked: {error}");
                Uploaded::Unreadable { id, why }
            }
        }
    }

    async fn split(&self, batch: Arc<Spooled>) -> Uploaded {
        let (id, records, naming) = (batch.id, batch.records, batch.naming.clone());
        let (_room, body) = match self.body_to_cut(&batch).await {
            Ok(found) => found,
            Err(why) => return Uploaded::Unreadable { id, why },
        };
        let halves = blocking(move || {
            let mut codec = codec(batch.codec, Level::Fast);
            batch::split(&mut *codec, batch.container, &naming.framing, records, &body)
        })
        .await;
        match halves {
            Ok(halves) => {
                let child = |half: batch::Half| SplitChild {
                    pieces: vec![half.piece.concat().into()],
                    records: u64::from(half.records),
                    raw: half.raw,
                };
                Uploaded::Split { parent: id, children: halves.into_iter().map(child).collect() }
            }
            Err(SplitError::OneRecord) => Uploaded::Unreadable { id, why: "one record is too large".into() },
            Err(error @ SplitError::Unclear) => {
                let why = format!("too large, and cannot be cut into {records} records: {error}");
                Uploaded::Unreadable { id, why }
            }
            Err(SplitError::Unreadable(error)) => Uploaded::Unreadable { id, why: error.to_string() },
        }
    }
}

enum Trouble {
    /// What was put into the spool is not there any more: it is never sent.
    Rotten(String),
    /// Tried again.
    Weather(String),
}

impl Trouble {
    /// What is wrong or gone stays so; anything else may pass.
    fn reading(error: &io::Error) -> Trouble {
        let gone = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof);
        if gone || ReadError::of(error).is_some() {
            return Trouble::Rotten(format!("the spool is damaged: {error}"));
        }
        Trouble::Weather(format!("the spool cannot be read: {error}"))
    }
}

fn joined(batch: &Spooled, pieces: Vec<Vec<Bytes>>) -> Result<Vec<Bytes>, Trouble> {
    let joined = batch::join(batch.container, batch.codec, pieces);
    joined.map_err(|error| Trouble::Rotten(format!("the batch in the spool is malformed: {error}")))
}

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(job).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("INVARIANT: no blocking job is ever cancelled"),
        },
    }
}
