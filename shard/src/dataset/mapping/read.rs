//! read: a mapping as it is written, in TOML.
//!
//! Promises: all mistakes at once, each with its line, what it is about, and what to write instead.
//! Must not know: files.
use super::convert::{Conversion, Unit};
use super::{Mapping, Origin, Rule, Sign, Table};
use crate::dataset::{DATASETS, Dataset, Field, FieldType};
use crate::nearest::distance;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there, and what to do.
    pub message: String,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for MappingError {}

const KEYS: &str = "name, like, signs, or a data set's: [http_requests], [medianova]";
const ORIGIN_KEYS: [&str; 7] = ["from", "as", "const", "if", "query", "plus", "minus"];

impl Mapping {
    pub(super) fn read(text: &str, known: &[Arc<Mapping>]) -> Result<Mapping, Vec<MappingError>> {
        let mut reading = Reading { text, known, problems: Vec::new() };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            reading.problem(error.span().unwrap_or_default(), error.message().to_owned());
        }
        // What comes of a broken text is not worth telling.
        let mapping = if reading.problems.is_empty() { reading.mapping(table.get_ref()) } else { None };
        match mapping {
            Some(mapping) if reading.problems.is_empty() => Ok(mapping),
            _ => {
                reading.problems.sort_by_key(|problem| problem.line);
                Err(reading.problems)
            }
        }
    }
}

struct Reading<'t> {
    text: &'t str,
    known: &'t [Arc<Mapping>],
    problems: Vec<MappingError>,
}

type Value<'t> = Spanned<DeValue<'t>>;

