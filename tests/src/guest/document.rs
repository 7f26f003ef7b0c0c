//! One document of the daemon, and how scenarios look at it.

use std::{fmt::Write as _, sync::Arc};

use serde_json::Value;

#[derive(Clone, Debug)]
pub(crate) struct Document(Arc<Value>);

impl Document {
    pub(crate) fn new(value: Value) -> Self {
        Self(Arc::new(value))
    }

    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// The field with this dotted name, `Null` when it is absent: documents hold no nulls.
    pub(crate) fn at(&self, field: &str) -> &Value {
        field.split('.').fold(&self.0, |value, key| &value[key])
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.at(field).as_str().unwrap_or_default()
    }

    pub(crate) fn number(&self, field: &str) -> Option<u64> {
        self.at(field).as_u64()
    }

    pub(crate) fn list(&self, field: &str) -> &[Value] {
        self.at(field).as_array().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn lists(&self, field: &str, entry: &str) -> bool {
        self.list(field).iter().any(|value| value == entry)
    }

    pub(crate) fn is_load(&self) -> bool {
        self.text("event.action") == "loaded-kernel-module"
    }

    pub(crate) fn is_unload(&self) -> bool {
        self.text("event.action") == "unloaded-kernel-module"
    }

    pub(crate) fn is_request(&self) -> bool {
        self.text("event.action") == "requested-kernel-module"
    }

    pub(crate) fn is_loss(&self) -> bool {
        self.text("event.action") == "lost-events"
    }

    pub(crate) fn is_alert(&self) -> bool {
        self.text("event.kind") == "alert"
    }

    /// A second document on the same call.
    pub(crate) fn is_late(&self) -> bool {
        self.at("lkm_monitor.late") == true
    }

    pub(crate) fn is_by(&self, pid: u32) -> bool {
        self.number("process.pid") == Some(u64::from(pid))
    }

    pub(crate) fn module(&self) -> &str {
        self.text("lkm_monitor.module.name")
    }

    pub(crate) fn findings(&self) -> Vec<&str> {
        self.list("lkm_monitor.findings").iter().filter_map(|finding| finding["id"].as_str()).collect()
    }

    /// Everything in `expected` is in this document with the same value, and what is null there is absent here.
    pub(crate) fn contains(&self, expected: Value) -> &Self {
        let differences = differences(&expected, &self.0);
        assert!(differences.is_empty(), "the document differs:{differences}\n  document: {}", self.0);
        self
    }

    /// These rules matched, in any order, and no other.
    pub(crate) fn has_findings(&self, expected: &[&str]) -> &Self {
        let (mut found, mut expected) = (self.findings(), expected.to_vec());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "(found, expected) findings; document: {}", self.0);
        let kind = if expected.is_empty() { "event" } else { "alert" };
        assert_eq!(self.text("event.kind"), kind, "findings make an alert; document: {}", self.0);
        self
    }

    /// It is no alert, but what the daemon says of itself.
    pub(crate) fn has_no_alert(&self) -> &Self {
        assert!(!self.is_alert() && self.findings().is_empty(), "no cause for an alert; document: {}", self.0);
        self
    }

    /// One line for a person who looks for a document that did not come.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} {:?} file={} request={} pid={} {} ret={} missing={} findings={:?}",
            self.text("event.action"),
            self.module(),
            self.at("file.path"),
            self.at("lkm_monitor.request.name"),
            self.at("process.pid"),
            self.text("process.executable"),
            self.at("lkm_monitor.syscall.ret"),
            self.at("lkm_monitor.missing"),
            self.findings(),
        )
    }
}

/// Lines on what in `expected` is not in `actual`; what is null in the one is absent in the other.
pub(crate) fn differences(expected: &Value, actual: &Value) -> String {
    let mut differences = String::new();
    compare("", expected, actual, &mut differences);
    differences
}

fn compare(field: &str, expected: &Value, actual: &Value, differences: &mut String) {
    match expected {
        Value::Object(expected) => {
            for (key, expected) in expected {
                let field = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
                compare(&field, expected, &actual[key], differences);
            }
        }
        _ if expected != actual => {
            let _ = write!(differences, "\n  {field}: expected {expected}, found {actual}");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(expected: &Value) -> String {
        differences(expected, &json!({ "a": { "b": 1, "c": ["x"] }, "d": "text" }))
    }

    #[test]
    fn a_part_of_a_document_is_contained_in_it() {
        assert_eq!(found(&json!({ "a": { "c": ["x"] }, "e": null, "d": "text" })), "");
    }

    #[test]
    fn every_difference_is_named() {
        let found = found(&json!({ "a": { "b": 2, "c": null }, "d": { "e": 1 } }));
        assert_eq!(
            found,
            "\n  a.b: expected 2, found 1\n  a.c: expected null, found [\"x\"]\n  d.e: expected 1, found null"
        );
    }
}
