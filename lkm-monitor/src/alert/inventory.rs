//! What is on the host: a document for each thing, and one for what could not be looked at.

use super::{
    file, file_change, image,
    json::{Value, json, long, merge},
    scene::{Scene, microseconds},
};
use crate::model::{
    FileEntry, FileFacts, FoundFile, Gap, KernelsWord, KnownLoad, ModuleEntry, ParameterValue, SeenPath, Subject,
    ToolEntry, ToolKind, taint,
    text::{hex, readable},
};

pub(super) const MODULE: &str = "module-listed";
pub(super) const FILE: &str = "file-listed";
pub(super) const TOOL: &str = "tool-listed";
pub(super) const INVENTORY: &str = "inventory-listed";

/// The document of a module.
pub(super) fn render_module<'a>(entry: &'a ModuleEntry, scene: &Scene<'a>) -> Value<'a> {
    let message = if entry.built_in { "Module of the kernel's image" } else { "Module in the kernel" };
    let mut document = state(message, MODULE, vec!["driver"]);
    let known = |bytes: &'a Option<Vec<u8>>| bytes.as_deref().map(readable);
    let views = [("proc", entry.in_proc), ("sysfs", entry.in_sysfs)];
    let facts = json!({ "lkm_monitor": {
        "module": {
            "name": readable(&entry.name),
            "name_source": "kernel",
            "version": known(&entry.version),
            "srcversion": known(&entry.srcversion),
            "taints": taint::bits(&entry.taints).filter(|_| !entry.built_in).map(long),
            "taint_flags": entry.taints.as_str(),
            "built_in": entry.built_in,
            "state": entry.state,
            "size": entry.size.map(long),
            "refcount": entry.refcount,
            "used_by": entry.used_by.iter().map(|name| readable(name)).collect::<Vec<_>>(),
            "permanent": entry.permanent.then_some(true),
            "address": entry.address.map(|address| format!("{address:#x}")),
            "parameters": entry.parameters.iter().map(parameter).collect::<Vec<_>>(),
        },
        "inventory": {
            "views": views.into_iter().filter_map(|(name, is)| is.then_some(name)).collect::<Vec<_>>(),
            "same_srcversion": entry.is_of_file(),
            "load": entry.load.as_ref().map(load),
        },
        "truncated": if entry.more_parameters > 0 { vec!["lkm_monitor.module.parameters"] } else { Vec::new() },
    } });
    merge(&mut document, facts);
    if let Some(found) = &entry.file {
        merge(&mut document, found_file(&found.file, scene));
        if let Some(signature) = &found.signature {
            let is_refused = taint::bits(&entry.taints).is_some_and(|taints| taints & taint::UNSIGNED != 0);
            let word = if is_refused { KernelsWord::Refused } else { KernelsWord::None };
            merge(&mut document, image::render_signature(signature, found.host_keys, word));
        }
    }
    document
}

/// `name=value`, and the name alone of one that cannot be read.
fn parameter(parameter: &ParameterValue) -> String {
    let name = readable(&parameter.name);
    match &parameter.value {
        Some(value) => format!("{name}={}", readable(&value.bytes)),
        None => name.into_owned(),
    }
}

fn load(load: &KnownLoad) -> Value<'_> {
    let known = |text: &'_ Option<String>| text.as_ref().map(|text| readable(text.as_bytes()).into_owned());
    json!({
        "loaded_at": microseconds(load.at),
        "source": load.source.name(),
        "event_id": known(&load.event_id),
        "path": load.path.as_deref(),
        "executable": load.executable.as_deref(),
        "pid": load.pid.map(long),
        "user": load.user.as_deref(),
    })
}

