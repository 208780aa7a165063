//! fields: `edgepush fields`: what a real log gives a data set, from which of its fields.
//!
//! Promises: the lines are read and mapped by what reads and maps them while the agent runs; nothing is written, no agent
//! is asked. Exit 0: records were found; 1: none; 2: what was typed is wrong.
//! Must not know: how the agent runs.
mod found;
mod sample;
mod show;

use crate::cli::{self, Exit, FieldsArgs};
use crate::config::Problem;
use crate::config::mapping;
use crate::jobs::config::dataset;
use edgepush_shard::dataset::Dataset;
use edgepush_shard::dataset::mapping::{Choice, Choices};
use edgepush_shard::format::Format;
use found::Found;
use std::io::IsTerminal as _;
use std::sync::Arc;

/// What was typed, understood.
struct Wanted {
    format: Format,
    dataset: &'static Dataset,
    mapping: Choice,
    lines: Vec<u8>,
}

/// Tells what comes of a sample.
pub fn fields(args: &FieldsArgs) -> Exit {
    if args.markdown {
        return cli::print(&edgepush_shard::dataset::mapping::markdown(), Exit::Done);
    }
    let wanted = match understand(args) {
        Ok(wanted) => wanted,
        Err(problems) => return cli::complain_of(&problems),
    };
    let choices = Arc::new(Choices { sources: vec![wanted.mapping] });
    let found = Found::of(&wanted.format, wanted.dataset, choices, &wanted.lines, args.lines);
    let exit = if found.records == 0 { Exit::Failed } else { Exit::Done };
    if args.json {
        return cli::print(&format!("{}\n", found.json()), exit);
    }
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    cli::print(&show::text(&found, colour), exit)
}

/// Understands all that was typed, or says all that is wrong with it.
fn understand(args: &FieldsArgs) -> Result<Wanted, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut told = |flag: &str, text: &str, why: String| {
        problems.push(Problem { subject: format!("{flag} {text}"), why });
    };
    let format = Format::parse(&args.format).map_err(|why| told("--format", &args.format, why));
    let found = dataset(&args.dataset).and_then(|dataset| match dataset.fields.is_empty() {
        true => Err("takes records as they are: it has no fields to fill".into()),
        false => Ok(dataset),
    });
    let found = found.map_err(|why| told("--dataset", &args.dataset, why));
    let read = |path: &std::path::Path| std::fs::read_to_string(path);
    let mapping = mapping::choice(&args.mapping, &read);
    let mapping =
        mapping.map_err(|all| all.into_iter().for_each(|why| told("--mapping", &args.mapping, why)));
    // Without it clap has ended the command.
    let path = args.sample.as_deref().unwrap_or_default();
    let lines = sample::read(path, args.lines);
    let lines = lines.map_err(|error| told("--sample", path, format!("cannot be read: {error}")));
    match (format, found, mapping, lines) {
        (Ok(format), Ok(dataset), Ok(mapping), Ok(lines)) => Ok(Wanted { format, dataset, mapping, lines }),
        _ => Err(problems),
    }
}
