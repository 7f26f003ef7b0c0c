//! What the daemon notices of itself, and of the run before. Each scenario has daemons of its own.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount},
};
use serde_json::{Value, json};

use crate::{
    bpf::held,
    document::Document,
    expected::sha256,
    process::{forked, program},
    ptrace::call_in,
    sensor::{PROGRAM, Sensor},
    stage::Stage,
};

/// A daemon with a record of its own; what it counts is no matter.
fn start(stage: &Stage, name: &str, settings: &str) -> Sensor {
    start_as(stage, name, settings, &[])
}

fn start_as(stage: &Stage, name: &str, settings: &str, wrapper: &[&str]) -> Sensor {
    let record = record(name);
    let settings =
        format!("{settings}[rarity]\nenabled = false\n[heartbeat]\ninterval_s = 1\nrun_record = \"{record}\"\n");
    Sensor::start_set(stage.hooks, &["--events"], name, &settings, wrapper)
}

fn record(name: &str) -> String {
    format!("/tmp/{name}/run.json")
}

/// What it found of the run before.
fn succession(sensor: &Sensor) -> Document {
    sensor.expect("the succession", |document| document.text("event.action") == "sensor-succeeded-run")
}

fn run(document: &Document) -> String {
    document.text("agent.ephemeral_id").to_owned()
}

fn before(status: &str) -> Value {
    json!({ "lkm_monitor": { "run": { "before": { "status": status } } } })
}

/// Whoever controls the daemon's process can close its descriptors, and a link is gone with its last one.
pub(super) fn alive_until_a_hook_is_taken_away(stage: &mut Stage) {
    let mut sensor = start(stage, "hooks", "");
    assert_beats(&mut sensor);
    let hook = |document: &Document| document.list("lkm_monitor.sensor.lost_hooks").first().cloned();
    let links = held(sensor.pid(), "link_id");
    let link = links.iter().find(|link| link.fd > 2).expect("the daemon has links");
    assert_eq!(call_in(sensor.pid(), libc::SYS_close, link.fd as u64), 0, "the descriptor is closed");

    let alert = sensor.expect("the alert", |document| document.text("event.action") == "sensor-hooks-lost");
    alert.contains(json!({ "event": { "kind": "alert", "severity": 99 } })).has_findings(&["sensor-hook-lost"]);
    let lost = hook(&alert).expect("it names the hook");
    for key in ["hook", "probe", "not_seen", "since"] {
        assert!(lost[key].is_string(), "{lost}");
    }
    // Kernels before 5.13 attach a program once.
    let release = alert.text("host.os.kernel").to_owned();
    let again = !release.starts_with("5.10.");
    assert_eq!(lost["attached_again"], again, "{lost}");
    let probe = alert
        .list("lkm_monitor.sensor.probes")
        .iter()
        .find(|probe| probe["name"] == lost["probe"])
        .unwrap_or_else(|| panic!("the probe is not listed: {}", alert.value()));
    assert_eq!(probe["attached"], again, "{probe}");
    let blind = alert.list("lkm_monitor.sensor.blind_hooks").iter().any(|blind| {
        blind["probe"] == lost["probe"] && blind["hook"] == lost["hook"] && blind["since"] == lost["since"]
    });
    assert_ne!(blind, again, "{}", alert.value());
    // Told once.
    sensor.begin_scenario();
    sensor.expect("a sign of life", |document| document.text("event.action") == "heartbeat");
    sensor.expect_none("a second alert", |document| document.text("event.action") == "sensor-hooks-lost");
    if again {
        // Whatever was lost first, the new link is one that can be lost.
        let links_now = held(sensor.pid(), "link_id");
        assert_eq!(links_now.len(), links.len(), "as many links as before");
    }
    sensor.stop();
}

pub(super) fn after_a_kill(stage: &mut Stage) {
    let mut first = start(stage, "kill", "");
    succession(&first).contains(before("not-on-record")).has_no_alert();
    let beat = first.expect("a sign of life", |document| document.text("event.action") == "heartbeat");
    first.kill();

    let mut second = start(stage, "kill", "");
    let told = succession(&second);
    told.contains(before("killed"))
        .contains(json!({
            "event": { "kind": "alert", "severity": 73 },
            "lkm_monitor": { "run": { "before": { "ephemeral_id": run(&beat), "boot_id": beat.text("host.boot.id") } } },
        }))
        .has_findings(&["sensor-ended-without-stop"]);
    // A daemon takes seconds to start here.
    let unwatched = told.number("lkm_monitor.run.unwatched_s").expect("for how long nobody watched");
    assert!((1..300).contains(&unwatched), "{unwatched} s");
    assert!(told.text("lkm_monitor.run.before.last_seen") < told.text("@timestamp"), "{}", told.value());
    second.stop();
}

