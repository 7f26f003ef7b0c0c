//! Which package a module is from, and whether it is what the package brought.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::system::delete_module;
use serde_json::{Value, json};

use super::{
    HIGH, LOW, MEDIUM, finding,
    package::{NAME, Package, VERSION},
    whole,
};
use crate::{
    document::Document,
    module_file::{Image, installed},
    process::program,
    stage::Stage,
};

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

fn owned(digest: &str) -> Value {
    json!({ "lkm_monitor": { "package": {
        "manager": "dpkg", "name": NAME, "version": VERSION, "architecture": "amd64", "digest": digest, "problems": null,
    } } })
}

/// insmod loads the file, and it is unloaded again.
fn load(stage: &Stage, path: &Path) -> Document {
    let insmod = program("/sbin/insmod", [path]).succeeded();
    let document = stage.load_by(insmod.pid);
    delete_module(c"nls_ascii", 0).expect("unload it");
    document
}

pub(in super::super) fn of_a_package(stage: &mut Stage) {
    let file = Restored::of(installed("nls_ascii"));
    let package = Package::of(&file.path, &file.content);
    load(stage, &file.path).contains(whole(&file.content)).contains(owned("matches")).has_findings(&[]);

    // One byte more, which nobody reads.
    let mut changed = Image::of("nls_ascii").unsigned().0;
    changed.push(0);
    fs::write(&file.path, &changed).expect("write over the module");
    let document = load(stage, &file.path);
    document.contains(whole(&changed)).contains(owned("differs")).has_findings(&[
        "package-mismatch",
        "tainted-module",
        "unsigned-module",
    ]);
    let (severity, reason) = finding(&document, "package-mismatch");
    assert_eq!(severity, HIGH, "{reason}");
    let owner = format!("; the file is of dpkg package {NAME}, whose record has another digest");
    assert!(reason.ends_with(&owner), "{reason}");
    assert_eq!(finding(&document, "unsigned-module").0, MEDIUM, "{}", document.value());

    // Who is root writes the record, too: that makes it less severe, and not silent.
    package.record(&file.path, &changed);
    let document = load(stage, &file.path);
    document.contains(owned("matches")).has_findings(&["tainted-module", "unsigned-module"]);
    let (severity, reason) = finding(&document, "unsigned-module");
    assert_eq!(severity, LOW, "{reason}");
    assert!(reason.ends_with(&format!("; dpkg package {NAME} has these bytes")), "{reason}");
}

pub(in super::super) fn of_no_package(stage: &mut Stage) {
    let nobodys = json!({ "lkm_monitor": { "package": {
        "manager": "none", "name": null, "version": null, "digest": "not_recorded", "problems": null,
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
        .contains(
            json!({ "lkm_monitor": { "package": { "manager": "unknown", "name": null, "digest": "not_recorded" } } }),
        )
        .has_findings(&[]);
    let problems = document.list("lkm_monitor.package.problems");
    assert!(!problems.is_empty(), "{}", document.value());
}
