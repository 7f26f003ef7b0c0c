//! Watched paths that are, or are not, what the host reads.

use std::{
    fs,
    io::{self, Read as _},
    os::fd::AsRawFd as _,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create, fsmount,
        fsopen, mount, mount_bind, move_mount, unmount,
    },
    process::{chdir, chroot},
    thread::UnshareFlags,
};
use serde_json::{Value, json};

use super::{
    changes::{HIGH, LOW, change, remove},
    namespaces::{finish, private_mounts, unshare},
};
use crate::{
    document::Document,
    process::{fork, forked},
    stage::Stage,
};

const FOLDER: &str = "/etc/modprobe.d";
const FILE: &str = "/etc/modprobe.d/lkm-place.conf";
const COMMAND: &str = "install loop /bin/sh -c id\n";
const CHANGED: &str = "module-configuration-changed";
const REPLACED: &str = "watched-folder-replaced";

fn write_as(path: &str) -> rustix::io::Result<()> {
    fs::write(path, COMMAND).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    Ok(())
}

fn severity(severity: u64) -> Value {
    json!({ "event": { "severity": severity } })
}

fn ends_with(document: &Document, end: &str) {
    assert!(document.text("event.reason").ends_with(end), "{}", document.value());
}

/// What a chroot reads, the host does not.
pub(super) fn chroot_of_its_own(stage: &mut Stage) {
    fs::create_dir_all("/tmp/root/etc/modprobe.d").expect("make a root directory");
    let writer = forked(|| {
        chroot("/tmp/root")?;
        chdir("/")?;
        write_as(FILE)
    })
    .succeeded();
    let document = change(stage, "created", FILE, json!({ "process": { "pid": writer.pid } }));
    document
        .contains(severity(LOW))
        .contains(json!({
            "lkm_monitor": {
                "file": { "absolute_path": format!("/tmp/root{FILE}") },
                "process": { "root_directory": "/tmp/root" },
                "change": {
                    "content": "read",
                    "dangers": ["an install command for loop runs \"/bin/sh -c id\""],
                    "diff": { "added": [COMMAND.trim_end()] },
                },
            },
        }))
        .has_findings(&[CHANGED]);
    ends_with(&document, &format!("; it lies in a chroot, where it stands for /tmp/root{FILE}"));
}

/// The same call from a root that does not hide that it is the host's own file.
pub(super) fn chroot_into_the_folder_above(stage: &mut Stage) {
    let writer = forked(|| {
        chroot("/etc")?;
        chdir("/")?;
        write_as("/modprobe.d/lkm-place.conf")
    })
    .succeeded();
    let path = "/modprobe.d/lkm-place.conf";
    change(stage, "created", path, json!({ "process": { "pid": writer.pid } }))
        .contains(severity(HIGH))
        .contains(json!({ "lkm_monitor": { "file": { "absolute_path": FILE }, "change": { "content": "read" } } }))
        .has_findings(&[CHANGED]);
    remove(stage, FILE);
}

/// A container has files of these names, too. It is still there when somebody looks.
pub(super) fn container(stage: &mut Stage) {
    let (mut waiting, release) = io::pipe().expect("make a pipe");
    let container = fork(|| {
        // SAFETY: the fork's own copy, which it uses nowhere else.
        unsafe { rustix::io::close(release.as_raw_fd()) };
        private_mounts();
        mount("tmpfs", "/etc", "tmpfs", MountFlags::empty(), c"mode=755")?;
        fs::create_dir(FOLDER).expect("make a folder");
        write_as(FILE)?;
        waiting.read_to_end(&mut Vec::new()).expect("wait");
        Ok(())
    });
    let document = change(stage, "created", FILE, json!({ "process": { "pid": container.pid } }));
    drop(release);
    let _ = container.wait().succeeded();
    document
        .contains(severity(LOW))
        .contains(json!({
            "lkm_monitor": {
                "process": { "initial_namespaces": false },
                "change": {
                    "content": "read",
                    "dangers": ["an install command for loop runs \"/bin/sh -c id\""],
                },
            },
        }))
        .has_findings(&[CHANGED]);
    ends_with(&document, "; it lies in a mount namespace of its own");
}

