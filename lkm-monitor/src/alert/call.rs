//! Loads and unloads.

use super::{
    file, image,
    json::{Value, json, long, merge},
    process, request,
    scene::Scene,
};
use crate::model::{
    Bytes, CallerText, ContentStatus, ModuleCall, NameSource, Operation, Part, errno_name,
    text::{hex, readable, text},
};

/// The telemetry document of a call.
pub(super) fn render<'a>(call: &'a ModuleCall, scene: &Scene<'a>) -> Value<'a> {
    let load = call.operation.is_load();
    let mut document = json!({
        "message": message(call),
        "event": {
            "kind": "event",
            "category": ["driver"],
            "type": [if load { "start" } else { "end" }],
            "action": if load { "loaded-kernel-module" } else { "unloaded-kernel-module" },
            "outcome": match call.succeeded() {
                Some(true) => "success",
                Some(false) => "failure",
                None => "unknown",
            },
            "duration": duration(call),
            "provider": "kernel",
        },
        "lkm_monitor": {
            "module": module(call),
            "syscall": syscall(call),
            "load": load.then(|| load_facts(call)),
            "call": { "tid": call.tid, "id": (call.call_id != 0).then(|| long(call.call_id)) },
            "request": call.request.as_ref().map(|asked| request::answered(asked, call.request_candidates, scene)),
            "missing": call.missing.iter().copied().map(Part::name).collect::<Vec<_>>(),
            "late": (call.told > 0).then_some(true),
            "truncated": truncated(call),
            "unreadable": call.unreadable.iter().copied().map(unreadable).collect::<Vec<_>>(),
        },
    });
    if let Some(facts) = &call.file {
        merge(&mut document, file::render(facts, scene));
        let looked = call.content.status != ContentStatus::NotWanted;
        let looks = json!({
            "file": { "hash": { "sha256": call.content.own_sha256().map(|hash| hex(&hash)) } },
            "lkm_monitor": { "load": { "content": looked.then(|| call.content.status.name()) } },
        });
        merge(&mut document, looks);
    }
    if let Some((image, capture)) = call.image.as_ref().zip(call.capture.as_ref()) {
        merge(&mut document, image::render(image, capture, call.module.taints));
    }
    if let Some(tree) = &call.process {
        merge(&mut document, process::render(tree, scene));
    }
    document
}

/// Stable for one module and one kind of outcome.
fn message(call: &ModuleCall) -> String {
    let name = call.best_name().map_or_else(String::new, |(name, _)| format!(" {}", readable(&name)));
    let done = if call.operation.is_load() { "loaded" } else { "unloaded" };
    match (call.succeeded(), call.errno()) {
        (Some(true), _) => format!("Kernel module{name} {done}"),
        (_, Some(errno)) => format!("Kernel module{name} not {done}: {}", errno_name(errno)),
        _ => format!("Kernel module{name} perhaps {done}"),
    }
}

/// From the enter to the return of the call, in nanoseconds.
fn duration(call: &ModuleCall) -> Option<i64> {
    let returned = call.outcome.filter(|_| call.call_id != 0)?.boot_ns;
    returned.checked_sub(call.call_id).map(long)
}

fn module<'a>(call: &'a ModuleCall) -> Value<'a> {
    let (name, source) = call.best_name().unzip();
    let bytes = |value: &'a Option<Bytes>| value.as_ref().map(|value| readable(&value.bytes));
    json!({
        "name": name.map(|name| text(&name)),
        "name_source": source.map(NameSource::name),
        "version": bytes(&call.module.version),
        "srcversion": bytes(&call.module.srcversion),
        "params": bytes(&call.parameters),
        "taints": call.module.taints.map(long),
        "taint_flags": call.module.taint_flags(),
    })
}

fn syscall(call: &ModuleCall) -> Value<'_> {
    json!({
        "name": call.operation.syscall(),
        "abi": call.abi.map(|abi| abi.name()),
        "flags": call.flags,
        "flag_names": call.flags.map(|flags| flag_names(call.operation, flags)),
        "ret": call.outcome.map(|outcome| outcome.ret),
        "errno": call.errno().map(errno_name),
    })
}

/// include/uapi/linux/module.h.
const FINIT_FLAGS: &[(u32, &str)] =
    &[(1, "MODULE_INIT_IGNORE_MODVERSIONS"), (2, "MODULE_INIT_IGNORE_VERMAGIC"), (4, "MODULE_INIT_COMPRESSED_FILE")];
/// delete_module(2).
const DELETE_FLAGS: &[(u32, &str)] = &[(libc::O_TRUNC as u32, "O_TRUNC"), (libc::O_NONBLOCK as u32, "O_NONBLOCK")];

/// Names of the flags that have one; the others together as one hexadecimal number.
fn flag_names(operation: Operation, flags: u32) -> Vec<String> {
    let known = if operation == Operation::DeleteModule { DELETE_FLAGS } else { FINIT_FLAGS };
    let set = known.iter().filter(|(flag, _)| flags & flag != 0);
    let rest = flags & !known.iter().fold(0, |all, (flag, _)| all | flag);
    set.map(|&(_, name)| name.to_owned()).chain((rest != 0).then(|| format!("{rest:#x}"))).collect()
}

fn load_facts(call: &ModuleCall) -> Value<'_> {
    json!({
        "source": call.origin().name(),
        "stage": call.stage.name(),
        "image_bytes": call.image_bytes.map(long),
        "offered_bytes": call.offered_bytes.map(long),
        "init_ran": call.stage.init_ran(),
        "file_swapped": call.file_swapped.then_some(true),
        "params_rewritten": call.parameters_rewritten.then_some(true),
    })
}

/// Fields that the sensor cut.
fn truncated(call: &ModuleCall) -> Vec<&'static str> {
    let cut = |bytes: Option<&Bytes>| bytes.is_some_and(|bytes| bytes.truncated);
    let tree = call.process.as_ref();
    [
        ("file.path", call.file.as_ref().is_some_and(|file| file.path.truncated)),
        ("lkm_monitor.ancestors", tree.is_some_and(|tree| tree.more_ancestors)),
        ("lkm_monitor.module.name", cut(call.module.name.as_ref().or(call.requested_name.as_ref()))),
        ("lkm_monitor.module.params", cut(call.parameters.as_ref())),
        ("lkm_monitor.process.cgroup.path", tree.is_some_and(|tree| tree.caller.control_group_truncated)),
        ("process.args", tree.is_some_and(|tree| tree.caller.arguments_truncated)),
    ]
    .into_iter()
    .filter_map(|(field, cut)| cut.then_some(field))
    .collect()
}

/// The field that stays empty because the caller's memory could not be read.
fn unreadable(text: CallerText) -> &'static str {
    match text {
        CallerText::ModuleName => "lkm_monitor.module.name",
        CallerText::Parameters => "lkm_monitor.module.params",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_names() {
        assert_eq!(
            flag_names(Operation::FinitModule, 7),
            ["MODULE_INIT_IGNORE_MODVERSIONS", "MODULE_INIT_IGNORE_VERMAGIC", "MODULE_INIT_COMPRESSED_FILE"]
        );
        assert_eq!(flag_names(Operation::DeleteModule, 0xa00), ["O_TRUNC", "O_NONBLOCK"]);
        assert_eq!(flag_names(Operation::FinitModule, 0x18), ["0x18"]);
        assert!(flag_names(Operation::FinitModule, 0).is_empty());
    }
}
