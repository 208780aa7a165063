//! Mappings held against real servers' lines: what is expected was written down from the servers' manuals.
//!
//! The first lines of each sample are here (`mapping/*.log`); `EDGEPUSH_SAMPLES` names the directory of the whole ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use edgepush_shard::dataset::mapping::{Choice, Choices, Mapped, Mapper, Mapping, Unit, servers};
use edgepush_shard::dataset::{Dataset, FieldType, HTTP_REQUESTS, MEDIANOVA};
use edgepush_shard::format::{Format, Reader, Stand};
use edgepush_shard::plan::{Filter, Formatter, HashKey, OutputOptions, RouteJob, Router, Sample};
use edgepush_shard::record::{Record, ValueKind};
use edgepush_shard::ring::Flat;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DATASETS: [&Dataset; 2] = [&HTTP_REQUESTS, &MEDIANOVA];

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mapping")
}

fn own(choice: Choice) -> Arc<Choices> {
    Arc::new(Choices { sources: vec![choice] })
}

fn file(text: &str) -> Arc<Choices> {
    own(Choice::Own(Arc::new(Mapping::parse(text).expect("right"))))
}

/// Calls `with` with each record of the bytes, and what is made of it.
fn each(
    dataset: &'static Dataset,
    choices: Arc<Choices>,
    bytes: &[u8],
    mut with: impl FnMut(&Record<'_>, &Mapped<'_>),
) {
    let (mut reader, mut mapper) = (Reader::new(), Mapper::new(dataset, choices));
    let stand = Stand::of(&bytes[..bytes.len().min(1024)], 0);
    reader.lines(&Format::auto(), stand, bytes, |_, parsed| {
        if let Ok(record) = parsed {
            with(&record, &mapper.map(&record, 0));
        }
    });
}

/// What is made of each line, without what stays empty.
fn made(dataset: &'static Dataset, choices: Arc<Choices>, bytes: &[u8]) -> Vec<Value> {
    let mut all = Vec::new();
    each(dataset, choices, bytes, |_, mapped| all.push(filled(mapped.own.text)));
    all
}

fn filled(text: &[u8]) -> Value {
    let mut object: Map<String, Value> = serde_json::from_slice(text).expect("an object");
    object.retain(|_, value| !value.is_null());
    Value::Object(object)
}

fn server_of(bytes: &[u8]) -> Option<String> {
    let (mut reader, mut mapper) = (Reader::new(), Mapper::new(&HTTP_REQUESTS, Arc::default()));
    let mut found = None;
    let stand = Stand::of(bytes, 0);
    reader.lines(&Format::auto(), stand, bytes, |_, parsed| {
        let explained = mapper.explain(&parsed.expect("a record"), 0);
        found = found.take().or(explained.map(|(mapping, _)| mapping.name.clone()));
    });
    found
}

#[test]
fn each_server_gives_what_its_manual_says() {
    let expected: Map<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(here().join("expected.json")).unwrap()).unwrap();
    let mut seen: Vec<&str> = Vec::new();
    for (name, expected) in &expected {
        let file = expected["file"].as_str().unwrap_or(name);
        let bytes = std::fs::read(here().join(format!("{file}.log"))).unwrap();
        let line = expected["line"].as_u64().unwrap() as usize - 1;
        assert_eq!(server_of(&bytes).as_deref(), expected["mapping"].as_str(), "{name}");
        for dataset in DATASETS {
            let made = made(dataset, Arc::default(), &bytes);
            assert_eq!(made[line], expected[dataset.name], "{} of {name}", dataset.name);
        }
        seen.push(expected["mapping"].as_str().unwrap());
    }
    for server in servers() {
        assert!(seen.contains(&server.name.as_str()), "no line of {}", server.name);
    }
}

/// Every value that is made has its field's type, and the object is the data set's.
fn check_types(dataset: &Dataset, mapped: &Mapped<'_>, record: &Record<'_>) {
    let object: Map<String, Value> = serde_json::from_slice(mapped.own.text).expect("an object");
    assert_eq!(object.len(), mapped.own.members.len());
    for member in mapped.own.members {
        let name = std::str::from_utf8(member.key.of(mapped.own.text)).unwrap();
        let value: Value = serde_json::from_slice(member.value.of(mapped.own.text)).expect("JSON");
        assert_eq!(object[name], value, "{name}");
        // What the record calls so itself is as it stands.
        if record.members.iter().any(|own| own.key.of(record.text) == name.as_bytes()) {
            continue;
        }
        let fits = match dataset.field_type(name).expect("a field of the data set") {
            FieldType::String => value.as_str().is_some_and(|text| !text.is_empty()),
            FieldType::Int => value.is_u64(),
            FieldType::Time => value.is_i64(),
            FieldType::Float => value.is_number(),
            FieldType::Bool => value.is_boolean(),
            FieldType::StringArray | FieldType::IntArray | FieldType::ObjectArray => value.is_array(),
            FieldType::Object => value.is_object(),
        };
        assert!(fits || member.kind == ValueKind::Null && value.is_null(), "{name}: {value}");
    }
    for (moved, member) in mapped.whole.members[mapped.own.members.len()..].iter().zip(record.members) {
        assert_eq!(moved.value.of(mapped.whole.text), member.value.of(record.text));
        assert_eq!(moved.key.of(mapped.whole.text), member.key.of(record.text));
    }
}

