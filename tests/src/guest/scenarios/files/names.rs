//! Ways in which a file gets the name of a kernel module.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs as unix,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, linkat, mknodat, openat, renameat_with};
use serde_json::{Value, json};

use super::{CREATED, EXCHANGED, LINKED, MEDIUM, MODIFIED, REMOVED, RENAMED, SYMLINKED};
use crate::{
    document::Document,
    expected,
    io_uring::Ring,
    module_file::{Image, fixture},
    process::{become_analyst, forked},
    stage::Stage,
};

const NAMES: [&str; 4] = ["/tmp/x.ko", "/tmp/x.ko.gz", "/tmp/x.ko.xz", "/tmp/x.ko.zst"];

/// A new name outside of the module tree, by a fork of PID 1.
fn new_name(document: &Document, pid: u32, path: &Path) {
    document
        .contains(expected::content(path))
        .contains(expected::fork_of_init_by(pid))
        .contains(json!({
            "event": { "type": ["creation"], "severity": MEDIUM },
            "lkm_monitor": { "change": { "left": null, "still_open": null }, "truncated": null, "late": null },
        }))
        .has_findings(&["module-file-created"]);
    let reason = document.text("event.reason");
    assert!(reason.ends_with("it lies outside /lib/modules"), "{reason}");
}

pub(in super::super) fn created(stage: &mut Stage) {
    let image = Image::of("dummy");
    let creator = forked(|| {
        NAMES.iter().for_each(|name| fs::write(name, &image.0).expect("write a module"));
        Ok(())
    })
    .succeeded();
    for name in NAMES {
        let document = stage.change_by(creator.pid, CREATED, name);
        new_name(&document, creator.pid, Path::new(name));
        document.contains(json!({
            "message": "Kernel module file created",
            "process": { "user": { "name": "root" } },
            "file": { "hash": { "sha256": expected::sha256(&image.0) } },
            "lkm_monitor": {
                "change": { "operation": "created", "size_before": 0, "writers": null },
                "file": { "mount_point": "/tmp", "bind_mount": null, "absolute_path": null, "links": 1 },
            },
        }));
    }
}

/// Everybody can write modules, though few can load them.
pub(in super::super) fn created_by_the_analyst(stage: &mut Stage) {
    let image = Image::of("dummy");
    let creator = forked(|| {
        become_analyst();
        NAMES.iter().for_each(|name| fs::write(name, &image.0).expect("write a module"));
        Ok(())
    })
    .succeeded();
    for name in NAMES {
        let document = stage.change_by(creator.pid, CREATED, name);
        document
            .contains(expected::content(Path::new(name)))
            .contains(json!({
                "event": { "type": ["creation"], "severity": MEDIUM },
                "process": {
                    "executable": "/init",
                    "user": { "id": "1000", "name": "analyst" },
                    "group": { "id": "1000", "name": "analyst" },
                },
                "file": { "uid": "1000", "owner": "analyst" },
            }))
            .has_findings(&["module-file-created"]);
    }
}

pub(in super::super) fn renamed_into_the_name(stage: &mut Stage) {
    fs::copy(fixture("dummy"), "/tmp/x.download").expect("write a file");
    let renamer = forked(|| rustix::fs::rename("/tmp/x.download", "/tmp/x.ko")).succeeded();
    let document = stage.change_by(renamer.pid, RENAMED, "/tmp/x.ko");
    new_name(&document, renamer.pid, Path::new("/tmp/x.ko"));
    document.contains(json!({ "lkm_monitor": { "change": { "old_path": "/tmp/x.download" } } }));
}

/// The file that had the name is under the other one now: it has left its place.
pub(in super::super) fn exchanged(stage: &mut Stage) {
    fs::copy(fixture("dummy"), "/tmp/evil").expect("write a file");
    fs::copy(fixture("brd"), "/tmp/x.ko").expect("write a file");
    let exchanger = forked(|| renameat_with(CWD, "/tmp/evil", CWD, "/tmp/x.ko", RenameFlags::EXCHANGE)).succeeded();
    let document = stage.change_by(exchanger.pid, EXCHANGED, "/tmp/x.ko");
    new_name(&document, exchanger.pid, Path::new("/tmp/x.ko"));
    document.contains(json!({
        "file": { "hash": { "sha256": expected::sha256(&Image::of("dummy").0) } },
        "lkm_monitor": { "change": { "old_path": "/tmp/evil" } },
    }));
    stage
        .change_by(exchanger.pid, REMOVED, "/tmp/evil")
        .contains(json!({
            "event": { "type": ["deletion"] },
            "lkm_monitor": { "change": { "old_path": "/tmp/x.ko", "left": true } },
        }))
        .has_findings(&["module-file-removed"]);
}

pub(in super::super) fn linked(stage: &mut Stage) {
    fs::copy(fixture("dummy"), "/tmp/x.bin").expect("write a file");
    let linker = forked(|| rustix::fs::link("/tmp/x.bin", "/tmp/x.ko")).succeeded();
    let document = stage.change_by(linker.pid, LINKED, "/tmp/x.ko");
    new_name(&document, linker.pid, Path::new("/tmp/x.ko"));
    document.contains(json!({ "lkm_monitor": { "change": { "old_path": "/tmp/x.bin" }, "file": { "links": 2 } } }));
}

