//! mapper: makes records of a data set of a server's records.
//!
//! Which mapping a record is of, and where in it the sources of each field stand, is found out once a shape.
//! Promises: what is made is one valid JSON object whose members are the data set's, in the data set's order; a record
//! that no mapping knows is handed on as it is. Nothing is allocated per record once the buffers have grown.
//! Must not know: who asks for the record, and for which of its fields.
use super::convert::{Step, duration, is_nothing};
use super::said::{Shift, said, write};
use super::{Choice, Choices, Mapping, Origin, Rule, servers};
use crate::dataset::{Dataset, Field, FieldType, HTTP_REQUESTS};
use crate::limits::{PARSE_BYTES_KEPT, SHAPES_MAX};
use crate::plan::path::{Found, find, key_is, walk};
use crate::record::{Member, Record, ShapeId, Span, ValueKind};
use std::ops::Range;
use std::sync::Arc;

/// Ids of shapes that are made here begin here: a parser of JSON counts from 1, text formats from 2^63.
const FIRST_SHAPE: u64 = 1 << 62;
/// Rows that are kept: a parser's shapes, and a few of text formats.
const ROWS: usize = SHAPES_MAX + 8;

/// Makes records of one data set; one per shard.
#[derive(Debug)]
pub struct Mapper {
    dataset: &'static Dataset,
    /// The fields that are made.
    fields: Vec<Field>,
    choices: Arc<Choices>,
    /// The first is for records whose shape is not known; the others are overwritten in turn.
    rows: Vec<Row>,
    /// The most sources and shifts that a row can have.
    room: (usize, usize),
    next: usize,
    last: usize,
    ids: u64,
    hands: Hands,
    text: Vec<u8>,
    members: Vec<Member>,
}

/// What is known of records of one shape from sources of one choice.
#[derive(Debug, Default)]
struct Row {
    choice: usize,
    shape: Option<ShapeId>,
    /// The shape of what is made.
    made: u64,
    /// None: records stay as they are.
    mapping: Option<Arc<Mapping>>,
    fields: Vec<Filling>,
    sources: Vec<Source>,
    shifts: Vec<Found>,
}

/// One field that can be filled.
#[derive(Clone, Debug)]
struct Filling {
    field: Field,
    /// Its rule's place; none: the record has the field itself, there.
    rule: Result<u32, u32>,
    /// The ways that the shape has, in [`Row::sources`].
    sources: Range<u32>,
}

/// Where the fields of one way to fill a field stand.
#[derive(Clone, Debug)]
struct Source {
    /// Its place in the rule.
    origin: u32,
    from: Found,
    when: Found,
    query: Found,
    /// The first of what is added and taken off, in [`Row::shifts`].
    shifts: u32,
}

/// Buffers.
#[derive(Debug, Default)]
struct Hands {
    said: Vec<u8>,
    other: Vec<u8>,
    joined: Vec<u8>,
}

/// A record as a data set has it.
#[derive(Clone, Copy, Debug)]
pub struct Mapped<'a> {
    /// The data set's fields that its source fills, and no others.
    pub own: Record<'a>,
    /// These and behind them all that the record itself has. Only its members are valid JSON, the text is not.
    pub whole: Record<'a>,
}

/// How one field was filled.
#[derive(Clone, Debug)]
pub struct Filled {
    /// The field.
    pub field: Field,
    /// How; `None`: the record has it under this name.
    pub origin: Option<Origin>,
    /// Its value, as JSON.
    pub value: Vec<u8>,
}

impl Mapper {
    /// A mapper; `choices`: which mapping is meant for which source.
    pub fn new(dataset: &'static Dataset, choices: Arc<Choices>) -> Mapper {
        let rows = (0..ROWS).map(|_| Row::default()).collect();
        let (hands, text, members) = (Hands::default(), Vec::new(), Vec::new());
        let fields = dataset.fields.to_vec();
        let room = room(dataset, &choices);
        Mapper {
            dataset,
            fields,
            choices,
            rows,
            room,
            next: 1,
            last: 0,
            ids: FIRST_SHAPE,
            hands,
            text,
            members,
        }
    }

