//! Attacks on what the daemon keeps in the kernel that need no call of bpf(2) on it but to open it.

use std::{
    fs, ptr,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use rustix::mm::{MapFlags, ProtFlags, mmap};
use serde_json::json;

use crate::{
    bpf::{self, held},
    document::Document,
    process::forked,
    sensor::Sensor,
    stage::Stage,
};

/// No other ring of the daemon's is so small.
const FILES_RING_BYTES: u32 = 64 * 1024;

/// The pages of a ring that say how far it was read, which anybody who has it open may write, and how far it was written.
fn positions(id: u32) -> rustix::io::Result<[&'static AtomicU64; 2]> {
    const PAGE_BYTES: usize = 4096;
    let ring = bpf::open(bpf::MAP_GET_FD_BY_ID, id)?;
    let page = |number: u64, rights| {
        let offset = number * PAGE_BYTES as u64;
        // SAFETY: a new mapping of a page that begins with a number, which stays as long as the process.
        let page = unsafe { mmap(ptr::null_mut(), PAGE_BYTES, rights, MapFlags::SHARED, &ring, offset)? };
        // SAFETY: as above.
        Ok(unsafe { AtomicU64::from_ptr(page.cast()) })
    };
    Ok([page(0, ProtFlags::READ | ProtFlags::WRITE)?, page(1, ProtFlags::READ)?])
}

fn told_of_tampering(document: &Document) -> bool {
    document.text("event.action") == "sensor-tampered-with"
}

/// The kernel writes over what was not read when the position up to which it was read is moved on, while the daemon stands still.
pub(super) fn ring_written_over(stage: &mut Stage) {
    const HIDDEN: &str = "/etc/modprobe.d/hidden.conf";
    const TOLD: &str = "/etc/modprobe.d/told.conf";
    let settings = format!(
        "files_ring_bytes = {FILES_RING_BYTES}\n[rarity]\nenabled = false\n[heartbeat]\nrun_record = \"/run/ring.json\"\n"
    );
    let mut sensor = Sensor::start_set(stage.hooks, &["--events"], "ring", &settings, &[]);
    let rings = held(sensor.pid(), "map_id");
    let is_files = |map: &&bpf::Held| map.number("max_entries") == Some(FILES_RING_BYTES);
    let id = rings.iter().find(is_files).and_then(|ring| ring.number("map_id")).expect("the daemon has that ring");
    fs::create_dir_all("/etc/modprobe.d").expect("make a folder");
    fs::create_dir_all("/tmp/junk").expect("make a folder");
    sensor.settle();
    sensor.pause();
    forked(|| {
        let [read, written] = positions(id)?;
        let end = written.load(SeqCst) + u64::from(FILES_RING_BYTES);
        fs::write(HIDDEN, "install nosuch /tmp/x\n").expect("write what is to be hidden");
        let mut number = 0;
        while written.load(SeqCst) < end {
            number += 1;
            fs::write(format!("/tmp/junk/{number}.ko"), "").expect("make something to be told");
            read.store(written.load(SeqCst), SeqCst);
        }
        Ok(())
    })
    .succeeded();
    sensor.resume();

    let alert = sensor.expect("an alert", told_of_tampering);
    alert
        .contains(json!({ "event": { "kind": "alert", "severity": 99 }, "lkm_monitor": { "sensor": { "tampering": [
            "ring FILES: the position up to which it was read was moved",
            "ring FILES: events that were not read were written over",
        ] } } }))
        .has_findings(&["sensor-tampered-with"]);
    let loss = sensor.expect("the loss", |document| document.text("lkm_monitor.loss.reason") == "ring_overwritten");
    let lost = loss.number("lkm_monitor.loss.count").expect("a count");
    // As many as went into the ring meanwhile, of which none is longer than the rest of it.
    assert!(lost > 2, "{}", loss.value());
    // The daemon reads on.
    let later = forked(|| {
        fs::write(TOLD, "install nosuch /tmp/x\n").expect("write once more");
        Ok(())
    })
    .succeeded();
    sensor.expect("what is done later", |document| document.text("file.path") == TOLD && document.is_by(later.pid));
    sensor.expect_none("what was written over", |document| document.text("file.path") == HIDDEN);
    fs::remove_dir_all("/tmp/junk").expect("clean up");
    fs::remove_file(HIDDEN).expect("clean up");
    fs::remove_file(TOLD).expect("clean up");
    sensor.stop();
}

/// A program of the attacker's own empties a map of the daemon's: no call of bpf(2) changes it.
pub(super) fn map_changed_by_a_program(stage: &mut Stage) {
    const PATH: &str = "/etc/modprobe.d/program.conf";
    const NAME_BYTES: usize = 32;
    const WATCHED: u32 = 256;
    let is_of_names = |map: &&bpf::Held| {
        map.number("key_size") == Some(NAME_BYTES as u32) && map.number("max_entries") == Some(WATCHED)
    };
    let maps = held(stage.sensor.pid(), "map_id");
    let id = maps.iter().find(is_of_names).and_then(|map| map.number("map_id")).expect("the daemon has that map");
    let folder = *b"modprobe.d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let caller = forked(|| {
        bpf::lift_limit();
        let map = bpf::open(bpf::MAP_GET_FD_BY_ID, id)?;
        bpf::load_and_run(&bpf::deletion(&map, &folder))
    })
    .succeeded();
    let used = stage.sensor.expect("the use of a map", |document| {
        document.text("lkm_monitor.object.operation") == "use-map" && document.is_by(caller.pid)
    });
    used.contains(json!({ "event": { "kind": "alert", "severity": 73, "outcome": "success" } }))
        .has_findings(&["sensor-object-changed"]);
    assert_eq!(used.list("lkm_monitor.object.objects")[0]["name"], "WATCHED_NAMES", "{}", used.value());
    stage
        .sensor
        .expect("an alert on what the map held", told_of_tampering)
        .contains(json!({ "lkm_monitor": { "sensor": { "tampering": [
            "map WATCHED_NAMES: it held something else than the daemon put there",
        ] } } }))
        .has_findings(&["sensor-tampered-with"]);
    // It holds the folder again.
    let later = forked(|| {
        fs::create_dir_all("/etc/modprobe.d").expect("make a folder");
        fs::write(PATH, "install nosuch /tmp/x\n").expect("write what is watched");
        Ok(())
    })
    .succeeded();
    stage
        .sensor
        .expect("what is done later", |document| document.text("file.path") == PATH && document.is_by(later.pid));
    fs::remove_file(PATH).expect("clean up");
}

/// Off and on again between two looks of the daemon: nothing else tells of what was done meanwhile.
pub(super) fn hooks_silent_for_a_moment(stage: &mut Stage) {
    const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
    // Kernels that hold the hooks to be permanent refuse, and the attempt is told all the same.
    let caller = forked(|| {
        let _ = fs::write(FTRACE, "0");
        let _ = fs::write(FTRACE, "1");
        Ok(())
    })
    .succeeded();
    stage
        .sensor
        .expect("the writing", |document| document.text("file.path") == FTRACE && document.is_by(caller.pid))
        .contains(json!({ "event": { "kind": "alert", "severity": 73 } }))
        .has_findings(&["kernel-module-setting-changed"]);
}