/// Another mount namespace with the same mounts holds the host's own files: it makes nothing harmless.
pub(super) fn mount_namespace_of_the_same_files(stage: &mut Stage) {
    let writer = forked(|| {
        private_mounts();
        write_as(FILE)
    })
    .succeeded();
    change(stage, "created", FILE, json!({ "process": { "pid": writer.pid } }))
        .contains(severity(HIGH))
        .contains(json!({
            "lkm_monitor": {
                "process": { "initial_namespaces": false },
                "change": { "content": "read", "diff": { "added": [COMMAND.trim_end()] } },
            },
        }))
        .has_findings(&[CHANGED]);
    remove(stage, FILE);
}

/// The host's own files under another path.
pub(super) fn mounted_elsewhere(stage: &mut Stage) {
    let removed = write_elsewhere(stage, "/etc");
    removed.contains(json!({ "lkm_monitor": { "change": { "before": { "size": COMMAND.len() } } } }));
}

/// /run is a file system of its own, which has no configuration when the daemon starts.
pub(super) fn run_mounted_elsewhere(stage: &mut Stage) {
    write_elsewhere(stage, "/run");
}

/// Writes a file of the `mounted` folder's configuration under another path, and removes it: gives the last document.
fn write_elsewhere(stage: &Stage, mounted: &str) -> Document {
    let live = format!("{mounted}/modprobe.d/lkm-place.conf");
    let written = "/tmp/elsewhere/modprobe.d/lkm-place.conf";
    fs::create_dir("/tmp/elsewhere").expect("make a folder");
    mount_bind(mounted, "/tmp/elsewhere").expect("mount the folder elsewhere");
    fs::create_dir_all("/tmp/elsewhere/modprobe.d").expect("make a folder");
    let _ = write_as(written);
    unmount("/tmp/elsewhere", UnmountFlags::DETACH).expect("unmount it");
    let document = change(stage, "created", written, json!({}));
    document
        .contains(severity(HIGH))
        .contains(json!({ "lkm_monitor": { "change": { "subject": "modprobe", "content": "read" } } }))
        .has_findings(&[CHANGED]);
    assert!(document.text("event.reason").contains(&format!(" {live} was created ")), "{}", document.value());
    remove(stage, &live)
}

/// One file, under a path that says nothing of it.
pub(super) fn file_mounted_elsewhere(stage: &mut Stage) {
    let _ = write_as(FILE);
    change(stage, "created", FILE, json!({}));
    let written = "/tmp/elsewhere";
    fs::write(written, "").expect("make a file");
    mount_bind(FILE, written).expect("mount the file elsewhere");
    fs::write(written, "install dummy /bin/sh -c id\n").expect("write the file");
    unmount(written, UnmountFlags::DETACH).expect("unmount it");
    let document = change(stage, "modified", written, json!({}));
    document
        .contains(severity(HIGH))
        .contains(json!({ "lkm_monitor": { "change": { "subject": "modprobe", "content": "read" } } }))
        .has_findings(&[CHANGED]);
    assert!(document.text("event.reason").contains(&format!(" {FILE} was modified ")), "{}", document.value());
    remove(stage, FILE);
}

/// Every procfs has the settings of the one kernel: another mount, one of another PID namespace, one that is mounted nowhere.
pub(super) fn settings_of_another_procfs(stage: &mut Stage) {
    let live = "/proc/sys/kernel/modprobe";
    let old = fs::read_to_string(live).expect("the kernel tells its program");
    let old = old.trim_end();
    let mount_procfs = || mount("proc", "/tmp/elsewhere", "proc", MountFlags::empty(), c"");
    let written = "/tmp/elsewhere/sys/kernel/modprobe";
    let name = |program: &str| fs::write(written, format!("{program}\n")).expect("name a program");
    let set = |path: &str, before: &str, after: &str| {
        let values = json!({ "value_before": before, "value": after, "content": "read" });
        change(stage, "modified", path, json!({ "lkm_monitor": { "change": values } }))
            .contains(severity(HIGH))
            .has_findings(&["kernel-module-setting-changed"]);
    };
    fs::create_dir("/tmp/elsewhere").expect("make a folder");
    mount_procfs().expect("mount another procfs");
    name("/tmp/first");
    set(written, old, "/tmp/first");
    unmount("/tmp/elsewhere", UnmountFlags::empty()).expect("unmount it");

    let outer = forked(|| {
        unshare(UnshareFlags::NEWPID);
        let inner = forked(|| {
            mount_procfs()?;
            name("/tmp/second");
            unmount("/tmp/elsewhere", UnmountFlags::empty())
        });
        finish(&inner)
    });
    let _ = outer.succeeded();
    set(written, "/tmp/first", "/tmp/second");

    let context = fsopen("proc", FsOpenFlags::empty()).expect("make a file system");
    fsconfig_create(&context).expect("make a file system");
    let tree = fsmount(&context, FsMountFlags::empty(), MountAttrFlags::empty()).expect("make a mount");
    let setting = openat(&tree, "sys/kernel/modprobe", OFlags::WRONLY, Mode::empty()).expect("open the setting");
    rustix::io::write(&setting, format!("{old}\n").as_bytes()).expect("name the program again");
    drop(setting);
    set("/sys/kernel/modprobe", "/tmp/second", old);
}