    /// The same, of the fields alone that one of these names means, itself or a value within.
    #[must_use]
    pub fn asked<'n>(mut self, names: impl Iterator<Item = &'n str> + Clone) -> Mapper {
        let within =
            |name: &str, field: &Field| name.split_once('.').is_some_and(|(first, _)| first == field.name);
        self.fields.retain(|field| names.clone().any(|name| name == field.name || within(name, field)));
        self
    }

    /// Whether records of a data set may be mapped at all.
    pub fn is_for(dataset: &Dataset, choices: &Choices) -> bool {
        let never = |choice: &Choice| matches!(choice, Choice::Never);
        !dataset.fields.is_empty() && (choices.sources.is_empty() || !choices.sources.iter().all(never))
    }

    /// A record of a source as the data set has it. All records come from one parser.
    #[inline]
    pub fn map<'a>(&'a mut self, record: &'a Record<'a>, source: u16) -> Mapped<'a> {
        let index = self.row(record, self.choices.of(source));
        if self.rows[index].mapping.is_none() {
            return Mapped { own: *record, whole: *record };
        }
        self.make(record, index)
    }

    #[inline(never)]
    fn make<'a>(&'a mut self, record: &'a Record<'a>, index: usize) -> Mapped<'a> {
        let Mapper { dataset, rows, hands, text, members, .. } = self;
        let row = &rows[index];
        text.clear();
        text.shrink_to(PARSE_BYTES_KEPT);
        members.clear();
        for filling in &row.fields {
            text.push(if members.is_empty() { b'{' } else { b',' });
            text.push(b'"');
            let key = text.len();
            text.extend_from_slice(filling.field.name.as_bytes());
            let key = Span::new(key, text.len());
            text.extend_from_slice(b"\":");
            let from = text.len();
            let kind = row.fill(filling, dataset, record, hands, text).map_or_else(
                || {
                    text.truncate(from);
                    text.extend_from_slice(b"null");
                    ValueKind::Null
                },
                |(_, kind)| kind,
            );
            members.push(Member { key, value: Span::new(from, text.len()), kind });
        }
        text.push(b'}');
        let (own_bytes, own_members) = (text.len(), members.len());
        text.extend_from_slice(record.text);
        let behind =
            |span: Span| Span { start: span.start + own_bytes as u32, end: span.end + own_bytes as u32 };
        let moved =
            |member: &Member| Member { key: behind(member.key), value: behind(member.value), ..*member };
        members.extend(record.members.iter().map(moved));
        let shape = if record.shape == ShapeId::UNKNOWN { record.shape } else { ShapeId(row.made) };
        let whole = Record { text, members, shape, ..*record };
        Mapped { own: Record { text: &text[..own_bytes], members: &members[..own_members], ..whole }, whole }
    }

    /// Which mapping a record is of, and how each of its fields is filled (`null`: not in this record).
    pub fn explain(&mut self, record: &Record<'_>, source: u16) -> Option<(Arc<Mapping>, Vec<Filled>)> {
        let index = self.row(record, self.choices.of(source));
        let (row, hands) = (&self.rows[index], &mut self.hands);
        let mapping = row.mapping.clone()?;
        let rules = mapping.rules(self.dataset);
        let filled = row.fields.iter().map(|filling| {
            let mut value = Vec::new();
            let origin = match row.fill(filling, self.dataset, record, hands, &mut value) {
                None => {
                    value = b"null".to_vec();
                    // The first way that there is would have been it.
                    row.sources[filling.sources.start as usize..filling.sources.end as usize]
                        .first()
                        .map(|s| s.origin)
                }
                Some((origin, _)) => origin,
            };
            let origin = filling.rule.ok().zip(origin);
            let origin = origin.map(|(rule, origin)| rules[rule as usize].origins[origin as usize].clone());
            Filled { field: filling.field, origin, value }
        });
        Some((mapping.clone(), filled.collect()))
    }

    /// The row of a record's shape.
    #[inline]
    fn row(&mut self, record: &Record<'_>, choice: usize) -> usize {
        let is = |row: &Row| row.shape == Some(record.shape) && row.choice == choice;
        if record.shape != ShapeId::UNKNOWN {
            if is(&self.rows[self.last]) {
                return self.last;
            }
            if let Some(index) = self.rows.iter().position(is) {
                self.last = index;
                return index;
            }
        }
        self.find_out(record, choice)
    }

    #[inline(never)]
    fn find_out(&mut self, record: &Record<'_>, choice: usize) -> usize {
        let index = if record.shape == ShapeId::UNKNOWN { 0 } else { self.next };
        if index == self.next {
            self.next = 1 + self.next % (ROWS - 1);
        }
        self.ids += 1;
        let row = &mut self.rows[index];
        (row.choice, row.made) = (choice, self.ids);
        row.shape = (record.shape != ShapeId::UNKNOWN).then_some(record.shape);
        row.fields.clear();
        row.sources.clear();
        row.shifts.clear();
        // Whatever comes into it later: a rare shape does not allocate late.
        row.fields.reserve(self.fields.len());
        row.sources.reserve(self.room.0);
        row.shifts.reserve(self.room.1);
        row.mapping = mapping_of(record, self.choices.get(choice), self.dataset);
        if let Some(mapping) = row.mapping.take() {
            row.find_out(record, &self.fields, mapping.rules(self.dataset));
            // Nothing would come from a field of another name.
            let adds = row.fields.iter().any(|filling| filling.rule.is_ok());
            row.mapping = adds.then_some(mapping);
        }
        self.last = index;
        index
    }
}

