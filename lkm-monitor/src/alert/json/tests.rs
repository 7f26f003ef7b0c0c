//! Values against those of serde_json.

use std::borrow::Cow;

use proptest::{collection::vec, prelude::*};
use serde_json::Value as Theirs;

use super::{Fixed, Object, Value, digits, json, long, merge};

/// Keys in no order, one the beginning of another.
const KEYS: [&str; 7] = ["process", "id", "@timestamp", "proc", "process_id", "user", "Z"];

/// Text with all that must be escaped, and what looks like it.
fn any_text() -> impl Strategy<Value = String> {
    let character = prop_oneof![0_u8..=0x7f, Just(b'"'), Just(b'\\')].prop_map(char::from);
    vec(prop_oneof![4 => character, 1 => any::<char>()], 0..40).prop_map(String::from_iter)
}

fn any_value() -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Number),
        any::<u64>().prop_map(digits),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 7, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::Array), any_object(inner)]
    })
}

fn any_object(member: impl Strategy<Value = Value<'static>>) -> impl Strategy<Value = Value<'static>> {
    vec((proptest::sample::select(&KEYS[..]), member), 0..7)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// The same value in serde_json's type.
fn theirs(value: &Value<'_>) -> Theirs {
    match value {
        Value::Null => Theirs::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => (*number).into(),
        Value::Digits(number) => number.to_string().into(),
        Value::Text(text) => text.as_ref().into(),
        Value::Array(elements) => elements.iter().map(theirs).collect(),
        Value::Object(members) => {
            Theirs::Object(members.iter().map(|(key, value)| (key.to_owned(), theirs(value))).collect())
        }
        Value::Fixed(fixed) => theirs(fixed.value()),
    }
}

fn written(value: &Value<'_>) -> String {
    let mut json = Vec::new();
    value.write(&mut json);
    String::from_utf8(json).unwrap()
}

/// What serde_json reads in what was written.
fn read(value: &Value<'_>) -> Theirs {
    serde_json::from_str(&written(value)).unwrap()
}

fn merge_theirs(into: &mut Theirs, added: Theirs) {
    match (into, added) {
        (Theirs::Object(into), Theirs::Object(added)) => {
            for (key, value) in added {
                merge_theirs(into.entry(key).or_insert(Theirs::Null), value);
            }
        }
        (into, added) => *into = added,
    }
}

proptest! {
    #[test]
    fn is_written_as_serde_json_does(value in any_value()) {
        prop_assert_eq!(read(&value), theirs(&value));
        let fixed = Fixed::new(&value);
        prop_assert_eq!(written(&Value::Fixed(&fixed)), written(&value));
        prop_assert_eq!(written(&value.clone().into_owned()), written(&value));
    }

    #[test]
    fn merges_level_by_level(mut value in any_object(any_value()), added in any_object(any_value())) {
        let mut both = theirs(&value);
        merge_theirs(&mut both, theirs(&added));
        merge(&mut value, added);
        prop_assert_eq!(read(&value), both);
    }
}

#[test]
fn every_byte_is_escaped_as_serde_json_does() {
    for byte in 0..0x80_u8 {
        for padding in ["", "0123456789abcdef"] {
            let text = format!("{padding}{}{padding}é", char::from(byte));
            assert_eq!(written(&Value::from(&text)), Theirs::from(text.as_str()).to_string());
        }
    }
}

#[test]
fn a_literal_keeps_its_order_and_has_no_empty_members() {
    let owned = json!({
        "z": 1,
        "args": ["x", ""],
        "b": { "d": { "e": Vec::<&str>::new() }, "c": "" },
        "none": None::<bool>,
        "a": { "y": false, "x": "" },
        "ab": digits(7_u32),
    });
    assert_eq!(written(&owned), r#"{"z":1,"args":["x",""],"a":{"y":false},"ab":"7"}"#);
    assert_eq!(json!({}), Value::Object(Object::default()));
}

#[test]
fn what_is_empty_replaces_nothing() {
    let mut value = json!({ "event": { "id": "1", "kind": "event" } });
    merge(&mut value, json!({ "event": { "id": "", "kind": "alert" }, "rule": { "id": "x" } }));
    merge(&mut value, Value::Null);
    assert_eq!(value, json!({ "event": { "id": "1", "kind": "alert" }, "rule": { "id": "x" } }));
}

#[test]
fn fields_are_found_by_path() {
    let mut value = json!({ "a": { "b": { "c": "text" } } });
    assert_eq!(value.field("a.b.c").and_then(Value::as_text).map(Cow::as_ref), Some("text"));
    assert_eq!((value.field("a.c"), value.field("a.b.c.d")), (None, None));
    *value.field_mut("a.b").unwrap() = json!([1]);
    assert_eq!(value.field_mut("a.b").and_then(Value::as_array_mut).map(|elements| elements.len()), Some(1));
}

#[test]
fn longs_fit() {
    assert_eq!(long(7), 7);
    assert_eq!(long(u64::MAX), i64::MAX);
}
