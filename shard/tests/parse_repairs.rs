//! Every row of INTERFACE 3's table of repairs, what they do together, and what no row covers.
use edgepush_shard::parse::{Parser, Reason};
use edgepush_shard::record::RepairKind::{self, *};

#[track_caller]
fn check(line: impl AsRef<[u8]>, text: &str, kinds: &[RepairKind]) {
    let mut parser = Parser::new();
    let record = parser.parse(line.as_ref()).expect("repairable");
    assert_eq!(String::from_utf8_lossy(record.text), text);
    assert_eq!(record.repairs.iter().collect::<Vec<_>>(), kinds);
    let again = Parser::new().parse(text.as_bytes()).map(|record| record.repairs.is_empty());
    assert_eq!(again, Ok(true), "a second repair changes nothing");
    let _: &serde_json::value::RawValue = serde_json::from_str(text).expect("valid for others too");
}

#[track_caller]
fn check_reject(line: impl AsRef<[u8]>, reason: Reason, column: u32) {
    let fault = Parser::new().parse(line.as_ref()).map(|record| record.repairs).expect_err("a reject");
    assert_eq!((fault.reason, fault.column), (reason, column));
}

#[test]
fn a_bare_word_becomes_a_string() {
    check(r#"{"a":-}"#, r#"{"a":"-"}"#, &[BareWord]);
    check(r#"{"a":-,"b":1}"#, r#"{"a":"-","b":1}"#, &[BareWord]);
    check(r#"{"a": - , "b": NaN }"#, r#"{"a": "-" , "b": "NaN" }"#, &[BareWord]);
    check(r#"{"r":{"a":-},"l":[{"b":x}]}"#, r#"{"r":{"a":"-"},"l":[{"b":"x"}]}"#, &[BareWord]);
    check(r#"{"a":nulls,"b":True}"#, r#"{"a":"nulls","b":"True"}"#, &[BareWord]);
}

#[test]
fn a_bare_number_that_is_none_becomes_a_string() {
    check(r#"{"s":000}"#, r#"{"s":"000"}"#, &[BareNumber]);
    check(r#"{"s":-01,"t":1.,"u":+5,"v":.5}"#, r#"{"s":"-01","t":"1.","u":"+5","v":".5"}"#, &[BareNumber]);
    check(
        r#"{"ts":1795227845.489,"dur_ms":0,"result":"NONE_NONE","status":000,"bytes":0,"method":"-"}"#,
        r#"{"ts":1795227845.489,"dur_ms":0,"result":"NONE_NONE","status":"000","bytes":0,"method":"-"}"#,
        &[BareNumber],
    );
}

#[test]
fn a_bare_list_becomes_a_string() {
    check(r#"{"t":0.1, 0.2,"x":1}"#, r#"{"t":"0.1, 0.2","x":1}"#, &[BareList]);
    check(r#"{"t":0.1, 0.2}"#, r#"{"t":"0.1, 0.2"}"#, &[BareList]);
    check(r#"{"t":0.1, -, 0.2 , "x":1}"#, r#"{"t":"0.1, -, 0.2" , "x":1}"#, &[BareList]);
    check(r#"{"t":1, 2,"x\",":1}"#, r#"{"t":"1, 2","x\",":1}"#, &[BareList]);
}

#[test]
fn a_missing_value_becomes_null() {
    check(r#"{"n":}"#, r#"{"n":null}"#, &[MissingValue]);
    check(r#"{"n":,"x":1}"#, r#"{"n":null,"x":1}"#, &[MissingValue]);
    check(r#"{"n": , "m":,"o": }"#, r#"{"n": null, "m":null,"o": null}"#, &[MissingValue]);
}

#[test]
fn hex_escapes_become_text() {
    check(r#"{"u":"\xc3\xa9"}"#, r#"{"u":"é"}"#, &[HexEscape]);
    check(r#"{"u":"a\x22b\x5Cc\x0a\x7F"}"#, "{\"u\":\"a\\\"b\\\\c\\u000a\u{7f}\"}", &[HexEscape]);
    let mixed = "{\"u\":\"\u{fffd}(\u{fffd}\u{1f600}\u{fffd}\"}";
    check(r#"{"u":"\xc3(\xff\xf0\x9f\x98\x80\xf0\x9f"}"#, mixed, &[HexEscape]);
    check(
        r#"{"status":200,"ua":"r\xc3\xa9sum\xc3\xa9/1.0","rid":"awEAWuGjSDUL_deXNJIK0wAAAEA"}"#,
        r#"{"status":200,"ua":"résumé/1.0","rid":"awEAWuGjSDUL_deXNJIK0wAAAEA"}"#,
        &[HexEscape],
    );
    check(r#"{"\xc3\xa9":1}"#, r#"{"é":1}"#, &[HexEscape]);
}

#[test]
fn an_escaped_backslash_begins_no_hex_escape() {
    check(r#"{"u":"\\xc3\\xa9"}"#, r#"{"u":"\\xc3\\xa9"}"#, &[]);
    check(r#"{"u":"\\xc3\xc3\xa9"}"#, r#"{"u":"\\xc3é"}"#, &[HexEscape]);
}

#[test]
fn bytes_that_are_no_utf8_are_replaced() {
    let bodies: [&[u8]; 6] =
        [b"\xff", b"a\xc3", b"\xc3\xa9\xc3b", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"x\xe2\x82y\x80\x80"];
    for body in bodies {
        let line = [b"{\"u\":\"", body, b"\",\"b\":[\"", body, b"\"]}"].concat();
        check(&line, &String::from_utf8_lossy(&line), &[InvalidUtf8]);
    }
    check(b"{\"k\xff\":1}", "{\"k\u{fffd}\":1}", &[InvalidUtf8]);
}

#[test]
fn control_characters_in_strings_are_escaped() {
    check("{\"u\":\"a\0b\tc\x1f\x7f\"}", "{\"u\":\"a\\u0000b\\u0009c\\u001f\x7f\"}", &[ControlCharacter]);
    check("{\"k\x01\":\"\x02\"}", "{\"k\\u0001\":\"\\u0002\"}", &[ControlCharacter]);
}

#[test]
fn repairs_come_together() {
    check(
        b"{\"a\":-,\"s\":000,\"t\":0.1, 0.2,\"n\":,\"u\":\"\\xc3\\xa9 \xff\0\",\"v\":{\"w\":[\"\x01\"],\"x\":}}",
        concat!(
            "{\"a\":\"-\",\"s\":\"000\",\"t\":\"0.1, 0.2\",\"n\":null,\"u\":\"é \u{fffd}\\u0000\",",
            "\"v\":{\"w\":[\"\\u0001\"],\"x\":null}}"
        ),
        &RepairKind::ALL,
    );
    let kinds = [BareWord, HexEscape, InvalidUtf8, ControlCharacter];
    check(b"{\"a\":caf\xe9\\x22\t!}", "{\"a\":\"caf\u{fffd}\\\"\\u0009!\"}", &kinds);
}

#[test]
fn what_no_row_covers_is_a_reject() {
    check_reject("", Reason::NotAnObject, 1);
    check_reject("  [1]", Reason::NotAnObject, 3);
    check_reject("<BADREQ>", Reason::NotAnObject, 1);
    check_reject(r#"{"a":1}{"a":1}"#, Reason::Trailing, 8);
    check_reject(r#"{"a":"\q"}"#, Reason::Escape, 7);
    check_reject(r#"{"a":"\u12g4"}"#, Reason::Escape, 11);
    check_reject(r#"{"a":"\xc"}"#, Reason::Escape, 7);
    check_reject(r#"{"a":w\q}"#, Reason::Escape, 7);
    check_reject(r#"{"a":w\xc}"#, Reason::Escape, 7);
    check_reject(r#"{"a":[-]}"#, Reason::Number, 8);
    check_reject(r#"{"a":[01]}"#, Reason::Syntax, 8);
    check_reject(r#"{"a":[x]}"#, Reason::Syntax, 7);
    check_reject(r#"{"a":"b"c"}"#, Reason::Syntax, 9);
    check_reject(r#"{"a":b"c"}"#, Reason::Syntax, 7);
    check_reject(r#"{"a":, 5}"#, Reason::Syntax, 7);
    check_reject(r#"{"a":1,}"#, Reason::Syntax, 8);
    check_reject(r#"{a:1}"#, Reason::Syntax, 2);
    check_reject(r#"{"a" 1}"#, Reason::Syntax, 6);
    check_reject(r#"{'a':1}"#, Reason::Syntax, 2);
    check_reject(b"{\xff\"a\":1}", Reason::Syntax, 2);
    check_reject(b"{\"a\":1}\xff", Reason::Trailing, 8);
}

#[test]
fn a_line_that_is_cut_anywhere_is_a_reject() {
    let line = r#"{"a":-,"s":0.1, 0.2,"n":,"u":"\xc3\xa9 \u0041","v":{"w":[1,"y",true],"x": 5 } }"#;
    for end in 1..line.len() {
        check_reject(&line[..end], Reason::Cut, end as u32 + 1);
    }
}

#[test]
fn the_depth_bound_is_exact() {
    let objects = |depth: usize| {
        let (open, close) = (r#"{"a":"#.repeat(depth - 1), "}".repeat(depth - 1));
        format!("{open}{{}}{close}")
    };
    check(objects(128), &objects(128), &[]);
    check_reject(objects(129), Reason::Depth, 128 * 5 + 1);
    let lists = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    check(lists(128), &lists(128), &[]);
    check_reject(lists(129), Reason::Depth, 5 + 128);
    check_reject(lists(1_000_000), Reason::Depth, 5 + 128);
}

#[test]
fn labels_are_distinct() {
    let mut labels: Vec<_> = RepairKind::ALL.iter().map(|kind| kind.as_str()).collect();
    labels.extend(Reason::ALL.iter().map(|reason| reason.as_str()));
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), RepairKind::ALL.len() + Reason::ALL.len());
}
