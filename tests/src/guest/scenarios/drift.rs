//! What changed while nobody watched. Each scenario has daemons of its own, one after the other, with a record of their own.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use serde_json::json;

use crate::{document::Document, module_file::Image, process::program, sensor::Sensor, stage::Stage};

const CONF: &str = "/etc/modprobe.d";
const MODULE: &str = "dummy";
/// Another one that nothing else needs.
const STAYS: &str = "nls_ascii";
/// Rules on what a look found.
const RULES: [&str; 6] = [
    "module-loaded-unseen",
    "watched-file-changed-unseen",
    "module-policy-weakened",
    "module-gone-unseen",
    "kernel-taint-lost",
    "state-record-lost",
];

fn folder(name: &str) -> PathBuf {
    Path::new("/tmp/drift").join(name)
}

/// A daemon that keeps its records in a folder of this name.
fn start(stage: &Stage, name: &str) -> Sensor {
    let folder = folder(name);
    fs::create_dir_all(&folder).expect("make a folder");
    let folder = folder.display();
    let settings = format!(
        "[rarity]\nenabled = false\n[heartbeat]\nrun_record = \"{folder}/run.json\"\n[state]\npath = \"{folder}/state.json\"\n"
    );
    Sensor::start_set(stage.hooks, &["--events"], name, &settings, &[])
}

/// One that has looked once and knows nothing to tell, and was stopped.
fn start_and_stop(stage: &Stage, name: &str) {
    let mut sensor = start(stage, name);
    recorded(&sensor);
    sensor.stop();
}

/// What it says when a look is told.
fn recorded(sensor: &Sensor) -> Document {
    sensor.expect("the state of the host", |document| document.text("event.action") == "state-recorded")
}

/// What it told of the look, in its order: rule and object. The look must have been told.
fn told(sensor: &Sensor) -> Vec<(String, String)> {
    alerts(sensor).iter().map(|alert| (alert.findings()[0].to_owned(), object(alert))).collect()
}

fn alerts(sensor: &Sensor) -> Vec<Document> {
    let of_look = |document: &Document| document.findings().first().is_some_and(|rule| RULES.contains(rule));
    sensor.documents().into_iter().filter(of_look).collect()
}

fn object(alert: &Document) -> String {
    let fields =
        ["lkm_monitor.module.name", "file.path", "lkm_monitor.drift.setting", "lkm_monitor.drift.record.status"];
    fields.into_iter().map(|field| alert.text(field)).find(|text| !text.is_empty()).unwrap_or_default().to_owned()
}

fn pair(rule: &str, object: impl AsRef<Path>) -> (String, String) {
    (rule.to_owned(), object.as_ref().display().to_string())
}

/// Lets it look once more: settings that are read anew may name other files.
fn look_again(sensor: &mut Sensor) -> Document {
    sensor.begin_scenario();
    sensor.hang_up();
    recorded(sensor)
}

pub(super) fn first_start(stage: &mut Stage) {
    let mut sensor = start(stage, "first");
    let state = recorded(&sensor);
    let modules = fs::read_to_string("/proc/modules").expect("read the list of modules").lines().count() as u64;
    let taints: u64 = fs::read_to_string("/proc/sys/kernel/tainted").expect("read").trim().parse().expect("a number");
    let modprobe = fs::read_to_string("/proc/sys/kernel/modprobe").expect("read");
    state.has_no_alert().contains(json!({
        "event": { "kind": "state", "category": ["host"], "type": ["info"] },
        "lkm_monitor": { "state": {
            "first": true,
            "modules": modules,
            "taints": taints,
            "modprobe": modprobe.trim(),
            "modules_disabled": false,
            "explained": 0,
            "not_whole": 0,
        } },
    }));
    assert!(state.number("lkm_monitor.state.files").is_some_and(|files| files > 0), "{}", state.value());
    assert_eq!(told(&sensor), []);
    sensor.stop();
    let mut sensor = start(stage, "first");
    recorded(&sensor).contains(json!({ "lkm_monitor": { "state": { "first": null, "modules": modules } } }));
    assert_eq!(told(&sensor), []);
    sensor.stop();
}

