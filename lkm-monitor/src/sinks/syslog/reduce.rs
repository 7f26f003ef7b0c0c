//! Documents for receivers that take no long ones: less of it, but JSON.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::{Map, Value, json};

use crate::model::text::shorten;

/// What is kept of a document that is too long.
const IMPORTANT: [&str; 19] = [
    "@timestamp",
    "ecs.version",
    "message",
    "event",
    "rule.id",
    "rule.name",
    "threat.technique.id",
    "host.hostname",
    "host.id",
    "host.boot.id",
    "agent.id",
    "agent.ephemeral_id",
    "process.pid",
    "process.name",
    "process.executable",
    "process.user",
    "file.path",
    "file.hash",
    "lkm_monitor.module",
];
/// What is kept when that is still too long.
const ESSENTIAL: [&str; 14] = [
    "@timestamp",
    "ecs.version",
    "message",
    "event.id",
    "event.kind",
    "event.action",
    "event.code",
    "event.severity",
    "event.sequence",
    "event.reason",
    "rule.id",
    "host.hostname",
    "agent.id",
    "lkm_monitor.module.name",
];
/// Steps from least to most that is given up: which fields stay, and how long a text may be.
const STEPS: [(&[&str], usize); 6] = [
    (&IMPORTANT, usize::MAX),
    (&IMPORTANT, 1024),
    (&IMPORTANT, 256),
    (&ESSENTIAL, 256),
    (&ESSENTIAL, 64),
    (&ESSENTIAL, 32),
];

/// JSON of printable ASCII alone: other characters stand only in strings, where they can be escaped as UTF-16 (RFC 8259, section 7).
pub(super) fn ascii(json: &str) -> Cow<'_, str> {
    let is_plain = |character: char| matches!(character, ' '..='~');
    if json.chars().all(is_plain) {
        return Cow::Borrowed(json);
    }
    let mut ascii = String::with_capacity(json.len() * 2);
    for character in json.chars() {
        if is_plain(character) {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(ascii)
}

/// The important fields of a document in at most `max_bytes` of ASCII, with `lkm_monitor.reduced`. `None` when not even that fits.
pub(super) fn reduced(json: &[u8], max_bytes: usize) -> serde_json::Result<Option<String>> {
    let document: Value = serde_json::from_slice(json)?;
    for (fields, text_bytes) in STEPS {
        let mut kept = selected(&document, fields);
        shorten_texts(&mut kept, text_bytes);
        let text = kept.to_string();
        let text = ascii(&text);
        if text.len() <= max_bytes {
            return Ok(Some(text.into_owned()));
        }
    }
    Ok(None)
}

fn selected(document: &Value, fields: &[&str]) -> Value {
    let mut kept = json!({ "lkm_monitor": { "reduced": true } });
    for field in fields {
        if let Some(value) = document.pointer(&format!("/{}", field.replace('.', "/"))) {
            put(&mut kept, field, value.clone());
        }
    }
    kept
}

/// Sets a field by its dotted name.
fn put(into: &mut Value, field: &str, value: Value) {
    let (first, rest) = field.split_once('.').map_or((field, None), |(first, rest)| (first, Some(rest)));
    let Some(members) = into.as_object_mut() else { return };
    match rest {
        Some(rest) => put(members.entry(first).or_insert_with(|| Map::new().into()), rest, value),
        None => {
            members.insert(first.to_owned(), value);
        }
    }
}

fn shorten_texts(value: &mut Value, max_bytes: usize) {
    match value {
        Value::String(text) => *text = shorten(text, max_bytes),
        Value::Array(elements) => elements.iter_mut().for_each(|element| shorten_texts(element, max_bytes)),
        Value::Object(members) => members.values_mut().for_each(|member| shorten_texts(member, max_bytes)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
