//! What is done to module files that are there already.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    ptr,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD, Timestamps, UTIME_NOW, utimensat},
    mm::{MapFlags, ProtFlags, mmap, munmap},
    process::{Gid, Uid},
    time::Timespec,
};
use serde_json::{Value, json};

use super::{CREATED, HIGH, LOW, MEDIUM, MODIFIED, REMOVED, RENAMED, TRUNCATED};
use crate::{
    expected,
    module_file::{Image, fixture, installed},
    process::{ANALYST, Gate, fork, forked},
    stage::Stage,
};

/// An existing module, which is no news any more.
fn prepared(stage: &Stage, path: &str) -> Image {
    let image = Image::of("dummy");
    let maker = forked(|| {
        fs::write(path, &image.0).expect("write a module");
        Ok(())
    })
    .succeeded();
    stage.change_by(maker.pid, CREATED, path);
    image
}

/// As many bytes as before, in a file of the kernel's own tree.
pub(in super::super) fn installed_module_patched(stage: &mut Stage) {
    let path = installed("dummy");
    let image = Image::of("dummy");
    let write = |content: &[u8]| {
        let writer = forked(|| {
            let file = OpenOptions::new().read(true).write(true).open(&path).expect("open an installed module");
            file.write_all_at(content, 0x100).expect("patch the module");
            Ok(())
        });
        writer.succeeded().pid
    };
    let patcher = write(b"\xcc\xcc\xcc\xcc");
    let document = stage.change_by(patcher, MODIFIED, &path);
    let content = expected::content(&path);
    let restorer = write(&image.0[0x100..0x104]);
    document
        .contains(content)
        .contains(expected::fork_of_init_by(patcher))
        .contains(json!({
            "message": "Kernel module file modified in place",
            "event": { "type": ["change"], "severity": HIGH },
            "lkm_monitor": {
                "change": { "operation": "modified", "size_before": image.0.len(), "untouched": null, "still_open": null },
            },
        }))
        .has_findings(&["module-file-modified"]);
    stage
        .change_by(restorer, MODIFIED, &path)
        .contains(json!({ "file": { "hash": { "sha256": expected::sha256(&image.0) } } }))
        .has_findings(&["module-file-modified"]);
}

/// Cut by its name, by a descriptor, and by opening it.
pub(in super::super) fn truncated(stage: &mut Stage) {
    const PATH: &str = "/tmp/x.ko";
    let image = prepared(stage, PATH);
    let by_name = forked(|| {
        // SAFETY: a NUL-terminated text and a number.
        assert_eq!(unsafe { libc::truncate(c"/tmp/x.ko".as_ptr(), 1000) }, 0, "truncate");
        Ok(())
    })
    .succeeded();
    let modified = |size: u64, before: u64| {
        json!({
            "event": { "type": ["change"], "outcome": "success", "severity": MEDIUM },
            "file": { "size": size, "hash": { "sha256": expected::sha256(&fs::read(PATH).expect("read the file")) } },
            "lkm_monitor": { "change": { "content": "read", "size_before": if before == 0 { Value::Null } else { json!(before) } } },
        })
    };
    stage
        .change_by(by_name.pid, TRUNCATED, PATH)
        .contains(modified(1000, 0))
        .contains(expected::fork_of_init_by(by_name.pid))
        .has_findings(&["module-file-modified"]);
    let by_descriptor = forked(|| {
        let file = OpenOptions::new().write(true).open(PATH).expect("open the module");
        file.set_len(100).expect("truncate");
        Ok(())
    })
    .succeeded();
    stage
        .change_by(by_descriptor.pid, MODIFIED, PATH)
        .contains(modified(100, 1000))
        .has_findings(&["module-file-modified"]);
    let by_open = forked(|| {
        let mut file = File::create(PATH).expect("truncate the module");
        file.write_all(&image.0[..10]).expect("write it anew");
        Ok(())
    })
    .succeeded();
    stage.change_by(by_open.pid, MODIFIED, PATH).contains(modified(10, 100)).has_findings(&["module-file-modified"]);
}

/// The descriptor is closed before anything is written; the mapping keeps the file open. On tmpfs no time tells of the write.
pub(in super::super) fn written_through_a_mapping(stage: &mut Stage) {
    const PATH: &str = "/tmp/x.ko";
    let image = prepared(stage, PATH);
    let writer = forked(|| {
        let file = OpenOptions::new().read(true).write(true).open(PATH).expect("open the module");
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, of a file that nobody cuts.
        let memory = unsafe { mmap(ptr::null_mut(), image.0.len(), access, MapFlags::SHARED, &file, 0)? };
        drop(file);
        // SAFETY: inside of the mapping, which nobody else knows of.
        unsafe {
            memory.cast::<u8>().add(0x100).write_bytes(0xcc, 4);
            munmap(memory, image.0.len())?;
        }
        Ok(())
    })
    .succeeded();
    assert_ne!(fs::read(PATH).expect("read the module"), image.0, "the mapping is the file");
    stage
        .change_by(writer.pid, MODIFIED, PATH)
        .contains(expected::content(Path::new(PATH)))
        .contains(expected::fork_of_init_by(writer.pid))
        .contains(json!({ "event": { "type": ["change"], "severity": MEDIUM } }))
        .has_findings(&["module-file-modified"]);
}