/// A boot id can be forged. That makes no restart of the host out of a kill.
pub(super) fn under_a_forged_boot_id(stage: &mut Stage) {
    const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
    let mut first = start(stage, "forged", "");
    first.expect("a sign of life", |document| document.text("event.action") == "heartbeat");
    first.kill();
    fs::write("/tmp/forged/boot_id", "11111111-2222-4333-8444-555555555555\n").expect("write another boot id");
    mount_bind("/tmp/forged/boot_id", BOOT_ID).expect("hide the kernel's boot id");
    let mut second = start(stage, "forged", "");
    unmount(BOOT_ID, UnmountFlags::DETACH).expect("give the kernel's boot id back");
    succession(&second).contains(before("killed")).has_findings(&["sensor-ended-without-stop"]);
    let started = second.expect("the start", |document| document.text("event.action") == "sensor-started");
    let named = format!("the kernel's own {BOOT_ID}: something is mounted over it");
    assert!(started.lists("lkm_monitor.sensor.blind", &named), "{}", started.value());
    second.stop();
}

/// Where nothing can be watched, those who get the documents learn what is in the way.
pub(super) fn start_that_is_hindered(_: &mut Stage) {
    mount("tmpfs", "/sys/kernel/btf", "tmpfs", MountFlags::empty(), None).expect("hide the type information");
    let ended = program(PROGRAM, ["run", "--stdout"]);
    unmount("/sys/kernel/btf", UnmountFlags::DETACH).expect("give the type information back");
    let output = ended.failed_with(69).output;
    assert!(!output.contains("Run as root"), "advice by the rights that it gave up: {output}");
    let documents: Vec<Value> = output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [told] = documents.as_slice() else { panic!("one document: {output}") };
    assert_eq!((&told["event"]["action"], &told["event"]["severity"]), (&"sensor-not-started".into(), &73.into()));
    let reason = told["event"]["reason"].as_str().expect("a reason");
    assert!(reason.contains("/sys/kernel/btf/vmlinux: something is mounted over it"), "{reason}");
}

/// Whoever opens a pipe waits for its other end.
pub(super) fn record_that_is_a_pipe(stage: &mut Stage) {
    let path = record("pipe");
    fs::create_dir_all(Path::new(&path).parent().expect("in a folder")).expect("make a folder");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).expect("make a pipe");
    let mut sensor = start(stage, "pipe", "");
    let told = succession(&sensor);
    told.contains(before("unreadable")).has_findings(&["sensor-record-unreadable"]);
    let said = told.text("lkm_monitor.run.before.reason");
    assert!(said.contains("not a regular file"), "{said}");
    sensor.stop();
    let stopped: Value = serde_json::from_slice(&fs::read(&path).expect("a record")).expect("the record is JSON");
    assert_eq!(stopped["run"]["stopped"], true, "the record is whole again");
}

/// A stop is no alert; what differs after it is one.
pub(super) fn other_program_and_settings(stage: &mut Stage) {
    let mut first = start(stage, "other", "");
    let told = succession(&first);
    let own = sha256(&fs::read(PROGRAM).expect("read the daemon's program"));
    assert_eq!(told.text("lkm_monitor.run.binary_sha256"), own);
    let settings = told.text("lkm_monitor.run.configuration_sha256").to_owned();
    let id = run(&told);
    first.stop();

    let mut second = start(stage, "other", "[files]\nexclude_defaults = false\n");
    let told = succession(&second);
    told.contains(before("stopped")).has_findings(&["sensor-configuration-changed"]);
    assert_eq!(told.text("lkm_monitor.run.before.ephemeral_id"), id);
    let now = told.text("lkm_monitor.run.configuration_sha256").to_owned();
    assert_eq!(told.text("lkm_monitor.run.before.configuration_sha256"), settings);
    let reason = told.text("event.reason");
    assert!(now != settings && reason.contains(&settings) && reason.contains(&now), "{reason}");
    second.stop();

    // The daemon by another name and with something behind its end.
    let copy = "/tmp/lkm-monitor-copy";
    let program = [fs::read(PROGRAM).expect("read the daemon's program"), b"x".to_vec()].concat();
    fs::write(copy, &program).expect("copy the daemon's program");
    fs::set_permissions(copy, fs::Permissions::from_mode(0o755)).expect("let it be executed");
    let mut third = start_as(stage, "other", "[files]\nexclude_defaults = false\n", &["/init", "instead", copy]);
    let told = succession(&third);
    told.has_findings(&["sensor-program-changed"]);
    let reason = told.text("event.reason");
    assert!(reason.contains(&own) && reason.contains(&sha256(&program)), "{reason}");
    third.stop();
}