pub(in super::super) fn symlinked(stage: &mut Stage) {
    fs::copy(fixture("dummy"), "/tmp/x.bin").expect("write a file");
    let linker = forked(|| rustix::fs::symlink("x.bin", "/tmp/x.ko")).succeeded();
    stage
        .change_by(linker.pid, SYMLINKED, "/tmp/x.ko")
        .contains(expected::fork_of_init_by(linker.pid))
        .contains(json!({
            "event": { "type": ["creation"], "outcome": "success", "severity": MEDIUM },
            "file": { "type": "symlink", "target_path": "x.bin", "size": "x.bin".len(), "hash": null, "owner": "root" },
        }))
        .has_findings(&["module-file-created"]);
}

/// A file that had no name when it was written, and is written further when it has one.
pub(in super::super) fn nameless_file(stage: &mut Stage) {
    let image = Image::of("dummy");
    let linker = forked(|| {
        let file = openat(CWD, "/tmp", OFlags::TMPFILE | OFlags::WRONLY, Mode::from_raw_mode(0o640))?;
        rustix::io::write(&file, &image.0[..1000])?;
        let itself = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        linkat(CWD, itself, CWD, "/tmp/x.ko", AtFlags::SYMLINK_FOLLOW)?;
        rustix::io::write(&file, &image.0[1000..])?;
        Ok(())
    })
    .succeeded();
    stage
        .change_by(linker.pid, LINKED, "/tmp/x.ko")
        .contains(expected::fork_of_init_by(linker.pid))
        .contains(json!({
            "event": { "type": ["creation"], "outcome": "success" },
            "file": { "mode": "0640", "type": "file", "inode": inode("/tmp/x.ko") },
            "lkm_monitor": { "file": { "links": 1, "unlinked": null } },
        }))
        .has_findings(&["module-file-created"]);
    let document = stage.change_by(linker.pid, MODIFIED, "/tmp/x.ko");
    document
        .contains(expected::content(Path::new("/tmp/x.ko")))
        .contains(json!({
            "file": { "size": image.0.len() },
            "lkm_monitor": { "change": { "size_before": 1000 } },
        }))
        .has_findings(&["module-file-modified"]);
}

fn inode(path: &str) -> Value {
    std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(path).expect("the file is there")).to_string().into()
}

pub(in super::super) fn made_by_mknod(stage: &mut Stage) {
    let maker = forked(|| mknodat(CWD, "/tmp/x.ko", FileType::RegularFile, Mode::from_raw_mode(0o600), 0)).succeeded();
    let document = stage.change_by(maker.pid, CREATED, "/tmp/x.ko");
    new_name(&document, maker.pid, Path::new("/tmp/x.ko"));
    document.contains(json!({ "file": { "size": 0, "mode": "0600", "hash": { "sha256": expected::sha256(b"") } } }));
}

/// No system call opens the file: the kernel does, in a thread of the process.
pub(in super::super) fn written_through_io_uring(stage: &mut Stage) {
    let image = Image::of("dummy");
    let writer = forked(|| {
        let ring = Ring::new();
        let fd = ring.open(c"/tmp/x.ko", libc::O_CREAT | libc::O_WRONLY, 0o644);
        assert!(fd >= 0, "open through the ring: {fd}");
        assert_eq!(ring.write(fd, &image.0), image.0.len() as i32, "write through the ring");
        assert_eq!(ring.close(fd), 0, "close through the ring");
        Ok(())
    })
    .succeeded();
    let path = Path::new("/tmp/x.ko");
    new_name(&stage.change_by(writer.pid, CREATED, path), writer.pid, path);
}

pub(in super::super) fn copied_by_copy_file_range(stage: &mut Stage) {
    // Later kernels copy within one file system only.
    fs::copy(fixture("dummy"), "/tmp/source").expect("write a file");
    let copier = forked(|| {
        let source = File::open("/tmp/source").expect("open the source");
        let copy = File::create("/tmp/x.ko").expect("make the copy");
        let mut left = source.metadata().expect("the source's size").len() as usize;
        while left > 0 {
            left -= rustix::fs::copy_file_range(&source, None, &copy, None, left)?;
        }
        Ok(())
    })
    .succeeded();
    let document = stage.change_by(copier.pid, CREATED, "/tmp/x.ko");
    new_name(&document, copier.pid, Path::new("/tmp/x.ko"));
    document.contains(json!({ "file": { "hash": { "sha256": expected::sha256(&Image::of("dummy").0) } } }));
}

/// A link shows where it leads, and who writes through it writes the file that it leads to.
pub(in super::super) fn created_through_a_link(stage: &mut Stage) {
    let target: PathBuf = "/tmp/x.ko".into();
    unix::symlink(&target, "/tmp/innocent").expect("make a link");
    let creator = forked(|| {
        OpenOptions::new().write(true).create(true).truncate(true).open("/tmp/innocent").expect("open the link");
        Ok(())
    })
    .succeeded();
    new_name(&stage.change_by(creator.pid, CREATED, &target), creator.pid, &target);
}