impl Reading<'_> {
    fn problem(&mut self, span: Range<usize>, message: String) {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        self.problems.push(MappingError { line, message });
    }

    fn mapping(&mut self, table: &DeTable<'_>) -> Option<Mapping> {
        let mut mapping =
            Mapping { name: Mapping::UNNAMED.to_owned(), signs: Vec::new(), tables: Vec::new() };
        if let Some(like) = table.get("like") {
            mapping.tables = self.like(like).unwrap_or_default();
        }
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "like" => {}
                "name" => mapping.name = self.text_of(value, "name")?.to_owned(),
                "signs" => mapping.signs = self.signs(value),
                name => match Dataset::by_name(name).filter(|dataset| !dataset.fields.is_empty()) {
                    Some(dataset) => self.dataset(dataset, value, &mut mapping.tables),
                    None => {
                        let near =
                            near(name, DATASETS.iter().map(|d| d.name).chain(["name", "like", "signs"]));
                        self.problem(
                            key.span(),
                            format!("{name} is no key of a mapping{near}; there are {KEYS}"),
                        );
                    }
                },
            }
        }
        Some(mapping)
    }

    fn text_of<'v>(&mut self, value: &'v Value<'_>, what: &str) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.problem(value.span(), format!("{what} must be a text in quotes"));
        }
        text
    }

    fn like(&mut self, value: &Value<'_>) -> Option<Vec<Table>> {
        let name = self.text_of(value, "like")?;
        let found = self.known.iter().find(|known| known.name == name);
        if found.is_none() {
            let names: Vec<&str> = self.known.iter().map(|known| known.name.as_str()).collect();
            let why =
                format!("like = \"{name}\" names no mapping of this agent; there are {}", names.join(", "));
            self.problem(value.span(), why);
        }
        found.map(|known| known.tables.clone())
    }

    fn signs(&mut self, value: &Value<'_>) -> Vec<Sign> {
        let Some(all) = value.get_ref().as_array() else {
            self.problem(value.span(), "signs must be a list: signs = [\"field other !absent\"]".to_owned());
            return Vec::new();
        };
        let mut signs = Vec::new();
        for value in all.iter() {
            let mut sign = Sign::default();
            for word in self.text_of(value, "each of signs").unwrap_or_default().split_whitespace() {
                match word.strip_prefix('!') {
                    Some(absent) => sign.lacks.push(absent.to_owned()),
                    None => sign.has.push(word.to_owned()),
                }
            }
            match sign.has.is_empty() {
                true => {
                    self.problem(value.span(), "a sign needs at least one field that is there".to_owned())
                }
                false => signs.push(sign),
            }
        }
        signs
    }

    fn dataset(&mut self, dataset: &'static Dataset, value: &Value<'_>, tables: &mut Vec<Table>) {
        let Some(table) = value.get_ref().as_table() else {
            return self
                .problem(value.span(), format!("{} must be a table: [{}]", dataset.name, dataset.name));
        };
        let at = tables.iter().position(|table| std::ptr::eq(table.dataset, dataset)).unwrap_or_else(|| {
            tables.push(Table { dataset, rules: Vec::new() });
            tables.len() - 1
        });
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let Some(field) = dataset.fields.iter().find(|field| field.name == name) else {
                let near = near(name, dataset.fields.iter().map(|field| field.name));
                self.problem(key.span(), format!("{name} is no field of {}{near}", dataset.name));
                continue;
            };
            let mut origins = Vec::new();
            self.origins(*field, value, &mut origins);
            let rules = &mut tables[at].rules;
            let rule = Rule { field: *field, origins };
            match rules.binary_search_by(|rule| rule.field.name.cmp(name)) {
                Ok(at) => rules[at] = rule,
                Err(at) => rules.insert(at, rule),
            }
        }
    }

    fn origins(&mut self, field: Field, value: &Value<'_>, origins: &mut Vec<Origin>) {
        match value.get_ref() {
            DeValue::String(from) => origins.push(Origin { from: Some(from.to_string()), ..Origin::default() }),
            DeValue::Array(all) => all.iter().for_each(|value| self.origins(field, value, origins)),
            DeValue::Table(table) => self.origin(field, table, value.span(), origins),
            _ => self.problem(
                value.span(),
                format!("{} must be a field's name, {{ from = \"name\", as = \"conversion\" }}, or a list of these", field.name),
            ),
        }
    }

    fn origin(&mut self, field: Field, table: &DeTable<'_>, span: Range<usize>, origins: &mut Vec<Origin>) {
        let mut origin = Origin::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "from" => {}
                "as" => {
                    let words = self.text_of(value, "as").unwrap_or_default();
                    match Conversion::parse(words, field.name, field.field_type) {
                        Ok(conversion) => origin.conversion = conversion,
                        Err(why) => self.problem(value.span(), format!("{} {why}", field.name)),
                    }
                }
                "const" => origin.constant = self.constant(field, value),
                "if" => origin.when = self.text_of(value, "if").map(str::to_owned),
                "query" => origin.query = self.text_of(value, "query").map(str::to_owned),
                "plus" | "minus" => {}
                other => {
                    let near = near(other, ORIGIN_KEYS.into_iter());
                    let why =
                        format!("{other} is no key of a source{near}; there are {}", ORIGIN_KEYS.join(", "));
                    self.problem(key.span(), why);
                }
            }
        }
        let unit = origin.conversion.unit();
        if let Some(value) = table.get("plus") {
            origin.plus = self.others(field, value, unit);
        }
        if let Some(value) = table.get("minus") {
            origin.minus = self.others(field, value, unit);
        }
        let names = table.get("from").map(|from| self.names(from)).unwrap_or_default();
        match (names.is_empty(), &origin.constant) {
            (true, None) if self.problems.is_empty() => {
                self.problem(span, format!("{} needs from = \"field\" or const = value", field.name));
            }
            (true, _) => origins.push(origin),
            (false, Some(_)) => self.problem(span, format!("{} has from and const: keep one", field.name)),
            (false, None) => {
                origins.extend(names.into_iter().map(|name| Origin { from: Some(name), ..origin.clone() }));
            }
        }
    }

    /// A text, or a list of texts.
    fn names(&mut self, value: &Value<'_>) -> Vec<String> {
        match value.get_ref() {
            DeValue::Array(all) => {
                all.iter().filter_map(|value| self.text_of(value, "each field").map(str::to_owned)).collect()
            }
            _ => self.text_of(value, "a field").map(str::to_owned).into_iter().collect(),
        }
    }

    /// `name unit`: durations that are added or taken off.
    fn others(&mut self, field: Field, value: &Value<'_>, unit: Option<Unit>) -> Vec<(String, Unit)> {
        let mut others = Vec::new();
        let counts = field.field_type == FieldType::Time || Unit::of_field(field.name).is_some();
        for text in self.names(value) {
            let (name, word) =
                text.split_once(' ').map_or((text.as_str(), None), |(name, word)| (name, Some(word)));
            let said = word.and_then(|word| Unit::WORDS.iter().find(|(known, _)| *known == word.trim()));
            match (said.map(|(_, unit)| *unit).or(unit.filter(|_| word.is_none())), counts) {
                (Some(unit), true) => others.push((name.to_owned(), unit)),
                (None, true) => {
                    let words = Unit::WORDS.map(|(word, _)| word).join(", ");
                    self.problem(
                        value.span(),
                        format!("\"{text}\" needs its unit behind it, one of {words}"),
                    );
                }
                (_, false) => {
                    self.problem(
                        value.span(),
                        format!("{} is neither time nor duration: nothing can be added", field.name),
                    );
                }
            }
        }
        others
    }

    fn constant(&mut self, field: Field, value: &Value<'_>) -> Option<String> {
        let json = match (value.get_ref(), field.field_type) {
            (DeValue::String(text), FieldType::String) => Some(serde_json::json!(text).to_string()),
            (DeValue::Integer(number), FieldType::Int | FieldType::Float) if number.radix() == 10 => {
                number.as_str().parse().ok().map(|number: i64| number.to_string())
            }
            (DeValue::Float(number), FieldType::Float) => {
                let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                number.map(|number| number.to_string())
            }
            (DeValue::Boolean(truth), FieldType::Bool) => Some(truth.to_string()),
            _ => None,
        };
        if json.is_none() {
            self.problem(
                value.span(),
                format!("const must be of the type of {}, {:?}", field.name, field.field_type),
            );
        }
        json
    }
}

