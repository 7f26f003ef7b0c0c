//! Many changes of module files in one document.

use super::{
    json::{Value, json, long, merge},
    process,
    scene::Scene,
};
use crate::model::{FileBurst, text::readable};

pub(super) fn render<'a>(burst: &'a FileBurst, scene: &Scene<'a>) -> Value<'a> {
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
        "file": { "directory": readable(if burst.directory.is_empty() { b"/" } else { &burst.directory }) },
        "lkm_monitor": {
            "burst": {
                "count": long(burst.count),
                "first_name": readable(&burst.first),
                "last_name": readable(&burst.last),
                "continued": burst.continued.then_some(true),
            },
        },
    });
    merge(&mut document, process::render(&burst.process, scene));
    document
}
