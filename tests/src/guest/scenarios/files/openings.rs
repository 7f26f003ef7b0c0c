//! Openings that are no ordinary opening for writing, and change a file all the same.

use std::{
    ffi::CStr,
    fs::{self, File, Permissions},
    io::{Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::fs::{PermissionsExt as _, symlink},
    },
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    mount::{MountFlags, mount},
    process::{chdir, chroot},
};
use serde_json::json;

use super::{super::namespaces::private_mounts, CREATED, HIGH, MEDIUM, MODIFIED, TRUNCATED};
use crate::{
    document::Document,
    expected,
    process::{Gate, become_analyst, fork, forked},
    stage::Stage,
};

const MODULE: &str = "/tmp/x.ko";
const CONFIGURATION: &str = "/etc/modprobe.d/lkm-opened.conf";
const CONFIGURED: &str = "created-module-configuration";

fn open_for_reading(path: &str, flags: OFlags) -> rustix::io::Result<()> {
    openat(CWD, path, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o644)).map(drop)
}

/// An empty file of that name keeps kmod from reading the one of the distribution.
pub(in super::super) fn made_for_reading(stage: &mut Stage) {
    for (path, action) in [(MODULE, CREATED), (CONFIGURATION, CONFIGURED)] {
        let maker = forked(|| open_for_reading(path, OFlags::CREATE)).succeeded();
        stage.change_by(maker.pid, action, path).contains(json!({
            "event": { "type": ["creation"], "severity": MEDIUM },
            "file": { "size": 0, "hash": { "sha256": expected::sha256(b"") } },
            "process": { "executable": "/init", "user": { "id": "0" } },
            "lkm_monitor": { "change": { "content": "read" } },
        }));
        fs::remove_file(path).expect("remove the file");
    }
}

/// Who may not make it, makes nothing; and what is there is not made again.
pub(in super::super) fn not_made(stage: &mut Stage) {
    fs::write(MODULE, "x").expect("write a file");
    let opener = forked(|| open_for_reading(MODULE, OFlags::CREATE)).succeeded();
    let refused = forked(|| {
        become_analyst();
        assert_eq!(open_for_reading(CONFIGURATION, OFlags::CREATE), Err(rustix::io::Errno::ACCESS));
        Ok(())
    })
    .succeeded();
    let marker = forked(|| open_for_reading("/tmp/marker.ko", OFlags::CREATE)).succeeded();
    stage.change_by(marker.pid, CREATED, "/tmp/marker.ko");
    let of = |pid: u32| -> Vec<_> {
        stage.sensor.documents().iter().filter(|document| document.is_by(pid)).map(Document::summary).collect()
    };
    assert_eq!((of(opener.pid), of(refused.pid)), (vec![], vec![]));
}

pub(in super::super) fn cut_by_reading(stage: &mut Stage) {
    fs::write(MODULE, "a module").expect("write a module");
    stage.sensor.expect("the module", |document| {
        document.text("event.action") == CREATED && document.text("file.path") == MODULE
    });
    let cutter = forked(|| open_for_reading(MODULE, OFlags::TRUNC)).succeeded();
    stage
        .change_by(cutter.pid, TRUNCATED, MODULE)
        .contains(json!({
            "event": { "type": ["change"], "outcome": "success" },
            "file": { "size": 0, "hash": { "sha256": expected::sha256(b"") } },
        }))
        .has_findings(&["module-file-modified"]);
}

/// fanotify hands out descriptors for writing on files that somebody else opened for reading.
pub(in super::super) fn through_fanotify(stage: &mut Stage) {
    fs::write(MODULE, "a module").expect("write a module");
    stage.sensor.expect("the module", |document| {
        document.text("event.action") == CREATED && document.text("file.path") == MODULE
    });
    let writer = forked(|| {
        let mut events = watch_openings(c"/tmp/x.ko");
        drop(File::open(MODULE).expect("open the module"));
        let mut event = MaybeUninit::<libc::fanotify_event_metadata>::zeroed();
        // SAFETY: the bytes of a plain structure.
        let bytes = unsafe { std::slice::from_raw_parts_mut(event.as_mut_ptr().cast::<u8>(), size_of_val(&event)) };
        assert_eq!(events.read(bytes).expect("read an event"), size_of_val(&event));
        // SAFETY: plain numbers, written by the kernel.
        let event = unsafe { event.assume_init() };
        // SAFETY: the kernel opened it for this process.
        let mut file = unsafe { File::from_raw_fd(event.fd) };
        file.write_all(b"another one").expect("write the module");
        Ok(())
    })
    .succeeded();
    stage
        .change_by(writer.pid, MODIFIED, MODULE)
        .contains(json!({ "file": { "size": 11, "hash": { "sha256": expected::sha256(b"another one") } } }))
        .has_findings(&["module-file-modified"]);
}

fn watch_openings(path: &CStr) -> File {
    // SAFETY: numbers, and a NUL-terminated text.
    let group = unsafe {
        let group = libc::fanotify_init(libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC, libc::O_RDWR.cast_unsigned());
        assert!(group >= 0, "fanotify_init: {}", std::io::Error::last_os_error());
        let marked = libc::fanotify_mark(group, libc::FAN_MARK_ADD, libc::FAN_OPEN, libc::AT_FDCWD, path.as_ptr());
        assert_eq!(marked, 0, "fanotify_mark: {}", std::io::Error::last_os_error());
        group
    };
    // SAFETY: a new descriptor.
    unsafe { File::from_raw_fd(group) }
}

