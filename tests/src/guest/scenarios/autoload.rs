//! Loads that the kernel asks for, on behalf of a process that need not have any privilege.

use std::fs;

use rustix::{
    mount::{MountFlags, mount},
    net::{AddressFamily, SocketType, socket},
    thread::UnshareFlags,
};
use serde_json::json;

use crate::{
    document::Document,
    expected,
    module_file::Image,
    process::{ANALYST, Ended, become_analyst, forked},
    stage::Stage,
};

/// No module of these kernels serves the socket family on its own account, so the administrator names one.
pub(super) fn socket_family(stage: &mut Stage) {
    fs::create_dir_all("/run/modprobe.d").expect("make a folder for modprobe's settings");
    fs::write("/run/modprobe.d/vsock.conf", "alias net-pf-40 vsock\n").expect("name the module for the socket family");
    let asking = forked(|| {
        become_analyst();
        socket(AddressFamily::from_raw(libc::AF_VSOCK as u16), SocketType::STREAM, None).map(drop)
    })
    .succeeded();
    requested(stage, &asking, "net-pf-40", ANALYST);
    answered(stage, &asking, "net-pf-40", "vsock", ANALYST).has_findings(&["autoload-by-unprivileged"]);
}

pub(super) fn file_system(stage: &mut Stage) {
    let asking = forked(|| {
        // There is nothing to mount: the kernel finds that out when it has the module.
        let _ = mount("none", "/mnt", "romfs", MountFlags::empty(), c"");
        Ok(())
    });
    requested(stage, &asking, "fs-romfs", 0);
    answered(stage, &asking, "fs-romfs", "romfs", 0).has_findings(&[]);
}

/// In a user namespace of their own everybody has every capability, and may try to mount.
pub(super) fn file_system_in_a_user_namespace(stage: &mut Stage) {
    let asking = forked(|| {
        become_analyst();
        // SAFETY: the forked process has one thread and shares neither files nor file system state with another.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)? };
        let _ = mount("none", "/mnt", "iso9660", MountFlags::empty(), c"");
        Ok(())
    })
    .succeeded();
    requested(stage, &asking, "fs-iso9660", ANALYST);
    for module in ["cdrom", "isofs"] {
        answered(stage, &asking, "fs-iso9660", module, ANALYST).has_findings(&["autoload-by-unprivileged"]);
    }
}

fn requested(stage: &Stage, asking: &Ended, name: &str, uid: u32) {
    let document = stage.sensor.expect(&format!("a request for {name}"), |document| {
        document.is_request() && document.text("lkm_monitor.request.name") == name
    });
    document.contains(json!({
        "event": { "category": ["driver"], "type": ["info"] },
        "process": { "pid": asking.pid, "executable": "/init", "user": { "id": uid.to_string() }, "parent": { "pid": 1 } },
        "lkm_monitor": { "request": { "name": name, "wait": true } },
    }));
}

/// The kernel runs modprobe in a process that descends from none of the asking one's.
fn answered(stage: &Stage, asking: &Ended, request: &str, module: &str, uid: u32) -> Document {
    let document = stage.load_of(module);
    document.contains(expected::live("finit_module")).contains(expected::module(&Image::of(module))).contains(json!({
        "process": { "executable": "/usr/bin/kmod", "args": ["/sbin/modprobe", "-q", "--", request] },
        "lkm_monitor": {
            "request": { "name": request, "process": { "pid": asking.pid, "executable": "/init", "uid": uid } },
        },
    }));
    let parent = &document.list("lkm_monitor.ancestors")[0];
    assert_eq!(parent["kernel_thread"], true, "a kernel thread starts modprobe: {parent}");
    document
}