/// The document of a watched file.
pub(super) fn render_file<'a>(entry: &'a FileEntry, scene: &Scene<'a>) -> Value<'a> {
    let category = if entry.subject == Subject::Pam { vec!["file"] } else { vec!["configuration", "file"] };
    let mut document = state("File that decides about modules", FILE, category);
    merge(&mut document, found_file(&entry.file, scene));
    let cut = if entry.more_meaning > 0 { vec!["lkm_monitor.inventory.meaning"] } else { Vec::new() };
    let facts = json!({ "lkm_monitor": {
        "inventory": {
            "subject": entry.subject.name(),
            "meaning": entry.meaning.iter().map(String::as_str).collect::<Vec<_>>(),
            "dangers": entry.dangers.iter().map(String::as_str).collect::<Vec<_>>(),
            "ignored": entry.ignored.as_deref(),
        },
        "truncated": cut,
    } });
    merge(&mut document, facts);
    document
}

/// The document of a module tool.
pub(super) fn render_tool<'a>(entry: &'a ToolEntry, scene: &Scene<'a>) -> Value<'a> {
    let mut document = state("Program that loads modules", TOOL, vec!["file"]);
    merge(&mut document, found_file(&entry.file, scene));
    let facts = json!({ "lkm_monitor": { "inventory": {
        "subject": tool_kind(entry.kind),
        "names": entry.names.iter().map(|name| readable(name)).collect::<Vec<_>>(),
        "kernels": entry.is_kernels,
    } } });
    merge(&mut document, facts);
    document
}

/// What a program is to module tools, as a word.
pub const fn tool_kind(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::Tool => "tool",
        ToolKind::Many => "many-tools",
        ToolKind::Interpreter => "dynamic-loader",
    }
}

/// The document at the end of an inventory: how much there is of it, and what is missing.
pub(super) fn render_end<'a>(subject: &'a str, entries: u64, gaps: &'a [Gap]) -> Value<'a> {
    let mut document = state("Inventory is complete", INVENTORY, vec!["host"]);
    if !gaps.is_empty() {
        merge(&mut document, json!({ "message": "Inventory is not complete" }));
    }
    let facts = json!({ "lkm_monitor": { "inventory": {
        "subject": subject,
        "entries": long(entries),
        "gaps": gaps.iter().map(gap).collect::<Vec<_>>(),
    } } });
    merge(&mut document, facts);
    document
}

fn gap(gap: &Gap) -> Value<'_> {
    json!({
        "what": gap.what.as_str(),
        "why": readable(gap.why.as_bytes()),
        "count": long(gap.count),
        "examples": gap.examples.iter().map(String::as_str).collect::<Vec<_>>(),
    })
}

fn state<'a>(message: &'static str, action: &'static str, category: Vec<&'static str>) -> Value<'a> {
    json!({
        "message": message,
        "event": {
            "kind": "state",
            "category": category,
            "type": ["info"],
            "action": action,
            "provider": "lkm-monitor",
        },
    })
}

fn found_file<'a>(found: &'a FoundFile, scene: &Scene<'a>) -> Value<'a> {
    let state = &found.state;
    let (device_major, device_minor) = found.device;
    let facts = FileFacts {
        path: SeenPath { seen: found.path.clone(), absolute: found.path.clone(), ..SeenPath::default() },
        inode: state.inode,
        device_major,
        device_minor,
        size: state.size,
        mode: state.mode,
        uid: state.uid,
        gid: state.gid,
        ..FileFacts::default()
    };
    let mut document = file::render(&facts, scene).into_owned();
    // It is about links and file systems, of which the kernel tells with an open file alone.
    if let Some(Value::Object(own)) = document.field_mut("lkm_monitor") {
        own.remove("file");
    }
    let rest = json!({
        "file": {
            "hash": { "sha256": state.sha256.map(|hash| hex(&hash)) },
            "mtime": file_change::time(state.modified),
            "ctime": file_change::time(state.changed),
            "accessed": file_change::time(state.accessed),
            "created": file_change::time(state.created),
            "target_path": state.link_target.as_deref().map(readable),
        },
        "lkm_monitor": { "inventory": {
            "content": found.status.name(),
            "leads_to": found.leads_to.as_deref().map(readable),
        } },
    });
    merge(&mut document, rest);
    if let Some(provenance) = &found.provenance {
        merge(&mut document, image::render_provenance(provenance));
    }
    document
}