/// While it runs, the hooks on files see it.
pub(super) fn files_of_the_daemon_changed(stage: &mut Stage) {
    fs::create_dir_all("/etc/lkm-monitor/conf.d").expect("make a folder");
    for (path, action) in [
        ("/etc/lkm-monitor/config.toml", "created-sensor-file"),
        ("/etc/lkm-monitor/conf.d/10-quiet.toml", "created-sensor-file"),
        ("/usr/bin/lkm-monitor", "renamed-sensor-file"),
    ] {
        let content = fs::read(path).ok();
        let writer = forked(|| {
            match &content {
                Some(program) => {
                    fs::write("/usr/bin/.new", program).expect("write another program");
                    fs::set_permissions("/usr/bin/.new", fs::Permissions::from_mode(0o755))
                        .expect("let it be executed");
                    fs::rename("/usr/bin/.new", path).expect("put it in the place of the daemon's");
                }
                None => fs::write(path, "[files]\nwatch_defaults = false\n").expect("write settings"),
            }
            Ok(())
        })
        .succeeded();
        let alert = stage.change_by(writer.pid, action, path);
        alert.has_findings(&["sensor-file-changed"]).contains(json!({
            "event": { "severity": 73 },
            "lkm_monitor": { "change": { "subject": "sensor-file", "diff": null } },
        }));
        assert!(alert.at("file.hash.sha256").is_string(), "{}", alert.value());
    }
    fs::remove_dir_all("/etc/lkm-monitor").expect("tidy up");
}

fn assert_beats(sensor: &mut Sensor) {
    let beats: Vec<Document> = (0..2)
        .map(|_| {
            sensor.begin_scenario();
            sensor.expect("a sign of life", |document| document.text("event.action") == "heartbeat")
        })
        .collect();
    let number = |document: &Document, field: &str| {
        document.number(&format!("lkm_monitor.{field}")).unwrap_or_else(|| panic!("no {field}: {}", document.value()))
    };
    for beat in &beats {
        beat.contains(json!({
            "event": { "kind": "metric", "category": ["host"], "type": ["info"] },
            "lkm_monitor": { "heartbeat": { "interval_s": 1 }, "sensor": { "status": "full", "probes": null, "blind_hooks": null } },
        }));
        assert!(number(beat, "heartbeat.memory_bytes") > 1 << 20 && number(beat, "heartbeat.cpu_ms") > 0);
        let rings = beat.list("lkm_monitor.heartbeat.rings");
        let names: Vec<_> = rings.iter().filter_map(|ring| ring["name"].as_str()).collect();
        assert_eq!(names, ["truth", "files", "calls", "images"]);
        assert!(rings.iter().all(|ring| ring["used_bytes"].as_u64() <= ring["size_bytes"].as_u64()), "{rings:?}");
        let metrics = beat.list("lkm_monitor.heartbeat.metrics");
        let lost =
            |reason: &str| metrics.iter().any(|metric| metric["reason"] == reason && metric["stage"].is_string());
        assert!(lost("ring_full") && lost("output_full"), "{metrics:?}");
    }
    let [first, second] = [&beats[0], &beats[1]];
    assert_ne!(first.text("event.id"), second.text("event.id"));
    assert!(number(first, "heartbeat.uptime_s") < number(second, "heartbeat.uptime_s"));
    let documents = |beat| number(beat, "sensor.counters.documents");
    assert!(documents(first) < documents(second), "the first heartbeat is a document");
}