#[test]
fn all_lines_of_all_samples_have_the_types_of_the_data_sets() {
    let Some(dir) = std::env::var_os("EDGEPUSH_SAMPLES").map(PathBuf::from).filter(|path| path.is_dir())
    else {
        eprintln!("SKIPPED: set EDGEPUSH_SAMPLES to the directory of sample logs");
        return;
    };
    for (name, server, records, filled_least) in [
        ("nginx.json", "nginx", 4645, 18),
        ("nginx.combined", "nginx", 4645, 10),
        ("haproxy.json", "haproxy", 12_000, 7),
        ("varnish.json", "varnish", 12_000, 14),
        ("ats.json", "ats", 12_000, 13),
        ("squid.json", "squid", 12_000, 7),
        ("caddy-deb.json", "caddy", 9763, 15),
        ("caddy-pypi.json", "caddy", 9014, 15),
        ("traefik.json", "traefik", 6468, 16),
        ("envoy.json", "envoy", 12_000, 12),
        ("apache.json", "apache", 12_000, 12),
        ("apache.combined", "nginx", 12_000, 9),
        ("lighttpd.json", "lighttpd", 12_000, 11),
        ("h2o.json", "h2o", 12_000, 10),
    ] {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(dir.join(format!("{name}.log.gz"))).unwrap();
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        let head = &bytes[..memchr::memchr(b'\n', &bytes).unwrap() + 1];
        assert_eq!(server_of(head).as_deref(), Some(server), "{name}");
        for dataset in DATASETS {
            let (mut count, mut least) = (0, usize::MAX);
            each(dataset, Arc::default(), &bytes, |record, mapped| {
                check_types(dataset, mapped, record);
                let values =
                    mapped.own.members.iter().filter(|member| member.kind != ValueKind::Null).count();
                (count, least) = (count + 1, least.min(values));
            });
            assert_eq!(count, records, "{name}");
            if dataset.name == HTTP_REQUESTS.name {
                assert!(least >= filled_least, "{name} fills {least} fields at least");
            }
        }
    }
}

#[test]
fn a_field_of_the_data_sets_own_name_wins() {
    let line = br#"{"remote_addr":"192.0.2.1","status":500,"EdgeResponseStatus":201,"ClientIP":null,"bytes_sent":7}"#;
    let made = made(&HTTP_REQUESTS, Arc::default(), line);
    assert_eq!(made, [json!({"EdgeResponseStatus": 201, "EdgeResponseBytes": 7})]);
}

