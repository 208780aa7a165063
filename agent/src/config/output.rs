//! output: what the settings say about the environment job's records.
//!
//! Promises: all that is wrong is said at once, under the name of the variable that says it.
//! Must not know: records.
use super::{Config, Problem};
use edgepush_shard::dataset::{DATASETS, Dataset, MEDIANOVA};
use edgepush_shard::plan::{Filter, OutputOptions};
use serde_json::{Map, Value};

/// A data set's name.
pub(super) fn dataset(text: &str) -> Result<&'static Dataset, String> {
    Dataset::by_name(text).ok_or_else(|| {
        let known = DATASETS.map(|dataset| dataset.name).join(", ");
        format!("is no data set; write one of {known}")
    })
}

/// A share of all records.
pub(super) fn sample(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok();
    share.filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(|| "must be above 0 and at most 1".into())
}

/// A JSON object.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("must be a JSON object: {\"output_type\":\"csv\",…}".into()),
        Err(error) => Err(format!("is no JSON: {error}")),
    }
}

/// The interval of batches when none is said.
pub(super) fn interval(config: &Config) -> &'static str {
    if config.dataset.name == MEDIANOVA.name { "5m" } else { "30s" }
}

/// Puts together what the variables say. Gives all problems.
pub(super) fn compose(config: &mut Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    match Filter::parse(&config.filter_text, config.dataset) {
        Ok(filter) => config.filter = filter,
        Err(error) => problems.push(problem("EDGEPUSH_FILTER", &error.pointer, &error.message)),
    }
    let mut options = config.output_options.clone().unwrap_or_default();
    let said: [(&str, &str, Option<Value>); 3] = [
        ("EDGEPUSH_FIELDS", "field_names", config.fields.clone().map(Value::from)),
        ("EDGEPUSH_SAMPLE", "sample_rate", (config.sample < 1.0).then(|| config.sample.into())),
        ("EDGEPUSH_TIMESTAMP_FORMAT", "timestamp_format", config.timestamp_format.clone().map(Value::from)),
    ];
    let plain = options.is_empty() && said[1..].iter().all(|(_, _, value)| value.is_none());
    if plain && config.dataset.open {
        config.output = match &config.fields {
            None => OutputOptions::all(config.dataset),
            Some(names) => OutputOptions::fields(config.dataset, names.iter().map(String::as_str)),
        };
        return problems;
    }
    for (name, key, value) in &said {
        let Some(value) = value else { continue };
        if options.insert((*key).to_owned(), value.clone()).is_some() {
            problems.push(problem(
                name,
                "",
                &format!("says what {key} of EDGEPUSH_OUTPUT_OPTIONS says: keep one"),
            ));
        }
    }
    match OutputOptions::from_json(&Value::Object(options), config.dataset) {
        Ok(output) => config.output = output,
        Err(all) => problems.extend(all.iter().map(|error| {
            let key = error.pointer.trim_start_matches("/output_options").trim_start_matches('/');
            let by = said.iter().find(|(_, own, value)| key.starts_with(own) && value.is_some());
            let name = by.map_or("EDGEPUSH_OUTPUT_OPTIONS", |(name, _, _)| name);
            problem(name, &error.pointer, &error.message)
        })),
    }
    problems
}

fn problem(name: &str, pointer: &str, why: &str) -> Problem {
    let place = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
    Problem { subject: format!("{name}{place}:"), why: why.to_owned() }
}
