//! mapping: what the settings say about the fields of typed data sets.
//!
//! Promises: a file is read once, and all that is wrong with it is said, each with file and line.
//! Must not know: records.
use super::keys::ReadFile;
use super::{Config, Problem};
use edgepush_shard::dataset::mapping::{Choice, Choices, Mapping};
use std::path::Path;
use std::sync::Arc;

/// Understands one choice: a word, or the path of a file.
///
/// # Errors
/// All that is wrong with it; each continues the setting's name and value as a sentence.
pub fn choice(text: &str, read: &ReadFile<'_>) -> Result<Choice, Vec<String>> {
    if let Some(known) = Choice::of_word(text).map_err(|why| vec![why])? {
        return Ok(known);
    }
    let file = read(Path::new(text)).map_err(|error| vec![format!("cannot be read: {error}")])?;
    let mut mapping = Mapping::parse(&file)
        .map_err(|all| all.iter().map(|error| format!("has a mistake in {error}")).collect::<Vec<_>>())?;
    if mapping.name == Mapping::UNNAMED {
        mapping.name =
            Path::new(text).file_name().map_or(text.into(), |name| name.to_string_lossy().into_owned());
    }
    Ok(Choice::Own(Arc::new(mapping)))
}

/// Puts together what is said of all sources and of named ones. Gives all problems.
pub(super) fn compose(config: &mut Config, read: &ReadFile<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut understood = |name: &str, text: &str| {
        let told = |why: String| Problem { subject: format!("{name}={text}"), why };
        let choice = choice(text, read);
        choice.map_err(|all| problems.extend(all.into_iter().map(told))).unwrap_or_default()
    };
    let common = understood("EDGEPUSH_MAPPING", &config.mapping_text);
    let mut sources = vec![common; config.sources.len()];
    let mut strangers = Vec::new();
    for (name, text) in &config.mapping_named {
        match config.sources.iter().position(|source| source.name == *name) {
            Some(at) => sources[at] = understood(&format!("EDGEPUSH_MAPPING_{name}"), text),
            None => strangers.push(Problem {
                subject: format!("EDGEPUSH_MAPPING_{name}={text}"),
                why: format!("belongs to no source: set EDGEPUSH_SOURCE_{name} as well"),
            }),
        }
    }
    config.mappings = Arc::new(Choices { sources });
    problems.extend(strangers);
    problems
}
