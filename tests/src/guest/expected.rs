//! Pieces of documents that many scenarios expect, in the form that `Document::contains` takes.

use std::{fs::Metadata, os::unix::fs::MetadataExt as _, path::Path};

use serde_json::{Value, json};

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