fn near<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    let lower = |text: &str| text.to_lowercase();
    let near = names.map(|name| (distance(lower(word).chars(), lower(name).chars()), name)).min();
    let near = near.filter(|(away, _)| *away <= 1 + word.len() / 4);
    near.map(|(_, name)| format!("; did you mean {name}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::HTTP_REQUESTS;

    fn told(text: &str) -> String {
        let problems = Mapping::parse(text).expect_err(text);
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_file_says_where_fields_come_from() {
        let mapping = Mapping::parse(
            "name = 'mine'\nlike = 'nginx'\nsigns = ['cip !x', 'other']\n[http_requests]\nClientIP = 'cip'\n\
             EdgeTimeToFirstByteMs = { from = ['ttfb', 't'], as = 'seconds', plus = 'wait milliseconds' }\n\
             ZoneName = [\"zone\", { const = 'none', if = 'z' }]\n",
        )
        .expect("right");
        assert_eq!((mapping.name.as_str(), mapping.signs.len()), ("mine", 2));
        assert_eq!(mapping.signs[0], Sign { has: vec!["cip".into()], lacks: vec!["x".into()] });
        let of = |field| mapping.origins(&HTTP_REQUESTS, field);
        assert_eq!(of("ClientIP").len(), 1);
        assert_eq!(of("EdgeTimeToFirstByteMs")[1].from.as_deref(), Some("t"));
        assert_eq!(of("EdgeTimeToFirstByteMs")[1].plus, [("wait".to_owned(), Unit::Milliseconds)]);
        assert_eq!(of("ZoneName")[1].constant.as_deref(), Some("\"none\""));
        assert!(!of("EdgeResponseStatus").is_empty(), "what it says nothing of is as in nginx");
    }

    #[test]
    fn all_mistakes_are_told_with_line_and_remedy() {
        let text = "nam = 'x'\nsigns = 'a'\nlike = 'ngin'\n[http_requests]\nClientIp = 'a'\nEdgeResponseStatus = 200\n\
                    EdgeStartTimestamp = { from = 't', minus = 'd' }\nClientIP = { form = 'a' }\n\
                    EdgeResponseBytes = { from = 'a', as = 'seconds' }\nClientSrcPort = { const = 'x' }\n[http]\n";
        let told = told(text);
        for part in [
            "line 1: nam is no key of a mapping; did you mean name?",
            "line 2: signs must be a list",
            "line 3: like = \"ngin\" names no mapping of this agent; there are caddy",
            "line 5: ClientIp is no field of http_requests; did you mean ClientIP?",
            "line 6: EdgeResponseStatus must be a field's name",
            "line 7: \"d\" needs its unit behind it, one of seconds",
            "line 8: form is no key of a source; did you mean from?",
            "line 9: EdgeResponseBytes has as = \"seconds\", and EdgeResponseBytes is neither time nor duration",
            "line 10: const must be of the type of ClientSrcPort, Int",
            "line 11: http is no key",
        ] {
            assert!(told.contains(part), "{part}\nis not in\n{told}");
        }
        assert!(told.lines().is_sorted_by_key(|line| {
            line.split(' ').nth(1).and_then(|n| n.trim_end_matches(':').parse::<u32>().ok())
        }));
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        assert!(told("name = 'x'\n[http_requests\n").starts_with("line 2: "));
    }
}