/// What says nothing of the content alerts nobody.
pub(in super::super) fn given_other_attributes(stage: &mut Stage) {
    const PATH: &str = "/tmp/x.ko";
    prepared(stage, PATH);
    let changer = forked(|| {
        rustix::fs::chmod(PATH, rustix::fs::Mode::from_raw_mode(0o4711))?;
        rustix::fs::chown(PATH, Some(Uid::from_raw(ANALYST)), Some(Gid::from_raw(ANALYST)))?;
        let old = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        utimensat(CWD, PATH, &Timestamps { last_access: now, last_modification: old }, AtFlags::empty())
    })
    .succeeded();
    let expected = [
        ("mode-changed", json!({ "mode": "4711", "uid": "0" }), json!("4711")),
        ("owner-changed", json!({ "uid": "1000", "owner": "analyst", "gid": "1000", "group": "analyst" }), Value::Null),
        ("times-changed", json!({ "mtime": "2001-09-09T01:46:40.000000Z" }), Value::Null),
    ];
    for (operation, file, mode_given) in expected {
        stage
            .change_by(changer.pid, &format!("{operation}-kernel-module-file"), PATH)
            .contains(expected::fork_of_init_by(changer.pid))
            .contains(json!({
                "event": { "type": ["change"], "outcome": "success" },
                "file": file,
                "lkm_monitor": { "change": { "operation": operation, "mode_given": mode_given } },
            }))
            .has_findings(&[]);
    }
}

pub(in super::super) fn removed(stage: &mut Stage) {
    let image = prepared(stage, "/tmp/x.ko");
    let remover = forked(|| rustix::fs::unlink("/tmp/x.ko")).succeeded();
    stage
        .change_by(remover.pid, REMOVED, "/tmp/x.ko")
        .contains(expected::fork_of_init_by(remover.pid))
        .contains(json!({
            "message": "Kernel module file removed",
            "event": { "type": ["deletion"], "outcome": "success", "severity": LOW },
            "file": { "name": "x.ko", "directory": "/tmp", "size": image.0.len() },
        }))
        .has_findings(&["module-file-removed"]);
}

pub(in super::super) fn renamed_away(stage: &mut Stage) {
    prepared(stage, "/tmp/x.ko");
    let renamer = forked(|| rustix::fs::rename("/tmp/x.ko", "/tmp/harmless")).succeeded();
    stage
        .change_by(renamer.pid, REMOVED, "/tmp/harmless")
        .contains(expected::content(Path::new("/tmp/harmless")))
        .contains(expected::fork_of_init_by(renamer.pid))
        .contains(json!({
            "event": { "type": ["deletion"], "severity": LOW },
            "lkm_monitor": { "change": { "operation": "renamed", "old_path": "/tmp/x.ko", "left": true } },
        }))
        .has_findings(&["module-file-removed"]);
}

/// Whoever gives the name, and whoever writes the content under it, are told of both.
pub(in super::super) fn renamed_while_it_is_written(stage: &mut Stage) {
    let image = Image::of("dummy");
    let (written, renamed) = (Gate::new(), Gate::new());
    let writer = fork(|| {
        let mut file = File::create("/tmp/x.part").expect("make a file");
        file.write_all(&image.0[..1000]).expect("write the beginning");
        written.open();
        renamed.wait();
        file.write_all(&image.0[1000..]).expect("write the rest");
        Ok(())
    });
    written.wait();
    let renamer = forked(|| rustix::fs::rename("/tmp/x.part", "/tmp/x.ko")).succeeded();
    renamed.open();
    let _ = writer.wait().succeeded();
    stage
        .change_by(renamer.pid, RENAMED, "/tmp/x.ko")
        .contains(json!({
            "event": { "type": ["creation"], "severity": MEDIUM },
            "lkm_monitor": { "change": { "old_path": "/tmp/x.part" } },
        }))
        .has_findings(&["module-file-created"]);
    // Who writes is not seen: the open was of another name. Who gave the name is.
    stage
        .change_by(renamer.pid, MODIFIED, "/tmp/x.ko")
        .contains(expected::content(Path::new("/tmp/x.ko")))
        .contains(json!({
            "file": { "size": image.0.len() },
            "lkm_monitor": { "change": { "size_before": 1000 } },
        }))
        .has_findings(&["module-file-modified"]);
}

