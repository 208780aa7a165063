//! Data sets: which fields a job can ask for, and of which type they are.
//!
//! `raw` is whatever a source writes; the others have a fixed set of typed fields.
//! Promises: a field's name and type are those of the product that the data set comes from.
//! Must not know: how a source fills a field, but for `mapping`, which is just that.
mod http_requests;
pub mod mapping;
mod medianova;

/// What a field's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// A time: a number or a string by the job's `timestamp_format`.
    Time,
    /// An array of texts.
    StringArray,
    /// An array of whole numbers.
    IntArray,
    /// An array of objects.
    ObjectArray,
    /// An object.
    Object,
}

/// One field of a data set.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, as a record's key has it.
    pub name: &'static str,
    /// What its values are.
    pub field_type: FieldType,
    /// One sentence for the API.
    pub help: &'static str,
}

const fn field(name: &'static str, field_type: FieldType, help: &'static str) -> Field {
    Field { name, field_type, help }
}

/// The fields that a job can ask for.
#[derive(Debug)]
pub struct Dataset {
    /// Its name in a job.
    pub name: &'static str,
    /// The fields, sorted by name.
    pub fields: &'static [Field],
    /// Whether records have other fields too, of types that nobody knows beforehand.
    pub open: bool,
}

/// What a source writes, as it writes it.
pub static RAW: Dataset = Dataset { name: "raw", fields: &[], open: true };
/// Cloudflare's `http_requests`.
pub static HTTP_REQUESTS: Dataset =
    Dataset { name: "http_requests", fields: http_requests::FIELDS, open: false };
/// Medianova's Real-Time Logpush. Open: its list of fields is not known to its end.
pub static MEDIANOVA: Dataset = Dataset { name: "medianova", fields: medianova::FIELDS, open: true };

/// Every data set of this agent.
pub static DATASETS: [&Dataset; 3] = [&RAW, &HTTP_REQUESTS, &MEDIANOVA];

impl Dataset {
    /// The data set of a name, as it stands in a job.
    pub fn by_name(name: &str) -> Option<&'static Dataset> {
        DATASETS.into_iter().find(|dataset| dataset.name == name)
    }

    /// A field's type; `None`: the data set does not name it.
    pub fn field_type(&self, name: &str) -> Option<FieldType> {
        let found = self.fields.binary_search_by(|field| field.name.cmp(name));
        found.ok().map(|at| self.fields[at].field_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_and_unique() {
        for dataset in DATASETS {
            assert!(dataset.fields.is_sorted_by(|a, b| a.name < b.name), "{}", dataset.name);
            for field in dataset.fields {
                assert!(field.help.ends_with('.') && field.help.len() > 10, "{}", field.name);
            }
        }
        assert_eq!(HTTP_REQUESTS.field_type("EdgeStartTimestamp"), Some(FieldType::Time));
        assert_eq!(HTTP_REQUESTS.field_type("nothing"), None);
        assert_eq!(MEDIANOVA.field_type("status"), Some(FieldType::Int));
        assert_eq!(Dataset::by_name("medianova").map(|dataset| dataset.open), Some(true));
        assert!(Dataset::by_name("Raw").is_none());
    }
}
