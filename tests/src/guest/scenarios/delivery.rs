//! From the spool to the sinks, by a daemon that runs as a service.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

use crate::{
    document::Document,
    process::program,
    sensor::{PROGRAM, Sensor},
    stage::Stage,
};

/// How long a file may lack what standard output has.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service whose state is in /tmp/NAME/state, with these sinks besides standard output.
fn service(stage: &Stage, name: &str, sinks: &str) -> Sensor {
    let settings = format!(
        "[rarity]\nenabled = false\n[heartbeat]\nrun_record = \"/tmp/{name}/state/run.json\"\n[spool]\npath = \
         \"/tmp/{name}/state/spool.redb\"\n[sinks.out.stdout]\n{sinks}"
    );
    Sensor::start_service(stage.hooks, name, &settings)
}

fn come_and_go(module: &str) {
    program("/sbin/modprobe", [module]).succeeded();
    program("/sbin/rmmod", [module]).succeeded();
}

/// The next load of a module, as standard output has it.
fn load(sensor: &mut Sensor, module: &str) -> Document {
    sensor.begin_scenario();
    come_and_go(module);
    sensor.expect("the load", |document| document.is_load() && document.module() == module)
}

/// What `lkm-monitor spool status` says, by the words before the number.
fn status(name: &str) -> BTreeMap<String, u64> {
    let config = format!("/run/{name}.toml");
    let lines = program(PROGRAM, ["spool", "status", "--config", &config]).succeeded().output;
    let of_line = |line: &str| Some((line.rsplit_once(' ')?.0.to_owned(), line.rsplit_once(' ')?.1.parse().ok()?));
    lines.lines().filter_map(of_line).collect()
}

/// The documents in the file, without its header, when the one with this id is among them.
fn file_with(path: &str, id: &str) -> Vec<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a whole document"));
        let documents: Vec<Value> = lines.filter(|document| document["event"]["sequence"].is_u64()).collect();
        if documents.iter().any(|document| document["event"]["id"] == id) {
            return documents;
        }
        assert!(Instant::now() < end, "{path} has no {id}:\n{text}");
        rustix::thread::sched_yield();
    }
}

/// Each sink has everything, once and in order, also when the daemon is killed in between; one that is dead keeps nobody waiting.
pub(super) fn through_the_spool(stage: &mut Stage) {
    let events = "/tmp/delivery/events.ndjson";
    let sinks = format!("[sinks.file.file]\npath = \"{events}\"\n[sinks.dead.syslog]\naddress = \"127.0.0.1:9\"\n");
    let mut first = service(stage, "delivery", &sinks);
    let before = load(&mut first, "dummy");
    file_with(events, before.text("event.id"));
    let end = Instant::now() + PATIENCE;
    while !Path::new("/tmp/delivery/state/run.json").exists() {
        assert!(Instant::now() < end, "the run is not put on record");
        rustix::thread::sched_yield();
    }
    first.kill();
    let mut second = service(stage, "delivery", &sinks);
    // What the first run had sent, and nobody had noted, comes again.
    second
        .expect("the succession", |document| document.text("lkm_monitor.run.before.status") == "killed")
        .has_findings(&["sensor-ended-without-stop"]);
    let after = load(&mut second, "dummy");
    let documents = file_with(events, after.text("event.id"));

    let mode = fs::metadata(events).expect("look at the file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640, "{mode:o}");
    let mut runs: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for document in &documents {
        let run = document["agent"]["ephemeral_id"].as_str().expect("a run");
        runs.entry(run).or_default().push(document["event"]["sequence"].as_u64().expect("a number"));
    }
    assert_eq!(runs.len(), 2);
    for numbers in runs.into_values() {
        let without_gaps: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, without_gaps, "each once, and in order");
    }
    second.stop();

    let counted = status("delivery");
    let spooled = counted["counted spooled -"];
    assert_eq!(counted["counted acked file"], spooled, "{counted:?}");
    assert_eq!((counted["waiting dead"], counted["waiting file"]), (spooled, 0), "{counted:?}");
    assert!(counted["counted retried dead"] > 0 && counted["bytes"] > 0, "{counted:?}");
    let listed = program(PROGRAM, ["spool", "list", "--json", "--config", "/run/delivery.toml"]).succeeded().output;
    assert!(listed.contains(after.text("event.id")), "{listed}");
}

/// Where there is no room for the spool documents are sent all the same, and that they are not durable is told.
pub(super) fn on_a_full_disk(stage: &mut Stage) {
    fs::create_dir_all("/tmp/delivery-full/state").expect("make a folder");
    mount("tmpfs", "/tmp/delivery-full/state", "tmpfs", MountFlags::empty(), c"size=4m").expect("mount a small disk");
    // A receiver that is away lets documents pile up.
    let dead = "[sinks.dead.syslog]\naddress = \"127.0.0.1:9\"\n";
    let mut sensor = service(stage, "delivery-full", dead);
    load(&mut sensor, "dummy");
    fs::write("/tmp/delivery-full/state/ballast", vec![0; 8 << 20]).expect_err("the disk is full");
    let failed = |document: &Document| document.text("event.action") == "spool-failed";
    // Pages that the file has already take some documents more.
    let end = Instant::now() + PATIENCE;
    while !sensor.documents().iter().any(failed) {
        assert!(Instant::now() < end, "a full disk is not told");
        come_and_go("dummy");
    }
    let alert = sensor.expect("the alert", failed);
    alert.contains(json!({ "event": { "kind": "alert", "severity": 47 } })).has_findings(&["sensor-spool-failed"]);
    load(&mut sensor, "dummy");
    fs::remove_file("/tmp/delivery-full/state/ballast").expect("make room");
    sensor.expect("the end", |document| document.text("event.action") == "spool-restored").has_no_alert();
    load(&mut sensor, "dummy");
    sensor.stop();
    let counted = status("delivery-full");
    assert!(counted["counted unspooled -"] > 0, "{counted:?}");
    assert_eq!(counted.get("counted spool_error -"), None, "{counted:?}");
    unmount("/tmp/delivery-full/state", UnmountFlags::empty()).expect("unmount the small disk");
}
