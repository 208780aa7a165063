//! Properties of filters and routes on generated trees, records and jobs.
use edgepush_shard::dataset::{DATASETS, Dataset, HTTP_REQUESTS, RAW};
use edgepush_shard::parse::Parser;
use edgepush_shard::plan::{Filter, RouteJob, Router, Sample};
use edgepush_shard::testing::filter::{filter_is_naive, filter_of, line_of, router_is_brute};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Texts of which some are equal, contain one another, or need escapes.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "ab", "b", "abab", "", "é", "a\nb", "\"", "\\", "a/b", "true", "false", "null"]).prop_map(str::to_owned),
        3 => number(),
        1 => "[ab\\\\\"é\u{10000}\n]{0,5}",
        1 => prop::sample::select(vec!["2026-11-21T02:20:14Z", "2026-11-21T03:20:14.000+01:00", "1969-12-31T23:59:59.5Z"]).prop_map(str::to_owned),
    ]
}

/// Numbers of which many are near one another, in many spellings.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "-?[0-2]",
        2 => "-?[12](\\.[05]0?)?([eE][+-]?[0-2])?",
        1 => "900719925474099[23]",
        1 => "1795227614(000|000000000)?",
        1 => "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
    ]
}

/// A string, its characters escaped or not as the seed says.
fn escaped(text: &str, seed: u64) -> String {
    let mut out = String::from("\"");
    for (at, c) in text.chars().enumerate() {
        if seed >> (at % 64) & 1 == 1 {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
        } else {
            out += serde_json::to_string(&c).expect("a character").trim_matches('"');
            // `trim_matches` takes an escaped quote's quote too.
            if c == '"' {
                out.push('"');
            }
        }
    }
    out + "\""
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (text(), prop_oneof![2 => Just(0), 1 => any::<u64>()]).prop_map(|(text, seed)| escaped(&text, seed)),
        4 => number(),
        1 => Just("true".to_owned()),
        1 => Just("false".to_owned()),
    ]
}

const RAW_KEYS: [&str; 6] = ["host", "k", "a.b", "a.0", "a.b.k", "é"];
const TYPED_KEYS: [&str; 7] = [
    "ClientRequestHost",
    "EdgeResponseStatus",
    "EdgeResponseCompressionRatio",
    "CacheReserveUsed",
    "EdgeStartTimestamp",
    "BotDetectionIDs",
    "BotTags",
];

