//! A filter as records are held against it: one flat list of steps with interned fields.
//!
//! Promises: nothing is allocated to evaluate; what is decided early ends early. A field that is missing, `null` or of a
//! kind that the operator is not for makes the operator false, and its `!` form true.
//! Must not know: where records come from, what becomes of them.
use super::instant::Instant;
use super::number::Number;
use super::operator::Operator;
use super::{Filter, Leaf, Node, Test, Value};
use crate::parse::strict::children;
use crate::plan::fields::{FieldSlot, FieldTable, Resolved};
use crate::record::{Member, ValueKind};
use std::cmp::Ordering;

/// A filter that can be asked about records of one [`FieldTable`].
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The whole filter, when it is one text that a field must be: of ten thousand such, each is held against a record
    /// that it was found for, and whatever it keeps elsewhere is far away by then.
    is: Option<Is>,
    steps: Box<[Step]>,
}

/// A field is a text.
#[derive(Clone, Debug)]
struct Is {
    text: Box<str>,
    slot: FieldSlot,
    /// A boolean that is written so is it too.
    or_bool: bool,
}

impl Is {
    fn of(steps: &[Step]) -> Option<Is> {
        let [Step::Leaf { slot, negate: false, test }] = steps else { return None };
        let Test::OneOf(values) = &**test else { return None };
        match &**values {
            [Value::Text(text)] => Some(Is { text: text.clone(), slot: *slot, or_bool: false }),
            [Value::Loose(text, None)] => Some(Is { text: text.clone(), slot: *slot, or_bool: true }),
            _ => None,
        }
    }

    fn holds(&self, record: &Resolved<'_>) -> bool {
        record.get(self.slot).is_some_and(|member| {
            let kind = member.kind == ValueKind::String || self.or_bool && member.kind == ValueKind::Bool;
            kind && record.with_value(member, |said| said == self.text.as_bytes())
        })
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// All steps up to this position must hold.
    All(u32),
    /// One of the steps up to this position must hold.
    Any(u32),
    Leaf {
        slot: FieldSlot,
        negate: bool,
        test: Box<Test>,
    },
}

impl Compiled {
    /// Compiles a filter for records that `table` resolves.
    pub fn new(filter: &Filter, table: &mut FieldTable) -> Compiled {
        let mut steps = Vec::new();
        push(&filter.root, table, &mut steps);
        match Is::of(&steps) {
            Some(is) => Compiled { is: Some(is), steps: Box::default() },
            None => Compiled { is: None, steps: steps.into() },
        }
    }

    /// Whether a record passes.
    pub fn matches(&self, record: &Resolved<'_>) -> bool {
        match &self.is {
            Some(is) => is.holds(record),
            None => self.holds(0, record).0,
        }
    }

    /// Whether the step at `at` holds, and where the next one beside it is.
    fn holds(&self, at: usize, record: &Resolved<'_>) -> (bool, usize) {
        match &self.steps[at] {
            Step::Leaf { slot, negate, test } => {
                let holds = record.get(*slot).is_some_and(|member| test.holds(member, record));
                (holds != *negate, at + 1)
            }
            Step::All(end) => (!self.any(at + 1, *end as usize, false, record), *end as usize),
            Step::Any(end) => (self.any(at + 1, *end as usize, true, record), *end as usize),
        }
    }

    /// Whether one of some steps beside one another is as `wanted`.
    fn any(&self, mut at: usize, end: usize, wanted: bool, record: &Resolved<'_>) -> bool {
        while at < end {
            let (holds, next) = self.holds(at, record);
            if holds == wanted {
                return true;
            }
            at = next;
        }
        false
    }
}

fn push(node: &Node, table: &mut FieldTable, steps: &mut Vec<Step>) {
    match node {
        Node::Leaf(Leaf { key, negate, test }) => {
            steps.push(Step::Leaf { slot: table.intern(key), negate: *negate, test: Box::new(test.clone()) });
        }
        Node::And(nodes) => push_all(nodes, Step::All, table, steps),
        Node::Or(nodes) => push_all(nodes, Step::Any, table, steps),
    }
}

fn push_all(nodes: &[Node], step: fn(u32) -> Step, table: &mut FieldTable, steps: &mut Vec<Step>) {
    let at = steps.len();
    steps.push(step(0));
    for node in nodes {
        push(node, table, steps);
    }
    steps[at] = step(steps.len() as u32);
}

impl Test {
    fn holds(&self, member: Member, record: &Resolved<'_>) -> bool {
        let is_string = member.kind == ValueKind::String;
        match self {
            Test::OneOf(values) => {
                record.with_value(member, |said| values.iter().any(|value| value.equals(member.kind, said)))
            }
            Test::Order(operator, value) => record.with_value(member, |said| {
                value.order_of(member.kind, said).is_some_and(|order| operator.takes(order))
            }),
            Test::StartsWith(text) => {
                is_string && record.with_value(member, |said| said.starts_with(text.as_bytes()))
            }
            Test::EndsWith(text) => {
                is_string && record.with_value(member, |said| said.ends_with(text.as_bytes()))
            }
            Test::Substring(text) => is_string && has(member, text, record),
            Test::Element(value) => has_element(member, value, record),
            Test::Inside(text, _) if is_string => has(member, text, record),
            Test::Inside(_, value) => has_element(member, value, record),
        }
    }
}

fn has(member: Member, text: &str, record: &Resolved<'_>) -> bool {
    record.with_value(member, |said| memchr::memmem::find(said, text.as_bytes()).is_some())
}

fn has_element(member: Member, value: &Value, record: &Resolved<'_>) -> bool {
    let equal = |element: Member| record.with_value(element, |said| value.equals(element.kind, said));
    member.kind == ValueKind::Array && children(record.text(), member.value.start as usize).any(equal)
}

impl Operator {
    fn takes(self, order: Ordering) -> bool {
        match self {
            Operator::Lt => order.is_lt(),
            Operator::Leq => order.is_le(),
            Operator::Gt => order.is_gt(),
            Operator::Geq => order.is_ge(),
            _ => false,
        }
    }
}

impl Value {
    /// Whether a record's value equals this one; `said` is its decoded text.
    fn equals(&self, kind: ValueKind, said: &[u8]) -> bool {
        match (self, kind) {
            (Value::Text(text) | Value::Loose(text, _), ValueKind::String) => said == text.as_bytes(),
            (Value::Loose(text, _), ValueKind::Bool) => said == text.as_bytes(),
            (Value::Loose(_, Some(number)), ValueKind::Number) => is_equal(number, said),
            (Value::Number(number), ValueKind::String | ValueKind::Number) => is_equal(number, said),
            (Value::Bool(wanted), ValueKind::String | ValueKind::Bool) => {
                said == if *wanted { &b"true"[..] } else { b"false" }
            }
            (Value::Time(_), _) => self.order_of(kind, said) == Some(Ordering::Equal),
            _ => false,
        }
    }

    /// How a record's value compares with this one.
    fn order_of(&self, kind: ValueKind, said: &[u8]) -> Option<Ordering> {
        match (self, kind) {
            (Value::Number(number), ValueKind::String | ValueKind::Number) => number.order_of(said),
            (Value::Time(instant), ValueKind::String | ValueKind::Number) => {
                Instant::read(said).map(|said| said.cmp(instant))
            }
            _ => None,
        }
    }
}

fn is_equal(number: &Number, said: &[u8]) -> bool {
    number.order_of(said) == Some(Ordering::Equal)
}
