//! datasets: which fields a job can ask for.
//!
//! Promises: every field that [`edgepush_shard::dataset`] names, and no other.
//! Must not know: jobs.
use super::Call;
use super::answer::{Failure, UNKNOWN};
use crate::jobs::config;
use serde_json::{Map, Value};

impl Call<'_> {
    /// A job that names no fields sends all of them, so that the default ones are the same.
    pub(super) fn fields(&self) -> Result<Value, Failure> {
        let dataset = config::dataset(self.id).map_err(|why| Failure::new(&UNKNOWN, why))?;
        let pair = |field: &edgepush_shard::dataset::Field| (field.name.to_owned(), Value::from(field.help));
        Ok(Value::Object(dataset.fields.iter().map(pair).collect::<Map<_, _>>()))
    }
}
