//! Documents to send in tests.

use std::ops::Range;

use serde_json::{Value, json};

use super::Entry;
use crate::model::Class;

/// A document with the number in its id, and padded to about `bytes`.
pub(crate) fn document(number: u64, bytes: usize) -> Value {
    json!({
        "@timestamp": "2023-11-14T22:30:00.000000Z",
        "message": "Kernel module loaded",
        "event": { "id": format!("{number:032x}"), "kind": "event", "action": "loaded-kernel-module", "sequence": number },
        "host": { "hostname": "web-1" },
        "process": { "command_line": "x".repeat(bytes.saturating_sub(250)) },
    })
}

pub(crate) fn entry(number: u64, document: &Value) -> Entry {
    Entry { number, class: Class::Telemetry, happened_ms: 0, json: document.to_string().into_bytes().into() }
}

pub(crate) fn entries(numbers: Range<u64>, bytes: usize) -> Vec<Entry> {
    numbers.map(|number| entry(number, &document(number, bytes))).collect()
}
