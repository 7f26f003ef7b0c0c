//! Two kinds of hooks saw the same attacks: their documents must not differ in anything that the hooks do not decide.

use serde_json::Value;

use crate::{
    document::{Document, differences},
    sensor,
};

/// What differs from run to run: times, ids, and numbers that the kernel hands out one after the other.
const VOLATILE: &[&str] = &[
    "@timestamp",
    "agent",
    // Whether an ancestor was still there to be asked.
    "ancestors.arguments_source",
    "call",
    "cgroup.id",
    "device",
    "duration",
    "entity_id",
    "event.id",
    "group_leader",
    // Whether a file was still there to be read after the load.
    "hash",
    "inode",
    "load.content",
    "namespace_pid",
    "namespaces",
    "pid",
    "sequence",
    "session",
    "session_leader",
    "start",
    "thread.id",
];
/// Kernel threads of this name come and go, and have a number in it.
const WORKER: &str = "kworker/";

/// Panics with the fields that differ.
pub(crate) fn same(left: &[Document], right: &[Document]) {
    let (left, right) = (calls(left), calls(right));
    assert!(!left.is_empty(), "the scenario made calls");
    let summaries =
        |documents: &[&Document]| -> Vec<_> { documents.iter().map(|document| document.summary()).collect() };
    assert_eq!(left.len(), right.len(), "documents: {:#?}\nand {:#?}", summaries(&left), summaries(&right));
    for (left, right) in left.iter().zip(&right) {
        let (left_stable, right_stable) = (stable("", left.value()), stable("", right.value()));
        let found = differences(&left_stable, &right_stable) + &differences(&right_stable, &left_stable);
        assert!(
            found.is_empty(),
            "fentry: {}\ntracepoint: {}\ndiffer both ways in:{found}",
            left.summary(),
            right.summary()
        );
    }
}

/// Sorted by what they report, since processes that run at the same time are reported in any order.
fn calls(documents: &[Document]) -> Vec<&Document> {
    let is_call = |document: &&Document| {
        (document.is_load() || document.is_unload() || document.is_request()) && !sensor::is_marker(document)
    };
    let mut calls: Vec<&Document> = documents.iter().filter(is_call).collect();
    calls.sort_by_key(|document| {
        (document.text("event.action"), document.module(), document.at("lkm_monitor.syscall.ret").as_i64())
    });
    calls
}

/// The value without what is volatile.
fn stable(holder: &str, value: &Value) -> Value {
    let is_volatile = |key: &str| VOLATILE.iter().any(|name| *name == key || *name == format!("{holder}.{key}"));
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| !is_volatile(key));
            kept.map(|(key, value)| (key.clone(), stable(key, value))).collect()
        }
        Value::Array(values) => values.iter().map(|value| stable(holder, value)).collect(),
        Value::String(text) if text.starts_with(WORKER) => WORKER.into(),
        plain => plain.clone(),
    }
}
