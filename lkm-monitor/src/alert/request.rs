//! Requests for modules.

use super::{
    json::{Value, json, merge},
    process,
    scene::Scene,
};
use crate::model::{ModuleRequest, text::readable};

/// The telemetry document of a request.
pub(super) fn render<'a>(request: &'a ModuleRequest, scene: &Scene<'a>) -> Value<'a> {
    let name = readable(&request.name.bytes);
    let mut truncated = Vec::new();
    if request.name.truncated {
        truncated.push("lkm_monitor.request.name");
    }
    let mut document = json!({
        "message": format!("Kernel module {name} requested"),
        "event": {
            "kind": "event",
            "category": ["driver"],
            "type": ["info"],
            "action": "requested-kernel-module",
            "provider": "kernel",
        },
        "lkm_monitor": { "request": { "name": name, "wait": request.wait }, "truncated": truncated },
    });
    merge(&mut document, process::render(&request.process, scene));
    document
}

/// The request that a load answers, for the document of the load; `candidates` of them fit.
pub(super) fn answered<'a>(request: &'a ModuleRequest, candidates: u32, scene: &Scene<'a>) -> Value<'a> {
    let process = &request.process.caller;
    json!({
        "name": readable(&request.name.bytes),
        "candidates": (candidates > 1).then_some(candidates),
        "process": {
            "pid": process.pid,
            "name": readable(&process.name),
            "executable": process.executable.as_ref().map(|path| readable(&path.seen)),
            "command_line": process::command_line(process),
            "uid": process.ids.map(|ids| ids.uid),
            "euid": process.ids.map(|ids| ids.euid),
            "user": process.ids.and_then(|ids| scene.user_name(ids.euid)),
            "entity_id": process::entity_id(process, scene),
        },
    })
}