/// Records that nobody knows, or that are the data set's already, stay what they are, byte for byte.
#[test]
fn what_no_mapping_knows_stays_as_it_is() {
    for (dataset, line) in [
        (&HTTP_REQUESTS, r#"{ "EdgeResponseStatus" : 200,"ClientIP":"192.0.2.1","x":1.50}"#),
        (&HTTP_REQUESTS, r#"{"level":"info","message":"hello"}"#),
        (&MEDIANOVA, r#"{"remote_addr":"192.0.2.1","status": 200,"http_referrer":"-","request_uri":"/a?b"}"#),
    ] {
        each(dataset, Arc::default(), line.as_bytes(), |record, mapped| {
            for view in [&mapped.own, &mapped.whole] {
                assert_eq!(
                    (view.text, view.members, view.shape),
                    (record.text, record.members, record.shape)
                );
            }
        });
    }
    let nginx = br#"{"remote_addr":"192.0.2.1","status":200}"#;
    assert_eq!(made(&HTTP_REQUESTS, own(Choice::Never), nginx)[0]["status"], 200);
}

#[test]
fn the_first_source_that_says_something_fills_the_field() {
    let choices = file(
        "[http_requests]\nClientIP = [{ from = 'xff', as = 'first ip' }, { from = 'peer', as = 'ip' }]\n\
         ZoneName = [{ const = 'z', if = 'tls' }, { const = 'plain' }]\nEdgeStartTimestamp = { from = 'at', as = 'microseconds' }\n\
         EdgeTimeToFirstByteMs = { from = 'a', as = 'seconds', plus = 'b microseconds' }\nCacheReserveUsed = 'reserve'\n\
         SecurityActions = 'acts'\nRequestHeaders = 'req.h'\nEdgeResponseCompressionRatio = 'ratio'\n",
    );
    let lines = br#"{"xff":"192.0.2.7, 192.0.2.8","peer":"192.0.2.1:80","tls":{},"at":"1795227614604001","a":0.0015,"b":"600","reserve":"on","acts":["a"],"req":{"h":{"x":"y"}},"ratio":"02.5"}
{"xff":"-","peer":"[2001:db8::1]:80","tls":null,"at":-1,"a":"-","b":1,"reserve":"perhaps","acts":"a","req":[],"ratio":1e-2}
"#;
    let start = 1_795_227_614_604_001_000_u64;
    assert_eq!(
        made(&HTTP_REQUESTS, choices, lines),
        [
            json!({"CacheReserveUsed": true, "ClientIP": "192.0.2.7", "EdgeResponseCompressionRatio": 2.5,
                   "EdgeStartTimestamp": start, "EdgeTimeToFirstByteMs": 2, "RequestHeaders": {"x": "y"},
                   "SecurityActions": ["a"], "ZoneName": "z"}),
            json!({"ClientIP": "2001:db8::1", "EdgeResponseCompressionRatio": 0.01, "ZoneName": "plain"}),
        ]
    );
}

#[test]
fn signs_say_which_records_a_file_is_for() {
    let choices = file("like = 'nginx'\nsigns = ['mine !other']\n[http_requests]\nRayID = 'mine'\n");
    let lines = br#"{"mine":"a","status":1}
{"mine":"a","status":1,"other":1}
{"mine":"a","remote_addr":"192.0.2.1"}
{"mine":"a","other":1,"remote_addr":"192.0.2.1"}
"#;
    assert_eq!(
        made(&HTTP_REQUESTS, choices, lines),
        [
            json!({"RayID": "a", "EdgeResponseStatus": 1}),
            json!({"mine": "a", "status": 1, "other": 1}),
            json!({"RayID": "a", "ClientIP": "192.0.2.1"}),
            json!({"ClientIP": "192.0.2.1"}),
        ]
    );
}

#[test]
fn filters_routes_and_outputs_see_the_data_sets_fields() {
    let bytes = std::fs::read(here().join("nginx.json.log")).unwrap();
    let filter = |text: &str| Filter::parse(text, &HTTP_REQUESTS).unwrap().unwrap();
    let status = filter(r#"{"where":{"key":"EdgeResponseStatus","operator":"eq","value":200}}"#);
    let late = filter(
        r#"{"where":{"key":"EdgeStartTimestamp","operator":"gt","value":"2026-11-21T02:20:14.6035Z"}}"#,
    );
    let hosts = ["www.edge4.test".to_owned()];
    let jobs = [(None, Some(&status)), (None, Some(&late)), (Some(&hosts[..]), None)];
    let jobs = jobs.map(|(hosts, filter)| RouteJob { hosts, filter, sample: Sample::ALL });
    let mut router = Router::new(&["ClientRequestHost", "host"], &jobs);
    let options = |value: Value| OutputOptions::from_json(&value, &HTTP_REQUESTS).unwrap();
    let key = HashKey::new(&[0; 32]);
    let named = options(
        json!({"field_names": ["EdgeStartTimestamp", "ClientRequestHost", "ClientIP", "BotScore", "OriginResponseTime"],
        "timestamp_format": "rfc3339ms", "privacy": {"ClientIP": "truncate_ip"}}),
    );
    let mut named = Formatter::new(&named, &HTTP_REQUESTS, &key);
    let (mut wants, mut written, mut wanted) = (Vec::new(), Flat::default(), Vec::new());
    each(&HTTP_REQUESTS, Arc::default(), &bytes, |_, mapped| {
        router.wants(&mapped.whole, 1, 1, &mut wants);
        wanted.push(wants.clone());
        assert!(named.bytes_max(&mapped.whole) > 0 && !named.takes_all());
        named.write(&mapped.whole, (1, 1), &mut written);
    });
    assert_eq!(wanted, [vec![0], vec![0, 1, 2]]);
    assert_eq!(
        String::from_utf8(written.bytes).unwrap(),
        "{\"EdgeStartTimestamp\":\"2026-11-21T02:20:14.603Z\",\"ClientRequestHost\":\"www.edge2.test\",\"ClientIP\":\"127.0.0.0\",\"BotScore\":null,\"OriginResponseTime\":1000000}\n\
         {\"EdgeStartTimestamp\":\"2026-11-21T02:20:14.604Z\",\"ClientRequestHost\":\"www.edge4.test\",\"ClientIP\":\"127.0.0.0\",\"BotScore\":null,\"OriginResponseTime\":0}\n"
    );
}

#[test]
fn the_docs_have_the_tables_that_are_in_force() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/datasets.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, tables) = docs.split_once("<!-- tables -->\n").expect("the mark");
    assert_eq!(tables, edgepush_shard::dataset::mapping::markdown(), "edgepush fields --markdown makes them");
}

#[test]
fn units_of_fields_are_those_of_their_names() {
    for dataset in DATASETS {
        for field in dataset.fields {
            let named = field.name.ends_with("Ms") || field.name.ends_with("Us");
            assert!(!named || Unit::of_field(field.name).is_some(), "{}", field.name);
        }
    }
}

/// Records of names that mappings look for, with values that servers write and values that nobody does.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let mut names: Vec<String> = Vec::new();
    for mapping in servers() {
        for dataset in DATASETS {
            for field in dataset.fields {
                names.extend(
                    mapping.origins(dataset, field.name).iter().filter_map(|origin| origin.from.clone()),
                );
                names.push(field.name.to_owned());
            }
        }
    }
    names.sort();
    names.dedup();
    let text = prop_oneof![
        "[ -~]{0,20}",
        ".{0,8}",
        "-?[0-9]{1,40}(\\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?",
        "(GET|X) /[a-z?]{0,4} HTTP/[12].[01]",
        "[0-9.:\\[\\], -]{0,24}",
        "https?://[a-z:/?]{0,9}",
        "20[0-9]{2}-1[0-2]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|\\+0000)?",
    ];
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let value = leaf.prop_recursive(2, 8, 3, |inner| {
        let keys =
            prop::sample::select(vec!["headers", "tls", "0", "Referer", "uri", "remote_ip", "version"]);
        let objects = prop::collection::hash_map(keys, inner.clone(), 0..3);
        let objects = objects
            .prop_map(|members| Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()));
        prop_oneof![prop::collection::vec(inner, 0..3).prop_map(Value::from), objects]
    });
    prop::collection::vec((prop::sample::select(names), value), 1..16).prop_map(|members| {
        // Written by hand: names may stand twice.
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        format!("{{{}}}\n", members.join(",")).into_bytes()
    })
}

