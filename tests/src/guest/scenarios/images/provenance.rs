//! Which package a module is from, and whether it is what the package brought.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::system::{delete_module, finit_module};
use serde_json::json;

use super::{
    HIGH, LOW, MEDIUM, finding,
    package::{self, NAME, Package, Records, ends_in, module_of_the_package},
    whole,
};
use crate::{
    document::Document,
    expected,
    module_file::{Image, installed},
    process::{Ended, forked, program},
    stage::Stage,
};

/// MODULE_INIT_COMPRESSED_FILE of linux/module.h.
const COMPRESSED: i32 = 4;

/// An installed module that is to be what it was when this ends.
struct Restored {
    path: PathBuf,
    content: Vec<u8>,
}

impl Restored {
    fn of(path: PathBuf) -> Self {
        let content = fs::read(&path).expect("read an installed module");
        Self { path, content }
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, &self.content);
    }
}

/// insmod loads the file, and it is unloaded again.
fn load(stage: &Stage, path: &Path) -> Document {
    let insmod = program("/sbin/insmod", [path]).succeeded();
    let document = stage.load_by(insmod.pid);
    delete_module(c"nls_ascii", 0).expect("unload it");
    document
}

/// A fork has the kernel load the file as it is, packed or not. Many a kmod unpacks it, and then the kernel knows no file.
fn load_as_it_is(path: &Path) -> Ended {
    let file = File::open(path).expect("open an installed module");
    forked(|| finit_module(&file, c"", if ends_in(path, "xz") { COMPRESSED } else { 0 }))
}

/// The records are Debian's, and so is the file, packed where Debian packs it.
pub(in super::super) fn of_a_package(stage: &mut Stage) {
    let records = Records::put();
    let file = Restored::of(module_of_the_package());
    let is_packed = ends_in(&file.path, "xz");
    let unpacks = fs::exists("/sys/module/compression").expect("ask the kernel");
    assert!(unpacks || !is_packed, "a kernel whose package has packed modules cannot unpack them");
    let owner = records.owner(&file.path);
    assert_eq!(owner.md5, package::md5(&file.content), "the file is the package's");

    let loader = load_as_it_is(&file.path).succeeded();
    delete_module(c"nls_cp866", 0).expect("unload it");
    stage
        .load_by(loader.pid)
        .contains(expected::live("finit_module"))
        .contains(whole(&file.content))
        .contains(owner.in_documents(true))
        .contains(json!({
            "file": { "path": file.path, "code_signature": { "exists": true } },
            "lkm_monitor": {
                "module": { "name": "nls_cp866", "taints": 0 },
                "image": { "compression": is_packed.then_some("xz") },
            },
        }))
        // Of the fork that loads it. Of the module there is none.
        .has_findings(&["unusual-loader"]);

    let changed = one_byte_changed(&file);
    fs::write(&file.path, &changed).expect("write over the module");
    // The kernel finds out before code of it runs, by a checksum or by the signature, which is still there.
    let errno = if is_packed { libc::EINVAL } else { libc::EKEYREJECTED };
    let loader = load_as_it_is(&file.path).failed_with(errno);
    let document = stage.load_by(loader.pid);
    document
        .contains(expected::refused("finit_module", errno))
        .contains(whole(&changed))
        .contains(owner.in_documents(false));
    if is_packed {
        document
            .contains(json!({
                "file": { "code_signature": null },
                "lkm_monitor": { "image": { "compression": "xz", "problem": "damaged" } },
            }))
            .has_findings(&["package-mismatch", "unusual-loader"]);
    } else {
        document.contains(json!({ "file": { "code_signature": { "exists": true } } })).has_findings(&[
            "load-refused",
            "package-mismatch",
            "unusual-loader",
        ]);
    }
    // None of its code ran, and it is the package's file all the same that somebody has changed.
    let (severity, reason) = finding(&document, "package-mismatch");
    assert_eq!(severity, HIGH, "{reason}");
    let said = format!("; the file is of dpkg package {}, whose record has another digest", owner.package);
    assert!(reason.ends_with(&said), "{reason}");
}

/// As long as before, and with its signature.
fn one_byte_changed(file: &Restored) -> Vec<u8> {
    let changed = if ends_in(&file.path, "xz") {
        let mut changed = file.content.clone();
        changed[file.content.len() / 2] ^= 1;
        changed
    } else {
        Image(file.content.clone()).patched(".modinfo", b"license=Dual", b"license=Dial").0
    };
    let differing = file.content.iter().zip(&changed).filter(|(before, after)| before != after).count();
    assert_eq!((changed.len(), differing), (file.content.len(), 1), "one byte is another one");
    changed
}

/// Who is root changes the file, and the record as well.
pub(in super::super) fn of_a_changed_record(stage: &mut Stage) {
    let file = Restored::of(installed("nls_ascii"));
    let package = Package::of(&file.path, &file.content);
    load(stage, &file.path).contains(whole(&file.content)).contains(package.in_documents(true)).has_findings(&[]);

    // One byte more, which nobody reads.
    let mut changed = Image::of("nls_ascii").unsigned().0;
    changed.push(0);
    fs::write(&file.path, &changed).expect("write over the module");
    let document = load(stage, &file.path);
    document.contains(whole(&changed)).contains(package.in_documents(false)).has_findings(&[
        "package-mismatch",
        "tainted-module",
        "unsigned-module",
    ]);
    let (severity, reason) = finding(&document, "package-mismatch");
    assert_eq!(severity, HIGH, "{reason}");
    let owner = format!("; the file is of dpkg package {NAME}, whose record has another digest");
    assert!(reason.ends_with(&owner), "{reason}");
    assert_eq!(finding(&document, "unsigned-module").0, MEDIUM, "{}", document.value());

    // That makes it less severe, and not silent.
    package.record(&file.path, &changed);
    let document = load(stage, &file.path);
    document.contains(package.in_documents(true)).has_findings(&["tainted-module", "unsigned-module"]);
    let (severity, reason) = finding(&document, "unsigned-module");
    assert_eq!(severity, LOW, "{reason}");
    assert!(reason.ends_with(&format!("; dpkg package {NAME} has these bytes")), "{reason}");
}

pub(in super::super) fn of_no_package(stage: &mut Stage) {
    let nobodys = json!({ "lkm_monitor": { "package": {
        "manager": "none", "owner": null, "version": null, "digest_ok": null, "problems": null,
    } } });
    let package = Package::of(&installed("nls_cp437"), &Image::of("nls_cp437").0);
    load(stage, &installed("nls_ascii")).contains(nobodys.clone()).has_findings(&[]);

    let cut = Image::of("nls_ascii").unsigned();
    drop(cut.write("/tmp/nls_ascii.ko"));
    let document = load(stage, Path::new("/tmp/nls_ascii.ko"));
    document.contains(nobodys).has_findings(&["load-from-nonstandard-path", "tainted-module", "unsigned-module"]);
    let (severity, reason) = finding(&document, "unsigned-module");
    assert_eq!(severity, MEDIUM, "{reason}");
    assert!(reason.ends_with("; no package owns its file"), "{reason}");

    // Where there is no database, nobody can say.
    drop(package);
    let document = load(stage, &installed("nls_ascii"));
    document
        .contains(json!({ "lkm_monitor": { "package": { "manager": "unknown", "owner": null, "digest_ok": null } } }))
        .has_findings(&[]);
    let problems = document.list("lkm_monitor.package.problems");
    assert!(!problems.is_empty(), "{}", document.value());
}
