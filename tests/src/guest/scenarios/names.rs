//! Names that are not text, and names that are too long. Bytes that are not printable UTF-8 show as `\xNN`.

use std::{
    ffi::OsStr,
    fs::File,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    system::delete_module,
};
use serde_json::json;

use crate::{
    expected,
    module_file::{Image, copy, fixture, installed},
    process::{forked, program},
    stage::Stage,
};

/// 60 folders with names of 100 bytes are more than PATH_MAX (4096) bytes.
const DEPTH: usize = 60;
const FOLDER: &str =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
const PATH_MAX: usize = 4096;

pub(super) fn of_files(stage: &mut Stage) {
    let name = OsStr::from_bytes(b"we\nird\xff\\\"'.ko");
    let shown = r#"we\x0aird\xff\\"'.ko"#;
    copy("dummy", Path::new("/tmp").join(name));
    let insmod = program("/sbin/insmod", [Path::new("/tmp").join(name)]).succeeded();
    stage
        .load_by(insmod.pid)
        .contains(expected::live("finit_module"))
        .contains(expected::module(&Image::of("dummy")))
        .contains(json!({
            "file": { "path": format!("/tmp/{shown}"), "name": shown, "directory": "/tmp", "extension": "ko" },
            "process": { "args": ["/sbin/insmod", format!("/tmp/{shown}")] },
        }))
        .has_findings(&["load-from-nonstandard-path"]);
}

pub(super) fn in_parameters(stage: &mut Stage) {
    let file = stage.installed("dummy");
    let loader = forked(|| rustix::system::finit_module(&file, c"numdummies=1 x=\"a b\"\n\xff", 0)).succeeded();
    stage
        .live_load(&loader, "dummy", installed("dummy"))
        .contains(json!({ "lkm_monitor": { "module": { "params": r#"numdummies=1 x="a b"\x0a\xff"# } } }))
        .has_findings(&["unusual-loader"]);
}

/// A module may call itself anything. A changed module cannot keep its signature.
pub(super) fn of_modules(stage: &mut Stage) {
    let image = Image::of("dummy").unsigned().patched(".gnu.linkonce.this_module", b"dummy\0", b"d\nm\xffy\0").patched(
        ".modinfo",
        b"\0name=dummy\0",
        b"\0name=d\nm\xffy\0",
    );
    let file = image.write("/tmp/strange.ko");
    let loader = stage.load_in_fork(&file).succeeded();
    let unloader = forked(|| delete_module(c"d\nm\xffy", libc::O_NONBLOCK)).succeeded();
    let shown = r"d\x0am\xffy";
    stage
        .load_by(loader.pid)
        .contains(expected::live("finit_module"))
        .contains(json!({ "lkm_monitor": {
            "module": { "name": shown, "name_source": "kernel", "taint_flags": "E", "taints": 1 << 13 },
        } }))
        .has_findings(&["load-from-nonstandard-path", "tainted-module", "unsigned-module", "unusual-loader"]);
    stage.unload_by(unloader.pid).contains(expected::unload(shown, libc::O_NONBLOCK, 0)).has_findings(&["unload"]);
}

pub(super) fn given_to_delete_module(stage: &mut Stage) {
    let caller = forked(|| delete_module(c"no\nsuch\xff\\\"'", libc::O_NONBLOCK)).failed_with(libc::ENOENT);
    stage
        .unload_by(caller.pid)
        .contains(expected::unload(r#"no\x0asuch\xff\\"'"#, libc::O_NONBLOCK, libc::ENOENT))
        .has_findings(&[]);
}

/// The kernel opens it step by step; no single path names it.
pub(super) fn path_beyond_path_max(stage: &mut Stage) {
    let file = deep_copy("dummy", "leaf.ko");
    let loader = stage.load_in_fork(&file).succeeded();
    let document = stage.load_by(loader.pid);
    document
        .contains(expected::live("finit_module"))
        .contains(json!({ "file": { "name": "leaf.ko", "extension": "ko" } }));
    let path = document.text("file.path");
    let tail = format!("/{FOLDER}/{FOLDER}/{FOLDER}/leaf.ko");
    assert!(path.ends_with(&tail) && path.len() > PATH_MAX / 2, "the tail is kept: {path}");
    let truncated = document.list("lkm_monitor.truncated");
    assert!(truncated.iter().any(|field| field.as_str().is_some_and(|field| field.contains("file"))), "{truncated:?}");
    document.has_findings(&["load-from-nonstandard-path", "unusual-loader"]);
}

fn deep_copy(name: &str, leaf: &str) -> File {
    let open =
        |folder: &OwnedFd, name: &str, flags| openat(folder, name, flags, Mode::from_raw_mode(0o644)).expect("open");
    let mut folder = openat(CWD, "/tmp", OFlags::DIRECTORY, Mode::empty()).expect("open the scratch folder");
    for _ in 0..DEPTH {
        mkdirat(&folder, FOLDER, Mode::from_raw_mode(0o755)).expect("make a folder");
        folder = open(&folder, FOLDER, OFlags::DIRECTORY);
    }
    let mut image = File::open(fixture(name)).expect("open a fixture");
    let mut copy = File::from(open(&folder, leaf, OFlags::CREATE | OFlags::WRONLY));
    std::io::copy(&mut image, &mut copy).expect("copy a module");
    File::from(open(&folder, leaf, OFlags::RDONLY))
}
