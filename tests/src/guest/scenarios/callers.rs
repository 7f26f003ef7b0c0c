//! Who asks, and who stands behind.

use std::{fs, os::fd::AsFd as _, process};

use rustix::{
    fs::{Mode, OFlags},
    process::{getppid, ioctl_tiocsctty, setsid},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::json;

use crate::{
    expected,
    helper::PRETENDED,
    module_file::installed,
    process::{ANALYST, fork, forked, program},
    stage::Stage,
};

pub(super) fn fork_of_init(stage: &mut Stage) {
    let path = installed("dummy");
    let loader = stage.load_in_fork(&stage.installed("dummy")).succeeded();
    let document = stage.live_load(&loader, "dummy", &path);
    document.contains(expected::fork_of_init(loader.pid)).has_findings(&["unusual-loader"]);
    let ancestors = document.list("lkm_monitor.ancestors");
    assert!(ancestors.len() == 1 && ancestors[0]["pid"] == 1, "PID 1 is the only ancestor: {ancestors:?}");
}

pub(super) fn init_itself(stage: &mut Stage) {
    let file = stage.installed("dummy");
    rustix::system::finit_module(&file, c"", 0).expect("load a module");
    stage
        .load_by(process::id())
        .contains(expected::live("finit_module"))
        .contains(json!({
            "process": { "pid": 1, "name": "init", "executable": "/init", "parent": null },
            "lkm_monitor": { "ancestors": null, "module": { "name": "dummy" } },
        }))
        .has_findings(&["unusual-loader"]);
}

pub(super) fn chain_of_parents(stage: &mut Stage) {
    let path = installed("dummy");
    let arguments = ["run", "/init", "run", "/sbin/insmod", path.to_str().expect("plain path")];
    let outer = program("/init", arguments).succeeded();
    let document = stage.load_of("dummy");
    document.contains(json!({ "process": { "executable": "/usr/bin/kmod" } })).has_findings(&[]);
    let ancestors = document.list("lkm_monitor.ancestors");
    let lengths: Vec<_> = ancestors.iter().map(|process| process["args"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(lengths, [4, 6, 1], "arguments of each ancestor up to PID 1: {ancestors:?}");
    assert_eq!(ancestors[0]["args"], json!(["/init", "run", "/sbin/insmod", path]));
    assert_eq!(ancestors[1]["pid"], outer.pid);
    assert_eq!(ancestors[2]["pid"], 1);
    assert_eq!(document.at("process.parent.pid"), &ancestors[0]["pid"]);
    assert_eq!(document.at("process.parent.args"), &ancestors[0]["args"]);
}

/// The audit system's login uid says who logged in, whatever they became since.
pub(super) fn login_user(stage: &mut Stage) {
    let file = stage.installed("dummy");
    let loader = forked(|| {
        fs::write("/proc/self/loginuid", ANALYST.to_string()).expect("set the login uid");
        rustix::system::finit_module(&file, c"", 0)
    })
    .succeeded();
    let document = stage.load_by(loader.pid);
    document
        .contains(expected::fork_of_init(loader.pid))
        .contains(json!({ "lkm_monitor": { "audit": { "loginuid": ANALYST } } }));
    assert!(document.number("lkm_monitor.audit.session").is_some(), "{}", document.value());
    assert!(document.lists("related.user", "analyst"), "{}", document.value());
}

pub(super) fn on_a_terminal(stage: &mut Stage) {
    let file = stage.installed("dummy");
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("make a terminal");
    grantpt(&master).expect("grant the terminal");
    unlockpt(&master).expect("unlock the terminal");
    let name = ptsname(&master, Vec::new()).expect("name the terminal");
    let loader = forked(|| {
        setsid()?;
        let terminal = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        ioctl_tiocsctty(terminal.as_fd())?;
        rustix::system::finit_module(&file, c"", 0)
    })
    .succeeded();
    let number: u64 =
        name.to_str().ok().and_then(|name| name.strip_prefix("/dev/pts/")?.parse().ok()).expect("a number");
    stage.load_by(loader.pid).contains(json!({
        // Major 136 is that of /dev/pts/0 to /dev/pts/255 (Documentation/admin-guide/devices.txt).
        "process": {
            "tty": { "char_device": { "major": 136, "minor": number } },
            "session_leader": { "pid": loader.pid },
            "group_leader": { "pid": loader.pid },
        },
    }));
}

pub(super) fn with_rewritten_arguments(stage: &mut Stage) {
    let path = installed("dummy");
    let arguments = ["pretend", "load", path.to_str().expect("plain path")];
    let loader = program("/init", arguments).succeeded();
    stage
        .live_load(&loader, "dummy", &path)
        .contains(json!({
            "process": { "args": ["/init", arguments[0], arguments[1], arguments[2]] },
            "lkm_monitor": { "process": { "arguments_rewritten": true } },
        }))
        .has_findings(&["evidence-mismatch", "unusual-loader"]);
}

pub(super) fn under_a_rewritten_parent(stage: &mut Stage) {
    let path = installed("dummy");
    let arguments = ["pretend", "run", "/sbin/insmod", path.to_str().expect("plain path")];
    let parent = program("/init", arguments).succeeded();
    let document = stage.load_of("dummy");
    document.contains(json!({
        "process": {
            "executable": "/usr/bin/kmod",
            "parent": { "pid": parent.pid, "args": ["/init", "pretend", "run", "/sbin/insmod", path] },
        },
    }));
    assert!(!document.value().to_string().contains(PRETENDED), "the pretended name is nowhere: {}", document.value());
}

/// Its parent is gone before it acts: PID 1 takes it in.
pub(super) fn orphan(stage: &mut Stage) {
    let path = installed("dummy");
    let file = stage.installed("dummy");
    let parent = forked(|| {
        let _ = fork(|| {
            while getppid().is_none_or(|parent| !parent.is_init()) {
                rustix::thread::sched_yield();
            }
            rustix::system::finit_module(&file, c"", 0)
        });
        Ok(())
    });
    let document = stage.load_of("dummy");
    document
        .contains(expected::live("finit_module"))
        .contains(expected::file(&path, &fs::metadata(&path).expect("an installed module")))
        .contains(json!({ "process": { "executable": "/init", "parent": { "pid": 1 } } }))
        .has_findings(&["unusual-loader"]);
    assert!(!document.is_by(parent.pid), "the orphan is another process than its parent");
}
