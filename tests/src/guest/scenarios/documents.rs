//! What must hold for every document, whatever it reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use lkm_monitor_tests::ecs;
use serde_json::Value;

use super::loads::time_of;
use crate::document::Document;

pub(crate) type Check = fn(&[Document]);

/// Run over everything that one daemon wrote.
pub(crate) const CHECKS: [(&str, Check); 5] = [
    ("are_numbered_without_gaps", are_numbered_without_gaps),
    ("have_plausible_times", have_plausible_times),
    ("hold_no_empty_values", hold_no_empty_values),
    ("explain_their_alerts", explain_their_alerts),
    ("follow_ecs", follow_ecs),
];

/// From the start of the tests to their end.
const LONGEST_RUN: Duration = Duration::from_secs(3600);

fn are_numbered_without_gaps(documents: &[Document]) {
    let ids: BTreeSet<&str> = documents.iter().map(|document| document.text("event.id")).collect();
    assert_eq!(ids.len(), documents.len(), "each document has an id of its own");
    let numbers: Vec<_> = documents.iter().map(|document| document.number("event.sequence")).collect();
    let first = numbers.first().copied().flatten().expect("documents are numbered");
    let gap = numbers.iter().zip(first..).find(|(found, expected)| **found != Some(*expected));
    assert_eq!(gap, None, "(found, expected) number");
}

fn have_plausible_times(documents: &[Document]) {
    let now = SystemTime::now();
    for document in documents {
        let time = time_of(document.text("@timestamp"));
        assert!(now - LONGEST_RUN < time && time <= now, "the time of {}", document.value());
    }
}

fn hold_no_empty_values(documents: &[Document]) {
    let mut empty = BTreeSet::new();
    documents.iter().for_each(|document| note_empty_fields(&mut Vec::new(), document.value(), &mut empty));
    assert!(empty.is_empty(), "fields that say nothing: {empty:?}");
}

fn note_empty_fields<'a>(field: &mut Vec<&'a str>, value: &'a Value, empty: &mut BTreeSet<String>) {
    let says_nothing = match value {
        Value::Null => true,
        // An argument can be empty.
        Value::String(text) => text.is_empty() && field.last() != Some(&"args"),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(_) | Value::Bool(_) => false,
    };
    if says_nothing {
        empty.insert(field.join("."));
    }
    for value in value.as_array().into_iter().flatten() {
        note_empty_fields(field, value, empty);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        field.push(key);
        note_empty_fields(field, value, empty);
        field.pop();
    }
}

/// The first finding leads: it is the most severe one, and the alert bears its name.
fn explain_their_alerts(documents: &[Document]) {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for document in documents.iter().filter(|document| document.is_alert()) {
        let findings = document.list("lkm_monitor.findings");
        let lead = findings.first().unwrap_or_else(|| panic!("an alert without findings: {}", document.value()));
        let severest = findings.iter().filter_map(|finding| finding["severity"].as_u64()).max();
        let facts = [
            (document.at("rule.id"), &lead["id"]),
            (document.at("rule.name"), &lead["name"]),
            (document.at("message"), &lead["name"]),
            (document.at("event.code"), &lead["code"]),
            (document.at("event.severity"), &lead["severity"]),
            (document.at("event.risk_score"), &lead["severity"]),
            (document.at("event.reason"), &lead["reason"]),
        ];
        assert!(facts.iter().all(|(found, expected)| found == expected), "{facts:?}");
        assert_eq!(document.number("event.severity"), severest, "the lead is the most severe: {}", document.value());
        for finding in findings {
            let (id, code) = (finding["id"].as_str().expect("an id"), finding["code"].as_str().expect("a code"));
            assert_eq!(*names.entry(id).or_insert(code), code, "one id, one code");
        }
    }
}

/// The Elastic Common Schema; what is wrong in many documents is named once.
fn follow_ecs(documents: &[Document]) {
    let wrong: BTreeSet<String> = documents.iter().flat_map(|document| ecs::check(document.value())).collect();
    assert!(wrong.is_empty(), "not as ECS wants it: {wrong:#?}");
}