/// A module and three files: these, and no others, and once.
pub(super) fn while_stopped(stage: &mut Stage) {
    let [edited, removed, created] = ["edited", "removed", "created"].map(|name| format!("{CONF}/drift-{name}.conf"));
    for path in [&edited, &removed] {
        fs::write(path, "blacklist drift\n").expect("write a file");
    }
    start_and_stop(stage, "stopped");
    program("/sbin/modprobe", [MODULE]).succeeded();
    fs::write(&edited, "install drift /bin/true\n").expect("write a file");
    fs::write(&created, "blacklist other\n").expect("write a file");
    fs::remove_file(&removed).expect("remove a file");

    let mut sensor = start(stage, "stopped");
    recorded(&sensor).contains(json!({ "lkm_monitor": { "state": { "explained": 0 } } }));
    let file = |path: &String| pair("watched-file-changed-unseen", path);
    let expected = [pair("module-loaded-unseen", MODULE), file(&edited), file(&removed), file(&created)];
    let found = told(&sensor);
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected.into(), "{found:?}");
    assert_eq!(found.len(), 4, "each once: {found:?}");
    for alert in alerts(&sensor) {
        let reason = alert.text("event.reason");
        assert!(reason.contains("while nobody watched (the sensor was not running), between "), "{reason}");
        alert.contains(json!({ "lkm_monitor": { "drift": { "unseen": "not-running" } } }));
        let [start, end] = ["not_before", "not_after"].map(|field| alert.text(&format!("lkm_monitor.drift.{field}")));
        assert!(start < end && end < alert.text("@timestamp"), "{}", alert.value());
    }
    let of =
        |object: &str| alerts(&sensor).into_iter().find(|alert| self::object(alert) == object).expect("it was told");
    of(MODULE).contains(json!({ "event": { "kind": "alert", "code": "166", "category": ["driver"] } }));
    of(&edited).contains(json!({
        "event": { "code": "167", "severity": 47, "action": "found-changed-file", "type": ["change"] },
        "file": { "hash": { "sha256": crate::expected::sha256(b"install drift /bin/true\n") } },
        "lkm_monitor": { "drift": {
            "subject": "modprobe",
            "before": { "sha256": crate::expected::sha256(b"blacklist drift\n") },
        } },
    }));
    of(&removed).contains(json!({ "event": { "action": "found-removed-file", "type": ["deletion"] } }));
    of(&created).contains(json!({ "event": { "action": "found-created-file", "type": ["creation"] } }));
    // What is seen live is no difference.
    program("/sbin/rmmod", [MODULE]).succeeded();
    for path in [&edited, &created] {
        fs::remove_file(path).expect("remove a file");
    }
    let state = look_again(&mut sensor);
    assert_eq!(told(&sensor), []);
    assert!(state.number("lkm_monitor.state.explained") >= Some(3), "{}", state.value());
    sensor.stop();
    let mut sensor = start(stage, "stopped");
    recorded(&sensor);
    assert_eq!(told(&sensor), [], "once");
    sensor.stop();
}

/// What happened after the last look of a run that was stopped was seen, and is no difference for the next; but what undoes it is one, and
/// so is another module by the name of one that came and went.
pub(super) fn seen_before_the_stop(stage: &mut Stage) {
    let [path, undone] = ["seen", "undone"].map(|name| format!("{CONF}/drift-{name}.conf"));
    fs::create_dir_all(folder("seen")).expect("make a folder");
    let other = Image::of(MODULE).unsigned().write(folder("seen").join("dummy.ko"));
    let mut sensor = start(stage, "seen");
    let first = recorded(&sensor);
    program("/sbin/modprobe", [STAYS]).succeeded();
    program("/sbin/modprobe", [MODULE]).succeeded();
    program("/sbin/rmmod", [MODULE]).succeeded();
    for path in [&path, &undone] {
        fs::write(path, "blacklist drift\n").expect("write a file");
    }
    sensor.settle();
    sensor.stop();
    fs::remove_file(&undone).expect("remove a file");
    stage.load_in_fork(&other).succeeded();

    let mut sensor = start(stage, "seen");
    let state = recorded(&sensor);
    let found = told(&sensor);
    for module in [MODULE, STAYS] {
        program("/sbin/rmmod", [module]).succeeded();
    }
    fs::remove_file(&path).expect("remove a file");
    let expected = [pair("module-loaded-unseen", MODULE), pair("watched-file-changed-unseen", &undone)];
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected.into(), "{}", state.value());
    assert_eq!(found.len(), 2, "each once: {found:?}");
    state.contains(json!({ "lkm_monitor": { "state": { "explained": 2 } } }));
    for alert in alerts(&sensor) {
        let start = alert.text("lkm_monitor.drift.not_before");
        assert!(start > first.text("lkm_monitor.state.ended"), "somebody watched after the look: {}", alert.value());
        alert.contains(json!({ "lkm_monitor": { "drift": { "unseen": "not-running", "perhaps_seen": null } } }));
    }
    sensor.stop();
}

/// Nobody watches what a link leads to. It is compared.
pub(super) fn unnoticed(stage: &mut Stage) {
    let (link, target) = (format!("{CONF}/drift-link.conf"), folder("unnoticed").join("target"));
    fs::create_dir_all(folder("unnoticed")).expect("make a folder");
    fs::write(&target, "blacklist a\n").expect("write a file");
    symlink(&target, &link).expect("make a link");
    let mut sensor = start(stage, "unnoticed");
    recorded(&sensor);
    fs::write(&target, "install a /bin/true\n").expect("write a file");
    look_again(&mut sensor);
    assert_eq!(told(&sensor), [pair("watched-file-changed-unseen", &link)]);
    alerts(&sensor)[0].contains(json!({
        "file": { "target_path": target.display().to_string() },
        "lkm_monitor": { "drift": {
            "unseen": "unknown",
            "after": { "target_sha256": crate::expected::sha256(b"install a /bin/true\n") },
        } },
    }));
    fs::remove_file(&link).expect("remove the link");
    look_again(&mut sensor);
    assert_eq!(told(&sensor), [], "told once, and the removal was seen");
    sensor.stop();
}

