//! Runs of module tools.

use super::{
    json::{Value, json, long, merge},
    process,
    scene::Scene,
};
use crate::model::{Operation, ToolEnd, ToolMatch, ToolOperation, ToolRun, errno_name, text::readable};

/// The telemetry document of a run.
pub(super) fn render<'a>(run: &'a ToolRun, scene: &Scene<'a>) -> Value<'a> {
    let mut document = json!({
        "message": message(run),
        "event": {
            "kind": "event",
            "category": ["process"],
            "type": ["start"],
            "action": "ran-module-tool",
            "outcome": match run.end {
                Some(ToolEnd::Exited(0)) => "success",
                Some(ToolEnd::Exited(_) | ToolEnd::Killed(_)) => "failure",
                Some(ToolEnd::Replaced) | None => "unknown",
            },
            "duration": run.ended_boot_ns.and_then(|ended| ended.checked_sub(run.boot_ns)).map(long),
            "provider": "kernel",
        },
        "lkm_monitor": {
            "tool": {
                "name": run.tool(),
                "matched_by": run.matches.iter().map(|found| found.name()).collect::<Vec<_>>(),
                "operations": run.operations.iter().map(operation).collect::<Vec<_>>(),
                "more_operations": (run.more_operations > 0).then_some(run.more_operations),
                "effect": effect(run),
                "copy": (!run.matches.contains(&ToolMatch::Inode) && run.matches.contains(&ToolMatch::Build)).then_some(true),
                "signal": match run.end {
                    Some(ToolEnd::Killed(signal)) => Some(signal),
                    _ => None,
                },
                "replaced": (run.end == Some(ToolEnd::Replaced)).then_some(true),
                "still_running": run.end.is_none().then_some(true),
            },
            "late": (run.told > 0).then_some(true),
            "truncated": run.process.caller.arguments_truncated.then_some(["process.args"]),
        },
    });
    merge(&mut document, process::render(&run.process, scene));
    // What the kernel counted, and not what the memory showed.
    let ended = run.ended_boot_ns.filter(|_| matches!(run.end, Some(ToolEnd::Exited(_) | ToolEnd::Killed(_))));
    let process = json!({ "process": {
        "args_count": run.argument_count,
        "exit_code": match run.end {
            Some(ToolEnd::Exited(code)) => Some(code),
            _ => None,
        },
        "end": ended.and_then(|ended| scene.time(ended)),
    } });
    merge(&mut document, process);
    document
}

fn message(run: &ToolRun) -> String {
    format!("Module tool {} ran: {}", run.tool().unwrap_or("of another name"), effect(run))
}

/// What the run did to the kernel.
fn effect(run: &ToolRun) -> &'static str {
    let any = |loads: bool| {
        run.operations.iter().any(|done| done.succeeded == Some(true) && done.operation.is_load() == loads)
    };
    match (any(true), any(false)) {
        (true, true) => "loaded and unloaded modules",
        (true, false) => "loaded modules",
        (false, true) => "unloaded modules",
        (false, false) if run.operations.iter().any(|done| done.succeeded.is_none()) => "not known",
        (false, false) if !run.operations.is_empty() => "the kernel refused",
        (false, false) => "nothing",
    }
}

fn operation(done: &ToolOperation) -> Value<'_> {
    json!({
        "operation": if done.operation.is_load() { "load" } else { "unload" },
        "syscall": Operation::syscall(done.operation),
        "module": done.module.as_ref().map(|name| readable(name)),
        "outcome": match done.succeeded {
            Some(true) => "success",
            Some(false) => "failure",
            None => "unknown",
        },
        "errno": done.errno.map(errno_name),
    })
}
