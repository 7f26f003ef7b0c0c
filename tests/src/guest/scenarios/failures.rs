//! Loads that fail.

use std::fs;

use serde_json::json;

use crate::{
    expected,
    module_file::{Image, fixture, installed},
    process::{become_analyst, forked, program},
    stage::Stage,
};

/// The module's code ran, and the kernel took the module back: it was never in the list of modules for long.
pub(super) fn init_says_no(stage: &mut Stage) {
    program("/sbin/modprobe", ["cpufreq_ondemand"]).succeeded();
    let file = stage.installed("amd_freq_sensitivity");
    let loader = stage.load_in_fork(&file).failed_with(libc::ENODEV);
    stage
        .load_by(loader.pid)
        .contains(expected::module(&Image::of("amd_freq_sensitivity")))
        .contains(json!({
            "event": { "outcome": "failure" },
            "lkm_monitor": {
                "syscall": { "ret": -libc::ENODEV, "errno": "ENODEV" },
                "load": { "stage": "init-failed", "init_ran": true, "source": "file" },
                "missing": null,
            },
        }))
        .has_findings(&["init-failed", "unusual-loader"]);
}

pub(super) fn unknown_symbol(stage: &mut Stage) {
    let image = Image::of("dummy").unsigned().patched(".strtab", b"rtnl_link_register\0", b"xtnl_link_register\0");
    let file = image.write("/tmp/foreign.ko");
    let loader = stage.load_in_fork(&file).failed_with(libc::ENOENT);
    stage
        .load_by(loader.pid)
        .contains(expected::refused("finit_module", libc::ENOENT))
        .contains(expected::fork_of_init(loader.pid))
        .contains(json!({
            "file": { "path": "/tmp/foreign.ko" },
            "lkm_monitor": { "load": { "image_bytes": image.0.len() } },
        }))
        .has_findings(&["load-from-nonstandard-path", "unusual-loader"]);
}

pub(super) fn garbage(stage: &mut Stage) {
    let file = Image(b"not a module at all".repeat(100)).write("/tmp/garbage.ko");
    let loader = stage.load_in_fork(&file).failed_with(libc::ENOEXEC);
    stage
        .load_by(loader.pid)
        .contains(expected::refused("finit_module", libc::ENOEXEC))
        .contains(json!({ "file": { "path": "/tmp/garbage.ko", "size": 1900 }, "lkm_monitor": { "load": { "image_bytes": 1900 } } }))
        .has_findings(&["load-refused", "load-from-nonstandard-path", "unusual-loader"]);
}

pub(super) fn broken_signature(stage: &mut Stage) {
    let file = Image::of("dummy").patched(".modinfo", b"license=GPL", b"license=GPX").write("/tmp/changed.ko");
    let loader = stage.load_in_fork(&file).failed_with(libc::EKEYREJECTED);
    stage
        .load_by(loader.pid)
        .contains(expected::refused("finit_module", libc::EKEYREJECTED))
        .contains(json!({ "file": { "path": "/tmp/changed.ko" } }))
        .has_findings(&["load-refused", "load-from-nonstandard-path", "unusual-loader"]);
}

pub(super) fn loaded_before(stage: &mut Stage) {
    let path = installed("dummy");
    let first = program("/sbin/insmod", [&path]).succeeded();
    let second = stage.load_in_fork(&stage.installed("dummy")).failed_with(libc::EEXIST);
    stage.live_load(&first, "dummy", &path).has_findings(&[]);
    stage
        .load_by(second.pid)
        .contains(expected::refused("finit_module", libc::EEXIST))
        .contains(expected::file(&path, &fs::metadata(&path).expect("an installed module")))
        .has_findings(&["unusual-loader"]);
}

pub(super) fn unprivileged(stage: &mut Stage) {
    let file = fs::File::open(fixture("dummy")).expect("open a fixture");
    let loader = forked(|| {
        become_analyst();
        rustix::system::finit_module(&file, c"", 0)
    })
    .failed_with(libc::EPERM);
    let document = stage.load_by(loader.pid);
    document
        .contains(expected::refused("finit_module", libc::EPERM))
        .contains(json!({
            "file": { "path": "/fixtures/dummy.ko" },
            "process": {
                "user": { "id": "1000", "name": "analyst" },
                "real_user": { "id": "1000" },
                "group": { "id": "1000" },
                "thread": { "capabilities": null },
            },
            "lkm_monitor": { "load": { "image_bytes": null } },
        }))
        .has_findings(&["load-refused", "load-from-nonstandard-path", "unusual-loader"]);
}
