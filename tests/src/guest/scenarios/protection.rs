//! Attacks on the daemon itself: its programs, maps and links in the kernel.

use std::{
    ffi::CString,
    fs,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use serde_json::{Value, json};

use crate::{
    bpf::{self, Held, held},
    document::Document,
    expected,
    process::{become_analyst, forked},
    stage::Stage,
};

/// The first map of the daemon's with keys of eight bytes that anybody with a descriptor may change.
fn hash_map(stage: &Stage) -> Held {
    let fits = |map: &Held| map.number("map_type") == Some(1) && map.number("key_size") == Some(8);
    held(stage.sensor.pid(), "map_id").into_iter().find(fits).expect("the daemon has such a map")
}

fn alert_by(stage: &Stage, pid: u32, operation: &str) -> Document {
    stage.sensor.expect(&format!("{operation} by process {pid}"), |document| {
        document.text("lkm_monitor.object.operation") == operation && document.is_by(pid)
    })
}

fn opened(outcome: &str) -> Value {
    json!({ "event": {
        "kind": "alert", "category": ["configuration"], "type": ["access"], "action": "opened-sensor-object", "outcome": outcome,
    } })
}

fn changed(outcome: &str) -> Value {
    json!({ "event": {
        "kind": "alert", "category": ["configuration"], "type": ["change"], "action": "changed-sensor-object", "outcome": outcome,
    } })
}

/// As `bpftool prog show` does, and as somebody who may not.
pub(super) fn program_opened_by_number(stage: &mut Stage) {
    let links = held(stage.sensor.pid(), "link_id");
    let ids: Vec<u32> = links.iter().filter_map(|link| link.number("prog_id")).take(3).collect();
    let caller = forked(|| {
        for id in &ids {
            bpf::open(bpf::PROG_GET_FD_BY_ID, *id)?;
        }
        Ok(())
    })
    .succeeded();
    let alert = alert_by(stage, caller.pid, "open");
    alert
        .contains(opened("success"))
        .contains(expected::fork_of_init_by(caller.pid))
        .contains(json!({ "event": { "severity": 21 }, "lkm_monitor": { "object": { "count": 3, "errno": null } } }))
        .has_findings(&["sensor-object-opened"]);
    let objects = alert.list("lkm_monitor.object.objects");
    let named: Vec<_> = objects.iter().filter_map(|object| object["id"].as_u64()).collect();
    assert_eq!(named, ids.iter().map(|id| u64::from(*id)).collect::<Vec<_>>(), "{}", alert.value());
    assert!(
        objects.iter().all(|object| object["kind"] == "program" && object["name"].is_string()),
        "{}",
        alert.value()
    );

    let caller = forked(|| {
        become_analyst();
        bpf::open(bpf::PROG_GET_FD_BY_ID, ids[0]).map(drop)
    })
    .failed_with(libc::EPERM);
    // Kernels before 5.13 refuse the user before they look what is asked.
    if alert.text("host.os.kernel").starts_with("5.10.") {
        return;
    }
    alert_by(stage, caller.pid, "open").contains(opened("failure")).contains(
        json!({ "process": { "user": { "name": "analyst" } }, "lkm_monitor": { "object": { "errno": "EPERM" } } }),
    );
}

/// A program that is to take the place of a function of one of the daemon's. The kernel refuses this one, which says of no function.
pub(super) fn program_extended(stage: &mut Stage) {
    let links = held(stage.sensor.pid(), "link_id");
    let id = links.iter().find_map(|link| link.number("prog_id")).expect("the daemon has programs that are attached");
    let caller = forked(|| {
        bpf::lift_limit();
        let program = bpf::open(bpf::PROG_GET_FD_BY_ID, id)?;
        // `r0 = 0; exit`
        let (instructions, license) = ([0xb7_u64, 0x95], c"GPL");
        let mut attributes = [0; 16];
        attributes[0] = bpf::EXTENSION | (instructions.len() as u64) << 32;
        attributes[1] = instructions.as_ptr().expose_provenance() as u64;
        attributes[2] = license.as_ptr().expose_provenance() as u64;
        attributes[14] = program.as_raw_fd() as u64;
        bpf::call(bpf::PROG_LOAD, &mut attributes).map(drop)
    })
    .failed_with(libc::EINVAL);
    alert_by(stage, caller.pid, "extend-program")
        .contains(changed("failure"))
        .contains(
            json!({ "event": { "severity": 73 }, "lkm_monitor": { "object": { "count": 1, "errno": "EINVAL" } } }),
        )
        .has_findings(&["sensor-object-changed"]);
}

/// What a descriptor of a map is good for.
pub(super) fn map_changed(stage: &mut Stage) {
    let map = hash_map(stage);
    let (id, value_bytes) =
        (map.number("map_id").expect("asked for"), map.number("value_size").expect("a map has values"));
    let caller = forked(|| {
        let map = bpf::open(bpf::MAP_GET_FD_BY_ID, id)?;
        let (key, value) = (u64::MAX, vec![0_u8; value_bytes as usize]);
        let mut attributes = [0; 16];
        attributes[0] = map.as_raw_fd() as u64;
        attributes[1] = (&raw const key).expose_provenance() as u64;
        attributes[2] = value.as_ptr().expose_provenance() as u64;
        bpf::call(bpf::MAP_UPDATE_ELEM, &mut attributes)?;
        attributes[2] = 0;
        bpf::call(bpf::MAP_DELETE_ELEM, &mut attributes).map(drop)
    })
    .succeeded();
    alert_by(stage, caller.pid, "open").contains(opened("success")).has_findings(&["sensor-object-opened"]);
    for operation in ["update-map", "delete-from-map"] {
        let alert = alert_by(stage, caller.pid, operation);
        alert
            .contains(changed("success"))
            .contains(expected::fork_of_init_by(caller.pid))
            .contains(json!({ "event": { "severity": 99 }, "lkm_monitor": { "object": { "count": 1 } } }))
            .has_findings(&["sensor-object-changed"]);
        let object = &alert.list("lkm_monitor.object.objects")[0];
        assert!(object["id"] == id && object["kind"] == "map" && object["name"].is_string(), "{}", alert.value());
    }
}

/// The kernel detaches no link of these kinds on demand; who tries is still no friend.
pub(super) fn link_to_be_detached(stage: &mut Stage) {
    let links = held(stage.sensor.pid(), "link_id");
    let id = links.first().and_then(|link| link.number("link_id")).expect("the daemon has links");
    let caller = forked(|| {
        let link = bpf::open(bpf::LINK_GET_FD_BY_ID, id)?;
        let mut attributes = [0; 16];
        attributes[0] = link.as_raw_fd() as u64;
        bpf::call(bpf::LINK_DETACH, &mut attributes).map(drop)
    })
    .failed_with(libc::EOPNOTSUPP);
    let alert = alert_by(stage, caller.pid, "detach-link");
    alert
        .contains(changed("failure"))
        .contains(json!({ "event": { "severity": 73 }, "lkm_monitor": { "object": { "errno": "EOPNOTSUPP" } } }))
        .has_findings(&["sensor-object-changed"]);
    let object = &alert.list("lkm_monitor.object.objects")[0];
    assert!(object["id"] == id && object["kind"] == "link" && object["name"].is_string(), "{}", alert.value());
}

/// Neither shows a number of the object.
pub(super) fn pinned_and_opened_by_name(stage: &mut Stage) {
    let id = hash_map(stage).number("map_id").expect("asked for");
    fs::create_dir_all("/tmp/bpf").expect("make a folder");
    mount("bpf", "/tmp/bpf", "bpf", MountFlags::empty(), None).expect("mount the file system of BPF");
    let path = CString::new("/tmp/bpf/kept").expect("no NUL");
    let at = path.as_ptr().expose_provenance() as u64;
    let pinning = forked(|| {
        let map = bpf::open(bpf::MAP_GET_FD_BY_ID, id)?;
        let mut attributes = [0; 16];
        (attributes[0], attributes[1]) = (at, map.as_raw_fd() as u64);
        bpf::call(bpf::OBJ_PIN, &mut attributes).map(drop)
    })
    .succeeded();
    let opening = forked(|| {
        let mut attributes = [0; 16];
        attributes[0] = at;
        bpf::call(bpf::OBJ_GET, &mut attributes).map(drop)
    })
    .succeeded();
    unmount("/tmp/bpf", UnmountFlags::DETACH).expect("unmount");
    for (pid, operation, severity) in [(pinning.pid, "pin", 47), (opening.pid, "open", 21)] {
        let alert = alert_by(stage, pid, operation);
        alert
            .contains(opened("success"))
            .contains(json!({ "event": { "severity": severity } }))
            .has_findings(&["sensor-object-opened"]);
        assert_eq!(alert.list("lkm_monitor.object.objects")[0]["id"], id, "{}", alert.value());
    }
}

/// Without a call of bpf().
pub(super) fn descriptor_taken(stage: &mut Stage) {
    let map = hash_map(stage);
    let daemon = Pid::from_raw(stage.sensor.pid() as i32).expect("a process");
    let caller = forked(|| {
        let daemon = pidfd_open(daemon, PidfdFlags::empty())?;
        pidfd_getfd(daemon, map.fd, PidfdGetfdFlags::empty()).map(drop)
    })
    .succeeded();
    let alert = alert_by(stage, caller.pid, "take-descriptor");
    alert
        .contains(opened("success"))
        .contains(json!({ "event": { "severity": 73 } }))
        .has_findings(&["sensor-object-opened"]);
    assert_eq!(alert.list("lkm_monitor.object.objects")[0]["id"], map.number("map_id").expect("asked for"));
}

/// BPF has other users; and the daemon itself is one.
pub(super) fn objects_of_others(stage: &mut Stage) {
    let caller = forked(|| {
        bpf::lift_limit();
        let mut attributes = [0; 16];
        // Type and key, value and number of entries.
        (attributes[0], attributes[1]) = (bpf::HASH | 8 << 32, 8 | 1 << 32);
        // SAFETY: the kernel made it for this process.
        let map = unsafe { OwnedFd::from_raw_fd(bpf::call(bpf::MAP_CREATE, &mut attributes)?) };
        let (key, value) = (1_u64, 2_u64);
        let mut attributes = [0; 16];
        attributes[0] = map.as_raw_fd() as u64;
        attributes[1] = (&raw const key).expose_provenance() as u64;
        attributes[2] = (&raw const value).expose_provenance() as u64;
        bpf::call(bpf::MAP_UPDATE_ELEM, &mut attributes).map(drop)
    })
    .succeeded();
    let daemon = stage.sensor.pid();
    stage.sensor.expect_none("an access to an object of another program", |document| {
        !document.at("lkm_monitor.object").is_null() && document.is_by(caller.pid)
    });
    let own = |document: &Document| !document.at("lkm_monitor.object").is_null() && document.is_by(daemon);
    assert!(!stage.sensor.all_documents().iter().any(own), "the daemon tells of itself");
}
