//! Filters by example: the worked cases, what operators mean, what is refused and what is said then.
use edgepush_shard::dataset::{Dataset, HTTP_REQUESTS, MEDIANOVA, RAW};
use edgepush_shard::parse::Parser;
use edgepush_shard::plan::{Compiled, FieldTable, Filter};
use edgepush_shard::testing::filter::filter_is_naive;

/// Whether the record passes; the plain way must say the same.
#[track_caller]
fn passes(dataset: &Dataset, node: &str, line: &str) -> bool {
    let text = format!(r#"{{"where":{node}}}"#);
    let filter = Filter::parse(&text, dataset).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut table = FieldTable::new();
    let compiled = Compiled::new(&filter.expect("a filter"), &mut table);
    let mut parser = Parser::new();
    let record = parser.parse(line.as_bytes()).expect("a record");
    let passes = compiled.matches(&table.resolve(&record));
    assert!(filter_is_naive(&text, &[line], dataset), "{text} was not taken");
    passes
}

/// The mistakes of a filter: pointer and message.
fn mistakes(dataset: &Dataset, text: &str) -> Vec<(String, String)> {
    match Filter::parse_all(text, dataset) {
        Ok(filter) => panic!("{text} was taken: {filter:?}"),
        Err(errors) => errors.into_iter().map(|error| (error.pointer, error.message)).collect(),
    }
}

const R: &str = r#"{"ClientRequestHost":"example.com","ClientRequestPath":"/static/a.js","ClientCountry":"us","EdgeResponseStatus":200,"BotScore":29,"CacheReserveUsed":false,"SecurityActions":["block","log"]}"#;
const CASE_1: &str = r#"{"key":"ClientRequestHost","operator":"eq","value":"example.com"}"#;
const CASE_4: &str = r#"{"key":"BotScore","operator":"gt","value":29}"#;

#[test]
fn worked_cases_1_to_6_and_12() {
    assert!(passes(&HTTP_REQUESTS, CASE_1, R));
    assert!(passes(&HTTP_REQUESTS, r#"{"key":"ClientCountry","operator":"!eq","value":"ca"}"#, R));
    assert!(passes(&HTTP_REQUESTS, r#"{"key":"BotScore","operator":"lt","value":"30"}"#, R));
    assert!(!passes(&HTTP_REQUESTS, CASE_4, R));
    assert!(passes(&HTTP_REQUESTS, r#"{"key":"EdgeResponseStatus","operator":"in","value":[200,201]}"#, R));
    assert!(!passes(&HTTP_REQUESTS, r#"{"key":"EdgeResponseStatus","operator":"!in","value":[200,201]}"#, R));
    assert!(passes(&HTTP_REQUESTS, r#"{"key":"CacheReserveUsed","operator":"eq","value":"false"}"#, R));
}

#[test]
fn worked_cases_7_to_10() {
    let contains = r#"{"key":"ClientRequestPath","operator":"contains","value":"/static"}"#;
    assert!(passes(&HTTP_REQUESTS, &format!(r#"{{"and":[{contains},{CASE_1}]}}"#), R));
    let api = r#"{"key":"ClientRequestPath","operator":"startsWith","value":"/api"}"#;
    let js = r#"{"key":"ClientRequestPath","operator":"endsWith","value":".js"}"#;
    assert!(passes(&HTTP_REQUESTS, &format!(r#"{{"and":[{CASE_1},{{"or":[{api},{js}]}}]}}"#), R));
    let not = r#"{"key":"ClientRequestPath","operator":"!startsWith","value":"/static"}"#;
    assert!(!passes(&HTTP_REQUESTS, &format!(r#"{{"or":[{{"and":[{CASE_4},{CASE_1}]}},{not}]}}"#), R));
    assert!(passes(&HTTP_REQUESTS, r#"{"key":"SecurityActions","operator":"contains","value":"block"}"#, R));
}

#[test]
fn worked_cases_11_13_and_14_are_refused() {
    let wrong = |node: &str| mistakes(&HTTP_REQUESTS, &format!(r#"{{"where":{node}}}"#)).remove(0);
    let (pointer, message) = wrong(r#"{"key":"SecurityActions","operator":"eq","value":"block"}"#);
    assert_eq!(pointer, "/where/operator");
    assert!(message.contains("an array of strings: it has contains, !contains"), "{message}");
    let (pointer, message) = wrong(r#"{"key":"RequestHeaders","operator":"contains","value":"x"}"#);
    assert_eq!(pointer, "/where/operator");
    assert!(message.contains("such fields cannot be filtered by"), "{message}");
    let (pointer, message) = wrong(&format!(r#"{{"and":[{CASE_1}],"key":"x"}}"#));
    assert_eq!(pointer, "/where");
    assert!(message.contains("mixed"), "{message}");
}

/// Data set `raw`: key `k`, operator, value, the record's value (nothing = no such key), whether it passes.
const RAW_ROWS: &[(&str, &str, &str, bool)] = &[
    // Strings: exact bytes of the decoded text.
    ("eq", r#""Aé/""#, r#""\u0041\u00e9\/""#, true),
    ("eq", r#""\u0041é/""#, r#""Aé/""#, true),
    ("eq", r#""a""#, r#""A""#, false),
    ("eq", r#""""#, r#""""#, true),
    ("eq", r#""a\\u0041""#, r#""aA""#, false),
    ("startsWith", r#""a\n""#, r#""a\u000ab""#, true),
    ("endsWith", r#""\\""#, r#""a\\""#, true),
    ("!endsWith", r#""x\\""#, r#""a\\""#, true),
    ("contains", r#""n""#, r#""a\nb""#, false),
    ("contains", r#""😀""#, r#""a\ud83d\ude00b""#, true),
    ("contains", r#""b""#, r#""\ud83d b""#, true),
    ("contains", "\"\u{fffd}\"", r#""\ud83d b""#, false),
    ("contains", r#""""#, r#""x""#, true),
    // Numbers: exact, whatever the spelling, also as strings.
    ("eq", "200", r#""200""#, true),
    ("eq", r#""200""#, "200", true),
    ("eq", "200", "2e2", true),
    ("eq", r#""200""#, r#""200.0""#, false),
    ("eq", "0", r#""000""#, true),
    ("gt", "9007199254740992", "9007199254740993", true),
    ("lt", "123456789012345678901234567890", "123456789012345678901234567889", true),
    ("leq", "0.1", "0.10000000000000000000001", false),
    ("geq", "-1", "-0.5", true),
    ("lt", r#""1e400""#, "1e399", true),
    ("lt", "5", r#""abc""#, false),
    ("eq", "5", r#""abc""#, false),
    ("!eq", "5", r#""abc""#, true),
    ("in", r#"[1,"x",true]"#, r#""x""#, true),
    ("in", r#"[1,"x",true]"#, r#""1""#, true),
    ("in", r#"[1,"x",true]"#, "true", true),
    ("in", r#"[1,"x",true]"#, "2", false),
    // Booleans.
    ("eq", "true", "true", true),
    ("eq", r#""true""#, "true", true),
    ("eq", "true", r#""true""#, true),
    ("eq", "true", "1", false),
    ("!eq", "true", "false", true),
    // What an operator is not for.
    ("startsWith", r#""2""#, "200", false),
    ("!startsWith", r#""2""#, "200", true),
    ("contains", r#""2""#, "200", false),
    ("eq", r#""x""#, r#"["x"]"#, false),
    ("!eq", r#""x""#, r#"["x"]"#, true),
    ("eq", r#""{}""#, "{}", false),
    ("lt", "5", "[1]", false),
    // Arrays.
    ("contains", r#""x""#, r#"["y","\u0078"]"#, true),
    ("contains", r#""x""#, r#"["xy"]"#, false),
    ("contains", "2", r#"[1,"2.0"]"#, true),
    ("!contains", "2", "[]", true),
    ("contains", "true", "[false,true]", true),
    ("contains", r#""x""#, r#"[["x"],{"x":"x"},null]"#, false),
    // Missing and null.
    ("eq", r#""null""#, "null", false),
    ("!eq", r#""x""#, "null", true),
    ("lt", "5", "", false),
    ("!in", r#"["x"]"#, "", true),
    ("contains", r#""""#, "", false),
    ("!contains", r#""""#, "", true),
    ("startsWith", r#""""#, "null", false),
];

#[test]
fn operators_in_an_open_data_set() {
    for &(operator, value, said, expected) in RAW_ROWS {
        let node = format!(r#"{{"key":"k","operator":"{operator}","value":{value}}}"#);
        let member = if said.is_empty() { String::new() } else { format!(r#","k":{said}"#) };
        let line = format!(r#"{{"x":0{member}}}"#);
        assert_eq!(passes(&RAW, &node, &line), expected, "{node} on {line}");
        // The same field one level down.
        let nested = node.replace(r#""k""#, r#""a.0.k""#);
        let line = format!(r#"{{"a":[{line}]}}"#);
        assert_eq!(passes(&RAW, &nested, &line), expected, "{nested} on {line}");
    }
}

/// Data set `http_requests`: key, operator, value, the record's value, whether it passes.
const TYPED_ROWS: &[(&str, &str, &str, &str, bool)] = &[
    ("EdgeStartTimestamp", "geq", r#""2026-11-21T02:20:14Z""#, "1795227614000000000", true),
    ("EdgeStartTimestamp", "gt", r#""2026-11-21T02:20:14Z""#, "1795227614000000000", false),
    ("EdgeStartTimestamp", "gt", r#""2026-11-21T02:20:14Z""#, r#""2026-11-21T02:20:14.000000001Z""#, true),
    ("EdgeStartTimestamp", "eq", "1795227614", r#""2026-11-21T03:20:14+01:00""#, true),
    ("EdgeStartTimestamp", "in", r#"[0,"1795227614"]"#, "1795227614000", true),
    ("EdgeStartTimestamp", "lt", "1795227614", "1795227613.999", true),
    ("EdgeStartTimestamp", "lt", "1795227614", r#""yesterday""#, false),
    ("EdgeResponseCompressionRatio", "lt", "0.5", "0.49", true),
    ("EdgeResponseCompressionRatio", "eq", r#""5e-1""#, "0.50", true),
    ("EdgeResponseStatus", "eq", r#""200""#, r#""200""#, true),
    ("EdgeResponseStatus", "!eq", "200", r#""-""#, true),
    ("CacheReserveUsed", "!eq", r#""true""#, r#""true""#, false),
    ("CacheReserveUsed", "eq", "true", "1", false),
    ("BotDetectionIDs", "contains", r#""7""#, "[5,7]", true),
    ("BotDetectionIDs", "contains", "7", "[77]", false),
    ("BotDetectionIDs", "contains", "7", r#""7""#, false),
    ("BotTags", "contains", r#""api""#, r#""api""#, false),
    ("ClientRequestPath", "contains", r#""x""#, r#"["x"]"#, false),
    ("ClientRequestPath", "eq", r#""5""#, "5", false),
];

#[test]
fn operators_by_type() {
    for &(key, operator, value, said, expected) in TYPED_ROWS {
        let node = format!(r#"{{"key":"{key}","operator":"{operator}","value":{value}}}"#);
        let line = format!(r#"{{"{key}":{said}}}"#);
        assert_eq!(passes(&HTTP_REQUESTS, &node, &line), expected, "{node} on {line}");
    }
}

#[test]
fn an_open_data_set_types_what_it_names() {
    let node = r#"{"and":[{"key":"status","operator":"geq","value":"500"},{"key":"mine","operator":"eq","value":1}]}"#;
    assert!(passes(&MEDIANOVA, node, r#"{"status":"503","mine":"1"}"#));
    let (pointer, message) =
        mistakes(&MEDIANOVA, r#"{"where":{"key":"status","operator":"startsWith","value":"5"}}"#).remove(0);
    assert_eq!(pointer, "/where/operator");
    assert!(message.contains("`status`, a whole number"), "{message}");
}

#[test]
fn nothing_is_no_filter() {
    for text in ["", " ", "\n\t "] {
        assert_eq!(Filter::parse(text, &RAW), Ok(None));
    }
}

/// Data set, filter, pointer of the first mistake, what its message says.
const MISTAKES: &[(&Dataset, &str, &str, &str)] = &[
    (&RAW, "x", "", "no JSON object (not_an_object at byte 1)"),
    (&RAW, r#"{"where":"#, "", "(cut at byte 10)"),
    (&RAW, r#"{"where":-}"#, "", "(number at byte 11)"),
    (&RAW, "{}", "", "`where` is missing"),
    (&RAW, r#"{"key":"a","operator":"eq","value":1}"#, "/key", "a filter is {\"where\":…}"),
    (&RAW, r#"{"where":{"and":[]},"where":1}"#, "/where", "twice"),
    (&RAW, r#"{"where":[]}"#, "/where", "this is an array; a node is"),
    (&RAW, r#"{"where":{}}"#, "/where", "an empty node"),
    (&RAW, r#"{"where":{"and":[]}}"#, "/where/and", "an empty list"),
    (&RAW, r#"{"where":{"or":[]}}"#, "/where/or", "an empty list"),
    (&RAW, r#"{"where":{"or":{}}}"#, "/where/or", "this is an object; write an array"),
    (&RAW, r#"{"where":{"and":[{"or":[1]}]}}"#, "/where/and/0/or/0", "this is a number"),
    (&RAW, r#"{"where":{"and":[],"or":[]}}"#, "/where", "a mixed node"),
    (&RAW, r#"{"where":{"key":"a","operator":"eq","value":1,"key":"b"}}"#, "/where/key", "twice"),
    (
        &RAW,
        r#"{"where":{"key":"a","operater":"eq","value":1}}"#,
        "/where/operater",
        "did you mean `operator`?",
    ),
    (&RAW, r#"{"where":{"a/b":1}}"#, "/where/a~1b", "unknown member `a/b`"),
    (&RAW, r#"{"where":{"operator":"eq","value":1}}"#, "/where", "`key` is missing"),
    (&RAW, r#"{"where":{"key":"a","value":1}}"#, "/where", "`operator` is missing"),
    (&RAW, r#"{"where":{"key":"a","operator":"eq"}}"#, "/where", "`value` is missing"),
    (&RAW, r#"{"where":{"key":"","operator":"eq","value":1}}"#, "/where/key", "not empty"),
    (&RAW, r#"{"where":{"key":"a","operator":7,"value":1}}"#, "/where/operator", "must be a string"),
    (&RAW, r#"{"where":{"key":"a","operator":"neq","value":1}}"#, "/where/operator", "write `!eq`"),
    (
        &RAW,
        r#"{"where":{"key":"a","operator":"startswith","value":"x"}}"#,
        "/where/operator",
        "write `startsWith`",
    ),
    (
        &RAW,
        r#"{"where":{"key":"a","operator":"matches","value":"x"}}"#,
        "/where/operator",
        "the operators are eq, !eq",
    ),
    (
        &RAW,
        r#"{"where":{"key":"a","operator":"in","value":"200,201"}}"#,
        "/where/value",
        "as an array: [200,201]",
    ),
    (&RAW, r#"{"where":{"key":"a","operator":"in","value":[]}}"#, "/where/value", "an empty list"),
    (&RAW, r#"{"where":{"key":"a","operator":"in","value":[1,null]}}"#, "/where/value/1", "`null`"),
    (&RAW, r#"{"where":{"key":"a","operator":"eq","value":{"b":1}}}"#, "/where/value", "this is an object"),
    (&RAW, r#"{"where":{"key":"a","operator":"eq","value":"\ud800"}}"#, "/where/value", "write a string"),
    (&RAW, r#"{"where":{"key":"a","operator":"lt","value":"x"}}"#, "/where/value", "write a number"),
    (&RAW, r#"{"where":{"key":"a","operator":"startsWith","value":2}}"#, "/where/value", "in quotes"),
    (
        &HTTP_REQUESTS,
        r#"{"where":{"key":"ClientRequestHosts","operator":"eq","value":"x"}}"#,
        "/where/key",
        "`http_requests` has no field `ClientRequestHosts`; did you mean `ClientRequestHost`?",
    ),
    (
        &HTTP_REQUESTS,
        r#"{"where":{"key":"zzz","operator":"eq","value":"x"}}"#,
        "/where/key",
        "no field `zzz`",
    ),
    (
        &HTTP_REQUESTS,
        r#"{"where":{"key":"ClientRequestHost","operator":"lt","value":"x"}}"#,
        "/where/operator",
        "`lt` is not for `ClientRequestHost`, a string",
    ),
    (
        &HTTP_REQUESTS,
        r#"{"where":{"key":"ClientRequestHost","operator":"eq","value":5}}"#,
        "/where/value",
        "`5`; write a string, in quotes",
    ),
    (
        &HTTP_REQUESTS,
        r#"{"where":{"key":"BotScore","operator":"eq","value":"1.5"}}"#,
        "/where/value",
        "a whole number",
    ),
    (
        &HTTP_REQUESTS,
        r#"{"where":{"key":"CacheReserveUsed","operator":"eq","value":1}}"#,
        "/where/value",
        "true or false",
    ),
    (
        &HTTP_REQUESTS,
        r#"{"where":{"key":"EdgeEndTimestamp","operator":"lt","value":"now"}}"#,
        "/where/value",
        "write a time",
    ),
    (
        &HTTP_REQUESTS,
        r#"{"where":{"key":"BotDetectionIDs","operator":"contains","value":"a"}}"#,
        "/where/value",
        "a whole number",
    ),
    (
        &HTTP_REQUESTS,
        r#"{"where":{"key":"Subrequests","operator":"contains","value":"a"}}"#,
        "/where/operator",
        "an array of objects",
    ),
];

#[test]
fn mistakes_name_place_and_remedy() {
    for &(dataset, text, pointer, message) in MISTAKES {
        let (at, said) = mistakes(dataset, text).remove(0);
        assert_eq!(at, pointer, "{text}: {said}");
        assert!(said.contains(message), "{text}: {said}");
    }
    let error = Filter::parse(r#"{"where":{"and":[]}}"#, &RAW).expect_err("empty");
    assert!(error.to_string().starts_with("filter, at /where/and: an empty list"), "{error}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = r#"{"where":{"and":[{"key":"Nope","operator":"neq","value":1},{"or":[]},{"key":"BotScore","operator":"in","value":["a",1,{}]}]},"x":1}"#;
    let places: Vec<String> = mistakes(&HTTP_REQUESTS, text).into_iter().map(|mistake| mistake.0).collect();
    let expected = [
        "/x",
        "/where/and/0/key",
        "/where/and/0/operator",
        "/where/and/1/or",
        "/where/and/2/value/0",
        "/where/and/2/value/2",
    ];
    assert_eq!(places, expected);
}

#[test]
fn limits_are_exact_and_named() {
    let leaf = r#"{"key":"a","operator":"eq","value":1}"#;
    let nested = |levels: usize| {
        let (open, close) = (r#"{"or":["#.repeat(levels - 1), "]}".repeat(levels - 1));
        format!(r#"{{"where":{open}{leaf}{close}}}"#)
    };
    assert!(Filter::parse(&nested(16), &RAW).is_ok());
    assert!(mistakes(&RAW, &nested(17)).remove(0).1.contains("more than 16 levels"));
    // Thirty right leaves are more than 1000 bytes; leaves without a value are counted too.
    let many = |count: usize| {
        let leaves = vec![r#"{"key":"a"}"#; count].join(",");
        mistakes(&RAW, &format!(r#"{{"where":{{"or":[{leaves}]}}}}"#))
    };
    let missing = |mistake: &&(String, String)| mistake.1.contains("is missing");
    assert_eq!((many(30).len(), many(30).iter().filter(missing).count()), (60, 60));
    let beyond = many(33).split_off(60);
    assert!(beyond[0].1.contains("more than 30 operators; use `in`"), "{beyond:?}");
    assert_eq!(beyond.into_iter().map(|mistake| mistake.0).collect::<Vec<_>>(), ["/where/or/30"]);
    let padded = |bytes: usize| {
        let text = format!(r#"{{"where":{leaf}}}"#);
        text.clone() + &" ".repeat(bytes - text.len())
    };
    assert!(Filter::parse(&padded(1000), &RAW).is_ok());
    let (pointer, message) = mistakes(&RAW, &padded(1001)).remove(0);
    assert_eq!(pointer, "");
    assert!(message.contains("1001 bytes are more than the 1000"), "{message}");
}

/// What a filter requires, as one text.
fn required(node: &str) -> String {
    let filter = Filter::parse(&format!(r#"{{"where":{node}}}"#), &RAW).expect("right").expect("a filter");
    filter.required().map(|(field, values)| format!("{field}∈{}", values.join(","))).unwrap_or_default()
}

#[test]
fn what_a_filter_requires_of_a_record() {
    let eq = |key: &str, value: &str| format!(r#"{{"key":"{key}","operator":"eq","value":{value}}}"#);
    let (a, b, status) = (eq("host", r#""a""#), eq("host", r#""b""#), eq("status", "200"));
    let path = r#"{"key":"path","operator":"startsWith","value":"/"}"#;
    let three = r#"{"key":"cc","operator":"in","value":["x","y","z"]}"#;
    let not = r#"{"key":"host","operator":"!eq","value":"a"}"#;
    assert_eq!(required(&a), "host∈a");
    assert_eq!(required(&status), "status∈200");
    assert_eq!(required(&eq("ok", "true")), "ok∈true");
    assert_eq!(required(three), "cc∈x,y,z");
    assert_eq!(required(not), "");
    assert_eq!(required(path), "");
    assert_eq!(required(&format!(r#"{{"and":[{path},{three},{a}]}}"#)), "host∈a");
    assert_eq!(required(&format!(r#"{{"or":[{a},{b},{a}]}}"#)), "host∈a,b");
    assert_eq!(required(&format!(r#"{{"or":[{a},{status}]}}"#)), "");
    assert_eq!(required(&format!(r#"{{"or":[{a},{path}]}}"#)), "");
    let both = format!(r#"{{"or":[{{"and":[{status},{a}]}},{{"and":[{three},{b}]}}]}}"#);
    assert_eq!(required(&both), "host∈a,b");
    let two = r#"{"key":"host","operator":"in","value":["a","b"]}"#;
    assert_eq!(required(&format!(r#"{{"and":[{two},{a}]}}"#)), "host∈a");
    assert_eq!(required(&format!(r#"{{"and":[{a},{two}]}}"#)), "host∈a");
    let time = r#"{"where":{"key":"EdgeStartTimestamp","operator":"eq","value":1795227614}}"#;
    let time = Filter::parse(time, &HTTP_REQUESTS).expect("right").expect("a filter");
    assert_eq!(time.required(), None);
}

/// The page for operators says what is true.
#[test]
fn the_examples_of_the_page_are_true() {
    let page = include_str!("../../docs/filters.md");
    let examples =
        page.split("## Examples").nth(1).and_then(|rest| rest.split("## Mistakes").next()).expect("both");
    let record: String =
        examples.lines().skip_while(|line| !line.starts_with("    {")).take(2).map(str::trim).collect();
    let mut rows = 0;
    for row in examples.lines().filter(|line| line.starts_with("| `{")) {
        let (node, said) = row[3..].split_once("` | ").expect("two cells");
        assert_eq!(passes(&HTTP_REQUESTS, node, &record), said.starts_with("passes"), "{row}");
        rows += 1;
    }
    assert_eq!(rows, 8);
    let mut blocks = 0;
    for start in page.match_indices("    {\"where\"").map(|found| found.0) {
        let block = page[start..].split("\n\n").next().expect("a block");
        assert!(Filter::parse(block, &HTTP_REQUESTS).is_ok_and(|filter| filter.is_some()), "{block}");
        blocks += 1;
    }
    assert_eq!(blocks, 2);
}
