//! Pieces of documents that many scenarios expect, in the form that `Document::contains` takes.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::module_file::Image;

/// A load that went well.
pub(crate) fn live(syscall: &str) -> Value {
    json!({
        "event": { "category": ["driver"], "type": ["start"], "action": "loaded-kernel-module", "outcome": "success" },
        "lkm_monitor": {
            "syscall": { "name": syscall, "abi": "x86_64", "ret": 0, "errno": null },
            "load": { "stage": "live", "init_ran": true, "file_swapped": null, "params_rewritten": null },
            "missing": null,
            "late": null,
        },
    })
}

/// A load that the kernel did not let run any code.
pub(crate) fn refused(syscall: &str, errno: i32) -> Value {
    json!({
        "event": { "category": ["driver"], "type": ["start"], "action": "loaded-kernel-module", "outcome": "failure" },
        "lkm_monitor": {
            "syscall": { "name": syscall, "abi": "x86_64", "ret": -errno, "errno": errno_name(errno) },
            "load": { "stage": "refused", "init_ran": false },
            "missing": null,
            "late": null,
        },
    })
}

/// delete_module; errno 0 is success.
pub(crate) fn unload(module: &str, flags: i32, errno: i32) -> Value {
    json!({
        "event": {
            "category": ["driver"],
            "type": ["end"],
            "action": "unloaded-kernel-module",
            "outcome": if errno == 0 { "success" } else { "failure" },
        },
        "lkm_monitor": {
            "module": { "name": module, "name_source": if errno == 0 { "kernel" } else { "caller" } },
            "syscall": {
                "name": "delete_module",
                "abi": "x86_64",
                "flags": flags,
                "ret": -errno,
                "errno": if errno == 0 { Value::Null } else { json!(errno_name(errno)) },
            },
            "missing": null,
            "late": null,
        },
    })
}

/// What a signed module of the kernel's own says of itself.
pub(crate) fn module(image: &Image) -> Value {
    json!({
        "lkm_monitor": {
            "module": {
                "name": image.modinfo("name"),
                "name_source": "kernel",
                "version": image.modinfo("version"),
                "srcversion": image.modinfo("srcversion"),
                "taints": 0,
                "taint_flags": null,
            },
            "load": { "image_bytes": image.0.len() },
        },
    })
}

pub(crate) fn file(path: &Path, metadata: &Metadata) -> Value {
    let text = |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
    json!({
        "file": {
            "path": path.to_str(),
            "name": text(path.file_name()),
            "directory": text(path.parent().map(Path::as_os_str)),
            "extension": text(path.extension()),
            "size": metadata.len(),
            "inode": metadata.ino().to_string(),
            "mode": format!("{:04o}", metadata.mode() & 0o7777),
            "uid": metadata.uid().to_string(),
            "gid": metadata.gid().to_string(),
            "type": "file",
        },
        "lkm_monitor": { "load": { "source": "file" }, "file": { "links": metadata.nlink(), "unlinked": null } },
    })
}

/// A file that was changed, and read since, as it is now.
pub(crate) fn content(path: &Path) -> Value {
    let metadata = path.symlink_metadata().expect("the changed file is still there");
    json!({
        "event": { "category": ["file"], "outcome": "success" },
        "file": {
            "path": path.to_str(),
            "name": path.file_name().and_then(|name| name.to_str()),
            "directory": path.parent().and_then(|folder| folder.to_str()),
            "extension": path.extension().and_then(|extension| extension.to_str()),
            "size": metadata.len(),
            "inode": metadata.ino().to_string(),
            "mode": format!("{:04o}", metadata.mode() & 0o7777),
            "uid": metadata.uid().to_string(),
            "gid": metadata.gid().to_string(),
            "owner": if metadata.uid() == 0 { "root" } else { "analyst" },
            "group": if metadata.gid() == 0 { "root" } else { "analyst" },
            "type": "file",
            "hash": { "sha256": sha256(&fs::read(path).expect("read the changed file")) },
        },
        "lkm_monitor": { "change": { "subject": "module", "content": "read" } },
    })
}

/// As documents spell it.
pub(crate) fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A fork of PID 1 that executed nothing.
pub(crate) fn fork_of_init(pid: u32) -> Value {
    json!({
        "process": {
            "pid": pid,
            "name": "init",
            "executable": "/init",
            "working_directory": "/",
            "user": { "id": "0", "name": "root" },
            "real_user": { "id": "0" },
            "saved_user": { "id": "0" },
            "group": { "id": "0", "name": "root" },
            "thread": { "id": pid },
            "parent": { "pid": 1, "executable": "/init" },
        },
        "lkm_monitor": { "call": { "tid": pid }, "process": { "initial_namespaces": true } },
    })
}

/// The same of a change of a file, which no call is told of.
pub(crate) fn fork_of_init_by(pid: u32) -> Value {
    let mut expected = fork_of_init(pid);
    if let Some(own) = expected["lkm_monitor"].as_object_mut() {
        own.remove("call");
    }
    if let Some(process) = expected["process"].as_object_mut() {
        // A worker of io_uring is another thread than the first.
        process.remove("thread");
        process.remove("name");
    }
    expected
}

/// The names that documents use, of the errors that scenarios provoke.
pub(crate) fn errno_name(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::ENOEXEC => "ENOEXEC",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::EINVAL => "EINVAL",
        libc::EKEYREJECTED => "EKEYREJECTED",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        _ => panic!("no scenario provokes errno {errno}"),
    }
}
