//! Images from where administrators keep none.

use std::{
    fs::{self, File},
    io::{Seek as _, Write as _},
    mem::ManuallyDrop,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::{
    fs::{MemfdFlags, Mode, OFlags, memfd_create},
    system::finit_module,
};
use serde_json::{Value, json};

use crate::{
    expected,
    module_file::{Image, copy, fixture},
    process::{forked, program},
    stage::Stage,
};

/// Calls until one is hit while the probe describes its process, which takes far longer than a swap.
const SWAP_ATTEMPTS: usize = 200;

pub(super) fn scratch_folder(stage: &mut Stage) {
    fs::copy(fixture("dummy"), "/tmp/rootkit.ko").expect("copy a module");
    let insmod = program("/sbin/insmod", ["/tmp/rootkit.ko"]).succeeded();
    stage
        .live_load(&insmod, "dummy", "/tmp/rootkit.ko")
        .contains(json!({
            "message": "Kernel module loaded from a non-standard path",
            "event": { "code": "104", "severity": 73, "risk_score": 73 },
            "rule": { "id": "load-from-nonstandard-path", "ruleset": "lkm-monitor" },
            "threat": { "framework": "MITRE ATT&CK" },
            "lkm_monitor": { "file": { "fs_type": "tmpfs", "mount_point": "/tmp" } },
        }))
        .has_findings(&["load-from-nonstandard-path"]);
}

pub(super) fn memory(stage: &mut Stage) {
    let image = Image::of("ifb");
    let loader = forked(|| rustix::system::init_module(&image.0, c"numifbs=1")).succeeded();
    stage
        .load_by(loader.pid)
        .contains(expected::live("init_module"))
        .contains(expected::module(&image))
        .contains(expected::fork_of_init(loader.pid))
        .contains(json!({
            "file": { "path": null, "inode": null },
            "lkm_monitor": {
                "load": { "source": "memory" },
                "module": { "params": "numifbs=1" },
                "syscall": { "flags": null },
            },
        }))
        .has_findings(&["load-from-memory", "unusual-loader"]);
}

pub(super) fn memfd(stage: &mut Stage) {
    let mut memfd = File::from(memfd_create("innocent", MemfdFlags::CLOEXEC).expect("make a memfd"));
    memfd.write_all(&Image::of("dummy").0).expect("fill the memfd");
    nameless(stage, &memfd, json!("memfd"), &["load-from-memfd", "unusual-loader"]);
}

pub(super) fn unlinked_file(stage: &mut Stage) {
    let file = copy("dummy", "/tmp/gone.ko");
    fs::remove_file("/tmp/gone.ko").expect("remove the copy");
    nameless(stage, &file, json!("deleted"), &["load-from-deleted-file", "unusual-loader"]);
}

/// O_TMPFILE: a file that never had a name.
pub(super) fn nameless_file(stage: &mut Stage) {
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    let write = rustix::fs::open("/tmp", flags, Mode::RUSR | Mode::WUSR).expect("make a nameless file");
    let mut write = File::from(write);
    write.write_all(&Image::of("dummy").0).expect("fill the file");
    write.rewind().expect("rewind the file");
    // The kernel loads from no file that somebody may still write to.
    let read = File::open(format!("/proc/self/fd/{}", write.as_raw_fd())).expect("open it again");
    drop(write);
    nameless(stage, &read, json!("deleted"), &["load-from-deleted-file", "unusual-loader"]);
}

/// Another thread puts another file behind the descriptor between the call and the kernel's look at it.
pub(super) fn swapped_descriptor(stage: &mut Stage) {
    let files = ["dummy", "ifb"].map(|name| (name, copy(name, format!("/tmp/{name}.ko"))));
    let descriptor = files[0].1.try_clone().expect("duplicate a descriptor");
    let done = AtomicBool::new(false);
    let swapped = thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: the number of a descriptor that stays open, and that this owner does not close.
            let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(descriptor.as_raw_fd()) });
            while !done.load(Ordering::Relaxed) {
                for (_, file) in &files {
                    rustix::io::dup2(file, &mut target).expect("replace the descriptor");
                }
            }
        });
        let swapped = (0..SWAP_ATTEMPTS).find_map(|_| {
            // Loaded, or loaded before: the kernel has read a file in both cases.
            let _ = finit_module(&descriptor, c"", 0);
            stage.sensor.settle();
            stage.sensor.documents().into_iter().find(|document| document.at("lkm_monitor.load.file_swapped") == true)
        });
        done.store(true, Ordering::Relaxed);
        swapped
    });
    let swapped = swapped.unwrap_or_else(|| panic!("no file was swapped in {SWAP_ATTEMPTS} attempts"));
    let name = swapped.text("file.name").strip_suffix(".ko").expect("one of the two files").to_owned();
    // The bytes that were read and the file that is named belong together, whichever it was.
    swapped.contains(json!({
        "file": { "path": format!("/tmp/{name}.ko"), "size": Image::of(&name).0.len() },
        "lkm_monitor": { "load": { "image_bytes": Image::of(&name).0.len() } },
    }));
    assert!(swapped.findings().contains(&"evidence-mismatch"), "{:?}", swapped.findings());
}

fn nameless(stage: &Stage, file: &File, source: Value, findings: &[&str]) {
    let metadata = file.metadata().expect("an open file");
    let loader = stage.load_in_fork(file).succeeded();
    stage
        .load_by(loader.pid)
        .contains(expected::live("finit_module"))
        .contains(expected::module(&Image::of("dummy")))
        .contains(expected::fork_of_init(loader.pid))
        .contains(json!({
            "file": { "inode": metadata.ino().to_string(), "size": metadata.len() },
            "lkm_monitor": { "load": { "source": source }, "file": { "links": 0, "unlinked": true, "fs_type": "tmpfs" } },
        }))
        .has_findings(findings);
}
