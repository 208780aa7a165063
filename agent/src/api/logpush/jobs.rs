//! jobs: the rows about jobs (LOGPUSH 1.4).
//!
//! Promises: a new or changed destination is asked before anything changes; a change is answered as it became durable.
//! Must not know: how jobs run.
use super::Call;
use super::answer::{CHALLENGE, DESTINATION, Failure, NO_JOB, UNKNOWN};
use crate::jobs::{Change, Job, JobChange, JobConfig, Origin, config, redact};
use edgepush_shard::chunk::JobId;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The key that is never kept: it proves that the destination is theirs.
const PROOF: &str = "ownership_challenge";

impl Call<'_> {
    pub(super) fn list_jobs(&self, dataset: Option<&str>) -> Value {
        let book = self.logpush.port.book();
        let wanted = |job: &&Arc<Job>| dataset.is_none_or(|dataset| job.config.dataset == dataset);
        book.list(self.owner.as_ref()).filter(wanted).map(|job| self.shown(job)).collect()
    }

    pub(super) fn dataset_jobs(&self) -> Result<Value, Failure> {
        config::dataset(self.id).map_err(|why| Failure::new(&UNKNOWN, why))?;
        Ok(self.list_jobs(Some(self.id)))
    }

    pub(super) fn get_job(&self) -> Result<Value, Failure> {
        let job = self.job()?;
        Ok(self.shown(&job))
    }

    pub(super) fn health(&self) -> Result<Value, Failure> {
        let job = self.job()?;
        let health = self.logpush.port.health(job.id);
        Ok(serde_json::to_value(health).expect("INVARIANT: numbers and texts"))
    }

    pub(super) async fn create_job(mut self) -> Result<Value, Failure> {
        let proof = self.body.remove(PROOF);
        let config = JobConfig::from_json(&self.body).map_err(Failure::invalid)?;
        let change = Change::Create { owner: self.new_owner(), origin: Origin::Api, config };
        self.carry_out(change, None, proof).await
    }

    pub(super) async fn update_job(mut self) -> Result<Value, Failure> {
        let old = self.job()?;
        let proof = self.body.remove(PROOF);
        let patch = std::mem::take(&mut self.body);
        let change = Change::Update { id: old.id, owner: self.owner.clone(), patch };
        self.carry_out(change, Some(old), proof).await
    }

    pub(super) async fn delete_job(self) -> Result<Value, Failure> {
        let id = self.job()?.id;
        let change = Change::Delete { id, owner: self.owner.clone() };
        self.logpush.port.change(change).await?;
        tracing::info!(job = id.0, "a job was deleted through the API");
        Ok(json!({ "id": id.0 }))
    }

    /// The job that the path names.
    fn job(&self) -> Result<Arc<Job>, Failure> {
        let book = self.logpush.port.book();
        let id = self.id.parse().map(JobId).ok();
        let job = id.and_then(|id| book.get_of(id, self.owner.as_ref()));
        job.cloned().ok_or_else(|| Failure::new(&NO_JOB, "job not found"))
    }

    /// Plans a change, asks its destination when that is new, and has it made durable.
    async fn carry_out(
        &self,
        change: Change,
        old: Option<Arc<Job>>,
        proof: Option<Value>,
    ) -> Result<Value, Failure> {
        let planned = self.logpush.port.book().plan(&change, &self.logpush.checks)?;
        let new = planned.iter().find_map(put).or(old.as_ref());
        let conf = new.map(|job| job.config.destination_conf.expose().to_owned()).unwrap_or_default();
        let had = old.as_ref().map(|job| job.config.destination_conf.expose());
        let is_new = had != Some(conf.as_str());
        self.proven(&conf, proof.as_ref(), is_new)?;
        if is_new {
            let asked = self.try_destination(&conf).await;
            asked.map_err(|why| Failure::at(&DESTINATION, "/destination_conf", why))?;
        }
        let done = self.logpush.port.change(change).await?;
        match done.iter().find_map(put).or(old.as_ref()) {
            Some(job) => {
                if !done.is_empty() {
                    let (version, owner) = (job.version, &job.owner);
                    tracing::info!(job = job.id.0, version, %owner, "a job was changed through the API");
                }
                Ok(self.shown(job))
            }
            None => Err(Failure::new(&NO_JOB, "job not found")),
        }
    }

    /// Whether a job may go to this destination: a proof that is sent must be right, and is needed for some kinds.
    fn proven(&self, conf: &str, proof: Option<&Value>, is_new: bool) -> Result<(), Failure> {
        let scheme = conf.split(':').next().unwrap_or_default();
        let pointer = format!("/{PROOF}");
        match proof {
            Some(Value::String(token)) if !token.is_empty() => match self.is_good(token, conf) {
                true => Ok(()),
                false => Err(Failure::at(&CHALLENGE, &pointer, "incorrect ownership challenge")),
            },
            Some(Value::String(_) | Value::Null) | None if is_new && (self.logpush.challenged)(scheme) => {
                let why = "this destination needs an ownership challenge: ask for one at /logpush/ownership";
                Err(Failure::at(&CHALLENGE, &pointer, why))
            }
            Some(Value::String(_) | Value::Null) | None => Ok(()),
            Some(_) => Err(Failure::at(&CHALLENGE, &pointer, "incorrect ownership challenge")),
        }
    }

    /// A job as it is answered: what is not said is left out, what became of it is always there.
    fn shown(&self, job: &Job) -> Value {
        let mut shown = Map::new();
        shown.insert("id".into(), job.id.0.into());
        shown.insert("kind".into(), "".into());
        shown.extend(job.config.to_json());
        if !self.rights.secrets {
            let conf = redact::redacted(job.config.destination_conf.expose());
            shown.insert("destination_conf".into(), conf.into());
        }
        shown.insert("last_complete".into(), time(job.life.last_complete));
        shown.insert("last_error".into(), time(job.life.last_error));
        shown.insert("error_message".into(), job.life.error_message.clone().into());
        shown.insert("version".into(), job.version.into());
        shown.insert("owner".into(), job.owner.to_string().into());
        shown.insert("origin".into(), job.origin.to_string().into());
        Value::Object(shown)
    }
}

fn put(change: &JobChange) -> Option<&Arc<Job>> {
    match change {
        JobChange::Put(job) => Some(job),
        JobChange::Delete(_) => None,
    }
}

/// RFC 3339, whole seconds.
fn time(ns: Option<i64>) -> Value {
    let seconds = ns.and_then(|ns| Timestamp::from_second(ns.div_euclid(1_000_000_000)).ok());
    seconds.map_or(Value::Null, |time| time.to_string().into())
}
