//! A document as a record of the journal.

use crate::sinks::{
    Entry,
    facts::{Facts, severity},
};

/// MESSAGE_ID by `event.kind`, for `journalctl MESSAGE_ID=...`. They never change.
const MESSAGE_IDS: [(&str, &str); 4] = [
    ("alert", "ea5c6d59ee444622a23ba2f9f51aa7af"),
    ("event", "fbf93a1c89f4448d9dcef6a4ca7d6ffc"),
    ("state", "621301ecc1ad45cca500513526021e89"),
    ("metric", "5fe82c45ea2546c58ce9d5bd79defafb"),
];

/// The record, one field after the other; empty ones are left out. Fields that begin with an underscore are journald's own, and it would
/// drop them.
pub(super) fn record(entry: &Entry) -> serde_json::Result<Vec<u8>> {
    let facts = Facts::of(&entry.json)?;
    let message = if facts.event.reason.is_empty() { &facts.message } else { &facts.event.reason };
    let message_id = MESSAGE_IDS.iter().find(|(kind, _)| *kind == facts.event.kind).map_or("", |(_, id)| id);
    let priority = severity(entry.class).to_string();
    let sequence = facts.event.sequence.map(|sequence| sequence.to_string()).unwrap_or_default();
    let mut record = Vec::with_capacity(entry.json.len() + 512);
    for (name, value) in [
        ("MESSAGE", message.as_bytes()),
        ("PRIORITY", priority.as_bytes()),
        ("SYSLOG_IDENTIFIER", b"lkm-monitor"),
        ("MESSAGE_ID", message_id.as_bytes()),
        ("LKM_MONITOR_EVENT_ID", facts.event.id.as_bytes()),
        ("LKM_MONITOR_EVENT_KIND", facts.event.kind.as_bytes()),
        ("LKM_MONITOR_EVENT_ACTION", facts.event.action.as_bytes()),
        ("LKM_MONITOR_EVENT_SEQUENCE", sequence.as_bytes()),
        ("LKM_MONITOR_RULE_ID", facts.rule.id.as_bytes()),
        ("LKM_MONITOR_DOCUMENT", &entry.json),
    ] {
        if !value.is_empty() {
            push(&mut record, name, value);
        }
    }
    Ok(record)
}

/// `NAME=VALUE`, or, where a newline in the value would end it too early, the name, the length (64 bits, little endian) and the value.
fn push(record: &mut Vec<u8>, name: &str, value: &[u8]) {
    record.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        record.push(b'\n');
        record.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        record.push(b'=');
    }
    record.extend_from_slice(value);
    record.push(b'\n');
}
