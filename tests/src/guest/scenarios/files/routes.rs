//! Files that are seen another way by their maker than by the host, and names that are hard to say.

use std::{
    ffi::{CString, OsStr},
    fs::{self, File},
    io::Write as _,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount},
    process::{chdir, chroot},
    thread::UnshareFlags,
};
use serde_json::json;

use super::{
    super::namespaces::{CONTAINER, private_mounts, unshare},
    CREATED, MEDIUM, MODIFIED, REMOVED, RENAMED,
};
use crate::{
    document::Document,
    expected,
    module_file::{Image, fixture},
    process::{Gate, fork, forked, program},
    stage::Stage,
};

const PATH_MAX: usize = 4096;
const FOLDER: &str =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
/// 60 folders with names of 100 bytes are more than PATH_MAX bytes.
const DEPTH: usize = 60;

/// A file that only its maker's mount namespace shows. It is read through the maker, as long as that is there.
pub(in super::super) fn in_a_container(stage: &mut Stage) {
    let group = format!("/docker-{CONTAINER}.scope");
    let folder = format!("/sys/fs/cgroup{group}");
    fs::create_dir(&folder).expect("make a control group");
    let image = Image::of("dummy");
    let gate = Gate::new();
    let outer = fork(|| {
        fs::write(format!("{folder}/cgroup.procs"), "0").expect("enter the control group");
        private_mounts();
        mount("tmpfs", "/mnt", "tmpfs", MountFlags::empty(), c"mode=755")?;
        unshare(UnshareFlags::NEWPID);
        let _ = forked(|| {
            fs::write("/mnt/x.ko", &image.0).expect("write a module");
            gate.wait();
            Ok(())
        })
        .succeeded();
        Ok(())
    });
    let document = stage.sensor.expect("a file in the container", |document| {
        document.text("event.action") == CREATED && document.text("file.path") == "/mnt/x.ko"
    });
    gate.open();
    let outer = outer.wait().succeeded();
    fs::remove_dir(&folder).expect("remove the control group");
    document
        .contains(json!({
            "event": { "type": ["creation"], "outcome": "success" },
            "process": { "executable": "/init", "user": { "id": "0" }, "parent": { "pid": outer.pid } },
            "container": { "id": CONTAINER, "runtime": "docker" },
            "file": { "size": image.0.len(), "hash": { "sha256": expected::sha256(&image.0) } },
            "lkm_monitor": {
                "change": { "content": "read" },
                "process": { "initial_namespaces": false, "namespace_pid": 1 },
                "file": { "mount_point": "/mnt", "fs_type": "tmpfs" },
            },
        }))
        .has_findings(&["module-file-created"]);
}

/// The path is one of the module tree, but of another root.
pub(in super::super) fn in_a_chroot(stage: &mut Stage) {
    let image = Image::of("dummy");
    fs::create_dir_all("/tmp/root/lib/modules/6.1.0").expect("make a module tree");
    let creator = forked(|| {
        chroot("/tmp/root")?;
        chdir("/")?;
        fs::write("/lib/modules/6.1.0/x.ko", &image.0).expect("write a module");
        Ok(())
    })
    .succeeded();
    let document = stage.change_by(creator.pid, CREATED, "/lib/modules/6.1.0/x.ko");
    document
        .contains(json!({
            "event": { "type": ["creation"], "outcome": "success", "severity": MEDIUM },
            "file": { "name": "x.ko", "size": image.0.len(), "hash": { "sha256": expected::sha256(&image.0) } },
            "lkm_monitor": {
                "change": { "content": "read" },
                "file": { "absolute_path": "/tmp/root/lib/modules/6.1.0/x.ko", "mount_point": "/tmp" },
                "process": { "root_directory": "/tmp/root", "initial_namespaces": true },
            },
        }))
        .has_findings(&["module-file-created"]);
}

pub(in super::super) fn over_a_bind_mount(stage: &mut Stage) {
    let image = Image::of("dummy");
    fs::create_dir("/tmp/folder").expect("make a folder");
    mount_bind("/tmp/folder", "/mnt").expect("show the folder elsewhere");
    let creator = forked(|| {
        fs::write("/mnt/x.ko", &image.0).expect("write a module");
        Ok(())
    })
    .succeeded();
    let document = stage.change_by(creator.pid, CREATED, "/mnt/x.ko");
    let content = expected::content(Path::new("/mnt/x.ko"));
    unmount("/mnt", UnmountFlags::empty()).expect("take the mount away");
    document
        .contains(content)
        .contains(expected::fork_of_init_by(creator.pid))
        .contains(json!({ "lkm_monitor": { "file": { "mount_point": "/mnt", "bind_mount": true } } }))
        .has_findings(&["module-file-created"]);
}

