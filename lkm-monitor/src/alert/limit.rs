//! Keeps documents small enough for every reader on their way.

use std::collections::BTreeSet;

use super::json::{Value, json, merge};
use crate::model::text::shorten;

/// Bytes of a document with its newline, at most one less than this. Fluent Bit stops reading a file at a line of 32 KiB, and
/// other shippers wrap the line into one of their own.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024;

/// What is given up, least evidence first; nothing is, as long as the document fits.
const STEPS: [Step; 12] = [
    drop_sections,
    drop_description,
    drop_ancestors_arguments,
    drop_distant_ancestors,
    shorten_arguments,
    shorten_parameters,
    |document, cut| shorten_everything(document, 1024, 64, cut),
    |document, cut| shorten_everything(document, 320, 48, cut),
    |document, cut| shorten_everything(document, 128, 24, cut),
    |document, cut| shorten_everything(document, 64, 8, cut),
    |document, cut| shorten_everything(document, 32, 4, cut),
    drop_largest,
];

/// Changes a document and names the fields that it cut.
type Step = fn(&mut Value<'_>, &mut BTreeSet<String>);

const ANCESTORS: &str = "lkm_monitor.ancestors";
const ARGUMENTS: [&str; 2] = ["args", "command_line"];
const KEPT_ANCESTORS: usize = 2;
const KEPT_ARGUMENTS: usize = 32;
const KEPT_ARGUMENT_BYTES: usize = 256;
const KEPT_COMMAND_LINE_BYTES: usize = 2048;
const KEPT_PARAMETER_BYTES: usize = 512;
/// What says that something happened, when, where and how grave it is. None of these grows beyond a few bytes when all is shortened.
const SPINE: [&str; 10] =
    ["@timestamp", "agent", "data_stream", "ecs", "event", "host", "message", "observer", "rule", "lkm_monitor"];

/// Writes the document as one line, cut where it is too long; `lkm_monitor.truncated` then names what was cut.
pub(super) fn write_line(document: Value<'_>, line: &mut Vec<u8>) {
    serialize(&document, line);
    if line.len() >= MAX_DOCUMENT_BYTES {
        cut_line(document.into_owned(), line);
    }
}

fn cut_line(mut document: Value<'_>, line: &mut Vec<u8>) {
    let mut cut = BTreeSet::new();
    for step in STEPS {
        if line.len() < MAX_DOCUMENT_BYTES {
            break;
        }
        step(&mut document, &mut cut);
        name_cut_fields(&mut document, &cut);
        serialize(&document, line);
    }
}

fn serialize(document: &Value<'_>, line: &mut Vec<u8>) {
    line.clear();
    document.write(line);
    line.push(b'\n');
}

/// Adds to the fields that the sensor had cut already.
fn name_cut_fields(document: &mut Value<'_>, cut: &BTreeSet<String>) {
    if cut.is_empty() {
        return;
    }
    let before = document.field_mut("lkm_monitor.truncated").and_then(Value::as_array_mut).into_iter().flatten();
    let mut all: BTreeSet<String> = before.filter_map(|field| field.as_text()).map(ToString::to_string).collect();
    all.extend(cut.iter().cloned());
    merge(document, json!({ "lkm_monitor": { "truncated": Value::from_iter(all) } }));
}

/// They are evidence where the image is what an alert is about, and there an analyst has the image.
fn drop_sections(document: &mut Value<'_>, cut: &mut BTreeSet<String>) {
    drop_members(document, "file.elf", &["sections"], cut);
}

/// Lists that who built the module can fill with whatever they like.
fn drop_description(document: &mut Value<'_>, cut: &mut BTreeSet<String>) {
    let lists = ["aliases", "descriptions", "firmware", "namespaces", "others", "parameters", "softdeps"];
    drop_members(document, "lkm_monitor.modinfo", &lists, cut);
    drop_members(document, "lkm_monitor.module", &["author"], cut);
}

fn drop_ancestors_arguments(document: &mut Value<'_>, cut: &mut BTreeSet<String>) {
    let ancestors = document.field_mut(ANCESTORS).and_then(Value::as_array_mut);
    for ancestor in ancestors.into_iter().flatten() {
        remove(ancestor, "lkm_monitor.ancestors", &ARGUMENTS, cut);
    }
    drop_members(document, "process.parent", &ARGUMENTS, cut);
}

/// Drops these members of the object at `field`.
fn drop_members(document: &mut Value<'_>, field: &str, keys: &[&str], cut: &mut BTreeSet<String>) {
    if let Some(object) = document.field_mut(field) {
        remove(object, field, keys, cut);
    }
}

/// The same of an object that stands at `field`.
fn remove(object: &mut Value<'_>, field: &str, keys: &[&str], cut: &mut BTreeSet<String>) {
    let Value::Object(members) = object else { return };
    for key in keys {
        if members.remove(key).is_some() {
            cut.insert(format!("{field}.{key}"));
        }
    }
}

fn drop_distant_ancestors(document: &mut Value<'_>, cut: &mut BTreeSet<String>) {
    let ancestors = document.field_mut(ANCESTORS).and_then(Value::as_array_mut);
    if let Some(ancestors) = ancestors.filter(|ancestors| ancestors.len() > KEPT_ANCESTORS) {
        ancestors.truncate(KEPT_ANCESTORS);
        cut.insert("lkm_monitor.ancestors".to_owned());
    }
}

fn shorten_arguments(document: &mut Value<'_>, cut: &mut BTreeSet<String>) {
    if let Some(arguments) = document.field_mut("process.args") {
        shorten_within(arguments, "process.args", KEPT_ARGUMENT_BYTES, KEPT_ARGUMENTS, cut);
    }
    for field in ["process.command_line", "lkm_monitor.request.process.command_line"] {
        if let Some(line) = document.field_mut(field) {
            shorten_within(line, field, KEPT_COMMAND_LINE_BYTES, 0, cut);
        }
    }
}

fn shorten_parameters(document: &mut Value<'_>, cut: &mut BTreeSet<String>) {
    let field = "lkm_monitor.module.params";
    if let Some(parameters) = document.field_mut(field) {
        shorten_within(parameters, field, KEPT_PARAMETER_BYTES, 0, cut);
    }
}

/// Drops whole members, the largest first, until the document fits: whoever fills very many fields at once cannot push an alert out.
fn drop_largest(document: &mut Value<'_>, cut: &mut BTreeSet<String>) {
    let mut left = written(document);
    let mut members: Vec<_> = members(document, None).filter(|(_, key, _)| !SPINE.contains(key)).collect();
    members.extend(self::members(document, Some("lkm_monitor")).filter(|(_, key, _)| *key != "truncated"));
    members.sort_by_key(|(.., bytes)| std::cmp::Reverse(*bytes));
    for (parent, key, bytes) in members {
        if left < MAX_DOCUMENT_BYTES {
            break;
        }
        let object = match parent {
            Some(parent) => document.field_mut(parent),
            None => Some(&mut *document),
        };
        let Some(Value::Object(object)) = object else { continue };
        object.remove(key);
        let field = parent.map_or_else(|| key.to_owned(), |parent| format!("{parent}.{key}"));
        // What was cut in it goes with it.
        let below = format!("{field}.");
        let gone: usize = cut.iter().filter(|cut| cut.starts_with(&below)).map(|cut| cut.len() + 3).sum();
        cut.retain(|cut| !cut.starts_with(&below));
        left = (left + field.len() + 3).saturating_sub(bytes + gone);
        cut.insert(field);
    }
    // Named anew, with what is there now.
    if let Some(Value::Object(own)) = document.field_mut("lkm_monitor") {
        own.remove("truncated");
    }
}

/// The members of the object at `parent`, or of the document: their parent, key and bytes as JSON.
fn members<'a>(
    document: &Value<'_>,
    parent: Option<&'a str>,
) -> impl Iterator<Item = (Option<&'a str>, &'static str, usize)> {
    let members = match parent.map_or(Some(document), |parent| document.field(parent)) {
        Some(Value::Object(members)) => members.iter().map(|(key, value)| (parent, key, written(value))).collect(),
        _ => Vec::new(),
    };
    members.into_iter()
}

