//! Read: output options from a job's JSON.
//!
//! Promises: every problem is found at once, with its place and the remedy. `null` is unset, as Cloudflare has it.
//! Must not know: where the JSON came from.
use super::nearest::hint;
use super::options::{OptionError, OutputOptions, OutputType};
use super::privacy::Privacy;
use super::template::Template;
use crate::dataset::{Dataset, FieldType};
use crate::limits::{OUTPUT_FIELDS_MAX, OUTPUT_TEXT_BYTES_MAX};
use crate::time::TimeFormat;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const POINTER: &str = "/output_options";
const KEYS: [&str; 17] = [
    "CVE-2021-44228",
    "all_fields",
    "batch_prefix",
    "batch_suffix",
    "field_delimiter",
    "field_names",
    "merge_subrequests",
    "output_type",
    "privacy",
    "record_delimiter",
    "record_prefix",
    "record_suffix",
    "record_template",
    "rename",
    "sample_rate",
    "stringify_object",
    "timestamp_format",
];

impl OutputOptions {
    /// Reads `output_options` of a job on a data set; all problems at once.
    pub fn from_json(value: &Value, dataset: &Dataset) -> Result<OutputOptions, Vec<OptionError>> {
        let object = match value {
            Value::Null => return Ok(OutputOptions::all(dataset)),
            Value::Object(object) => object,
            other => {
                let message = format!("is {}; it must be a JSON object, or null", kind(other));
                return Err(vec![OptionError { pointer: POINTER.into(), message }]);
            }
        };
        let mut reader = Reader { object, dataset, problems: Vec::new() };
        let options = reader.options();
        reader.together(&options);
        match reader.problems.is_empty() {
            true => Ok(options),
            false => Err(reader.problems),
        }
    }
}

struct Reader<'a> {
    object: &'a Map<String, Value>,
    dataset: &'a Dataset,
    problems: Vec<OptionError>,
}

