//! Modules that hide.

use serde_json::json;

use super::{by_hand, is_of};
use crate::{
    document::{Document, differences},
    hiding::{Hiding, NAME},
    stage::Stage,
};

/// All ways to see modules, in the order in which documents name them.
const VIEWS: [&str; 10] = [
    "proc-modules",
    "proc-modules-in-pieces",
    "sys-module",
    "vmallocinfo",
    "kallsyms",
    "kernel-list",
    "address-tree",
    "kernel-kset",
    "module-memory",
    "history",
];

/// Whoever is in these. Symbols are there even of who left the kernel's list: ftrace was in use when he was loaded, and keeps those of init
/// functions.
fn all_but(missing_from: &[&str]) -> Vec<&'static str> {
    VIEWS.into_iter().filter(|view| !missing_from.contains(view)).collect()
}

/// The daemon names each view that shows the module, and each that does not.
fn is_found_missing_from(stage: &mut Stage, deeds: &[&str], missing_from: &[&str]) {
    let sensor = stage.looking();
    let hiding = Hiding::load();
    hiding.does(deeds);
    let is_it = |document: &Document| {
        is_of(document, "module-hidden") && document.list("lkm_monitor.kernel.missing_from") == missing_from
    };
    let seen_in = all_but(missing_from);
    sensor
        .expect(&format!("a module that has left {deeds:?}"), is_it)
        .contains(json!({ "lkm_monitor": {
            "module": { "name": NAME, "taint_flags": "OE" },
            "kernel": { "seen_in": seen_in, "missing_from": missing_from, "module": { "state": "live" } },
        } }))
        .has_findings(&["module-hidden"]);
    is_found_by_hand(missing_from);
    hiding.undoes_everything();
}

/// Who has no daemon finds the same, but for what only a daemon has seen.
fn is_found_by_hand(missing_from: &[&str]) {
    let looked = by_hand();
    assert_eq!(looked.status, 1, "{}", looked.told);
    let found = looked.told["findings"].as_array().expect("what was found");
    let [found] = found.as_slice() else { panic!("one module hides: {}", looked.told) };
    let module = &found["module"];
    let seen_in: Vec<_> = all_but(missing_from).into_iter().filter(|view| *view != "history").collect();
    let expected = json!({ "name": NAME, "state": "live", "seen_in": seen_in, "missing_from": missing_from });
    assert_eq!(differences(&expected, module), "", "{}", looked.told);
}

pub(in super::super) fn from_the_list(stage: &mut Stage) {
    is_found_missing_from(stage, &["list"], &["proc-modules", "proc-modules-in-pieces", "kernel-list"]);
}

pub(in super::super) fn from_sysfs(stage: &mut Stage) {
    is_found_missing_from(stage, &["sysfs"], &["sys-module", "kernel-kset"]);
}

pub(in super::super) fn from_both(stage: &mut Stage) {
    let missing_from = ["proc-modules", "proc-modules-in-pieces", "sys-module", "kernel-list", "kernel-kset"];
    is_found_missing_from(stage, &["list", "sysfs"], &missing_from);
}

/// The kernel's list has it: only what is made of the list for user space does not.
pub(in super::super) fn from_proc_modules(stage: &mut Stage) {
    is_found_missing_from(stage, &["proc"], &["proc-modules", "proc-modules-in-pieces"]);
}

pub(in super::super) fn from_the_address_tree(stage: &mut Stage) {
    is_found_missing_from(stage, &["tree"], &["address-tree"]);
}

/// What is left is what lies in memory, the area that this takes, a symbol, and that the daemon saw it come.
pub(in super::super) fn from_everything(stage: &mut Stage) {
    let missing_from =
        ["proc-modules", "proc-modules-in-pieces", "sys-module", "kernel-list", "address-tree", "kernel-kset"];
    is_found_missing_from(stage, &["tree", "proc", "sysfs", "list"], &missing_from);
}

/// Who never has the same name twice is the same module all the same.
pub(in super::super) fn under_changing_names(stage: &mut Stage) {
    let sensor = stage.looking();
    let hiding = Hiding::load();
    hiding.does(&["list", "sysfs", "rename"]);
    let missing_from = ["proc-modules", "proc-modules-in-pieces", "sys-module", "kernel-list", "kernel-kset"];
    let is_it = |document: &Document| {
        is_of(document, "module-hidden")
            && document.list("lkm_monitor.kernel.missing_from") == missing_from
            && document.text("lkm_monitor.module.name").ends_with("km_fixture")
    };
    sensor.expect("a module that changes its name", is_it).has_findings(&["module-hidden"]);
    let looked = by_hand();
    assert_eq!(looked.status, 1, "{}", looked.told);
    hiding.undoes_everything();
}
