//! Filters: which records a job wants, as its operator wrote it (`docs/filters.md`).
//!
//! Promises: what was parsed is right: operators fit their fields' types, values are of the types that are compared.
//! Every mistake is told with its place in the filter and what to write instead.
//! Must not know: records (`compiled` does), jobs, where the filter stands.
pub(crate) mod compiled;
pub(crate) mod instant;
pub(crate) mod number;
mod operator;
mod read;
pub(crate) mod text;

pub use compiled::Compiled;

use crate::dataset::Dataset;
use instant::Instant;
use number::Number;
use operator::Operator;
use std::fmt;

/// A filter, parsed and checked against its data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    root: Node,
}

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// Where: a JSON pointer (RFC 6901) into the filter.
    pub pointer: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "its beginning" } else { &self.pointer };
        write!(f, "filter, at {place}: {}", self.message)
    }
}

impl std::error::Error for FilterError {}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Leaf(Leaf),
}

#[derive(Clone, Debug, PartialEq)]
struct Leaf {
    key: String,
    negate: bool,
    test: Test,
}

/// What a value must be, for the leaf to hold (or not to hold, when it is negated).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    /// Equal to one of these.
    OneOf(Box<[Value]>),
    /// Before, after, and perhaps equal to this.
    Order(Operator, Value),
    /// A string that starts with this.
    StartsWith(Box<str>),
    /// A string that ends with this.
    EndsWith(Box<str>),
    /// A string with this inside.
    Substring(Box<str>),
    /// An array one of whose elements equals this.
    Element(Value),
    /// A string with this inside, or an array with this element: whichever the record has.
    Inside(Box<str>, Value),
}

/// What a record's value is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Strings.
    Text(Box<str>),
    /// Numbers, and strings that are numbers.
    Number(Number),
    /// Booleans, and the strings `true` and `false`.
    Bool(bool),
    /// Times, in any spelling.
    Time(Instant),
    /// A string where the record decides: strings as they are, a number or a boolean by what the string says.
    Loose(Box<str>, Option<Box<Number>>),
}

impl Value {
    /// What equal values have in common as text; `None` for times, which have many spellings.
    fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Loose(text, _) => Some(text),
            Value::Number(number) => Some(number.text()),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Time(_) => None,
        }
    }
}

impl Filter {
    /// Reads a filter; an empty text, or nothing but white space, is none.
    ///
    /// # Errors
    /// The first mistake in it: see [`Filter::parse_all`].
    pub fn parse(text: &str, dataset: &Dataset) -> Result<Option<Filter>, FilterError> {
        Filter::parse_all(text, dataset).map_err(|mut errors| errors.swap_remove(0))
    }

    /// As [`Filter::parse`], with every mistake.
    ///
    /// # Errors
    /// Whatever is wrong with the text, its operators, keys, values or size; at least one.
    pub fn parse_all(text: &str, dataset: &Dataset) -> Result<Option<Filter>, Vec<FilterError>> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        read::read(text, dataset).map(|root| Some(Filter { root }))
    }

    /// Every field that it asks for.
    pub fn keys(&self) -> Vec<&str> {
        let (mut keys, mut rest) = (Vec::new(), vec![&self.root]);
        while let Some(node) = rest.pop() {
            match node {
                Node::And(nodes) | Node::Or(nodes) => rest.extend(nodes),
                Node::Leaf(leaf) => keys.push(leaf.key.as_str()),
            }
        }
        keys
    }

    /// A field, and the only values that it can have in a record that passes (numbers as the filter spells them), when
    /// the filter says so: of all such fields the one with the fewest values.
    pub fn required(&self) -> Option<(&str, Vec<&str>)> {
        self.required_all().into_iter().min_by_key(|(_, values)| values.len())
    }

    /// Every such field, in the order of the filter.
    pub(crate) fn required_all(&self) -> Vec<(&str, Vec<&str>)> {
        required(&self.root)
    }
}

type Required<'a> = Vec<(&'a str, Vec<&'a str>)>;

fn required(node: &Node) -> Required<'_> {
    match node {
        Node::Leaf(Leaf { key, negate: false, test: Test::OneOf(values) }) => {
            let texts: Option<Vec<&str>> = values.iter().map(Value::text).collect();
            texts.map(|texts| (key.as_str(), texts)).into_iter().collect()
        }
        Node::Leaf(_) => Vec::new(),
        Node::And(nodes) => nodes.iter().map(required).fold(Vec::new(), both),
        Node::Or(nodes) => nodes.iter().map(required).reduce(either).unwrap_or_default(),
    }
}

/// What two conditions require together: of a field that both name, the fewer values.
fn both<'a>(mut left: Required<'a>, right: Required<'a>) -> Required<'a> {
    for (field, values) in right {
        match left.iter_mut().find(|known| known.0 == field) {
            Some(known) if known.1.len() <= values.len() => {}
            Some(known) => known.1 = values,
            None => left.push((field, values)),
        }
    }
    left
}

/// What two conditions require in turn: only of fields that both name, all the values.
fn either<'a>(mut left: Required<'a>, right: Required<'a>) -> Required<'a> {
    left.retain_mut(|(field, values)| {
        let other = right.iter().find(|other| other.0 == *field);
        for value in other.iter().flat_map(|other| &other.1) {
            if !values.contains(value) {
                values.push(value);
            }
        }
        other.is_some()
    });
    left
}
