//! Requests for modules.

use serde_json::{Value, json};

use super::{json::merge, process, scene::Scene};
use crate::model::{ModuleRequest, text::text};

/// The telemetry document of a request.
pub(super) fn render(request: &ModuleRequest, scene: &Scene<'_>) -> Value {
    let name = text(&request.name.bytes);
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
pub(super) fn answered(request: &ModuleRequest, candidates: u32, scene: &Scene<'_>) -> Value {
    let process = &request.process.caller;
    json!({
        "name": text(&request.name.bytes),
        "candidates": (candidates > 1).then_some(candidates),
        "process": {
            "pid": process.pid,
            "name": text(&process.name),
            "executable": process.executable.as_ref().map(|path| text(&path.seen)),
            "command_line": process::command_line(process),
            "uid": process.ids.map(|ids| ids.uid),
            "euid": process.ids.map(|ids| ids.euid),
            "user": process.ids.and_then(|ids| scene.user_name(ids.euid)),
            "entity_id": process::entity_id(process, scene),
        },
    })
}
