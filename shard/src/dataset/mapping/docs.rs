//! docs: the tables of `docs/datasets.md`, made of the mappings.
//!
//! Must not know: where the text goes.
use super::{Mapping, Origin, servers};
use crate::dataset::{Dataset, FieldType, HTTP_REQUESTS, MEDIANOVA};
use std::fmt::Write as _;

/// One section a server: which field comes from where.
pub fn markdown() -> String {
    let mut out = String::new();
    for mapping in servers() {
        let _ = writeln!(out, "\n### {}\n", mapping.name);
        let signs: Vec<String> = mapping
            .signs
            .iter()
            .map(|sign| {
                let has = sign.has.iter().map(|name| format!("`{name}`"));
                let lacks = sign.lacks.iter().map(|name| format!("no `{name}`"));
                has.chain(lacks).collect::<Vec<_>>().join(" and ")
            })
            .collect();
        let _ = writeln!(out, "Recognised by {}.\n", signs.join("; by "));
        for dataset in [&HTTP_REQUESTS, &MEDIANOVA] {
            let _ =
                writeln!(out, "| `{}` | type | from, the first that is there |\n|---|---|---|", dataset.name);
            table(&mut out, mapping, dataset);
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn table(out: &mut String, mapping: &Mapping, dataset: &Dataset) {
    for field in dataset.fields {
        let origins: Vec<String> =
            mapping.origins(dataset, field.name).iter().map(ToString::to_string).collect();
        if !origins.is_empty() {
            let _ =
                writeln!(out, "| `{}` | {} | {} |", field.name, field.field_type.word(), origins.join(" · "));
        }
    }
}

impl FieldType {
    /// Its name, for people.
    pub const fn word(self) -> &'static str {
        match self {
            FieldType::String => "string",
            FieldType::Int => "int",
            FieldType::Float => "float",
            FieldType::Bool => "bool",
            FieldType::Time => "time",
            FieldType::StringArray => "array of strings",
            FieldType::IntArray => "array of ints",
            FieldType::ObjectArray => "array of objects",
            FieldType::Object => "object",
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.from, &self.constant) {
            (Some(from), _) => write!(f, "`{from}`")?,
            (None, Some(constant)) => write!(f, "{constant}")?,
            (None, None) => {}
        }
        if !self.conversion.words().is_empty() {
            write!(f, " ({})", self.conversion.words())?;
        }
        if let Some(query) = &self.query {
            write!(f, " ? `{query}`")?;
        }
        for (sign, others) in [('+', &self.plus), ('−', &self.minus)] {
            for (name, unit) in others {
                write!(f, " {sign} `{name}` ({})", unit.word())?;
            }
        }
        if let Some(when) = &self.when {
            write!(f, " if `{when}`")?;
        }
        Ok(())
    }
}

impl super::Unit {
    /// Its name in a mapping.
    pub fn word(self) -> &'static str {
        let mut words = super::Unit::WORDS.into_iter();
        words.find(|(_, unit)| *unit == self).map_or("", |(word, _)| word)
    }
}