fn line(keys: &'static [&'static str]) -> impl Strategy<Value = String> {
    let value = prop_oneof![6 => scalar(), 1 => Just("null".to_owned())].prop_recursive(2, 8, 3, |inner| {
        let member = (prop::sample::select(vec!["b", "k", "0"]), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..3).prop_map(|members| {
                let members = members.iter().map(|(key, value)| format!("\"{key}\":{value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    });
    let key = prop_oneof![4 => prop::sample::select(keys), 1 => Just("a"), 1 => Just("x")];
    prop::collection::vec((key, value), 0..7).prop_map(|members| {
        let members = members.iter().map(|(key, value)| format!("\"{key}\":{value}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    })
}

const ORDERS: [&str; 4] = ["lt", "leq", "gt", "geq"];
const EQUALS: [&str; 2] = ["eq", "!eq"];
const LISTS: [&str; 2] = ["in", "!in"];
const CONTAINS: [&str; 2] = ["contains", "!contains"];
const TEXTS: [&str; 6] = ["startsWith", "!startsWith", "endsWith", "!endsWith", "contains", "!contains"];

fn of(
    operators: &'static [&'static str],
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = (String, String)> {
    (prop::sample::select(operators), value).prop_map(|(operator, value)| (operator.to_owned(), value))
}

fn list(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(value, 1..4).prop_map(|items| format!("[{}]", items.join(",")))
}

fn quoted(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    text.prop_map(|text| escaped(&text, 0))
}

/// A number, in quotes or not.
fn loose_number() -> impl Strategy<Value = String> {
    prop_oneof![number(), quoted(number())]
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![2 => scalar(), 1 => list(scalar()), 1 => text()]
}

/// An operator and a value that a key can be asked.
fn question(key: &'static str) -> BoxedStrategy<(String, String)> {
    let whole = || "-?[0-3]|200|\"[12]\"|900719925474099[23]";
    // A time beyond all years would be refused.
    let near = || "-?[0-2]|\"-?[0-2]\\.[05]\"|1795227614(000|000000000)?|1[.]795227614e9";
    let time = || prop_oneof![quoted(Just("2026-11-21T02:20:14Z".to_owned())), near()];
    match key {
        "ClientRequestHost" => prop_oneof![
            of(&EQUALS, quoted(text())),
            of(&TEXTS, quoted(text())),
            of(&LISTS, list(quoted(text()))),
        ]
        .boxed(),
        "EdgeResponseStatus" => {
            prop_oneof![of(&EQUALS, whole()), of(&ORDERS, whole()), of(&LISTS, list(whole()))].boxed()
        }
        "EdgeResponseCompressionRatio" => prop_oneof![
            of(&EQUALS, loose_number()),
            of(&ORDERS, loose_number()),
            of(&LISTS, list(loose_number())),
        ]
        .boxed(),
        "CacheReserveUsed" => of(&EQUALS, "true|false|\"true\"|\"false\"").boxed(),
        "EdgeStartTimestamp" => {
            prop_oneof![of(&EQUALS, time()), of(&ORDERS, time()), of(&LISTS, list(time()))].boxed()
        }
        "BotDetectionIDs" => of(&CONTAINS, whole()).boxed(),
        "BotTags" => of(&CONTAINS, quoted(text())).boxed(),
        _ => prop_oneof![
            of(&EQUALS, scalar()),
            of(&ORDERS, loose_number()),
            of(&TEXTS, quoted(text())),
            of(&CONTAINS, scalar()),
            of(&LISTS, list(scalar())),
        ]
        .boxed(),
    }
}

fn filter(keys: &'static [&'static str]) -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(keys).prop_flat_map(|key| {
        question(key).prop_map(move |(operator, value)| {
            format!(r#"{{"key":"{key}","operator":"{operator}","value":{value}}}"#)
        })
    });
    leaf.prop_recursive(3, 8, 3, |inner| {
        (prop::sample::select(vec!["and", "or"]), prop::collection::vec(inner, 1..4))
            .prop_map(|(kind, nodes)| format!(r#"{{"{kind}":[{}]}}"#, nodes.join(",")))
    })
    .prop_map(|node| format!(r#"{{"where":{node}}}"#))
    .prop_filter("Logpush's bound", |text| text.len() <= 1000)
}

/// Every filter of these generators is right, and passes what the plain way passes.
fn agree(filter: &str, lines: &[String], dataset: &Dataset) {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert!(filter_is_naive(filter, &lines, dataset), "{filter} was refused");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn raw_filters_pass_what_the_plain_way_passes(
        filter in filter(&RAW_KEYS),
        lines in prop::collection::vec(line(&RAW_KEYS), 1..12),
    ) {
        agree(&filter, &lines, &RAW);
    }

    #[test]
    fn typed_filters_pass_what_the_plain_way_passes(
        filter in filter(&TYPED_KEYS),
        lines in prop::collection::vec(line(&TYPED_KEYS), 1..12),
    ) {
        agree(&filter, &lines, &HTTP_REQUESTS);
    }

    #[test]
    fn filters_of_arbitrary_parts_pass_what_the_plain_way_passes(
        leaves in prop::collection::vec((any::<u8>(), any::<u8>(), part()), 1..5),
        members in prop::collection::vec((any::<u8>(), part()), 0..9),
    ) {
        let leaves: Vec<_> = leaves.iter().map(|(key, operator, value)| (*key, *operator, value.as_str())).collect();
        let members: Vec<_> = members.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let (filter, line) = (filter_of(&leaves), line_of(&members));
        for dataset in DATASETS {
            filter_is_naive(&filter, &[&line], dataset);
        }
    }

    #[test]
    fn broken_filters_are_told_and_never_panic(filter in filter(&RAW_KEYS), at in any::<prop::sample::Index>(), by in any::<char>()) {
        let mut broken: Vec<char> = filter.chars().collect();
        let at = at.index(broken.len());
        broken[at] = by;
        let broken: String = broken.into_iter().collect();
        let line = r#"{"host":"a","k":1,"a":{"b":"ab"}}"#;
        for dataset in [&RAW, &HTTP_REQUESTS] {
            filter_is_naive(&broken, &[line], dataset);
        }
    }
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "(\\*\\.)?([abAB]\\.){0,2}[ab]",
        1 => "[ab]\\.[ab][.](:80)?",
        1 => Just("*.".to_owned()),
        1 => Just(String::new()),
        1 => Just("[::1]:443".to_owned()),
    ]
}

fn job() -> impl Strategy<Value = (Option<Vec<String>>, Option<String>, f64)> {
    let host_eq = "[ab]\\.[ab]"
        .prop_map(|host| json!({"where": {"key": "host", "operator": "eq", "value": host}}).to_string());
    (
        prop_oneof![2 => Just(None), 1 => prop::collection::vec(host(), 0..4).prop_map(Some)],
        prop_oneof![1 => Just(None), 2 => host_eq.prop_map(Some), 3 => filter(&RAW_KEYS).prop_map(Some)],
        prop_oneof![2 => Just(1.0), 1 => Just(0.5), 1 => Just(0.01)],
    )
}

fn hosted_line() -> impl Strategy<Value = String> {
    let host = prop_oneof![4 => host().prop_map(Value::from), 1 => Just(json!(1)), 1 => Just(Value::Null)];
    let host = (prop::sample::select(vec!["host", "vhost"]), host);
    (prop::collection::vec(host, 0..3), line(&RAW_KEYS)).prop_map(|(hosts, line)| {
        let hosts = hosts.iter().map(|(key, host)| format!(",\"{key}\":{host}")).collect::<String>();
        format!("{{\"x\":0{hosts},{}", &line[1..]).replace(",}", "}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_router_wants_what_each_job_wants(
        jobs in prop::collection::vec(job(), 0..12),
        lines in prop::collection::vec(hosted_line(), 1..12),
        seed in any::<u64>(),
    ) {
        let jobs: Vec<_> = jobs.iter().map(|(hosts, filter, rate)| {
            let filter = filter.as_ref().and_then(|text| Filter::parse(text, &RAW).expect("right"));
            (hosts.clone(), filter, Sample::of_rate(*rate).expect("a rate"))
        }).collect();
        router_is_brute(&["host", "vhost"], &jobs, &lines, seed);
    }
}

#[test]
fn hosts_find_their_zones() {
    let zones = [
        vec!["example.com".to_owned(), "*.example.com".to_owned()],
        vec!["*.Example.com".to_owned()],
        vec!["*.com".to_owned(), "www.example.com".to_owned()],
        vec!["example.com.:8443".to_owned()],
        vec![],
    ];
    let jobs: Vec<_> = zones
        .iter()
        .map(|hosts| RouteJob { hosts: Some(hosts), filter: None, sample: Sample::ALL })
        .collect();
    let mut router = Router::new(&["ClientRequestHost", "host"], &jobs);
    let mut parser = Parser::new();
    let mut wanted = |line: &str| {
        let mut wants = vec![9];
        let record = parser.parse(line.as_bytes()).expect("a record");
        router.wants(&record, 1, 2, &mut wants);
        wants
    };
    assert_eq!(wanted(r#"{"host":"example.com"}"#), [0, 2, 3]);
    assert_eq!(wanted(r#"{"host":"EXAMPLE.COM.:443"}"#), [0, 2, 3]);
    assert_eq!(wanted(r#"{"host":"www.\u0065xample.com"}"#), [0, 1, 2]);
    assert_eq!(wanted(r#"{"host":"a.b.example.com"}"#), [0, 1, 2]);
    assert_eq!(wanted(r#"{"host":"notexample.com"}"#), [2]);
    assert_eq!(wanted(r#"{"host":"com"}"#), [0; 0]);
    assert_eq!(wanted(r#"{"host":"www.example.com","ClientRequestHost":"example.org"}"#), [0; 0]);
    assert_eq!(wanted(r#"{"host":"www.example.com","ClientRequestHost":null}"#), [0, 1, 2]);
    assert_eq!(wanted(r#"{"nothing":"example.com"}"#), [0; 0]);
    assert_eq!(wanted(&format!(r#"{{"host":"{}example.com"}}"#, "a.".repeat(200))), [0; 0]);
}

#[test]
fn numbers_and_their_texts_find_one_job() {
    let filters = [
        r#"{"where":{"key":"s","operator":"eq","value":200}}"#,
        r#"{"where":{"key":"s","operator":"eq","value":"200"}}"#,
        r#"{"where":{"key":"s","operator":"in","value":["x",2.0e2]}}"#,
        r#"{"where":{"key":"s","operator":"eq","value":true}}"#,
    ]
    .map(|text| Filter::parse(text, &RAW).expect("right"));
    let jobs = filters.each_ref().map(|filter| RouteJob {
        hosts: None,
        filter: filter.as_ref(),
        sample: Sample::ALL,
    });
    let mut router = Router::new(&[], &jobs);
    let mut parser = Parser::new();
    let mut wanted = |value: &str| {
        let mut wants = Vec::new();
        let line = format!(r#"{{"s":{value}}}"#);
        router.wants(&parser.parse(line.as_bytes()).expect("a record"), 0, 0, &mut wants);
        wants
    };
    assert_eq!(wanted("200"), [0, 1, 2]);
    assert_eq!(wanted("200.0"), [0, 1, 2]);
    assert_eq!(wanted(r#""200""#), [0, 1, 2]);
    assert_eq!(wanted(r#""\u00320\u0030""#), [0, 1, 2]);
    assert_eq!(wanted(r#""0200""#), [0, 2]);
    assert_eq!(wanted(r#""x""#), [2]);
    assert_eq!(wanted("true"), [3]);
    assert_eq!(wanted(r#""true""#), [3]);
    assert_eq!(wanted("[200]"), [0; 0]);
}