/// What a JSON value is, with its article.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl<'a> Reader<'a> {
    fn problem(&mut self, path: &[&str], message: impl Into<String>) {
        let escaped = path.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1")));
        let pointer = std::iter::once(POINTER.to_owned()).chain(escaped).collect();
        self.problems.push(OptionError { pointer, message: message.into() });
    }

    /// A key's value, unless it is unset.
    fn get(&self, key: &str) -> Option<&'a Value> {
        debug_assert!(KEYS.contains(&key), "{key} is read and not known");
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn options(&mut self) -> OutputOptions {
        for key in self.object.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let message = format!("`{key}` is no output option{}", hint(key, KEYS));
            self.problem(&[key], message);
        }
        OutputOptions {
            field_names: self.field_names(),
            all_fields: self.flag("all_fields"),
            output_type: self.choice("output_type", OutputType::ALL.map(|kind| (kind.as_str(), kind))),
            batch_prefix: self.text("batch_prefix"),
            batch_suffix: self.text("batch_suffix"),
            record_prefix: self.text("record_prefix"),
            record_suffix: self.text("record_suffix"),
            record_delimiter: self.text("record_delimiter"),
            field_delimiter: self.text("field_delimiter"),
            record_template: self.template(),
            timestamp_format: self
                .choice("timestamp_format", TimeFormat::ALL.map(|format| (format.as_str(), format))),
            sample_rate: self.sample_rate(),
            cve: self.flag("CVE-2021-44228"),
            merge_subrequests: self.merge_subrequests(),
            stringify_object: self.flag("stringify_object"),
            rename: self.rename(),
            privacy: self.privacy(),
            ..OutputOptions::all(self.dataset)
        }
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(flag) => Some(*flag),
            other => {
                self.problem(&[key], format!("is {}; it must be true or false", kind(other)));
                None
            }
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.get(key)? {
            Value::String(text) if text.len() <= OUTPUT_TEXT_BYTES_MAX => Some(text.clone()),
            Value::String(text) => {
                let len = text.len();
                let message = format!(
                    "is {len} bytes long; it stands around every record, so at most {OUTPUT_TEXT_BYTES_MAX}"
                );
                self.problem(&[key], message);
                None
            }
            other => {
                self.problem(&[key], format!("is {}; it must be a string", kind(other)));
                None
            }
        }
    }

    fn choice<T: Copy, const N: usize>(&mut self, key: &str, choices: [(&str, T); N]) -> Option<T> {
        let value = self.get(key)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| value.as_str() == Some(name)) {
            return Some(*choice);
        }
        let names = choices.map(|(name, _)| name);
        let near = value.as_str().map(|text| hint(text, names)).unwrap_or_default();
        let said = value.as_str().map_or_else(|| kind(value).to_owned(), |text| format!("`{text}`"));
        self.problem(&[key], format!("is {said}; it must be one of {}{near}", names.join(", ")));
        None
    }

    fn sample_rate(&mut self) -> Option<f64> {
        let value = self.get("sample_rate")?;
        match value.as_f64().filter(|_| value.is_number()) {
            Some(rate) if rate > 0.0 && rate <= 1.0 => Some(rate),
            Some(rate) => {
                let message = format!(
                    "is {rate}; it must be above 0 and at most 1 (0.1 sends every tenth record; to send nothing, \
                     disable the job)"
                );
                self.problem(&["sample_rate"], message);
                None
            }
            None => {
                let message = format!("is {}; it must be a number above 0 and at most 1", kind(value));
                self.problem(&["sample_rate"], message);
                None
            }
        }
    }

    fn merge_subrequests(&mut self) -> Option<bool> {
        let flag = self.flag("merge_subrequests")?;
        if flag {
            let why = "this agent sees each request as the server logged it and knows no subrequests to merge; \
                       set it to false, or leave it out";
            self.problem(&["merge_subrequests"], why);
        }
        Some(flag)
    }

    fn template(&mut self) -> Option<Template> {
        let source = self.text("record_template").filter(|source| !source.is_empty())?;
        match Template::parse(&source) {
            Ok(template) => Some(template),
            Err(problem) => {
                self.problem(&["record_template"], problem);
                None
            }
        }
    }

    /// Names, trimmed, each once.
    fn field_names(&mut self) -> Option<Vec<String>> {
        let values = match self.get("field_names")? {
            Value::Array(values) => values,
            other => {
                self.problem(
                    &["field_names"],
                    format!("is {}; it must be a list of field names", kind(other)),
                );
                return None;
            }
        };
        if values.is_empty() {
            let message = "names no field; name at least one, or leave the key out to get all of them";
            self.problem(&["field_names"], message);
        }
        if values.len() > OUTPUT_FIELDS_MAX {
            let message = format!("names {} fields; at most {OUTPUT_FIELDS_MAX} are allowed", values.len());
            self.problem(&["field_names"], message);
        }
        let mut names: Vec<String> = Vec::new();
        for (at, value) in values.iter().take(OUTPUT_FIELDS_MAX).enumerate() {
            let place = at.to_string();
            match value.as_str().map(str::trim) {
                None => self.problem(
                    &["field_names", &place],
                    format!("is {}; it must be a field's name", kind(value)),
                ),
                Some("") => self.problem(&["field_names", &place], "is empty; it must be a field's name"),
                Some(name) if names.iter().any(|known| known == name) => {}
                Some(name) => {
                    self.known(&["field_names", &place], name);
                    names.push(name.to_owned());
                }
            }
        }
        Some(names)
    }

    /// A closed data set has its fields and no others; what lies inside an object or array of it has a path.
    fn known(&mut self, path: &[&str], name: &str) {
        use FieldType::{IntArray, Object, ObjectArray, StringArray};
        let dataset = self.dataset;
        let nested = |(first, _): (&str, &str)| {
            matches!(dataset.field_type(first), Some(Object | ObjectArray | StringArray | IntArray))
        };
        let known = dataset.field_type(name).is_some() || name.split_once('.').is_some_and(nested);
        if !dataset.open && !known {
            let near = hint(name, dataset.fields.iter().map(|field| field.name));
            self.problem(path, format!("`{name}` is no field of the data set {}{near}", dataset.name));
        }
    }

    fn entries(&mut self, key: &str, of: &str) -> Vec<(&'a str, &'a str)> {
        let object = match self.get(key) {
            None => return Vec::new(),
            Some(Value::Object(object)) => object,
            Some(other) => {
                self.problem(
                    &[key],
                    format!("is {}; it must be an object: {{\"field\": {of}}}", kind(other)),
                );
                return Vec::new();
            }
        };
        let mut entries = Vec::new();
        for (name, value) in object {
            match value.as_str() {
                Some(text) => entries.push((name.as_str(), text)),
                None => self.problem(&[key, name], format!("is {}; it must be {of}", kind(value))),
            }
        }
        entries
    }

    fn rename(&mut self) -> BTreeMap<String, String> {
        let mut rename = BTreeMap::new();
        for (name, new) in self.entries("rename", "its new name, a string") {
            if new.is_empty() || new.len() > OUTPUT_TEXT_BYTES_MAX {
                self.problem(&["rename", name], "a new name must not be empty, and not longer than 16 KiB");
            }
            rename.insert(name.to_owned(), new.to_owned());
        }
        rename
    }

    fn privacy(&mut self) -> BTreeMap<String, Privacy> {
        let mut privacy = BTreeMap::new();
        for (name, said) in self.entries("privacy", "\"drop\", \"hash\" or \"truncate_ip\"") {
            match Privacy::ALL.into_iter().find(|privacy| privacy.as_str() == said) {
                Some(known) => _ = privacy.insert(name.to_owned(), known),
                None => {
                    let names = Privacy::ALL.map(Privacy::as_str);
                    let message =
                        format!("is `{said}`; it must be one of {}{}", names.join(", "), hint(said, names));
                    self.problem(&["privacy", name], message);
                }
            }
        }
        privacy
    }

    /// What is wrong with the options together.
    fn together(&mut self, options: &OutputOptions) {
        let csv = options.output_type() == OutputType::Csv;
        // A list with mistakes in it was reported; it is no missing list.
        let named = self.get("field_names").is_some();
        match (options.all_fields, named) {
            (Some(true), true) => {
                self.problem(&["all_fields"], "is true, and field_names is there too; keep one of the two");
            }
            (Some(false), false) => {
                let message = "is missing, and all_fields is false: no field would be left; name some";
                self.problem(&["field_names"], message);
            }
            _ => {}
        }
        let template = self.get("record_template").is_some_and(|template| template != "");
        let columns_missing = csv && !named && !template;
        if columns_missing {
            let message = "is missing; csv needs it, because every record must have the same columns";
            self.problem(&["field_names"], message);
        }
        if csv && options.record_template.is_none() {
            self.csv_delimiter(options.field_delimiter());
        }
        if let Some(template) = &options.record_template {
            for name in template.fields() {
                self.known(&["record_template"], name);
            }
        }
        self.names_together(options, csv);
        // What is wrong with the template or the columns was said.
        let said = columns_missing || template != options.record_template.is_some();
        if options.record_bytes_min() == 0 && !said {
            let message = "is empty, and so is record_prefix: a record whose fields are all missing would have no \
                           byte at all; end records with something, \"\\n\" for example";
            self.problem(&["record_suffix"], message);
        }
    }

    fn csv_delimiter(&mut self, delimiter: &str) {
        if delimiter.is_empty() {
            self.problem(&["field_delimiter"], "is empty; csv needs something between its columns");
        } else if delimiter.contains(['"', '\n', '\r']) {
            let message = "has a quote or a line end in it, which csv uses itself; take another character";
            self.problem(&["field_delimiter"], message);
        }
    }

    /// `rename` and `privacy` are about fields that are there: a slip in a name must not let a field through.
    fn names_together(&mut self, options: &OutputOptions, csv: bool) {
        if !options.rename.is_empty() && (csv || options.record_template.is_some()) {
            let message =
                "does nothing here: names are written by ndjson without a template only; leave it out";
            self.problem(&["rename"], message);
        }
        let named = |key: &'static str| move |name: &'_ str| (key, name.to_owned());
        let both = options.renames().map(named("rename")).chain(options.private().map(named("privacy")));
        for (key, name) in both.collect::<Vec<_>>() {
            self.name_together(options, key, &name);
        }
        let mut after: Vec<&str> = match &options.field_names {
            Some(names) => names.iter().map(|name| options.renamed(name)).collect(),
            None => options.rename.values().map(String::as_str).collect(),
        };
        after.sort_unstable();
        for twice in after.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]) {
            self.problem(
                &["rename"],
                format!("two fields would be called `{twice}`; give each its own name"),
            );
        }
    }

    fn name_together(&mut self, options: &OutputOptions, key: &str, name: &str) {
        let path = [key, name];
        let holds =
            |known: &&String| name.strip_prefix(known.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if let Some(whole) = options.field_names.iter().flatten().find(holds)
            && key == "privacy"
        {
            let message =
                format!("`{name}` lies inside `{whole}`, which is in field_names too and leaves whole");
            return self.problem(&path, format!("{message}; take it out there, or protect all of it"));
        }
        match &options.field_names {
            Some(names) if names.iter().all(|known| known != name) => {
                let near = hint(name, names.iter().map(String::as_str));
                self.problem(
                    &path,
                    format!("`{name}` is not in field_names{near}; name it there, or not here"),
                );
            }
            Some(_) => {}
            // Nothing inside a value is looked at, so the path would protect nothing.
            None if name.contains('.') => {
                let message = format!(
                    "`{name}` may lie inside a value, and with all fields values leave whole; list field_names, or \
                     name the member that holds it"
                );
                self.problem(&path, message);
            }
            None => self.known(&path, name),
        }
    }
}
