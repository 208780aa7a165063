//! Envelope: what a receiver wants around records and around batches, beyond what the job says.
//!
//! Promises: a record inside its envelope is byte for byte what the job wrote; what the job says itself stands.
//! Must not know: which receiver, where bytes go.
use super::options::{OutputOptions, OutputType};

/// What stands around records. Constant; the default is nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Before all records of a batch: `[`.
    pub batch_prefix: &'static str,
    /// Behind them: `]`.
    pub batch_suffix: &'static str,
    /// Between two records: `,`.
    pub delimiter: &'static str,
}

impl OutputOptions {
    /// The options of a job whose receiver wants an envelope. What the job says of the same parts itself stands.
    ///
    /// # Errors
    /// The records are no JSON; in plain words.
    pub fn within(mut self, envelope: &Envelope) -> Result<OutputOptions, String> {
        if self.output_type() != OutputType::Ndjson {
            return Err("its destination takes JSON records only: leave output_type csv out".into());
        }
        let text =
            |said: Option<String>, own: &str| said.or_else(|| (!own.is_empty()).then(|| own.to_owned()));
        self.batch_prefix = text(self.batch_prefix, envelope.batch_prefix);
        self.batch_suffix = text(self.batch_suffix, envelope.batch_suffix);
        self.record_delimiter = text(self.record_delimiter, envelope.delimiter);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::RAW;

    #[test]
    fn an_array_is_made_of_records_unless_the_job_makes_its_own() {
        let array = Envelope { batch_prefix: "[", batch_suffix: "]", delimiter: "," };
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
}