proptest! {
    #[test]
    fn whatever_a_record_has_the_types_are_right(lines in prop::collection::vec(records(), 1..8), server in 0..12_usize) {
        let bytes = lines.concat();
        let choice = servers().get(server).map_or(Choice::Auto, |server| Choice::of_word(&server.name).unwrap().unwrap());
        for dataset in DATASETS {
            each(dataset, own(choice.clone()), &bytes, |record, mapped| {
                if mapped.own.text != record.text {
                    check_types(dataset, mapped, record);
                }
            });
        }
    }
}

/// Each key of the log formats that the docs recommend fills something, and the server is recognised by them.
#[test]
fn recommended_log_formats_are_understood_to_the_last_field() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/datasets.md");
    let docs = std::fs::read_to_string(docs).unwrap().replace("\\\"", "\"");
    let (_, section) = docs.split_once("## Log formats that fill the most\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    for server in ["nginx", "apache", "haproxy", "varnish", "ats", "envoy", "lighttpd", "h2o"] {
        let (_, block) = section.split_once(&format!("\n{server}")).unwrap();
        let (_, block) = block.split_once("\n\n").unwrap();
        let block = block.split_once("\n\n").map_or(block, |(block, _)| block);
        let keys: Vec<&str> =
            block.split("\":").filter_map(|part| part.rsplit_once('"').map(|(_, key)| key)).collect();
        let keys = &keys[..keys.len() - 1];
        assert!(keys.len() >= 12, "{server}: {keys:?}");
        let members: Vec<String> = keys.iter().map(|key| format!("\"{key}\":\"1\"")).collect();
        let line = format!("{{{}}}\n", members.join(","));
        assert_eq!(server_of(line.as_bytes()).as_deref(), Some(server), "{line}");
        let mapping = servers().iter().find(|mapping| mapping.name == server).unwrap();
        for key in keys {
            let takes = |dataset: &&Dataset| {
                dataset.fields.iter().any(|field| {
                    field.name == *key
                        || mapping.origins(dataset, field.name).iter().any(|origin| {
                            let others = origin.plus.iter().chain(&origin.minus).map(|(name, _)| name);
                            [&origin.from, &origin.query]
                                .into_iter()
                                .flatten()
                                .chain(others)
                                .any(|name| name == key)
                        })
                })
            };
            let signs = ["backend_name", "frontend_name", "termination_state", "response_flags"];
            assert!(DATASETS.iter().any(takes) || signs.contains(key), "{server} does not use {key}");
        }
    }
}