fn written(value: &Value<'_>) -> usize {
    let mut line = Vec::new();
    serialize(value, &mut line);
    line.len()
}

/// Paths, names and sentences: whatever is left that is long.
fn shorten_everything(document: &mut Value<'_>, max_bytes: usize, max_elements: usize, cut: &mut BTreeSet<String>) {
    shorten_within(document, "", max_bytes, max_elements, cut);
}

/// Shortens every string and array in `value`, which stands at `field`.
fn shorten_within(
    value: &mut Value<'_>,
    field: &str,
    max_bytes: usize,
    max_elements: usize,
    cut: &mut BTreeSet<String>,
) {
    match value {
        Value::Text(text) if text.len() > max_bytes => {
            *text = shorten(text, max_bytes).into();
            cut.insert(field.to_owned());
        }
        Value::Array(elements) => {
            if elements.len() > max_elements {
                elements.truncate(max_elements);
                cut.insert(field.to_owned());
            }
            for element in elements {
                shorten_within(element, field, max_bytes, max_elements, cut);
            }
        }
        Value::Object(members) => {
            for (key, member) in members.iter_mut().filter(|(key, _)| *key != "truncated") {
                let field = if field.is_empty() { key.to_owned() } else { format!("{field}.{key}") };
                shorten_within(member, &field, max_bytes, max_elements, cut);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few kinds of documents have as many fields as it takes; any may get them.
    #[test]
    fn a_document_fits_however_many_fields_are_full() {
        const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let full = |of: fn() -> Value<'static>| Value::Object(KEYS.into_iter().map(|key| (key, of())).collect());
        let deep = full(|| Value::Object(KEYS.into_iter().map(|key| (key, Value::from("\"".repeat(900)))).collect()));
        let mut document =
            json!({ "event": { "kind": "alert" }, "message": "\"".repeat(9000), "lkm_monitor": { "small": 1_i64 } });
        merge(
            &mut document,
            full(|| Value::Object(KEYS.into_iter().map(|key| (key, Value::from("\"".repeat(900)))).collect())),
        );
        merge(&mut document, json!({ "lkm_monitor": { "deep": deep.clone(), "deeper": { "a": deep } } }));
        let mut line = Vec::new();
        write_line(document, &mut line);
        assert!(line.len() < MAX_DOCUMENT_BYTES, "{} bytes", line.len());
        let written: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&written["event"]["kind"], &written["lkm_monitor"]["small"]), (&"alert".into(), &1.into()));
        assert!(written["message"].as_str().unwrap().starts_with('"'));
        let truncated = written["lkm_monitor"]["truncated"].as_array().unwrap();
        assert!(truncated.contains(&"lkm_monitor.deeper".into()), "{truncated:?}");
        assert!(written["lkm_monitor"]["deeper"].is_null());
    }
}
