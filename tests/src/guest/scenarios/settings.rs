//! What depmod writes, and what root writes below /proc/sys.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
};

use serde_json::json;

use super::changes::{HIGH, MEDIUM, change, change_to, expect_no_change, sha256};
use crate::{document::Document, machine, process::program, stage::Stage};

const MODPROBE: &str = "/proc/sys/kernel/modprobe";
const DISABLED: &str = "/proc/sys/kernel/modules_disabled";
const INDEX_RULE: &str = "module-index-changed";
const SETTING_RULE: &str = "kernel-module-setting-changed";

fn index(name: &str) -> String {
    format!("/usr/lib/modules/{}/{name}", machine::kernel_release())
}

fn is_index(document: &Document) -> bool {
    document.text("lkm_monitor.change.subject") == "module-index"
}

/// Then modprobe loads another file, or one more.
pub(super) fn index_by_another_program(stage: &mut Stage) {
    let path = index("modules.dep");
    let old = fs::read_to_string(&path).expect("the machine has it");
    let mut file = OpenOptions::new().append(true).open(&path).expect("open the index");
    file.write_all(b"kernel/rk.ko:\n").expect("add a module");
    drop(file);
    let new = format!("{old}kernel/rk.ko:\n");
    change_to(stage, "modified", &path, &new)
        .contains(json!({
            "event": {
                "action": "modified-module-index",
                "code": "402",
                "severity": HIGH,
                "reason": format!("module index {path} was modified by /init run by root"),
            },
            "lkm_monitor": { "change": {
                "subject": "module-index",
                "content": "read",
                "size_before": old.len(),
                "diff": null,
            } },
        }))
        .has_findings(&[INDEX_RULE]);
    fs::write(&path, &old).expect("write the old version");
    change_to(stage, "modified", &path, &old)
        .contains(json!({ "lkm_monitor": { "change": {
            "before": { "sha256": sha256(&new) },
            "after": { "sha256": sha256(&old) },
        } } }))
        .has_findings(&[INDEX_RULE]);
}

/// It is what depmod is for.
pub(super) fn index_by_depmod(stage: &mut Stage) {
    let depmod = program("/sbin/depmod", ["-a"]).succeeded();
    for name in ["modules.dep", "modules.dep.bin", "modules.alias.bin", "modules.symbols.bin", "modules.softdep"] {
        change(stage, "renamed", &index(name), json!({}))
            .contains(json!({
                "process": { "pid": depmod.pid, "executable": "/usr/bin/kmod", "args": ["/sbin/depmod", "-a"] },
                "lkm_monitor": { "change": { "subject": "module-index", "content": "read" } },
            }))
            .has_findings(&[]);
    }
    expect_no_change(stage, "an alert on an index", |document| is_index(document) && document.is_alert());
}

/// A copy of depmod is not the host's own.
pub(super) fn index_by_a_copy_of_depmod(stage: &mut Stage) {
    fs::copy("/usr/bin/kmod", "/tmp/depmod").expect("copy the tool");
    let depmod = program("/tmp/depmod", ["-a"]).succeeded();
    change(stage, "renamed", &index("modules.dep"), json!({ "process": { "pid": depmod.pid } }))
        .contains(json!({ "process": { "executable": "/tmp/depmod" }, "event": { "severity": HIGH } }))
        .has_findings(&[INDEX_RULE]);
    change(stage, "renamed", &index("modules.symbols.bin"), json!({})).has_findings(&[INDEX_RULE]);
}

/// The program that the kernel runs as root when it wants a module.
pub(super) fn modprobe_path(stage: &mut Stage) {
    let old = fs::read_to_string(MODPROBE).expect("the kernel tells its program");
    let old = old.trim_end();
    fs::write(MODPROBE, "/tmp/evil\n").expect("name another program");
    let is_now = |value: &str| json!({ "lkm_monitor": { "change": { "value": value } } });
    let changed = change(stage, "modified", MODPROBE, is_now("/tmp/evil"));
    fs::write(MODPROBE, format!("{old}\n")).expect("name the program again");
    changed
        .contains(json!({
            "event": {
                "category": ["configuration", "file"],
                "type": ["change"],
                "action": "modified-kernel-setting",
                "code": "403",
                "severity": HIGH,
                "reason": format!(
                    "kernel setting {MODPROBE} was modified by /init run by root: \
                     it was \"{old}\" and is \"/tmp/evil\" now"
                ),
            },
            "lkm_monitor": { "change": {
                "subject": "kernel-setting",
                "content": "read",
                "value_before": old,
                "diff": null,
            } },
        }))
        .has_findings(&[SETTING_RULE]);
    change(stage, "modified", MODPROBE, is_now(old))
        .contains(json!({
            "event": { "severity": HIGH },
            "lkm_monitor": { "change": { "value_before": "/tmp/evil" } },
        }))
        .has_findings(&[SETTING_RULE]);
    written_and_restored(stage, old);
}

/// In one turn, before anybody could look; and the file is not cut when it is opened, so that none of its times moves.
fn written_and_restored(stage: &mut Stage, old: &str) {
    let setting = OpenOptions::new().write(true).open(MODPROBE).expect("open the setting");
    for value in ["/tmp/evil", old] {
        setting.write_all_at(format!("{value}\n").as_bytes(), 0).expect("name a program");
    }
    drop(setting);
    let same = json!({ "lkm_monitor": { "change": { "value": old, "value_before": old, "untouched": null } } });
    let document = change(stage, "modified", MODPROBE, same);
    document.contains(json!({ "event": { "severity": MEDIUM } })).has_findings(&[SETTING_RULE]);
    let ending = format!("; when it was looked at, it held what it had held before: \"{old}\"");
    assert!(document.text("event.reason").ends_with(&ending), "{}", document.value());
}

/// Once it is 1 no module is ever loaded again; it is 0, and stays so: the kernel refuses to be told that. Who tries is told.
pub(super) fn modules_disabled(stage: &mut Stage) {
    let _ = fs::write(DISABLED, "0\n");
    change(stage, "modified", DISABLED, json!({}))
        .contains(json!({
            "event": { "severity": MEDIUM },
            "lkm_monitor": { "change": {
                "subject": "kernel-setting",
                "content": "read",
                "value_before": "0",
                "value": "0",
            } },
        }))
        .has_findings(&[SETTING_RULE]);
}