/// What the overlay does below itself is told where the process sees that, too: names that are gone there. Files are opened above.
pub(in super::super) fn on_an_overlay(stage: &mut Stage) {
    let _ = program("/sbin/modprobe", ["overlay"]).succeeded();
    let image = Image::of("dummy");
    for folder in ["lower", "upper", "work"] {
        fs::create_dir(Path::new("/tmp").join(folder)).expect("make a folder");
    }
    fs::write("/tmp/lower/below.ko", &image.0).expect("write a module");
    let options = CString::new("lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work").expect("no NUL");
    mount("overlay", "/mnt", "overlay", MountFlags::empty(), options.as_c_str()).expect("mount an overlay");
    let writer = forked(|| {
        fs::write("/mnt/new.ko", &image.0).expect("write a module");
        let mut below = fs::OpenOptions::new().append(true).open("/mnt/below.ko").expect("open the lower file");
        below.write_all(b"more").expect("change the lower file");
        fs::rename("/mnt/new.ko", "/mnt/newer.ko").expect("rename a file");
        fs::remove_file("/mnt/newer.ko").expect("remove a file");
        Ok(())
    })
    .succeeded();
    let changed = stage.change_by(writer.pid, MODIFIED, "/mnt/below.ko");
    let content = fs::read("/mnt/below.ko").expect("read the changed file");
    changed
        .contains(json!({
            "file": { "size": image.0.len() + 4, "hash": { "sha256": expected::sha256(&content) } },
            "lkm_monitor": { "file": { "mount_point": "/mnt", "fs_type": "overlay" } },
        }))
        .has_findings(&["module-file-modified"]);
    for (action, name) in [(CREATED, "/mnt/new.ko"), (RENAMED, "/mnt/newer.ko"), (REMOVED, "/mnt/newer.ko")] {
        stage.change_by(writer.pid, action, name).contains(
            json!({ "event": { "outcome": "success" }, "lkm_monitor": { "file": { "mount_point": "/mnt" } } }),
        );
    }
    stage.sensor.settle();
    unmount("/mnt", UnmountFlags::empty()).expect("take the overlay away");
    let documents = stage.sensor.documents();
    let by_writer = || documents.iter().filter(|document| document.is_by(writer.pid));
    let opened_below = |document: &&Document| {
        document.text("file.path").starts_with("/tmp/") && [CREATED, MODIFIED].contains(&document.text("event.action"))
    };
    assert_eq!(
        by_writer().filter(opened_below).count(),
        0,
        "{:?}",
        by_writer().map(Document::summary).collect::<Vec<_>>()
    );
}

/// A newline, and bytes that are no text.
pub(in super::super) fn with_a_strange_name(stage: &mut Stage) {
    let path = Path::new("/tmp").join(OsStr::from_bytes(b"we\nird\xff\\\"'.ko"));
    let shown = r#"we\x0aird\xff\\"'.ko"#;
    let image = Image::of("dummy");
    let creator = forked(|| {
        fs::write(&path, &image.0).expect("write a module");
        Ok(())
    })
    .succeeded();
    stage
        .change_by(creator.pid, CREATED, format!("/tmp/{shown}"))
        .contains(expected::fork_of_init_by(creator.pid))
        .contains(json!({
            "file": {
                "name": shown,
                "directory": "/tmp",
                "extension": "ko",
                "size": image.0.len(),
                "hash": { "sha256": expected::sha256(&image.0) },
            },
            "lkm_monitor": { "change": { "content": "read" } },
        }))
        .has_findings(&["module-file-created"]);
}

/// No single path names it, so it cannot be looked at; that it is there is told.
pub(in super::super) fn beyond_path_max(stage: &mut Stage) {
    let creator = forked(|| {
        let mut folder = openat(CWD, "/tmp", OFlags::DIRECTORY, Mode::empty())?;
        for _ in 0..DEPTH {
            mkdirat(&folder, FOLDER, Mode::from_raw_mode(0o755))?;
            folder = openat(&folder, FOLDER, OFlags::DIRECTORY, Mode::empty())?;
        }
        copy_at("dummy", &folder, "leaf.ko");
        Ok(())
    })
    .succeeded();
    let document = stage.sensor.expect("the deep file", |document| {
        document.text("event.action") == CREATED
            && document.text("file.name") == "leaf.ko"
            && document.is_by(creator.pid)
    });
    document
        .contains(json!({
            "event": { "type": ["creation"], "outcome": "success" },
            "file": { "extension": "ko", "size": Image::of("dummy").0.len(), "type": "file", "hash": null },
            "lkm_monitor": { "change": { "content": "unreachable" } },
        }))
        .has_findings(&["module-file-created"]);
    let path = document.text("file.path");
    let tail = format!("/{FOLDER}/{FOLDER}/{FOLDER}/leaf.ko");
    assert!(path.ends_with(&tail) && path.len() > PATH_MAX / 2, "the tail is kept: {path}");
    assert!(document.lists("lkm_monitor.truncated", "file.path"), "{}", document.value());
}

fn copy_at(name: &str, folder: &OwnedFd, leaf: &str) {
    let mut image = File::open(fixture(name)).expect("open a fixture");
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let mut copy = File::from(openat(folder, leaf, flags, Mode::from_raw_mode(0o644)).expect("make the deep file"));
    std::io::copy(&mut image, &mut copy).expect("copy a module");
}