/// A module that is not signed taints the kernel; a mask without that is not the kernel's.
pub(super) fn cleared_taint(stage: &mut Stage) {
    const TAINTED: &str = "/proc/sys/kernel/tainted";
    fs::create_dir_all(folder("taint")).expect("make a folder");
    let module = Image::of(MODULE).unsigned().write(folder("taint").join("dummy.ko"));
    stage.load_in_fork(&module).succeeded();
    let mut sensor = start(stage, "taint");
    recorded(&sensor);
    let hidden = folder("taint").join("tainted");
    fs::write(&hidden, "0\n").expect("write a mask");
    let before: u64 = fs::read_to_string(TAINTED).expect("read").trim().parse().expect("a number");
    mount_bind(&hidden, TAINTED).expect("hide the kernel's taint mask");
    let state = look_again(&mut sensor);
    unmount(TAINTED, UnmountFlags::DETACH).expect("give the kernel's taint mask back");
    state.contains(json!({ "lkm_monitor": { "state": { "taints": 0 } } }));
    assert_ne!(before, 0, "a module without a signature taints");
    program("/sbin/rmmod", [MODULE]).succeeded();
    let [alert] = &alerts(&sensor)[..] else { panic!("one alert: {:?}", told(&sensor)) };
    alert.has_findings(&["kernel-taint-lost"]).contains(json!({
        "event": { "code": "170", "severity": 73 },
        "lkm_monitor": { "drift": { "before": { "taints": before }, "after": { "taints": 0 } } },
    }));
    sensor.stop();
}

pub(super) fn damaged_record(stage: &mut Stage) {
    start_and_stop(stage, "damaged");
    let record = folder("damaged").join("state.json");
    let whole = fs::read(&record).expect("there is a record");
    fs::write(&record, &whole[..whole.len() / 2]).expect("tear the record");
    let mut sensor = start(stage, "damaged");
    recorded(&sensor).contains(json!({ "lkm_monitor": { "state": { "first": true } } }));
    assert_eq!(told(&sensor), [pair("state-record-lost", "damaged")]);
    let aside = fs::read(folder("damaged").join("state.json.damaged")).expect("it was put aside");
    assert_eq!(aside, &whole[..whole.len() / 2]);
    sensor.stop();
    let mut sensor = start(stage, "damaged");
    recorded(&sensor);
    assert_eq!(told(&sensor), [], "there is a record again");
    sensor.stop();
}

pub(super) fn removed_record(stage: &mut Stage) {
    start_and_stop(stage, "removed");
    fs::remove_file(folder("removed").join("state.json")).expect("remove the record");
    let mut sensor = start(stage, "removed");
    recorded(&sensor);
    assert_eq!(told(&sensor), [pair("state-record-lost", "gone")]);
    // A run of some seconds may have kept none.
    alerts(&sensor)[0].contains(json!({ "event": { "code": "212", "severity": 21 } }));
    sensor.stop();
}

/// A link in the stead of a folder, to one that looks like it but for a line.
pub(super) fn replaced_place(stage: &mut Stage) {
    let (aside, other) = (format!("{CONF}.aside"), folder("place").join("other"));
    start_and_stop(stage, "place");
    fs::create_dir_all(&other).expect("make a folder");
    for entry in fs::read_dir(CONF).expect("list the folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), other.join(entry.file_name())).expect("copy a file");
    }
    fs::write(other.join("drift.conf"), "install drift /bin/true\n").expect("write a file");
    fs::rename(CONF, &aside).expect("put the folder aside");
    symlink(&other, CONF).expect("put a link in its stead");

    let mut sensor = start(stage, "place");
    recorded(&sensor);
    let found: BTreeSet<_> = told(&sensor).into_iter().collect();
    let new = format!("{CONF}/drift.conf");
    let expected = [CONF, &new].map(|path| pair("watched-file-changed-unseen", path));
    fs::remove_file(CONF).expect("remove the link");
    fs::rename(&aside, CONF).expect("put the folder back");
    assert_eq!(found, expected.into());
    let alert = alerts(&sensor).into_iter().find(|alert| object(alert) == CONF).expect("the place was told");
    alert.contains(json!({
        "event": { "action": "found-changed-place" },
        "lkm_monitor": { "drift": { "after": { "leads_to": other.display().to_string(), "sight": "whole" } } },
    }));
    sensor.stop();
}
