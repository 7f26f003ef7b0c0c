//! What modules do to the kernel.

use serde_json::{Value, json};

use super::{is_finding, is_of, views::TAINTS, wait_for_looks};
use crate::{
    document::{Document, differences},
    hiding::{Hiding, NAME},
    stage::{LOOKING_SOCKET, Stage},
};

/// `__NR_kill` of 64-bit programs.
const KILL: u64 = 62;

pub(in super::super) fn taint_cleared(stage: &mut Stage) {
    let sensor = stage.looking();
    let hiding = Hiding::load();
    hiding.does(&["taint"]);
    let cleared = sensor.expect("the taints that are gone", |document| is_of(document, "taint-cleared"));
    hiding.undoes_everything();
    cleared
        .contains(json!({ "lkm_monitor": { "kernel": { "taint": { "cleared": TAINTS, "modules": [NAME] } } } }))
        .has_findings(&["taint-cleared"]);
}

/// Nobody but the kernel has a place in the table: not even who hides nothing.
pub(in super::super) fn system_call_by_a_listed_module(stage: &mut Stage) {
    let sensor = stage.looking();
    let hiding = Hiding::load();
    hiding.does(&["syscall"]);
    let found = sensor.expect("the entry", |document| is_of(document, "syscall-table-changed"));
    hiding.undoes_everything();
    let target = json!({ "module": NAME, "hidden": false });
    found.has_findings(&["syscall-table-changed"]);
    leads_to(&found, "syscalls", &json!({ "table": "x64", "number": KILL, "target": target }));
}

pub(in super::super) fn system_call_by_a_hidden_module(stage: &mut Stage) {
    let sensor = stage.looking();
    let hiding = Hiding::load();
    hiding.does(&["list", "sysfs", "syscall"]);
    let found = sensor.expect("the entry", |document| is_of(document, "syscall-table-changed"));
    hiding.undoes_everything();
    let target = json!({ "module": NAME, "hidden": true });
    leads_to(&found, "syscalls", &json!({ "table": "x64", "number": KILL, "target": target }));
}

/// Drivers and products hook the kernel's functions. When one of them hides, its hooks are told.
pub(in super::super) fn hooks(stage: &mut Stage) {
    let sensor = stage.looking();
    let hiding = Hiding::load();
    hiding.does(&["ftrace", "kprobe"]);
    wait_for_looks(LOOKING_SOCKET, 3);
    sensor.expect_none("an alert on a module that hides nothing", is_finding);
    hiding.does(&["list", "sysfs"]);
    let kinds = ["ftrace", "kprobe"];
    let told = |kind: &str| {
        sensor.expect(&format!("the hook by {kind}"), |document| {
            is_of(document, "kernel-hook-foreign")
                && document.list("lkm_monitor.kernel.hooks").iter().any(|hook| hook["kind"] == kind)
        })
    };
    let found = kinds.map(told);
    hiding.undoes_everything();
    for (document, kind) in found.iter().zip(kinds) {
        document.has_findings(&["kernel-hook-foreign"]);
        leads_to(document, "hooks", &json!({ "kind": kind, "target": { "module": NAME, "hidden": true } }));
    }
}

/// One of the rows has all of this.
fn leads_to(document: &Document, rows: &str, expected: &Value) {
    let rows = document.list(&format!("lkm_monitor.kernel.{rows}"));
    let is_there = rows.iter().any(|row| differences(expected, row).is_empty());
    assert!(is_there, "{expected} is not in {}", document.value());
}
