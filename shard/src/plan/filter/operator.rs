//! The operators: their names, which field types have them, and names that were meant for them.
//!
//! Promises: one table; a new operator is one row of it.
//! Must not know: records, values.
use crate::dataset::FieldType;

/// What a leaf asks, without a `!`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Eq,
    Lt,
    Leq,
    Gt,
    Geq,
    StartsWith,
    EndsWith,
    Contains,
    In,
}

/// Name, operator, whether it is negated.
const OPERATORS: [(&str, Operator, bool); 14] = [
    ("eq", Operator::Eq, false),
    ("!eq", Operator::Eq, true),
    ("lt", Operator::Lt, false),
    ("leq", Operator::Leq, false),
    ("gt", Operator::Gt, false),
    ("geq", Operator::Geq, false),
    ("startsWith", Operator::StartsWith, false),
    ("!startsWith", Operator::StartsWith, true),
    ("endsWith", Operator::EndsWith, false),
    ("!endsWith", Operator::EndsWith, true),
    ("contains", Operator::Contains, false),
    ("!contains", Operator::Contains, true),
    ("in", Operator::In, false),
    ("!in", Operator::In, true),
];

/// Names of other filter languages, and of older ones.
const MEANT: [(&str, &str); 16] = [
    ("neq", "!eq"),
    ("ne", "!eq"),
    ("noteq", "!eq"),
    ("!=", "!eq"),
    ("<>", "!eq"),
    ("=", "eq"),
    ("==", "eq"),
    ("equals", "eq"),
    ("<", "lt"),
    ("<=", "leq"),
    ("lte", "leq"),
    (">", "gt"),
    (">=", "geq"),
    ("gte", "geq"),
    ("notin", "!in"),
    ("notcontains", "!contains"),
];

/// The operator of a name, and whether it is negated.
pub(crate) fn by_name(name: &str) -> Option<(Operator, bool)> {
    OPERATORS.iter().find(|row| row.0 == name).map(|row| (row.1, row.2))
}

/// The operator that was meant by a name that is none.
pub(crate) fn meant(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    match MEANT.iter().find(|row| row.0 == lower) {
        Some(row) => Some(row.1),
        None => nearest(name, OPERATORS.iter().map(|row| row.0)),
    }
}

impl Operator {
    /// Whether a field of this type can be asked this; `None` = any type, decided by each record.
    pub(crate) fn is_for(self, field_type: Option<FieldType>) -> bool {
        match field_type {
            None => true,
            Some(FieldType::String) => matches!(
                self,
                Operator::Eq | Operator::StartsWith | Operator::EndsWith | Operator::Contains | Operator::In
            ),
            Some(FieldType::Int | FieldType::Float | FieldType::Time) => {
                matches!(
                    self,
                    Operator::Eq | Operator::Lt | Operator::Leq | Operator::Gt | Operator::Geq | Operator::In
                )
            }
            Some(FieldType::Bool) => self == Operator::Eq,
            Some(FieldType::StringArray | FieldType::IntArray) => self == Operator::Contains,
            Some(FieldType::Object | FieldType::ObjectArray) => false,
        }
    }
}

/// The operators that a field of this type can be asked, for a sentence.
pub(crate) fn names_for(field_type: FieldType) -> String {
    let fits = OPERATORS.iter().filter(|row| row.1.is_for(Some(field_type)));
    fits.map(|row| row.0).collect::<Vec<_>>().join(", ")
}

/// A type in words.
pub(crate) fn type_name(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::String => "a string",
        FieldType::Int => "a whole number",
        FieldType::Float => "a number",
        FieldType::Bool => "a boolean",
        FieldType::Time => "a time",
        FieldType::StringArray => "an array of strings",
        FieldType::IntArray => "an array of whole numbers",
        FieldType::ObjectArray => "an array of objects",
        FieldType::Object => "an object",
    }
}

/// The name that differs in the fewest letters, when that is at most a third of them.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.map(|known| (distance(name, known), known));
    let (distance, known) = distances.min_by_key(|&(distance, _)| distance)?;
    (distance <= known.len().div_ceil(3)).then_some(known)
}

/// Letters to insert, remove or change; case does not count.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| text.to_ascii_lowercase().into_bytes();
    crate::nearest::distance(letters(a), letters(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(meant("neq"), Some("!eq"));
        assert_eq!(meant("StartsWith"), Some("startsWith"));
        assert_eq!(meant("contain"), Some("contains"));
        assert_eq!(meant(">="), Some("geq"));
        assert_eq!(meant("matches"), None);
        let names = ["ClientIP", "ClientRequestHost"];
        assert_eq!(nearest("clientrequesthosts", names.into_iter()), Some("ClientRequestHost"));
        assert_eq!(nearest("status", names.into_iter()), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "ab")), (3, 2));
    }

    #[test]
    fn operators_by_type_are_those_of_the_table() {
        assert_eq!(names_for(FieldType::Bool), "eq, !eq");
        assert_eq!(names_for(FieldType::StringArray), "contains, !contains");
        assert_eq!(names_for(FieldType::Int), "eq, !eq, lt, leq, gt, geq, in, !in");
        assert_eq!(
            names_for(FieldType::String),
            "eq, !eq, startsWith, !startsWith, endsWith, !endsWith, contains, !contains, in, !in"
        );
        assert_eq!(names_for(FieldType::Object), "");
    }
}
