use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::samples::load, *};

const DIGEST: Digest = [0xcd; 32];

fn record(loads: i64) -> Record {
    let image = KeptImage { content: Arc::new(b"abc".to_vec()), size: 5 };
    let mut record = Record::of(&DIGEST, &image, &load(0));
    (0..loads).for_each(|second| record.add(&load(second), 5, 100 + second as u64));
    record
}

fn json_of(record: &Record) -> Value {
    serde_json::from_slice(&record.encode().unwrap()).unwrap()
}

fn decode(json: &Value) -> Result<Record, RecordError> {
    Record::decode(json.to_string().as_bytes(), &DIGEST)
}

#[test]
fn a_record_says_when_and_by_whom() {
    let load = |second: u8| {
        json!({
            "at": format!("1970-01-01T00:00:0{second}Z"), "image_bytes": 5, "event_id": format!("event-{second}"), "boot_id": "boot",
            "module_name": "evil", "path": "/tmp/evil.ko", "pid": 7, "uid": 0, "user": "root", "rules": ["unsigned-module"],
        })
    };
    let expected = json!({
        "version": 1, "sha256": "cd".repeat(32), "size": 5, "kept_bytes": 3, "seen_s": 101, "loads": 2, "ran": true,
        "first_seen": "1970-01-01T00:00:00Z", "last_seen": "1970-01-01T00:00:01Z", "shown_loads": [load(0), load(1)],
    });
    assert_eq!(json_of(&record(2)), expected);
}

#[test]
fn of_many_loads_the_first_and_the_last_are_told() {
    let record = record(1000);
    assert_eq!((record.loads, record.seen_s), (1000, 1099));
    let told: Vec<i64> = record.shown_loads.iter().map(|load| load.at.as_second()).collect();
    assert_eq!(told, (0..8).chain(992..1000).collect::<Vec<_>>());
}

#[test]
fn a_clock_that_was_set_back_is_told_as_it_was() {
    let mut record = record(1);
    record.add(&load(-1_000_000), 5, 200);
    assert_eq!((record.first_seen.as_second(), record.last_seen.as_second(), record.seen_s), (0, -1_000_000, 200));
}

#[test]
fn the_longest_record_can_be_read() {
    let long = "\"\\".repeat(2000);
    let load = KeptLoad {
        event_id: long.clone(),
        boot_id: long.clone(),
        module_name: vec![0xff; 10_000],
        path: Some(vec![b'"'; 10_000]),
        user: Some(long.clone()),
        rules: vec![long; 1000],
        ..load(0)
    };
    let mut record = record(0);
    (0..20).for_each(|_| record.add(&load, 5, 1));
    let json = record.encode().unwrap();
    assert!(json.len() as u64 <= MAX_RECORD_BYTES, "{}", json.len());
    assert_eq!(Record::decode(&json, &DIGEST).unwrap(), record);
}

#[test]
fn what_this_program_does_not_write_is_refused() {
    let good = json_of(&record(2));
    assert_eq!(decode(&good).unwrap(), record(2));
    let changed = |pointer: &str, value: Value| {
        let mut json = good.clone();
        *json.pointer_mut(pointer).unwrap() = value;
        decode(&json).unwrap_err()
    };
    assert!(matches!(changed("/version", json!(2)), RecordError::Version { version: 2 }));
    assert!(matches!(changed("/sha256", json!("ab".repeat(32))), RecordError::OtherImage));
    assert!(matches!(changed("/shown_loads/1/module_name", json!("\u{1b}[2J")), RecordError::Impossible));
    assert!(matches!(changed("/shown_loads/0/path", json!("\u{9b}2J")), RecordError::Impossible));
    assert!(matches!(changed("/loads", json!(1)), RecordError::Impossible));
    assert!(matches!(changed("/kept_bytes", json!(6)), RecordError::Impossible));
    assert!(matches!(changed("/last_seen", json!("soon")), RecordError::Malformed(_)));
    let mut many = good.clone();
    many["shown_loads"] = vec![good["shown_loads"][0].clone(); 17].into();
    many["loads"] = json!(17);
    assert!(matches!(decode(&many), Err(RecordError::Impossible)));
    let long = vec![b' '; MAX_RECORD_BYTES as usize + 1];
    assert!(matches!(Record::decode(&long, &DIGEST), Err(RecordError::TooLarge)));
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    assert!(matches!(Record::decode(&deep, &DIGEST), Err(RecordError::Malformed(_))));
}

proptest! {
    #[test]
    fn what_is_written_is_read(name: Vec<u8>, path: Option<Vec<u8>>, user: Option<String>, rules: Vec<String>, loads in 1..20) {
        let load = KeptLoad { module_name: name.clone(), path, user, rules, ..load(1) };
        let mut record = record(0);
        (0..loads).for_each(|second| record.add(&load, 5, second as u64));
        let read = Record::decode(&record.encode().unwrap(), &DIGEST).unwrap();
        prop_assert_eq!(&read, &record);
        prop_assert_eq!(&read.shown_loads[0].module_name, &shorten(&text(&name), MAX_WORD_BYTES));
    }

    #[test]
    fn no_bytes_are_a_panic(bytes: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
        let _ = Record::decode(&bytes, &DIGEST);
        let mut json = record(2).encode().unwrap();
        let at = at.index(json.len() - 1);
        prop_assert!(Record::decode(&json[..at], &DIGEST).is_err());
        json[at] ^= 1 << bit;
        let _ = Record::decode(&json, &DIGEST);
    }
}
