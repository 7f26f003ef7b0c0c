//! What was found in the kernel, and how well it could be looked at.

use super::{
    json::{Value, json, long, merge},
    scene::timestamp,
};
use crate::model::{
    Clock, Extent, HiddenModule, KernelAlert, KernelFacts, KernelHook, KernelLook, Place, ReadingsDiffer, Sight,
    SystemCallEntry, TaintCleared, View, taint, text::readable,
};

/// The document of what two looks have found. Each is an alert by rule.
pub(super) fn render(alert: &KernelAlert, clock: Clock) -> Value<'_> {
    let (module, mut kernel) = match &alert.facts {
        KernelFacts::Hidden(hidden) => (Some(module(hidden)), self::hidden(hidden, clock)),
        KernelFacts::SystemCalls(entries, more) => {
            (None, json!({ "syscalls": rows(entries, system_call), "more": beyond(*more) }))
        }
        KernelFacts::Hooks(hooks, more) => (None, json!({ "hooks": rows(hooks, hook), "more": beyond(*more) })),
        KernelFacts::TaintCleared(cleared) => (None, json!({ "taint": taint_cleared(cleared) })),
        KernelFacts::ReadingsDiffer(differ) => (None, json!({ "readings": readings(differ) })),
    };
    merge(&mut kernel, json!({ "views": views(&alert.views) }));
    json!({
        "message": "Kernel tampered with",
        "event": {
            "kind": "event",
            "category": ["driver"],
            "type": ["info"],
            "action": alert.facts.action(),
            "provider": "kernel",
        },
        "lkm_monitor": { "module": module, "kernel": kernel },
    })
}

/// The document of a look: what could be looked at, and what could not.
pub(super) fn render_look(look: &KernelLook) -> Value<'_> {
    json!({
        "message": "Kernel looked at",
        "event": {
            "kind": "state",
            "category": ["host"],
            "type": ["info"],
            "action": "integrity-looked",
            "duration": long(look.elapsed_ns),
            "provider": "lkm-monitor",
        },
        "lkm_monitor": {
            "kernel": {
                "cpu_ms": long(look.cpu_ns / 1_000_000),
                "more": beyond(look.more_findings),
                "other_code_pages": look.others_code,
                "views": views(&look.views),
                "checks": look.checks.iter().map(|(check, sight)| row(check.name(), sight)).collect::<Vec<_>>(),
            },
        },
    })
}

/// As of a load: who looks for the module finds both.
fn module(hidden: &HiddenModule) -> Value<'_> {
    json!({
        "name": hidden.name.as_str(),
        "name_source": "kernel",
        "taints": hidden.taints.map(long),
        "taint_flags": hidden.taints.map(taint::letters),
    })
}

fn hidden(hidden: &HiddenModule, clock: Clock) -> Value<'_> {
    json!({
        "seen_in": hidden.seen_in.iter().map(|view| view.name()).collect::<Vec<_>>(),
        "missing_from": hidden.missing_from.iter().map(|view| view.name()).collect::<Vec<_>>(),
        "module": {
            "address": hidden.address.map(hexadecimal),
            "state": hidden.state.map(|state| state.name()),
            "loaded": hidden.loaded_boot_ns.map(|at| timestamp(clock, at)),
            "memory": rows(&hidden.memory, extent),
        },
    })
}

fn extent(extent: &Extent) -> Value<'_> {
    json!({ "address": hexadecimal(extent.address), "bytes": long(extent.bytes) })
}

fn rows<'a, T>(all: &'a [T], row: fn(&'a T) -> Value<'a>) -> Vec<Value<'a>> {
    all.iter().map(row).collect()
}

/// Where there are none it is left out.
fn beyond(more: usize) -> Option<usize> {
    (more > 0).then_some(more)
}

fn system_call(entry: &SystemCallEntry) -> Value<'_> {
    json!({ "table": entry.table.name(), "number": entry.number, "target": place(&entry.target) })
}

fn hook(hook: &KernelHook) -> Value<'_> {
    json!({
        "kind": hook.kind.name(),
        "record": hook.record.map(hexadecimal),
        "site": hook.site.as_ref().map(|site| hexadecimal(site.address)),
        "symbol": hook.site.as_ref().and_then(|site| site.symbol.as_deref()),
        "target": place(&hook.target),
    })
}

/// Where an entry or a hook leads.
fn place(place: &Place) -> Value<'_> {
    json!({
        "address": hexadecimal(place.address),
        "module": place.module.as_deref(),
        "hidden": place.module.is_some().then_some(place.hidden),
    })
}

fn taint_cleared(cleared: &TaintCleared) -> Value<'_> {
    json!({
        "cleared": long(cleared.bits),
        "cleared_flags": taint::letters(cleared.bits),
        "mask": long(cleared.mask),
        "modules": cleared.modules.iter().collect::<Vec<_>>(),
        "seen_before_flags": taint::letters(cleared.had),
    })
}

fn readings(differ: &ReadingsDiffer) -> Value<'_> {
    json!({
        "only_whole": differ.only_whole.iter().collect::<Vec<_>>(),
        "only_pieces": differ.only_pieces.iter().collect::<Vec<_>>(),
    })
}

fn views(views: &[(View, Sight)]) -> Vec<Value<'_>> {
    views.iter().map(|(view, sight)| row(view.name(), sight)).collect()
}

/// How well something could be looked at.
fn row<'a>(name: &'static str, sight: &'a Sight) -> Value<'a> {
    let is_there = !matches!(sight, Sight::Unavailable { .. });
    json!({
        "name": name,
        "status": sight.name(),
        "count": is_there.then_some(sight.count()),
        "reason": sight.why().map(|why| readable(why.as_bytes())),
    })
}

/// Addresses are too large for the type `long` of Elasticsearch, and nobody adds them up.
fn hexadecimal(address: u64) -> String {
    format!("{address:#x}")
}
