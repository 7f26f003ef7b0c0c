//! The bytes that the kernel loaded: captured, looked into, and kept.

pub(super) mod captured;
pub(super) mod contents;
pub(super) mod evidence;
mod package;
pub(super) mod provenance;
pub(super) mod signatures;

use serde_json::{Value, json};

use crate::{document::Document, expected::sha256, module_file::Image};

/// Severities of findings.
const LOW: u64 = 21;
const MEDIUM: u64 = 47;
const HIGH: u64 = 73;

/// A whole image with these bytes.
pub(super) fn whole(bytes: &[u8]) -> Value {
    json!({ "lkm_monitor": { "image": {
        "extent": "whole", "captured_bytes": bytes.len(), "sha256": sha256(bytes),
    } } })
}

/// A whole image with these bytes, in which this module is packed.
pub(super) fn packed(bytes: &[u8], module: &Image) -> Value {
    json!({ "lkm_monitor": {
        "image": {
            "extent": "whole", "captured_bytes": bytes.len(), "sha256": sha256(bytes),
            "compression": "xz", "unpacked_bytes": module.0.len(), "unpacked_sha256": sha256(&module.0),
            "ignored_bytes": null, "problem": null, "name": module.modinfo("name"),
        },
        "modinfo": { "name": module.modinfo("name") },
    } })
}

/// What this rule says of a load: how severe it is, and why.
fn finding<'a>(document: &'a Document, rule: &str) -> (u64, &'a str) {
    let found = document.list("lkm_monitor.findings").iter().find(|finding| finding["id"] == rule);
    let found = found.unwrap_or_else(|| panic!("{rule} does not match: {}", document.value()));
    (found["severity"].as_u64().expect("a severity"), found["reason"].as_str().expect("a reason"))
}
