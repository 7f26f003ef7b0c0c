//! How scenarios change files, and wait for what the daemon says of it.

use std::fs;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    document::{Document, differences},
    stage::Stage,
};

pub(super) const MEDIUM: u64 = 47;
pub(super) const HIGH: u64 = 73;
pub(super) const LOW: u64 = 21;

/// A watched file that says nothing of importance, and whose changes come last.
const SENTINEL: &str = "/etc/modprobe.d/lkm-sentinel.conf";

/// As documents write it.
pub(super) fn sha256(content: impl AsRef<[u8]>) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The report on this change of the file with this path, if it also says what is expected: the same may be done to a file twice.
pub(super) fn change(stage: &Stage, operation: &str, path: &str, expected: Value) -> Document {
    change_after(stage, 0, operation, path, expected)
}

/// The same, of the documents with higher numbers than this.
pub(super) fn change_after(stage: &Stage, number: u64, operation: &str, path: &str, expected: Value) -> Document {
    let what = format!("{operation} of {path} with {expected}");
    stage.sensor.expect(&what, |document| {
        document.number("event.sequence") > Some(number)
            && document.text("lkm_monitor.change.operation") == operation
            && document.text("file.path") == path
            && differences(&expected, document.value()).is_empty()
    })
}

/// The report on a change after which the file holds this.
pub(super) fn change_to(stage: &Stage, operation: &str, path: &str, content: &str) -> Document {
    change(stage, operation, path, json!({ "file": { "hash": { "sha256": sha256(content) } } }))
}

/// Writes a file anew, and returns the report on it.
pub(super) fn create(stage: &Stage, path: &str, content: &str) -> Document {
    let before = last_number(stage);
    fs::write(path, content).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    change_after(stage, before, "created", path, json!({ "file": { "hash": { "sha256": sha256(content) } } }))
}

/// Removes a file, and returns the report on it.
pub(super) fn remove(stage: &Stage, path: &str) -> Document {
    let before = last_number(stage);
    fs::remove_file(path).unwrap_or_else(|error| panic!("cannot remove {path}: {error}"));
    change_after(stage, before, "removed", path, json!({}))
}

/// The number of the newest document.
fn last_number(stage: &Stage) -> u64 {
    stage.sensor.documents().last().and_then(|document| document.number("event.sequence")).unwrap_or_default()
}

/// No document on a file matches, and none that could still be under way: changes that were made later have been told.
///
/// Files are looked at one after the other, but those that are closed at the same time are found in any order; so there are two
/// changes, one after the other.
pub(super) fn expect_no_change(stage: &mut Stage, what: &str, predicate: impl Fn(&Document) -> bool) {
    for content in ["# first\n", "# second\n"] {
        create(stage, SENTINEL, content);
        remove(stage, SENTINEL);
    }
    stage.sensor.expect_none(what, |document| {
        is_change(document) && document.text("file.path") != SENTINEL && predicate(document)
    });
}

pub(super) fn is_change(document: &Document) -> bool {
    document.at("lkm_monitor.change").is_object()
}
