//! Envelope: what a receiver wants around records and around batches, beyond what the job says.
//!
//! Promises: a record inside its envelope is byte for byte what the job wrote; what the job says itself stands.
//! Must not know: which receiver, where bytes go.
use super::options::{OutputOptions, OutputType};
use super::template::Token;
use crate::batch::ID_OPEN;
use std::borrow::Cow;

/// What stands around records. The default is nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Before all records of a batch: `[`.
    pub batch_prefix: &'static str,
    /// Behind them: `]`.
    pub batch_suffix: &'static str,
    /// Between two records: `,`.
    pub delimiter: &'static str,
    /// Before each record, and part of it: `{"event":`.
    pub record_before: Cow<'static, str>,
    /// Behind each record, before the line end if it has one: `}`.
    pub record_after: Cow<'static, str>,
    /// Before each record stands a line `{"create":{"_id":"…"}}` with an id that the same line always has: 22 characters,
    /// a function of the ledger, the source's seed and the offset. Each record is then one line.
    pub id: bool,
}

/// The part of an envelope that belongs to each record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) before: String,
    pub(super) after: String,
    pub(super) id: bool,
}

impl Around {
    /// What a record begins with for certain, whose own constant beginning is `prefix`.
    pub(super) fn begin(&self, prefix: &str) -> String {
        match self.id {
            true => ID_OPEN.to_owned(),
            false => [&self.before, prefix].concat(),
        }
    }

    /// What ends a record that itself ends with `suffix`: a line end stays the end.
    pub(super) fn end(&self, suffix: &str) -> String {
        match suffix.strip_suffix('\n') {
            Some(rest) => [rest, &self.after, "\n"].concat(),
            None => [suffix, &self.after].concat(),
        }
    }
}

impl OutputOptions {
    /// The options of a job whose receiver wants an envelope. What the job says of the same parts itself stands.
    ///
    /// # Errors
    /// The records are no JSON, or no lines where the receiver takes lines only; all of it, in plain words.
    pub fn within(mut self, envelope: &Envelope) -> Result<OutputOptions, String> {
        if self.output_type() != OutputType::Ndjson {
            return Err("its destination takes JSON records only: leave output_type csv out".into());
        }
        if envelope.id {
            self.check_lines()?;
        }
        let text =
            |said: Option<String>, own: &str| said.or_else(|| (!own.is_empty()).then(|| own.to_owned()));
        self.batch_prefix = text(self.batch_prefix, envelope.batch_prefix);
        self.batch_suffix = text(self.batch_suffix, envelope.batch_suffix);
        self.record_delimiter = text(self.record_delimiter, envelope.delimiter);
        self.around = Around {
            before: envelope.record_before.clone().into_owned(),
            after: envelope.record_after.clone().into_owned(),
            id: envelope.id,
        };
        Ok(self)
    }

    /// Whether each record is a line, and nothing stands between lines.
    fn check_lines(&self) -> Result<(), String> {
        let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let mut wrong = Vec::new();
        for (key, text) in [
            ("batch_prefix", &self.batch_prefix),
            ("batch_suffix", &self.batch_suffix),
            ("record_delimiter", &self.record_delimiter),
        ] {
            wrong.extend(said(text).then(|| format!("leave {key} out")));
        }
        let in_template = |token: &Token| matches!(token, Token::Text(text) if text.contains('\n'));
        let template = self.template().is_some_and(|template| template.tokens.iter().any(in_template));
        let (body, ends) = match self.record_suffix().strip_suffix('\n') {
            Some(body) => (body, true),
            None => (self.record_suffix(), false),
        };
        wrong.extend((!ends).then(|| "let record_suffix end with a line end".to_owned()));
        for (key, broken) in [
            ("record_prefix", self.record_prefix().contains('\n')),
            ("record_suffix", body.contains('\n')),
            ("field_delimiter", self.field_delimiter().contains('\n')),
            ("record_template", template),
        ] {
            wrong.extend(broken.then(|| format!("leave the line end inside {key} out")));
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(format!("its destination takes each record as one line: {}", wrong.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::RAW;
    use serde_json::json;

    #[test]
    fn an_array_is_made_of_records_unless_the_job_makes_its_own() {
        let array = Envelope { batch_prefix: "[", batch_suffix: "]", delimiter: ",", ..Envelope::default() };
        let framing = OutputOptions::all(&RAW).within(&array).unwrap().framing();
        assert_eq!(
            (&*framing.prefix, &*framing.delimiter, &*framing.suffix),
            (&b"["[..], &b","[..], &b"]"[..])
        );
        let own = OutputOptions { batch_prefix: Some("{\"all\":[".into()), ..OutputOptions::all(&RAW) };
        assert_eq!(own.within(&array).unwrap().framing().prefix, b"{\"all\":[");
        let csv = OutputOptions { output_type: Some(OutputType::Csv), ..OutputOptions::all(&RAW) };
        assert!(csv.within(&array).is_err());
    }

    #[test]
    fn records_with_ids_are_lines_and_all_that_is_wrong_is_told() {
        let lines = Envelope { id: true, ..Envelope::default() };
        let within =
            |options: serde_json::Value| OutputOptions::from_json(&options, &RAW).unwrap().within(&lines);
        for (options, word) in [
            (json!({"output_type": "csv", "field_names": ["a"]}), "output_type"),
            (json!({"batch_prefix": "["}), "leave batch_prefix out"),
            (json!({"batch_suffix": "]"}), "leave batch_suffix out"),
            (json!({"record_delimiter": "\n"}), "leave record_delimiter out"),
            (json!({"record_suffix": "}"}), "let record_suffix end"),
            (json!({"record_suffix": "\n}\n"}), "inside record_suffix"),
            (json!({"record_prefix": "\n{"}), "inside record_prefix"),
            (json!({"field_delimiter": ",\n"}), "inside field_delimiter"),
            (json!({"record_template": "\"a\":\n{{.a}}"}), "inside record_template"),
        ] {
            let told = within(options.clone()).expect_err(&options.to_string());
            assert!(told.contains(word) && !told.contains(", "), "{options}: {told}");
        }
        let two = within(json!({"record_delimiter": ",", "batch_prefix": "["})).unwrap_err();
        assert!(two.ends_with("leave batch_prefix out, leave record_delimiter out"), "{two}");
        for options in [
            json!({}),
            json!({"record_suffix": " }\r\n", "batch_prefix": ""}),
            json!({"record_template": "\"a\":{{.a}}", "CVE-2021-44228": true}),
        ] {
            assert!(within(options.clone()).is_ok(), "{options}");
        }
    }

    #[test]
    fn another_envelope_is_another_output() {
        let all = || OutputOptions::all(&RAW);
        let keys = [
            all().key(),
            all().within(&Envelope { id: true, ..Envelope::default() }).unwrap().key(),
            all().within(&Envelope { record_before: "a".into(), ..Envelope::default() }).unwrap().key(),
            all().within(&Envelope { record_after: "a".into(), ..Envelope::default() }).unwrap().key(),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{keys:?}");
        }
        assert_eq!(all().within(&Envelope::default()).unwrap().key(), all().to_json().to_string());
    }
}
