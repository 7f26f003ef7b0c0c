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

/// But for documents that nobody took in time, which are counted: a flood can make more than an emulated machine reads.
fn are_numbered_without_gaps(documents: &[Document]) {
    let ids: BTreeSet<&str> = documents.iter().map(|document| document.text("event.id")).collect();
    assert_eq!(ids.len(), documents.len(), "each document has an id of its own");
    assert_eq!(unexplained_gap(documents), None);
}

/// The first place at which numbers do not ascend, or which a loss document counts other than the numbers do.
fn unexplained_gap(documents: &[Document]) -> Option<String> {
    let (mut expected, mut missing, mut told) = (None, 0, 0);
    for document in documents {
        let Some(number) = document.number("event.sequence") else {
            return Some(format!("a document without a number: {}", document.value()));
        };
        let Some(skipped) = number.checked_sub(expected.unwrap_or(number)) else {
            return Some(format!("number {number} after {expected:?}"));
        };
        missing += skipped;
        expected = Some(number + 1);
        if document.text("lkm_monitor.loss.reason") == "output_full" {
            told = document.number("lkm_monitor.loss.total").unwrap_or(0);
            if told > missing {
                return Some(format!("{told} told as lost, {missing} missing, at number {number}"));
            }
        }
    }
    (told != missing).then(|| format!("{missing} numbers missing, of which {told} were told as lost"))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(numbers: &[u64]) -> Vec<Document> {
        numbers.iter().map(|number| Document::new(json!({ "event": { "sequence": number } }))).collect()
    }

    fn loss(number: u64, total: u64) -> Document {
        let loss = json!({ "reason": "output_full", "total": total });
        Document::new(json!({ "event": { "sequence": number }, "lkm_monitor": { "loss": loss } }))
    }

    #[test]
    fn numbers_follow_each_other() {
        assert_eq!(unexplained_gap(&of(&[7, 8, 9])), None);
        for wrong in [[7, 9, 10], [7, 7, 8], [8, 7, 9]] {
            assert!(unexplained_gap(&of(&wrong)).is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn only_as_many_are_missing_as_were_told() {
        let with = |total| [of(&[1, 2, 5]), vec![loss(6, total)], of(&[7])].concat();
        assert_eq!(unexplained_gap(&with(2)), None);
        assert!(unexplained_gap(&with(1)).is_some() && unexplained_gap(&with(3)).is_some());
        let before_it_happened = [of(&[1]), vec![loss(2, 2)], of(&[5])].concat();
        assert!(unexplained_gap(&before_it_happened).is_some());
    }
}
