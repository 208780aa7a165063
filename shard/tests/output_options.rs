//! What a job may say of its output, and what it is told when it is wrong.
use edgepush_shard::batch::Framing;
use edgepush_shard::dataset::{Dataset, HTTP_REQUESTS, RAW};
use edgepush_shard::plan::{Formatter, HashKey, Output, OutputOptions, OutputType};
use edgepush_shard::testing::output::output_options;
use proptest::prelude::*;
use serde_json::{Value, json};

fn raw(options: Value) -> OutputOptions {
    OutputOptions::from_json(&options, &RAW).unwrap_or_else(|problems| panic!("{options}: {problems:?}"))
}

/// The problems as `pointer: message`.
fn problems(options: &Value, dataset: &Dataset) -> Vec<String> {
    let problems = OutputOptions::from_json(options, dataset).expect_err(&options.to_string());
    assert!(!problems.is_empty());
    problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn refused(options: Value, dataset: &Dataset, pointer: &str, word: &str) {
    let problems = problems(&options, dataset);
    let found =
        problems.iter().any(|p| p.starts_with(&format!("/output_options{pointer}: ")) && p.contains(word));
    assert!(found && problems.len() == 1, "{options}: {problems:#?}");
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (options, pointer, word) in [
        (json!([]), "", "is an array"),
        (json!("x"), "", "a string"),
        (json!({"fieldnames": ["a"]}), "/fieldnames", "nearest name is `field_names`"),
        (json!({"CVE-2021-4428": true}), "/CVE-2021-4428", "`CVE-2021-44228`"),
        (json!({"a/b~c": 1}), "/a~1b~0c", "no output option"),
        (json!({"field_names": "a"}), "/field_names", "list"),
        (json!({"field_names": []}), "/field_names", "at least one"),
        (json!({"field_names": ["a", 7]}), "/field_names/1", "a number"),
        (json!({"field_names": ["a", "  "]}), "/field_names/1", "empty"),
        (json!({"field_names": vec!["x"; 1001]}), "/field_names", "at most 1000"),
        (json!({"output_type": "json"}), "/output_type", "ndjson, csv"),
        (json!({"output_type": "nd_json"}), "/output_type", "nearest name is `ndjson`"),
        (json!({"output_type": 1}), "/output_type", "a number"),
        (json!({"timestamp_format": "rfc339"}), "/timestamp_format", "`rfc3339`"),
        (json!({"record_prefix": 1}), "/record_prefix", "a number"),
        (json!({"batch_suffix": "x".repeat(16385)}), "/batch_suffix", "16385 bytes"),
        (json!({"sample_rate": 0}), "/sample_rate", "above 0"),
        (json!({"sample_rate": 1.01}), "/sample_rate", "at most 1"),
        (json!({"sample_rate": -0.5}), "/sample_rate", "is -0.5"),
        (json!({"sample_rate": "0.5"}), "/sample_rate", "a string"),
        (json!({"CVE-2021-44228": "true"}), "/CVE-2021-44228", "true or false"),
        (json!({"merge_subrequests": true}), "/merge_subrequests", "no subrequests"),
        (json!({"stringify_object": 1}), "/stringify_object", "true or false"),
        (json!({"record_template": "{{if .a}}"}), "/record_template", "`if`"),
        (json!({"all_fields": true, "field_names": ["a"]}), "/all_fields", "keep one"),
        (json!({"all_fields": false}), "/field_names", "name some"),
        (json!({"output_type": "csv"}), "/field_names", "same columns"),
        (
            json!({"output_type": "csv", "field_names": ["a"], "field_delimiter": ""}),
            "/field_delimiter",
            "empty",
        ),
        (
            json!({"output_type": "csv", "field_names": ["a"], "field_delimiter": "\""}),
            "/field_delimiter",
            "quote",
        ),
        (json!({"record_prefix": "", "record_suffix": ""}), "/record_suffix", "no byte"),
        (
            json!({"output_type": "csv", "field_names": ["a"], "record_suffix": ""}),
            "/record_suffix",
            "no byte",
        ),
    ] {
        refused(options, &RAW, pointer, word);
    }
}

#[test]
fn each_mistake_about_a_name_is_named_with_its_place() {
    for (options, pointer, word) in [
        (json!({"rename": ["a"]}), "/rename", "an object"),
        (json!({"rename": {"a": 1}}), "/rename/a", "a number"),
        (json!({"rename": {"a": ""}}), "/rename/a", "not be empty"),
        (json!({"rename": {"a": "x", "b": "x"}}), "/rename", "called `x`"),
        (json!({"field_names": ["a", "b"], "rename": {"a": "b"}}), "/rename", "called `b`"),
        (
            json!({"field_names": ["alpha"], "rename": {"Alpha": "b"}}),
            "/rename/Alpha",
            "nearest name is `alpha`",
        ),
        (
            json!({"output_type": "csv", "field_names": ["a"], "rename": {"a": "b"}}),
            "/rename",
            "does nothing",
        ),
        (json!({"record_template": "{{.a}}", "rename": {"a": "b"}}), "/rename", "does nothing"),
        (json!({"privacy": {"a": "hide"}}), "/privacy/a", "drop, hash, truncate_ip"),
        (json!({"privacy": {"a": "truncate-ip"}}), "/privacy/a", "nearest name is `truncate_ip`"),
        (json!({"privacy": {"a": null}}), "/privacy/a", "null"),
        (json!({"privacy": {"a.b": "drop"}}), "/privacy/a.b", "list field_names"),
        (
            json!({"field_names": ["ClientIP"], "privacy": {"ClientIp": "hash"}}),
            "/privacy/ClientIp",
            "`ClientIP`",
        ),
        (json!({"field_names": ["a", "a.b"], "privacy": {"a.b": "hash"}}), "/privacy/a.b", "lies inside `a`"),
    ] {
        refused(options, &RAW, pointer, word);
    }
}

#[test]
fn a_closed_data_set_knows_its_fields() {
    for (options, pointer, word) in [
        (json!({"field_names": ["ClientIP", "ClientIp"]}), "/field_names/1", "nearest name is `ClientIP`"),
        (json!({"field_names": ["ClientIP.x"]}), "/field_names/0", "no field of the data set http_requests"),
        (json!({"record_template": "{{.RayId}}"}), "/record_template", "`RayID`"),
        (json!({"privacy": {"clientip": "drop"}}), "/privacy/clientip", "`ClientIP`"),
        (json!({"rename": {"Host": "h"}}), "/rename/Host", "no field"),
    ] {
        refused(options, &HTTP_REQUESTS, pointer, word);
    }
    for options in [
        json!({"field_names": ["ClientIP", "Cookies", "Cookies.a", "BotTags.0"]}),
        json!({"record_template": "{{.RayID}}"}),
        json!({"field_names": ["ClientIP"], "record_template": "{{.RayID}}", "record_prefix": "", "record_suffix": ""}),
        json!({"field_names": ["ClientIP"], "record_prefix": "", "record_suffix": "", "privacy": {"ClientIP": "hash"}}),
    ] {
        let read =
            OutputOptions::from_json(&options, &HTTP_REQUESTS).unwrap_or_else(|p| panic!("{options}: {p:?}"));
        assert_eq!(read.to_json(), options);
    }
    let hidden = json!({"field_names": ["ClientIP"], "record_prefix": "", "record_suffix": "",
        "privacy": {"ClientIP": "drop"}});
    refused(hidden, &HTTP_REQUESTS, "/record_suffix", "no byte");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let said = problems(
        &json!({"sample_rate": 2, "output_type": "xml", "colour": "red", "field_names": ["a", ""], "rename": {"b": 1},
            "privacy": {"c": "drop"}}),
        &RAW,
    );
    let pointers: Vec<&str> =
        said.iter().map(|problem| problem.split(": ").next().expect("a pointer")).collect();
    for key in ["sample_rate", "output_type", "colour", "field_names/1", "rename/b", "privacy/c"] {
        assert!(pointers.contains(&format!("/output_options/{key}").as_str()), "{key}: {pointers:?}");
    }
    assert_eq!(said.len(), 6, "{said:#?}");
}

#[test]
fn null_is_unset_and_unset_is_left_out() {
    let nothing = OutputOptions::from_json(&Value::Null, &RAW).expect("options");
    assert_eq!(nothing, OutputOptions::default());
    assert_eq!(nothing.to_json(), json!({}));
    let nulls = json!({"field_names": null, "output_type": null, "batch_prefix": null, "record_prefix": null,
        "timestamp_format": null, "sample_rate": null, "CVE-2021-44228": null, "merge_subrequests": null,
        "stringify_object": null, "record_template": null, "all_fields": null, "rename": null, "privacy": null});
    assert_eq!(raw(nulls), nothing);
    assert_eq!(raw(json!({"record_template": ""})), nothing);
    assert_eq!((nothing.sample_rate(), nothing.output_type()), (1.0, OutputType::Ndjson));
    let all = json!({"field_names": ["a", "b"], "output_type": "csv", "batch_prefix": "1", "batch_suffix": "2",
        "record_prefix": "", "record_suffix": "4", "record_delimiter": "5", "field_delimiter": "6",
        "record_template": "{{.a}}", "timestamp_format": "unix", "sample_rate": 0.25, "CVE-2021-44228": false,
        "merge_subrequests": false, "stringify_object": true, "privacy": {"a": "hash", "b": "truncate_ip"}});
    assert_eq!(raw(all.clone()).to_json(), all);
    assert_eq!(raw(all).sample_rate(), 0.25);
}

#[test]
fn what_follows_from_options() {
    let bytes = |text: &str| text.as_bytes().to_vec();
    assert!(raw(json!({})).is_pass_through() && raw(json!({"all_fields": true})).is_pass_through());
    let same = json!({"record_prefix": "{", "record_suffix": "}\n", "field_delimiter": ",", "batch_prefix": "#",
        "sample_rate": 0.5, "CVE-2021-44228": false});
    assert!(raw(same).is_pass_through());
    for other in [
        json!({"field_names": ["a"]}),
        json!({"record_delimiter": ","}),
        json!({"record_prefix": " {"}),
        json!({"record_suffix": "}"}),
        json!({"field_delimiter": ", "}),
        json!({"record_template": "x"}),
        json!({"timestamp_format": "unix"}),
        json!({"CVE-2021-44228": true}),
        json!({"stringify_object": true}),
        json!({"rename": {"a": "b"}}),
        json!({"privacy": {"a": "drop"}}),
    ] {
        assert!(!raw(other.clone()).is_pass_through(), "{other}");
    }
    assert!(!OutputOptions::all(&HTTP_REQUESTS).is_pass_through());
    let plain = Framing { record_suffix: bytes("\n"), ..Framing::default() };
    assert_eq!(raw(json!({})).framing(), plain);
    let fields =
        raw(json!({"field_names": ["a"], "batch_prefix": "[", "batch_suffix": "]", "record_delimiter": ";"}));
    let expected = Framing {
        prefix: bytes("["),
        suffix: bytes("]"),
        delimiter: bytes(";"),
        record_prefix: bytes("{"),
        record_suffix: bytes("}\n"),
    };
    assert_eq!(fields.framing(), expected);
    let csv = raw(json!({"field_names": ["a"], "output_type": "csv"}));
    assert_eq!((csv.framing(), csv.output_type()), (plain, OutputType::Csv));
}

#[test]
fn the_environments_output_is_the_same_options() {
    let names = ["b ", "", "a", "b"].map(String::from).to_vec();
    assert_eq!(OutputOptions::from(&Output::Fields(names)), raw(json!({"field_names": ["b", "a"]})));
    assert_eq!(OutputOptions::from(&Output::PassThrough), OutputOptions::default());
    let _ = Formatter::new(&OutputOptions::default(), &RAW, &HashKey::new(&[1; 32]));
}

#[test]
fn logpull_options_are_the_same_options() {
    let read = |text: &str| OutputOptions::from_logpull(text, &HTTP_REQUESTS);
    let expected = json!({"field_names": ["ClientIP", "RayID"], "timestamp_format": "rfc3339", "sample_rate": 0.1,
        "CVE-2021-44228": true});
    let query = "fields=ClientIP,RayID&timestamps=rfc3339&sample=0.1&CVE-2021-44228=true";
    for text in [
        query.to_owned(),
        format!("?{query}"),
        format!(" https://api.example/client/v4/zones/1/logs/received?start=1&end=2&count=3&{query}#x "),
        query.replace(',', "%2C").replace("ClientIP", "%43lientIP"),
        query.replace(',', "+,+"),
        query.replace("RayID", "RayID,ClientIP,,"),
    ] {
        assert_eq!(read(&text).map(|options| options.to_json()), Ok(expected.clone()), "{text}");
    }
    assert_eq!(read(""), Ok(OutputOptions::all(&HTTP_REQUESTS)));
    assert_eq!(
        OutputOptions::from_logpull("timestamps=unix", &RAW),
        Ok(raw(json!({"timestamp_format": "unix"})))
    );
    for (text, word) in [
        ("field=ClientIP", "nearest name is `fields`"),
        ("sample=0.1&sample=0.2", "twice"),
        ("sample=much", "sample: is a string"),
        ("sample=2", "sample: is 2"),
        ("sample=NaN", "sample: is a string"),
        ("timestamps=iso", "timestamps: is `iso`"),
        ("fields=", "fields: names no field"),
        ("fields=ClientIp", "fields: `ClientIp` is no field"),
        ("CVE-2021-44228=1", "CVE-2021-44228: is a string"),
    ] {
        let problems = read(text).expect_err(text);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(
            problems[0].pointer == "/logpull_options" && problems[0].message.contains(word),
            "{problems:?}"
        );
    }
    assert_eq!(read("sample=2&x=1&timestamps=y").expect_err("three problems").len(), 3);
}

#[test]
fn the_documentation_is_accepted_and_whole() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/output.md")).expect("docs");
    let blocks: Vec<&str> =
        page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(blocks.len() >= 3, "{} examples", blocks.len());
    for block in blocks {
        let options: Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{error} in {block}"));
        raw(options);
    }
    let array = r#"{"batch_prefix": "[", "record_delimiter": ",", "batch_suffix": "]"}"#;
    assert!(page.contains(array));
    raw(serde_json::from_str(array).expect("JSON"));
    for key in [
        "field_names",
        "all_fields",
        "output_type",
        "batch_prefix",
        "batch_suffix",
        "record_prefix",
        "record_suffix",
        "record_delimiter",
        "field_delimiter",
        "record_template",
        "timestamp_format",
        "sample_rate",
        "CVE-2021-44228",
        "merge_subrequests",
        "stringify_object",
        "rename",
        "privacy",
    ] {
        assert!(
            page.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{key}`"))),
            "{key}"
        );
        let misread = problems(&json!({key: {"x": [[]]}}), &RAW);
        assert!(misread.iter().all(|problem| !problem.contains("no output option")), "{key}: {misread:?}");
    }
}

fn option() -> impl Strategy<Value = (String, Value)> {
    let text = prop_oneof![
        Just(json!("")),
        Just(json!("{")),
        Just(json!("}\n")),
        "[{},\\n$\"]{0,4}".prop_map(Value::from)
    ];
    let key = proptest::sample::select(vec![
        "batch_prefix",
        "batch_suffix",
        "record_prefix",
        "record_suffix",
        "record_delimiter",
        "field_delimiter",
    ]);
    let names =
        proptest::collection::vec(proptest::sample::select(vec!["a", "b.c", "ts", "x\"", "ip"]), 1..4);
    prop_oneof![
        4 => (key, text).prop_map(|(key, text)| (key.to_owned(), text)),
        2 => names.prop_map(|names| ("field_names".to_owned(), json!(names))),
        1 => proptest::sample::select(vec!["ndjson", "csv"]).prop_map(|kind| ("output_type".into(), json!(kind))),
        1 => proptest::sample::select(vec!["{{.a}}", "x", "{{.ts}}{{`$`}}", ""]).prop_map(|t| ("record_template".into(), json!(t))),
        1 => proptest::sample::select(vec!["unix", "rfc3339ns"]).prop_map(|f| ("timestamp_format".into(), json!(f))),
        1 => any::<bool>().prop_map(|flag| ("CVE-2021-44228".into(), json!(flag))),
        1 => any::<bool>().prop_map(|flag| ("stringify_object".into(), json!(flag))),
        1 => any::<bool>().prop_map(|flag| ("all_fields".into(), json!(flag))),
        1 => proptest::sample::select(vec!["drop", "hash", "truncate_ip"])
            .prop_map(|privacy| ("privacy".into(), json!({"ip": privacy, "a": privacy}))),
        1 => Just(("rename".into(), json!({"a": "new \" name"}))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn accepted_options_hold_what_they_promise(options in proptest::collection::vec(option(), 0..7)) {
        let options: serde_json::Map<String, Value> = options.into_iter().collect();
        output_options(Value::Object(options).to_string().as_bytes());
    }
}