/// The most sources, and the most that is added and taken off, in any mapping that records may be of.
fn room(dataset: &Dataset, choices: &Choices) -> (usize, usize) {
    let own = choices.sources.iter().filter_map(|choice| match choice {
        Choice::Own(mapping) => Some(mapping),
        Choice::Auto | Choice::Never => None,
    });
    let count = |mapping: &Arc<Mapping>| {
        let origins = || mapping.rules(dataset).iter().flat_map(|rule| &rule.origins);
        (origins().count(), origins().map(|origin| origin.plus.len() + origin.minus.len()).sum())
    };
    let largest = |a: (usize, usize), b: (usize, usize)| (a.0.max(b.0), a.1.max(b.1));
    own.chain(servers()).map(count).fold((0, 0), largest)
}

/// The mapping that a record is of.
fn mapping_of(record: &Record<'_>, choice: &Choice, dataset: &Dataset) -> Option<Arc<Mapping>> {
    let of_server = || {
        let own = if std::ptr::eq(dataset, &HTTP_REQUESTS) { &[][..] } else { &MEDIANOVA_OWN[..] };
        if own.iter().any(|name| find(record, name) != Found::Nothing) {
            return None;
        }
        servers().iter().find(|mapping| mapping.has_sign(record)).cloned()
    };
    match choice {
        Choice::Never => None,
        Choice::Auto => of_server(),
        Choice::Own(mapping) if mapping.signs.is_empty() || mapping.has_sign(record) => Some(mapping.clone()),
        Choice::Own(_) => of_server(),
    }
}

/// Names that nobody but Medianova gives: records that have one are its own, although nginx's names are in them.
const MEDIANOVA_OWN: [&str; 4] = ["http_protocol", "http_referrer", "request_param", "proxy_cache_status"];

impl Mapping {
    fn has_sign(&self, record: &Record<'_>) -> bool {
        let has = |name: &String| member_of(record, find(record, name), name).is_some();
        self.signs.iter().any(|sign| sign.has.iter().all(has) && !sign.lacks.iter().any(has))
    }
}

impl Row {
    /// Finds out where the sources of all fields stand.
    fn find_out(&mut self, record: &Record<'_>, fields: &[Field], rules: &[Rule]) {
        for field in fields {
            let own = |member: &Member| key_is(member.key.of(record.text), field.name);
            let own = record.members.iter().rposition(own);
            let rule = rules.binary_search_by(|rule| rule.field.name.cmp(field.name));
            let from = self.sources.len() as u32;
            let rule = match (own, rule) {
                (Some(own), _) => Err(own as u32),
                (None, Err(_)) => continue,
                (None, Ok(rule)) => {
                    for (at, origin) in rules[rule].origins.iter().enumerate() {
                        self.find_origin(record, at as u32, origin);
                    }
                    Ok(rule as u32)
                }
            };
            let sources = from..self.sources.len() as u32;
            if rule.is_err() || !sources.is_empty() {
                self.fields.push(Filling { field: *field, rule, sources });
            }
        }
    }

    /// One way to fill a field, if the shape has all that it takes.
    fn find_origin(&mut self, record: &Record<'_>, at: u32, origin: &Origin) {
        let named = |name: &Option<String>| name.as_ref().map(|name| find(record, name));
        let needed = [named(&origin.from), named(&origin.when), named(&origin.query)];
        let others = || origin.plus.iter().chain(&origin.minus).map(|(name, _)| find(record, name));
        let missing = needed.contains(&Some(Found::Nothing)) || others().any(|found| found == Found::Nothing);
        if !missing {
            let shifts = self.shifts.len() as u32;
            self.shifts.extend(others());
            let [from, when, query] = needed.map(|found| found.unwrap_or(Found::Nothing));
            self.sources.push(Source { origin: at, from, when, query, shifts });
        }
    }

