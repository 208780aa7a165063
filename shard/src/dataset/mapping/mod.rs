//! mapping: from which fields of a server's log the fields of a typed data set come.
//!
//! A mapping is data: one text a server in `servers/` ([`read`] understands it, and an operator's own file in the same
//! words). [`mapper`] finds out once a shape which mapping a record's fields are of, and makes a record of the data set
//! of it; [`convert`] is what may be done to a value on its way; [`docs`] tells all of it to people.
//! Promises: nothing is filled that the source does not say; a field that a record has under the data set's own name is
//! never touched.
//! Must not know: which line a record comes from, what becomes of it.
mod convert;
mod docs;
mod mapper;
mod read;
mod said;

pub use convert::{Conversion, Unit};
pub use docs::markdown;
pub use mapper::{Filled, Mapped, Mapper};
pub use read::MappingError;

use super::{Dataset, Field};
use crate::nearest::distance;
use std::sync::{Arc, LazyLock};

/// How the records of one server become records of data sets.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// What an operator calls it.
    pub name: String,
    /// Records are of it that have all the names of one of these; nothing here: whoever names it says so.
    signs: Vec<Sign>,
    /// By data set.
    tables: Vec<Table>,
}

/// Names that a record has, and names that it has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sign {
    has: Vec<String>,
    lacks: Vec<String>,
}

/// What a mapping says of one data set.
#[derive(Clone, Debug)]
struct Table {
    dataset: &'static Dataset,
    /// Sorted by the field's name.
    rules: Vec<Rule>,
}

/// Where one field comes from.
#[derive(Clone, Debug)]
struct Rule {
    field: Field,
    /// The first one that gives a value.
    origins: Vec<Origin>,
}

/// One way to fill a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// The record's field, a path as in a job's fields; `None`: a constant.
    pub from: Option<String>,
    /// What is done to its value.
    pub conversion: Conversion,
    /// The value, as JSON.
    pub constant: Option<String>,
    /// Only for records that have this field.
    pub when: Option<String>,
    /// The query string that belongs behind the value.
    pub query: Option<String>,
    /// Durations that are added.
    pub plus: Vec<(String, Unit)>,
    /// Durations that are taken off.
    pub minus: Vec<(String, Unit)>,
}

const TEXTS: [&str; 11] = [
    include_str!("servers/caddy.toml"),
    include_str!("servers/traefik.toml"),
    include_str!("servers/envoy.toml"),
    include_str!("servers/haproxy.toml"),
    include_str!("servers/ats.toml"),
    include_str!("servers/varnish.toml"),
    include_str!("servers/squid.toml"),
    include_str!("servers/apache.toml"),
    include_str!("servers/lighttpd.toml"),
    include_str!("servers/h2o.toml"),
    include_str!("servers/nginx.toml"),
];

/// The mappings that every agent has. The first whose sign a record has is the record's: the more particular ones come
/// first.
pub fn servers() -> &'static [Arc<Mapping>] {
    static ALL: LazyLock<Vec<Arc<Mapping>>> = LazyLock::new(|| {
        let read =
            |text| Mapping::read(text, &[]).expect("INVARIANT: what stands here is right; a test reads all");
        TEXTS.into_iter().map(|text| Arc::new(read(text))).collect()
    });
    &ALL
}

impl Mapping {
    /// The name of a mapping that says none.
    pub const UNNAMED: &str = "";

    /// Reads a mapping; `known`: those that it may begin with (`like`).
    ///
    /// # Errors
    /// All that is wrong with it, each with its line.
    pub fn parse(text: &str) -> Result<Mapping, Vec<MappingError>> {
        Mapping::read(text, servers())
    }

    /// The rule of a field.
    fn rules(&self, dataset: &Dataset) -> &[Rule] {
        let table = self.tables.iter().find(|table| std::ptr::eq(table.dataset, dataset));
        table.map_or(&[], |table| &table.rules)
    }

    /// The ways in which a field is filled, the first that gives a value wins.
    pub fn origins(&self, dataset: &Dataset, field: &str) -> &[Origin] {
        let rules = self.rules(dataset);
        let at = rules.binary_search_by(|rule| rule.field.name.cmp(field));
        at.map_or(&[], |at| &rules[at].origins)
    }
}

/// How records are mapped, as an operator says it.
#[derive(Clone, Debug, Default)]
pub enum Choice {
    /// As the server whose signs a record has.
    #[default]
    Auto,
    /// Not at all.
    Never,
    /// As this one; records without its signs, where it has some, as [`Choice::Auto`].
    Own(Arc<Mapping>),
}

impl Choice {
    /// Reads `auto`, `none` or a server's name; `Ok(None)`: it is the path of a file.
    ///
    /// # Errors
    /// A word that is none of these, with the nearest.
    pub fn of_word(word: &str) -> Result<Option<Choice>, String> {
        match word {
            "auto" => return Ok(Some(Choice::Auto)),
            "none" => return Ok(Some(Choice::Never)),
            _ if word.contains(['/', '.']) => return Ok(None),
            _ => {}
        }
        if let Some(server) = servers().iter().find(|mapping| mapping.name == word) {
            let always = Mapping { signs: Vec::new(), ..(**server).clone() };
            return Ok(Some(Choice::Own(Arc::new(always))));
        }
        let names =
            || ["auto", "none"].into_iter().chain(servers().iter().map(|mapping| mapping.name.as_str()));
        let near = names().map(|name| (distance(word.chars(), name.chars()), name)).min();
        let near = near.filter(|(away, _)| *away <= 2).map(|(_, name)| format!("did you mean {name}? It "));
        let all = names().collect::<Vec<_>>().join(", ");
        Err(format!("is no mapping: {}must be one of {all}, or the path of a file", near.unwrap_or_default()))
    }
}

/// The choice for each configured source.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// By the number of the source.
    pub sources: Vec<Choice>,
}

impl Choices {
    /// The number of a source's choice: equal for all that nobody configured.
    fn of(&self, source: u16) -> usize {
        usize::from(source).min(self.sources.len())
    }

    fn get(&self, number: usize) -> &Choice {
        self.sources.get(number).unwrap_or(&Choice::Auto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{HTTP_REQUESTS, MEDIANOVA};

    #[test]
    fn every_server_fills_what_every_log_has() {
        for mapping in servers() {
            for (dataset, names) in [
                (
                    &HTTP_REQUESTS,
                    ["ClientIP", "ClientRequestMethod", "EdgeResponseStatus", "EdgeStartTimestamp"],
                ),
                (&MEDIANOVA, ["http_host", "http_user_agent", "request_uri", "timestamp"]),
            ] {
                for name in names {
                    assert!(!mapping.origins(dataset, name).is_empty(), "{} {name}", mapping.name);
                }
            }
        }
    }

    #[test]
    fn words_are_told_from_paths() {
        assert!(matches!(Choice::of_word("auto"), Ok(Some(Choice::Auto))));
        assert!(matches!(Choice::of_word("none"), Ok(Some(Choice::Never))));
        assert!(matches!(Choice::of_word("nginx"), Ok(Some(Choice::Own(own))) if own.name == "nginx"));
        assert!(matches!(Choice::of_word("/etc/edgepush/map.toml"), Ok(None)));
        let told = Choice::of_word("ngnix").unwrap_err();
        assert!(told.contains("did you mean nginx?") && told.contains("lighttpd"), "{told}");
    }
}