/// All files in a folder are others at once when it is renamed.
pub(super) fn folder_renamed(stage: &mut Stage) {
    let away = "/etc/lkm-away";
    fs::rename(FOLDER, away).expect("take the folder away");
    fs::rename(away, FOLDER).expect("put the folder back");
    change(stage, "renamed", away, json!({}))
        .contains(severity(HIGH))
        .contains(json!({
            "event": { "code": "405", "reason": format!(
                "modprobe configuration folder {away} was renamed from {FOLDER} by /init run by root"
            ) },
            "lkm_monitor": { "change": { "old_path": FOLDER, "folder": true, "left": true } },
        }))
        .has_findings(&[REPLACED]);
    change(stage, "renamed", FOLDER, json!({}))
        .contains(severity(HIGH))
        .contains(json!({ "lkm_monitor": { "change": { "old_path": away, "folder": true, "left": null } } }))
        .has_findings(&[REPLACED]);
}

pub(super) fn folder_mounted_over(stage: &mut Stage) {
    mount("tmpfs", FOLDER, "tmpfs", MountFlags::empty(), c"mode=755").expect("mount something over the folder");
    change(stage, "mounted-over", FOLDER, json!({}))
        .contains(severity(HIGH))
        .contains(json!({
            "event": { "outcome": "success", "code": "405" },
            "lkm_monitor": { "change": { "folder": true, "subject": "modprobe" } },
        }))
        .has_findings(&[REPLACED]);
    // What is made in it has a root directory without a name above it, so the probes do not see it: the alert is on the mount.
    unmount(FOLDER, UnmountFlags::empty()).expect("uncover the folder");
}

/// What is mounted further up brings a folder of configuration along.
pub(super) fn folder_above_mounted_over(stage: &mut Stage) {
    const ABOVE: &str = "/usr/local/lib";
    fs::create_dir_all(ABOVE).expect("make the folder");
    fs::create_dir_all("/tmp/lib/modprobe.d").expect("make another one");
    mount_bind("/tmp/lib", ABOVE).expect("mount it over the folder");
    change(stage, "mounted-over", ABOVE, json!({}))
        .contains(severity(HIGH))
        .contains(json!({
            "event": {
                "outcome": "success",
                "reason": format!("modprobe configuration folder {ABOVE} was mounted over by /init run by root"),
            },
            "lkm_monitor": { "change": { "folder": true, "subject": "modprobe" } },
        }))
        .has_findings(&[REPLACED]);
    unmount(ABOVE, UnmountFlags::empty()).expect("uncover the folder");
}

/// The calls that the newer mount programs make tell nothing of the outcome where they are seen.
pub(super) fn folder_mounted_over_by_new_calls(stage: &mut Stage) {
    let context = fsopen("tmpfs", FsOpenFlags::empty()).expect("make a file system");
    fsconfig_create(&context).expect("make a file system");
    let tree = fsmount(&context, FsMountFlags::empty(), MountAttrFlags::empty()).expect("make a mount");
    move_mount(&tree, "", CWD, FOLDER, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).expect("mount it over the folder");
    // A mount is busy as long as somebody holds it.
    drop(tree);
    unmount(FOLDER, UnmountFlags::empty()).expect("uncover the folder");
    change(stage, "mounted-over", FOLDER, json!({ "event": { "outcome": "unknown" } }))
        .contains(severity(HIGH))
        .contains(json!({ "lkm_monitor": { "change": { "folder": true } } }))
        .has_findings(&[REPLACED]);
}