    /// Writes a field's value; the way that gave it (none: the record's own), and what kind of value it is. What was
    /// written when it gives none has no meaning.
    fn fill(
        &self,
        filling: &Filling,
        dataset: &Dataset,
        record: &Record<'_>,
        hands: &mut Hands,
        out: &mut Vec<u8>,
    ) -> Option<(Option<u32>, ValueKind)> {
        let rule = match filling.rule {
            Ok(rule) => &self.mapping.as_ref()?.rules(dataset)[rule as usize],
            Err(own) => {
                let member = record.members[own as usize];
                out.extend_from_slice(member.value.of(record.text));
                return Some((None, member.kind));
            }
        };
        let from = out.len();
        for source in &self.sources[filling.sources.start as usize..filling.sources.end as usize] {
            let origin = &rule.origins[source.origin as usize];
            if let Some(kind) = self.fill_from(source, origin, &filling.field, record, hands, out) {
                return Some((Some(source.origin), kind));
            }
            out.truncate(from);
        }
        None
    }

    fn fill_from(
        &self,
        source: &Source,
        origin: &Origin,
        field: &Field,
        record: &Record<'_>,
        hands: &mut Hands,
        out: &mut Vec<u8>,
    ) -> Option<ValueKind> {
        if let Some(when) = &origin.when {
            member_of(record, source.when, when).filter(|member| member.kind != ValueKind::Null)?;
        }
        let Some(from) = &origin.from else {
            let constant = origin.constant.as_ref()?;
            out.extend_from_slice(constant.as_bytes());
            return Some(kind_of(constant.as_bytes()));
        };
        let member = member_of(record, source.from, from)?;
        let raw = member.value.of(record.text);
        if origin.conversion.is_plain() && origin.query.is_none() {
            let as_is = match (field.field_type, member.kind) {
                (FieldType::String, ValueKind::String) => !is_nothing(&raw[1..raw.len() - 1]),
                (FieldType::Object, ValueKind::Object) => true,
                (FieldType::StringArray | FieldType::IntArray | FieldType::ObjectArray, ValueKind::Array) => {
                    true
                }
                _ => false,
            };
            if as_is {
                out.extend_from_slice(raw);
                return Some(member.kind);
            }
        }
        let shift = self.shift(source, origin, record, hands)?;
        let value = said(record.text, member, &mut hands.said)?;
        let value = match &origin.query {
            None => value,
            Some(query) => {
                let query = member_of(record, source.query, query)?;
                // A record may say that there is none by `null`.
                let query = said(record.text, query, &mut hands.other).unwrap_or_default();
                joined(value, query, &mut hands.joined)
            }
        };
        write(value, (field.name, field.field_type), &origin.conversion, shift, out)
    }

    /// What is added and taken off; `None`: something of it is not there.
    fn shift(
        &self,
        source: &Source,
        origin: &Origin,
        record: &Record<'_>,
        hands: &mut Hands,
    ) -> Option<Shift> {
        let (plus, minus) = (origin.plus.iter().map(|of| (1, of)), origin.minus.iter().map(|of| (-1, of)));
        let mut shift = 0_i128;
        for ((sign, (name, unit)), found) in plus.chain(minus).zip(&self.shifts[source.shifts as usize..]) {
            let member = member_of(record, *found, name)?;
            let nanos = duration(said(record.text, member, &mut hands.other)?, *unit)?;
            shift = shift.checked_add(sign * nanos)?;
        }
        Some(Shift(shift))
    }
}

/// A path and its query string.
fn joined<'a>(path: &'a [u8], query: &[u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let query = Step::Args.of(query);
    if is_nothing(query) || is_nothing(path) {
        return path;
    }
    buffer.clear();
    buffer.extend_from_slice(path);
    buffer.push(b'?');
    buffer.extend_from_slice(query);
    buffer
}

fn kind_of(json: &[u8]) -> ValueKind {
    match json.first() {
        Some(b'"') => ValueKind::String,
        Some(b't' | b'f') => ValueKind::Bool,
        _ => ValueKind::Number,
    }
}

/// The member that a name means in a record.
fn member_of(record: &Record<'_>, found: Found, name: &str) -> Option<Member> {
    match found {
        Found::Nothing => None,
        Found::Member(at) => Some(record.members[at as usize]),
        Found::Below(at) => walk(record.text, record.members[at as usize], name),
    }
}
