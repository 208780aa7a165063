//! tries: the rows that try something and change no job: ownership and validation (LOGPUSH 1.2, 1.10).
//!
//! Promises: a destination that does not work is an answer, `valid: false` with the reason, and no error; nobody whose
//! token is for some zones makes this host write to itself.
//! Must not know: kinds of destinations.
use super::Call;
use super::answer::{Failure, INVALID};
use crate::destination::{Destination, DestinationUrl};
use crate::jobs::{challenge, config};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Longest time for a destination's answer: below that of the connection of who asks.
const TRY: Duration = Duration::from_secs(20);

impl Call<'_> {
    pub(super) async fn challenge(&self) -> Result<Value, Failure> {
        let conf = self.text("destination_conf")?;
        let now = (self.logpush.clock)();
        let token = self.logpush.challenges.issue(&self.new_owner(), conf, now);
        let written = async {
            let destination = self.open(conf)?;
            destination.put_object(challenge::OBJECT, Bytes::from(token)).await
        };
        Ok(match in_time(written).await {
            Ok(name) => json!({ "filename": name, "valid": true, "message": "" }),
            Err(why) => json!({ "filename": "", "valid": false, "message": why }),
        })
    }

    pub(super) fn validate_challenge(&self) -> Result<Value, Failure> {
        let (conf, token) = (self.text("destination_conf")?, self.text("ownership_challenge")?);
        Ok(json!({ "valid": self.is_good(token, conf) }))
    }

    pub(super) async fn validate_destination(&self) -> Result<Value, Failure> {
        let tried = self.try_destination(self.text("destination_conf")?).await;
        Ok(verdict(tried.err()))
    }

    pub(super) fn destination_exists(&self) -> Result<Value, Failure> {
        let conf = self.text("destination_conf")?;
        let exists = self.logpush.port.book().goes_to(conf, self.owner.as_ref());
        Ok(json!({ "exists": exists }))
    }

    pub(super) fn validate_origin(&self) -> Result<Value, Failure> {
        let options = match self.body.get("logpull_options") {
            Some(Value::String(text)) => text,
            Some(Value::Null) => "",
            _ => return Err(Failure::at(&INVALID, "/logpull_options", "logpull_options must be a string")),
        };
        let dataset = match self.body.get("dataset") {
            None | Some(Value::Null) => Ok("http_requests"),
            Some(Value::String(name)) => Ok(name.as_str()),
            Some(_) => Err("must be the name of a data set".to_owned()),
        };
        let dataset = dataset.and_then(config::dataset);
        let dataset = dataset.map_err(|why| Failure::at(&INVALID, "/dataset", format!("dataset {why}")))?;
        if options.is_empty() {
            return Ok(verdict(None));
        }
        let told = (self.logpush.checks.logpull)(options, dataset).err();
        Ok(verdict(told.map(|told| told.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join("; "))))
    }

    /// Whether a token proves that a destination is that of who asks.
    pub(super) fn is_good(&self, token: &str, conf: &str) -> bool {
        self.logpush.challenges.is_good(token, &self.new_owner(), conf, (self.logpush.clock)())
    }

    /// Asks a destination whether it would take a batch.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn try_destination(&self, conf: &str) -> Result<(), String> {
        let tried = async { self.open(conf)?.probe(true).await };
        in_time(tried).await.map_err(|why| format!("error validating destination: {why}"))
    }

    /// Opens a destination, if whoever asks may use it.
    fn open(&self, conf: &str) -> Result<Arc<dyn Destination>, String> {
        let restricted = self.rights.are_restricted();
        let file = DestinationUrl::parse(conf)?.names_file();
        if let Some(name) = file.filter(|_| restricted) {
            return Err(format!("{name}= is for tokens of the whole host: it names a file of the agent's"));
        }
        let destination = self.logpush.port.destination(conf)?;
        if restricted && !destination.leaves_host() {
            let what = conf.split(':').next().unwrap_or_default();
            return Err(format!("{what}: is for tokens of the whole host: it is no other host"));
        }
        if restricted && destination.borrows_keys() {
            return Err("a URL without keys is for tokens of the whole host: it uses the host's own".into());
        }
        Ok(destination)
    }
}

async fn in_time<T>(tried: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || format!("no answer within {} s", TRY.as_secs());
    tokio::time::timeout(TRY, tried).await.unwrap_or_else(|_| Err(late()))
}

fn verdict(wrong: Option<String>) -> Value {
    json!({ "valid": wrong.is_none(), "message": wrong.unwrap_or_default() })
}
