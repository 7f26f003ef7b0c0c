//! Many changes of module files in one document.

use serde_json::{Value, json};

use super::{
    json::{long, merge},
    process,
    scene::Scene,
};
use crate::model::{FileBurst, text::text};

pub(super) fn render(burst: &FileBurst, scene: &Scene<'_>) -> Value {
    let mut document = json!({
        "message": format!("Many kernel module files {}", burst.participle),
        "event": {
            "kind": "event",
            "category": ["file"],
            "type": [burst.event_type],
            "action": format!("{}-kernel-module-files", burst.participle),
            "outcome": "success",
            "duration": burst.last_boot_ns.checked_sub(burst.boot_ns).map(long),
            "provider": "kernel",
        },
        "file": { "directory": text(if burst.directory.is_empty() { b"/" } else { &burst.directory }) },
        "lkm_monitor": {
            "burst": {
                "count": long(burst.count),
                "first_name": text(&burst.first),
                "last_name": text(&burst.last),
                "continued": burst.continued.then_some(true),
            },
        },
    });
    merge(&mut document, process::render(&burst.process, scene));
    document
}
