//! A filter's text becomes a tree, or a list of mistakes.
//!
//! Promises: all mistakes at once, each with its JSON pointer; keys that stand twice are a mistake, not a choice.
//! Must not know: records, how a filter is evaluated.
use super::instant::Instant;
use super::number::Number;
use super::operator::{Operator, by_name, meant, names_for, nearest, type_name};
use super::{FilterError, Leaf, Node, Test, Value, text};
use crate::dataset::{Dataset, FieldType};
use crate::limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_OPERATORS_MAX};
use crate::parse::strict::{children, scan};
use crate::record::{Member, ValueKind};

/// Reads a text that is not empty.
pub(super) fn read(source: &str, dataset: &Dataset) -> Result<Node, Vec<FilterError>> {
    let mut reader = Reader { source: source.as_bytes(), dataset, operators: 0, errors: Vec::new() };
    let root = reader.whole();
    match root {
        Some(root) if reader.errors.is_empty() => Ok(root),
        _ => Err(reader.errors),
    }
}

struct Reader<'a> {
    source: &'a [u8],
    dataset: &'a Dataset,
    operators: usize,
    errors: Vec<FilterError>,
}

const NODE: &str = "a node is one of {\"and\":[…]}, {\"or\":[…]} and {\"key\":…,\"operator\":…,\"value\":…}";

/// The members of a node, by name.
#[derive(Default)]
struct Members {
    and: Option<Member>,
    or: Option<Member>,
    key: Option<Member>,
    operator: Option<Member>,
    value: Option<Member>,
}

impl Members {
    fn slot(&mut self, name: &str) -> Option<&mut Option<Member>> {
        match name {
            "and" => Some(&mut self.and),
            "or" => Some(&mut self.or),
            "key" => Some(&mut self.key),
            "operator" => Some(&mut self.operator),
            "value" => Some(&mut self.value),
            _ => None,
        }
    }
}

