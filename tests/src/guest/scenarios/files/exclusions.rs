//! What is of no interest, or is said to be.

use std::{
    fs::{self, File},
    io::{self, Read as _},
};

use rustix::mount::UnmountFlags;
use serde_json::json;

use super::{CREATED, RENAMED};
use crate::{
    document::Document,
    expected,
    module_file::{Image, fixture, installed},
    process::{become_analyst, forked, program},
    sensor::Sensor,
    stage::Stage,
};

const INITRAMFS: &str = "/run/initramfs";
const MKINITRAMFS: &str = "/var/tmp/mkinitramfs_Ab12";

/// Returns when whatever was to be told of files is told: the analyst's file is looked at last, and its alert waits as long as
/// all others.
fn files_settle(stage: &mut Stage, path: &str) {
    let marker = forked(|| {
        become_analyst();
        fs::write(path, b"marker").expect("write a marker");
        Ok(())
    })
    .succeeded();
    stage.change_by(marker.pid, CREATED, path);
    stage.sensor.settle();
}

fn by(stage: &Stage, pid: u32) -> Vec<String> {
    stage.sensor.documents().iter().filter(|document| document.is_by(pid)).map(Document::summary).collect()
}

pub(in super::super) fn of_no_interest(stage: &mut Stage) {
    fs::copy(fixture("dummy"), "/tmp/there.ko").expect("write a module");
    files_settle(stage, "/tmp/first.ko");
    let reader = forked(|| {
        let mut content = Vec::new();
        for path in [installed("dummy").as_path(), "/tmp/there.ko".as_ref()] {
            File::open(path).expect("open a module").read_to_end(&mut content).expect("read a module");
        }
        fs::write("/tmp/x.kop", &content).expect("write a file");
        fs::copy("/tmp/there.ko", "/tmp/foo.ko.bak").expect("copy a module under a harmless name");
        fs::rename("/tmp/x.kop", "/tmp/ko").expect("rename a file");
        fs::hard_link("/tmp/ko", "/tmp/x.ko.").expect("link a file");
        fs::create_dir("/tmp/folder.ko.d").expect("make a folder");
        fs::remove_file("/tmp/foo.ko.bak").expect("remove a file");
        Ok(())
    })
    .succeeded();
    let failing = forked(|| {
        become_analyst();
        let folder = installed("dummy").parent().map(|folder| folder.join("x.ko")).expect("a file in a folder");
        let refused = |answer: io::Result<()>| {
            assert_eq!(answer.map_err(|error| error.kind()), Err(io::ErrorKind::PermissionDenied));
        };
        refused(File::create(&folder).map(drop));
        refused(File::options().write(true).open(installed("dummy")).map(drop));
        refused(fs::write("/tmp/there.ko", b"nothing"));
        refused(fs::hard_link("/etc/os-release", &folder));
        refused(std::os::unix::fs::symlink("/tmp/ko", &folder));
        refused(fs::rename("/etc/os-release", &folder));
        refused(fs::remove_file(installed("dummy")));
        Ok(())
    })
    .succeeded();
    files_settle(stage, "/tmp/last.ko");
    assert_eq!(by(stage, reader.pid), [""; 0], "reading, and other names");
    let created = |document: &Document| {
        document.is_by(failing.pid) && (document.is_alert() || document.text("event.outcome") != "failure")
    };
    stage.sensor.expect_none("something that failed", created);
}

/// What an initramfs tool does there is counted and not told; the second daemon tells the count at its end.
pub(in super::super) fn excluded_trees(stage: &mut Stage) {
    let mut second = Sensor::start_for_alerts(stage.hooks);
    for folder in [INITRAMFS, MKINITRAMFS] {
        fs::create_dir_all(folder).expect("make a folder");
    }
    let image = Image::of("dummy");
    let tool = forked(|| {
        for n in 0..3 {
            fs::write(format!("{INITRAMFS}/x{n}.ko"), &image.0).expect("write a module");
        }
        fs::write(format!("{MKINITRAMFS}/y.ko"), &image.0).expect("write a module");
        fs::rename(format!("{MKINITRAMFS}/y.ko"), format!("{MKINITRAMFS}/z.ko")).expect("rename a module");
        Ok(())
    })
    .succeeded();
    files_settle(stage, "/tmp/last.ko");
    second.stop();
    assert_eq!(by(stage, tool.pid), [""; 0], "the trees are excluded");
    for folder in [INITRAMFS, MKINITRAMFS] {
        fs::remove_dir_all(folder).expect("remove a folder");
    }
    let documents = second.all_documents();
    let metric = documents.iter().rfind(|document| document.text("event.action") == "excluded-file-changes");
    metric.expect("the count is told").contains(json!({
        "event": { "kind": "metric" },
        "lkm_monitor": { "excluded": [
            { "path": "/run/initramfs/*", "count": 3 },
            { "path": "/var/tmp/mkinitramfs*", "count": 2 },
        ] },
    }));
    let silent = documents.iter().all(|document| document.number("process.pid") != Some(u64::from(tool.pid)));
    assert!(silent, "the second daemon told of an excluded file");
}