/// The whole content is told by the last name, also of what began in an excluded tree.
pub(in super::super) fn renamed_to_another_watched_name(stage: &mut Stage) {
    let image = Image::of("dummy");
    for folder in ["/tmp/folder", "/run/initramfs"] {
        fs::create_dir_all(folder).expect("make a folder");
    }
    for (from, to) in [("/tmp/x.ko", "/tmp/folder/y.ko"), ("/run/initramfs/x.ko", "/run/y.ko")] {
        let writer = forked(|| {
            let mut file = File::create(from).expect("make a file");
            file.write_all(&image.0[..1000]).expect("write the beginning");
            rustix::fs::rename(from, to)?;
            file.write_all(&image.0[1000..]).expect("write the rest");
            Ok(())
        })
        .succeeded();
        let document = stage.change_by(writer.pid, CREATED, to);
        document
            .contains(expected::content(Path::new(to)))
            .contains(json!({
                "event": { "type": ["creation"], "severity": MEDIUM },
                "file": { "size": image.0.len(), "hash": { "sha256": expected::sha256(&image.0) } },
                "lkm_monitor": { "change": { "old_path": from, "left": null } },
            }))
            .has_findings(&["module-file-created"]);
        let sentence = format!("kernel module file {to} was created under the name {from} by /init run by root; ");
        assert!(document.text("event.reason").starts_with(&sentence), "{}", document.value());
        fs::remove_file(to).expect("remove the file");
    }
    for folder in ["/tmp/folder", "/run/initramfs"] {
        fs::remove_dir_all(folder).expect("remove a folder");
    }
}

/// One document, of the first; it waits for the last.
pub(in super::super) fn by_two_writers(stage: &mut Stage) {
    let image = Image::of("dummy");
    let (made, finished) = (Gate::new(), Gate::new());
    let first = fork(|| {
        let file = File::create("/tmp/x.ko").expect("make a file");
        made.open();
        finished.wait();
        drop(file);
        Ok(())
    });
    made.wait();
    let second = forked(|| {
        let mut file = OpenOptions::new().write(true).open("/tmp/x.ko").expect("open the file");
        file.write_all(&image.0).expect("write the content");
        Ok(())
    })
    .succeeded();
    finished.open();
    let first = first.wait().succeeded();
    stage
        .change_by(first.pid, CREATED, "/tmp/x.ko")
        .contains(expected::content(Path::new("/tmp/x.ko")))
        .contains(json!({
            "file": { "hash": { "sha256": expected::sha256(&image.0) } },
            "lkm_monitor": { "change": { "writers": 2, "still_open": null } },
        }))
        .has_findings(&["module-file-created"]);
    stage
        .change_by(second.pid, MODIFIED, "/tmp/x.ko")
        .contains(json!({
            "file": { "hash": { "sha256": expected::sha256(&image.0) } },
            "lkm_monitor": { "change": { "writers": null, "still_open": null } },
        }))
        .has_findings(&["module-file-modified"]);
}

/// After ten seconds the file is told as it is, and again when it is closed.
pub(in super::super) fn kept_open(stage: &mut Stage) {
    let image = Image::of("dummy");
    let (told, end) = (Gate::new(), Gate::new());
    let writer = fork(|| {
        let mut file = File::create("/tmp/x.ko").expect("make a file");
        file.write_all(b"something else").expect("write something else");
        told.wait();
        file.seek(SeekFrom::Start(0)).expect("go back");
        file.write_all(&image.0).expect("write a module");
        end.wait();
        Ok(())
    });
    let still_open = stage.change_by(writer.pid, CREATED, "/tmp/x.ko");
    told.open();
    end.open();
    let pid = writer.wait().succeeded().pid;
    still_open
        .contains(json!({
            "event": { "type": ["creation"], "severity": MEDIUM, "duration": null },
            "file": { "hash": null },
            "lkm_monitor": { "change": { "still_open": true }, "late": null },
        }))
        .has_findings(&["module-file-created"]);
    let late = stage.sensor.look(Duration::from_secs(30), |document| {
        (document.text("event.action") == CREATED && document.is_by(pid) && document.is_late())
            .then(|| document.clone())
    });
    late.expect("the file is told when it is closed")
        .contains(expected::content(Path::new("/tmp/x.ko")))
        .contains(json!({ "lkm_monitor": { "change": { "still_open": null } } }))
        .has_findings(&["module-file-created"]);
    assert_eq!(fs::read("/tmp/x.ko").expect("read it"), fs::read(fixture("dummy")).expect("read it"));
}
