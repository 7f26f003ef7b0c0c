//! Paths and processes that look like something else from inside.

use std::fs::{self, File};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    process::{chdir, chroot},
    thread::UnshareFlags,
};
use serde_json::json;

use crate::{
    expected, machine,
    module_file::{fixture, installed},
    process::{Ended, forked},
    stage::Stage,
};

pub(super) const CONTAINER: &str = "4f5d3c2b1a09f8e7d6c5b4a3928170605f4e3d2c1b0a998877665544332211ff";

pub(super) fn chroot_in_a_mount_namespace(stage: &mut Stage) {
    let inside = format!("/lib/modules/{}/dummy.ko", machine::kernel_release());
    let outside = format!("/mnt{inside}");
    let loader = forked(|| {
        private_mounts();
        mount("tmpfs", "/mnt", "tmpfs", MountFlags::empty(), c"mode=755")?;
        fs::create_dir_all(outside.trim_end_matches("/dummy.ko")).expect("make a module tree");
        fs::copy(fixture("dummy"), &outside).expect("copy a module");
        chroot("/mnt")?;
        chdir("/")?;
        let file = File::open(&inside).expect("open the copy");
        rustix::system::finit_module(&file, c"", 0)
    })
    .succeeded();
    let document = stage.load_by(loader.pid);
    document
        .contains(expected::live("finit_module"))
        .contains(json!({
            "file": { "path": inside, "name": "dummy.ko" },
            "process": { "working_directory": "/" },
            "lkm_monitor": {
                "file": { "absolute_path": outside, "mount_point": "/mnt" },
                "process": { "initial_namespaces": false, "root_directory": "/mnt" },
            },
        }))
        .has_findings(&["load-from-nonstandard-path", "unusual-loader"]);
}

pub(super) fn pid_namespace(stage: &mut Stage) {
    let path = installed("dummy");
    let file = stage.installed("dummy");
    let outer = forked(|| {
        unshare(UnshareFlags::NEWPID);
        let inner = forked(|| rustix::system::finit_module(&file, c"", 0));
        finish(&inner)
    })
    .succeeded();
    let document = stage.load_of("dummy");
    document
        .contains(expected::live("finit_module"))
        .contains(expected::file(&path, &fs::metadata(&path).expect("an installed module")))
        .contains(json!({
            "process": { "parent": { "pid": outer.pid } },
            "lkm_monitor": { "process": { "initial_namespaces": false, "namespace_pid": 1 } },
        }))
        .has_findings(&["load-in-container", "unusual-loader"]);
}

/// The path is that of a module of the kernel's own; the mount under it is not.
pub(super) fn bind_mount_over_the_module_tree(stage: &mut Stage) {
    let path = installed("brd");
    let folder = path.parent().expect("a folder of drivers");
    fs::create_dir("/tmp/drivers").expect("make a folder");
    fs::copy(fixture("brd"), "/tmp/drivers/brd.ko").expect("copy a module");
    let loader = forked(|| {
        private_mounts();
        mount_bind("/tmp/drivers", folder)?;
        let file = File::open(&path).expect("open the copy");
        rustix::system::finit_module(&file, c"rd_nr=1", 0)
    })
    .succeeded();
    stage
        .load_by(loader.pid)
        .contains(expected::live("finit_module"))
        .contains(json!({
            "file": { "path": path },
            "lkm_monitor": { "file": { "mount_point": folder, "bind_mount": true, "fs_type": "tmpfs" } },
        }))
        .has_findings(&["load-from-nonstandard-path", "unusual-loader"]);
}

/// Container runtimes name the control group after the container.
pub(super) fn container(stage: &mut Stage) {
    let group = format!("/docker-{CONTAINER}.scope");
    let folder = format!("/sys/fs/cgroup{group}");
    fs::create_dir(&folder).expect("make a control group");
    let file = stage.installed("dummy");
    let loader = forked(|| {
        fs::write(format!("{folder}/cgroup.procs"), "0").expect("enter the control group");
        rustix::system::finit_module(&file, c"", 0)
    })
    .succeeded();
    fs::remove_dir(&folder).expect("remove the control group");
    stage
        .load_by(loader.pid)
        .contains(expected::live("finit_module"))
        .contains(json!({
            "container": { "id": CONTAINER },
            "lkm_monitor": { "process": { "cgroup": { "path": group }, "initial_namespaces": true } },
        }))
        .has_findings(&["load-in-container", "unusual-loader"]);
}

pub(super) fn private_mounts() {
    unshare(UnshareFlags::NEWNS);
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).expect("keep the mounts to this process");
}

pub(super) fn unshare(what: UnshareFlags) {
    // SAFETY: the forked process has one thread and shares neither files nor file system state with another.
    unsafe { rustix::thread::unshare_unsafe(what) }.expect("make a namespace");
}

/// Hands an inner fork's errno on.
pub(super) fn finish(inner: &Ended) -> rustix::io::Result<()> {
    if inner.status == 0 { Ok(()) } else { Err(rustix::io::Errno::from_raw_os_error(inner.status)) }
}