/// Exclusions are for names, not for what comes from there.
pub(in super::super) fn out_of_an_excluded_tree(stage: &mut Stage) {
    fs::create_dir_all(INITRAMFS).expect("make a folder");
    let inside = format!("{INITRAMFS}/x.ko");
    fs::copy(fixture("dummy"), &inside).expect("write a module");
    let loader = program("/sbin/insmod", [&inside]).succeeded();
    // While the file is still there.
    let load = stage.load_by(loader.pid);
    fs::create_dir_all("/run/modules.new").expect("make a folder");
    let mover = forked(|| rustix::fs::rename(&inside, "/run/modules.new/x.ko")).succeeded();
    load.contains(expected::live("finit_module"))
        .contains(json!({ "file": { "path": inside } }))
        .has_findings(&["load-from-nonstandard-path"]);
    stage
        .change_by(mover.pid, RENAMED, "/run/modules.new/x.ko")
        .contains(expected::content("/run/modules.new/x.ko".as_ref()))
        .contains(json!({ "lkm_monitor": { "change": { "old_path": inside } } }))
        .has_findings(&["module-file-created"]);
    for folder in [INITRAMFS, "/run/modules.new"] {
        fs::remove_dir_all(folder).expect("remove a folder");
    }
}

/// What is written below a mount that came later lies somewhere else.
pub(in super::super) fn mount_over_an_excluded_tree(stage: &mut Stage) {
    for folder in ["/tmp/evil", INITRAMFS] {
        fs::create_dir_all(folder).expect("make a folder");
    }
    let image = Image::of("dummy");
    rustix::mount::mount_bind("/tmp/evil", INITRAMFS).expect("show another folder in its place");
    let creator = forked(|| {
        fs::write(format!("{INITRAMFS}/x.ko"), &image.0).expect("write a module");
        Ok(())
    })
    .succeeded();
    let document = stage.change_by(creator.pid, CREATED, format!("{INITRAMFS}/x.ko"));
    rustix::mount::unmount(INITRAMFS, UnmountFlags::empty()).expect("take the mount away");
    assert_eq!(fs::read("/tmp/evil/x.ko").expect("read the module"), image.0);
    document
        .contains(json!({
            "file": { "hash": { "sha256": expected::sha256(&image.0) } },
            "lkm_monitor": {
                "file": { "mount_point": INITRAMFS, "bind_mount": true },
                "process": { "initial_namespaces": true },
            },
        }))
        .has_findings(&["module-file-created"]);
    for folder in ["/tmp/evil", INITRAMFS] {
        fs::remove_dir_all(folder).expect("remove a folder");
    }
}

/// In a mount namespace of one's own, the excluded tree can be anything.
pub(in super::super) fn false_excluded_tree(stage: &mut Stage) {
    fs::create_dir_all("/tmp/evil").expect("make a folder");
    fs::create_dir_all(INITRAMFS).expect("make a folder");
    let image = Image::of("dummy");
    let creator = forked(|| {
        super::super::namespaces::private_mounts();
        rustix::mount::mount_bind("/tmp/evil", INITRAMFS)?;
        fs::write(format!("{INITRAMFS}/x.ko"), &image.0).expect("write a module");
        Ok(())
    })
    .succeeded();
    stage
        .change_by(creator.pid, CREATED, format!("{INITRAMFS}/x.ko"))
        .contains(json!({
            "file": { "hash": { "sha256": expected::sha256(&image.0) } },
            "lkm_monitor": { "process": { "initial_namespaces": false } },
        }))
        .has_findings(&["module-file-created"]);
    fs::remove_dir_all(INITRAMFS).expect("remove a folder");
}
