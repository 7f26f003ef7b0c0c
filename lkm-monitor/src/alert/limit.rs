//! Keeps documents small enough for every reader on their way.

use std::collections::BTreeSet;

use super::json::{Value, json, merge};
use crate::model::text::shorten;

/// Bytes of a document with its newline, at most one less than this. Fluent Bit stops reading a file at a line of 32 KiB, and
/// other shippers wrap the line into one of their own.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024;

/// What is given up, least evidence first; nothing is, as long as the document fits.
const STEPS: [Step; 10] = [
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