impl Reader<'_> {
    /// Notes a mistake.
    fn wrong<T>(&mut self, pointer: &str, message: impl Into<String>) -> Option<T> {
        self.errors.push(FilterError { pointer: pointer.to_owned(), message: message.into() });
        None
    }

    fn whole(&mut self) -> Option<Node> {
        if self.source.len() > FILTER_BYTES_MAX {
            let len = self.source.len();
            return self.wrong(
                "",
                format!("{len} bytes are more than the {FILTER_BYTES_MAX} that a filter may have; shorten it, or split the job"),
            );
        }
        let mut members = Vec::new();
        if let Err(fault) = scan(self.source, &mut members) {
            let message = format!(
                "it is no JSON object ({} at byte {}); a filter is {{\"where\":…}}, and {NODE}",
                fault.reason.as_str(),
                fault.column
            );
            return self.wrong("", message);
        }
        let mut root = None;
        for member in members {
            match self.string(member.key.of(self.source)).as_deref() {
                Some("where") if root.is_none() => root = Some(member),
                Some("where") => {
                    self.wrong::<()>("/where", "it stands twice; keep one");
                }
                name => {
                    let name = name.unwrap_or("?");
                    let message =
                        format!("unknown member `{name}`; a filter is {{\"where\":…}} and nothing beside it");
                    self.wrong::<()>(&at("", name), message);
                }
            }
        }
        match root {
            Some(root) => self.node(root, "/where", 1),
            None => self.wrong("", "`where` is missing: write {\"where\":{…}}"),
        }
    }

    fn node(&mut self, member: Member, pointer: &str, depth: usize) -> Option<Node> {
        if depth > FILTER_DEPTH_MAX {
            return self
                .wrong(pointer, format!("more than {FILTER_DEPTH_MAX} levels of nodes; write it flatter"));
        }
        if member.kind != ValueKind::Object {
            return self.wrong(pointer, format!("this is {}; {NODE}", kind_name(member.kind)));
        }
        let members = self.members(member, pointer)?;
        let leaf = members.key.is_some() || members.operator.is_some() || members.value.is_some();
        match (members.and, members.or, leaf) {
            (Some(and), None, false) => self.nodes(and, &at(pointer, "and"), depth).map(Node::And),
            (None, Some(or), false) => self.nodes(or, &at(pointer, "or"), depth).map(Node::Or),
            (None, None, true) => self.leaf(&members, pointer).map(Node::Leaf),
            (None, None, false) => self.wrong(pointer, format!("an empty node; {NODE}")),
            _ => self.wrong(pointer, format!("a mixed node; {NODE}, never two of them in one")),
        }
    }

    fn members(&mut self, node: Member, pointer: &str) -> Option<Members> {
        let (mut members, source) = (Members::default(), self.source);
        let before = self.errors.len();
        for child in children(source, node.value.start as usize) {
            let name = self.string(child.key.of(source)).unwrap_or_default();
            match members.slot(&name) {
                Some(slot @ None) => *slot = Some(child),
                Some(_) => {
                    self.wrong::<()>(&at(pointer, &name), "it stands twice; keep one");
                }
                None => {
                    let near = nearest(&name, ["and", "or", "key", "operator", "value"].into_iter());
                    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                    self.wrong::<()>(&at(pointer, &name), format!("unknown member `{name}`{hint} {NODE}"));
                }
            }
        }
        (self.errors.len() == before).then_some(members)
    }

    fn nodes(&mut self, list: Member, pointer: &str, depth: usize) -> Option<Vec<Node>> {
        if list.kind != ValueKind::Array {
            return self.wrong(pointer, format!("this is {}; write an array of nodes", kind_name(list.kind)));
        }
        let source = self.source;
        let children: Vec<Member> = children(source, list.value.start as usize).collect();
        if children.is_empty() {
            return self
                .wrong(pointer, "an empty list says nothing; put nodes into it, or leave the filter out");
        }
        let nodes: Vec<Option<Node>> = children
            .into_iter()
            .enumerate()
            .map(|(index, child)| self.node(child, &format!("{pointer}/{index}"), depth + 1))
            .collect();
        nodes.into_iter().collect()
    }

    fn leaf(&mut self, members: &Members, pointer: &str) -> Option<Leaf> {
        self.operators += 1;
        if self.operators > FILTER_OPERATORS_MAX {
            // Once is enough.
            if self.operators == FILTER_OPERATORS_MAX + 1 {
                let remedy = "use `in` instead of many `eq`, or split the job";
                self.wrong::<()>(pointer, format!("more than {FILTER_OPERATORS_MAX} operators; {remedy}"));
            }
            return None;
        }
        let key = self.name_of(members.key, pointer, "key");
        let operator = self.name_of(members.operator, pointer, "operator");
        if members.value.is_none() {
            self.wrong::<()>(pointer, "`value` is missing: what to compare with");
        }
        let field = key.and_then(|key| {
            let field_type = self.field_type(&key, &at(pointer, "key"))?;
            Some((key, field_type))
        });
        let operator = operator.and_then(|name| self.operator(&name, &at(pointer, "operator")));
        let ((key, field_type), (name, operator, negate), value) = (field?, operator?, members.value?);
        if let Some(field_type) = field_type
            && !operator.is_for(Some(field_type))
        {
            let fits = match names_for(field_type) {
                none if none.is_empty() => "such fields cannot be filtered by".to_owned(),
                fits => format!("it has {fits}"),
            };
            let what = type_name(field_type);
            return self
                .wrong(&at(pointer, "operator"), format!("`{name}` is not for `{key}`, {what}: {fits}"));
        }
        let test = self.test(operator, field_type, value, &at(pointer, "value"))?;
        Some(Leaf { key, negate, test })
    }

    /// A member that must be a string with something in it.
    fn name_of(&mut self, member: Option<Member>, pointer: &str, name: &str) -> Option<String> {
        let Some(member) = member else {
            return self.wrong(pointer, format!("`{name}` is missing; {NODE}"));
        };
        match self.plain(member) {
            Some(text) if !text.is_empty() => Some(text),
            _ => self.wrong(&at(pointer, name), format!("`{name}` must be a string that is not empty")),
        }
    }

    fn field_type(&mut self, key: &str, pointer: &str) -> Option<Option<FieldType>> {
        let dataset = self.dataset;
        let found = dataset.field_type(key);
        if found.is_some() || dataset.open {
            return Some(found);
        }
        let near = nearest(key, dataset.fields.iter().map(|field| field.name));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        self.wrong(pointer, format!("`{}` has no field `{key}`{hint}", dataset.name))
    }

    fn operator(&mut self, name: &str, pointer: &str) -> Option<(String, Operator, bool)> {
        match (by_name(name), meant(name)) {
            (Some((operator, negate)), _) => Some((name.to_owned(), operator, negate)),
            (None, Some(near)) => self.wrong(pointer, format!("unknown operator `{name}`; write `{near}`")),
            (None, None) => {
                let all = names_of_all();
                self.wrong(pointer, format!("unknown operator `{name}`; the operators are {all}"))
            }
        }
    }

    fn test(
        &mut self,
        operator: Operator,
        field_type: Option<FieldType>,
        value: Member,
        pointer: &str,
    ) -> Option<Test> {
        match operator {
            Operator::Eq => self.literal(field_type, value, pointer).map(|value| Test::OneOf([value].into())),
            Operator::In => self.list(field_type, value, pointer),
            Operator::Lt | Operator::Leq | Operator::Gt | Operator::Geq => {
                let number = if field_type.is_none() { Some(FieldType::Float) } else { field_type };
                self.literal(number, value, pointer).map(|value| Test::Order(operator, value))
            }
            Operator::StartsWith => self.text(value, pointer).map(Test::StartsWith),
            Operator::EndsWith => self.text(value, pointer).map(Test::EndsWith),
            Operator::Contains => match field_type {
                Some(FieldType::StringArray) => {
                    self.literal(Some(FieldType::String), value, pointer).map(Test::Element)
                }
                Some(FieldType::IntArray) => {
                    self.literal(Some(FieldType::Int), value, pointer).map(Test::Element)
                }
                Some(_) => self.text(value, pointer).map(Test::Substring),
                None => self.literal(None, value, pointer).map(|value| match value {
                    Value::Loose(ref text, _) => Test::Inside(text.clone(), value),
                    other => Test::Element(other),
                }),
            },
        }
    }

    fn list(&mut self, field_type: Option<FieldType>, list: Member, pointer: &str) -> Option<Test> {
        if list.kind != ValueKind::Array {
            let what = kind_name(list.kind);
            return self.wrong(pointer, format!("this is {what}; write the values as an array: [200,201]"));
        }
        let children: Vec<Member> = children(self.source, list.value.start as usize).collect();
        if children.is_empty() {
            return self.wrong(pointer, "an empty list equals nothing; put values into it");
        }
        let values: Vec<Option<Value>> = children
            .into_iter()
            .enumerate()
            .map(|(index, child)| self.literal(field_type, child, &format!("{pointer}/{index}")))
            .collect();
        values.into_iter().collect::<Option<Box<[Value]>>>().map(Test::OneOf)
    }

    fn text(&mut self, value: Member, pointer: &str) -> Option<Box<str>> {
        match self.plain(value) {
            Some(text) => Some(text.into()),
            None => {
                let what = kind_name(value.kind);
                self.wrong(pointer, format!("this is {what}; write a string, in quotes"))
            }
        }
    }

    /// What a value of a field of this type is compared with; `None` = the record decides.
    fn literal(&mut self, field_type: Option<FieldType>, value: Member, pointer: &str) -> Option<Value> {
        let source = self.source;
        let raw = std::str::from_utf8(value.value.of(source)).unwrap_or_default();
        let said = match value.kind {
            ValueKind::String => self.plain(value),
            ValueKind::Number | ValueKind::Bool => Some(raw.to_owned()),
            _ => None,
        };
        let is_string = value.kind == ValueKind::String;
        let found = said.as_deref().and_then(|said| match field_type {
            Some(FieldType::String) => is_string.then(|| Value::Text(said.into())),
            Some(FieldType::Int) => Number::read(said).filter(Number::is_whole).map(Value::Number),
            Some(FieldType::Float) => Number::read(said).map(Value::Number),
            Some(FieldType::Bool) => said.parse().ok().map(Value::Bool),
            Some(FieldType::Time) => Instant::read(said.as_bytes()).map(Value::Time),
            Some(_) => None,
            None => Some(match value.kind {
                ValueKind::Number => Value::Number(Number::read(said)?),
                ValueKind::Bool => Value::Bool(said == "true"),
                _ => Value::Loose(said.into(), Number::read(said).map(Box::new)),
            }),
        });
        if found.is_none() {
            let wanted = match field_type {
                None => "write a string, a number, true or false",
                Some(FieldType::String) => "write a string, in quotes",
                Some(FieldType::Int) => "write a whole number, as 200 or \"200\"",
                Some(FieldType::Bool) => "write true or false",
                Some(FieldType::Time) => {
                    "write a time, as \"2026-11-21T10:00:00Z\" or a number of seconds, ms or ns"
                }
                Some(_) => "write a number, as 0.5 or \"0.5\"",
            };
            return self.wrong(pointer, format!("this is {}; {wanted}", shown(raw, value.kind)));
        }
        found
    }

    /// A string's text.
    fn plain(&self, value: Member) -> Option<String> {
        let body = value.value.of(self.source).strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        self.string(body)
    }

    /// A body's text; `None` with a lone surrogate in it, which no record's text can equal.
    fn string(&self, body: &[u8]) -> Option<String> {
        std::str::from_utf8(text::decoded(body, &mut Vec::new())).ok().map(str::to_owned)
    }
}

/// A pointer one level further down.
fn at(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::String => "a string",
        ValueKind::Number => "a number",
        ValueKind::Bool => "a boolean",
        ValueKind::Null => "null",
        ValueKind::Object => "an object",
        ValueKind::Array => "an array",
    }
}

/// A wrong value in a sentence: itself when it is short.
fn shown(raw: &str, kind: ValueKind) -> String {
    let short = raw.len() <= 40 && !matches!(kind, ValueKind::Object | ValueKind::Array);
    if short { format!("`{raw}`") } else { kind_name(kind).to_owned() }
}

fn names_of_all() -> String {
    let (texts, numbers) = (names_for(FieldType::String), "lt, leq, gt, geq");
    format!("{texts}, {numbers}")
}
