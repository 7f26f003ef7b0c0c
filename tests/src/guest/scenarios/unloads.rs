//! Unloads, and attempts at them.

use std::{ffi::CString, fs::File};

use rustix::system::delete_module;
use serde_json::json;

use crate::{
    expected,
    process::{become_analyst, forked, program},
    stage::Stage,
};

const NO_WAIT: i32 = libc::O_NONBLOCK;
const FORCED: i32 = libc::O_NONBLOCK | libc::O_TRUNC;

pub(super) fn rmmod(stage: &mut Stage) {
    program("/sbin/modprobe", ["dummy"]).succeeded();
    let rmmod = program("/sbin/rmmod", ["dummy"]).succeeded();
    stage
        .unload_by(rmmod.pid)
        .contains(expected::unload("dummy", NO_WAIT, 0))
        .contains(json!({
            "process": { "executable": "/usr/bin/kmod", "args": ["/sbin/rmmod", "dummy"], "parent": { "pid": 1 } },
            "lkm_monitor": { "module": { "taints": 0 } },
            "event": { "severity": 21, "code": "120" },
        }))
        .has_findings(&["unload"]);
}

pub(super) fn forced(stage: &mut Stage) {
    program("/sbin/modprobe", ["dummy"]).succeeded();
    let caller = forked(|| delete_module(c"dummy", FORCED)).succeeded();
    stage
        .unload_by(caller.pid)
        .contains(expected::unload("dummy", FORCED, 0))
        .contains(expected::fork_of_init(caller.pid))
        .contains(json!({ "lkm_monitor": { "syscall": { "flag_names": ["O_TRUNC", "O_NONBLOCK"] } } }))
        .has_findings(&["forced-unload", "unload"]);
}

pub(super) fn unknown_module(stage: &mut Stage) {
    let caller = forked(|| delete_module(c"no_such_module", NO_WAIT)).failed_with(libc::ENOENT);
    stage
        .unload_by(caller.pid)
        .contains(expected::unload("no_such_module", NO_WAIT, libc::ENOENT))
        .contains(expected::fork_of_init(caller.pid))
        .has_findings(&[]);
}

pub(super) fn used_by_another_module(stage: &mut Stage) {
    program("/sbin/modprobe", ["l2tp_core"]).succeeded();
    let caller = forked(|| delete_module(c"udp_tunnel", NO_WAIT)).failed_with(libc::EWOULDBLOCK);
    stage.unload_by(caller.pid).contains(expected::unload("udp_tunnel", NO_WAIT, libc::EWOULDBLOCK)).has_findings(&[]);
}

pub(super) fn held_open(stage: &mut Stage) {
    program("/sbin/modprobe", ["brd", "rd_nr=1"]).succeeded();
    let disk = File::open("/dev/ram0").expect("open the disk");
    let caller = forked(|| delete_module(c"brd", NO_WAIT)).failed_with(libc::EWOULDBLOCK);
    drop(disk);
    stage.unload_by(caller.pid).contains(expected::unload("brd", NO_WAIT, libc::EWOULDBLOCK)).has_findings(&[]);
}

pub(super) fn unprivileged(stage: &mut Stage) {
    program("/sbin/modprobe", ["dummy"]).succeeded();
    // On the heap, whose pages a fork has from the start: the kernel refuses before it reads the name, and a probe cannot
    // fetch a page.
    let name = CString::from(c"dummy");
    let caller = forked(|| {
        become_analyst();
        delete_module(&name, NO_WAIT)
    })
    .failed_with(libc::EPERM);
    stage
        .unload_by(caller.pid)
        .contains(expected::unload("dummy", NO_WAIT, libc::EPERM))
        .contains(json!({ "process": { "user": { "id": "1000" } } }))
        .has_findings(&[]);
}