/// By the other name the file can be written unseen, so that name is told.
pub(in super::super) fn linked_to_a_name_of_no_interest(stage: &mut Stage) {
    fs::write(CONFIGURATION, "blacklist loop\n").expect("write a file");
    stage.change_by(1, CONFIGURED, CONFIGURATION);
    let linker = forked(|| {
        fs::hard_link(CONFIGURATION, "/etc/lkm-other").expect("link the file");
        Ok(())
    })
    .succeeded();
    stage
        .change_by(linker.pid, "linked-module-configuration", "/etc/lkm-other")
        .contains(json!({
            "event": {
                "severity": MEDIUM,
                "reason": format!("modprobe configuration /etc/lkm-other was linked to {CONFIGURATION} by /init run by root"),
            },
            "lkm_monitor": { "change": { "old_path": CONFIGURATION, "diff": null, "before": null } },
        }))
        .has_findings(&["module-configuration-changed"]);
    fs::remove_file("/etc/lkm-other").expect("remove the link");
    fs::remove_file(CONFIGURATION).expect("remove the file");
}

/// Who holds a lease on a file keeps others from reading it, for a while.
pub(in super::super) fn kept_from_being_read(stage: &mut Stage) {
    let gate = Gate::new();
    let holder = fork(|| {
        fs::write(CONFIGURATION, "install loop /bin/sh -c id\n").expect("write a file");
        let file = File::open(CONFIGURATION).expect("open the file");
        // SAFETY: numbers only. The signal tells that somebody wants the file.
        unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
            assert_eq!(libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK), 0, "take a lease");
        }
        gate.wait();
        Ok(())
    });
    let document = stage.change_by(holder.pid, CONFIGURED, CONFIGURATION);
    gate.open();
    let _ = holder.wait().succeeded();
    fs::remove_file(CONFIGURATION).expect("remove the file");
    document.contains(json!({
        "event": { "severity": HIGH },
        "file": { "hash": null },
        "lkm_monitor": { "change": {
            "content": "failed",
            "dangers": ["it could not be read to be searched for dangerous lines"],
        } },
    }));
}

/// What a security module forbids does not happen, and is not told with the process's next call. Kernels before 5.13 have none
/// that everybody can use.
pub(in super::super) fn forbidden_by_a_security_module(stage: &mut Stage) {
    for folder in ["/tmp/no", "/tmp/ok"] {
        fs::create_dir(folder).expect("make a folder");
        fs::set_permissions(folder, Permissions::from_mode(0o777)).expect("let everybody write there");
    }
    let confined = forked(|| {
        become_analyst();
        if landlock_symlinks(c"/tmp/ok") {
            let refused = symlink("target", "/tmp/no/x.ko").expect_err("the symbolic link is forbidden");
            assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
        }
        symlink("target", "/tmp/ok/harmless").expect("make a symbolic link");
        fs::write("/tmp/ok/last.ko", "x").expect("write a module");
        Ok(())
    })
    .succeeded();
    stage.change_by(confined.pid, CREATED, "/tmp/ok/last.ko");
    let told = stage.sensor.documents().iter().filter(|document| document.is_by(confined.pid)).count();
    assert_eq!(told, 1, "the last file only");
}

/// Lets this process make symbolic links below `folder` only. False where the kernel has no Landlock.
fn landlock_symlinks(folder: &CStr) -> bool {
    const MAKE_SYM: u64 = 1 << 12;
    const PATH_BENEATH: u64 = 1;
    let handled = MAKE_SYM.to_ne_bytes();
    // SAFETY: `landlock_ruleset_attr` begins with the handled accesses.
    let ruleset = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, handled.as_ptr(), handled.len(), 0) };
    if ruleset < 0 {
        return false;
    }
    let folder = openat(CWD, folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("open the folder");
    let mut rule = MAKE_SYM.to_ne_bytes().to_vec();
    rule.extend(folder.as_raw_fd().to_ne_bytes());
    // SAFETY: the packed `landlock_path_beneath_attr`, and numbers.
    let answers = unsafe {
        [
            libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, rule.as_ptr(), 0),
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into(),
            libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0),
        ]
    };
    assert_eq!(answers, [0; 3], "{}", std::io::Error::last_os_error());
    true
}

/// One description serves for all that a process does in a while, until it goes elsewhere.
pub(in super::super) fn by_a_process_that_moves(stage: &mut Stage) {
    fs::create_dir_all("/tmp/root/tmp").expect("make a root folder");
    fs::create_dir_all("/run/initramfs").expect("make an excluded folder");
    let mover = fork(|| {
        fs::write("/tmp/before.ko", "x").expect("write a module");
        private_mounts();
        mount("tmpfs", "/run/initramfs", "tmpfs", MountFlags::empty(), c"mode=755")?;
        fs::write("/run/initramfs/hidden.ko", "x").expect("write a module");
        chroot("/tmp/root")?;
        chdir("/tmp")?;
        fs::write("/tmp/inside.ko", "x").expect("write a module");
        Ok(())
    })
    .wait()
    .succeeded();
    let told = |path: &str| stage.change_by(mover.pid, CREATED, path);
    told("/tmp/before.ko").contains(json!({
        "event": { "severity": MEDIUM },
        "process": { "working_directory": "/" },
        "lkm_monitor": { "process": { "initial_namespaces": true, "root_directory": null } },
    }));
    told("/run/initramfs/hidden.ko")
        .contains(json!({ "lkm_monitor": { "process": { "initial_namespaces": false, "root_directory": null } } }));
    told("/tmp/inside.ko").contains(json!({
        "process": { "working_directory": "/tmp" },
        "lkm_monitor": { "process": { "initial_namespaces": false, "root_directory": "/tmp/root" } },
    }));
}
