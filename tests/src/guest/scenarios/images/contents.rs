//! What the bytes say that were loaded.

use std::fs;

use rustix::system::{delete_module, finit_module};
use serde_json::json;

use super::{HIGH, MEDIUM, finding, whole};
use crate::{
    document::Document,
    expected,
    module_file::{Image, copy, installed},
    process::{forked, program},
    stage::Stage,
};

const THIS_MODULE: &str = ".gnu.linkonce.this_module";

fn load(stage: &Stage, image: &Image) -> Document {
    let loader = stage.load_in_fork(&image.write("/tmp/patched.ko")).succeeded();
    let document = stage.load_by(loader.pid);
    document.contains(expected::live("finit_module")).contains(whole(&image.0));
    document
}

/// A module of the kernel's own, with what it says of itself.
pub(in super::super) fn of_a_driver(stage: &mut Stage) {
    let image = Image::of("dummy");
    let document = load(stage, &image);
    document
        .contains(json!({
            "file": { "elf": { "architecture": "x86-64", "byte_order": "little-endian", "header": { "class": "64-bit" } } },
            "lkm_monitor": {
                "image": { "name": "dummy", "problem": null, "compression": null, "uses": null, "mentions": null },
                "module": {
                    "license": image.modinfo("license"),
                    "vermagic": image.modinfo("vermagic"),
                    "intree": true,
                },
                "modinfo": {
                    "name": "dummy",
                    "aliases": ["rtnl-link-dummy"],
                    "parameters": ["numdummies"],
                    "repeated": null,
                },
            },
        }))
        .has_findings(&["load-from-nonstandard-path", "unusual-loader"]);
    for mark in ["this-module", "modinfo"] {
        assert!(document.lists("lkm_monitor.image.marks", mark), "{mark}: {}", document.value());
    }
    let sections = document.list("file.elf.sections");
    assert!(sections.iter().any(|section| section["name"] == ".modinfo"), "{sections:?}");
}

/// The kernel shows what `struct module` says.
pub(in super::super) fn another_name(stage: &mut Stage) {
    let image = Image::of("dummy").unsigned().patched(THIS_MODULE, b"dummy\0", b"dumby\0");
    let document = load(stage, &image);
    document
        .contains(json!({ "lkm_monitor": {
            "module": { "name": "dumby", "name_source": "kernel" },
            "image": { "name": "dumby" },
            "modinfo": { "name": "dummy" },
        } }))
        .has_findings(&[
            "load-from-nonstandard-path",
            "module-name-mismatch",
            "tainted-module",
            "unsigned-module",
            "unusual-loader",
        ]);
    let (severity, reason) = finding(&document, "module-name-mismatch");
    assert_eq!(severity, HIGH, "{reason}");
    assert!(reason.ends_with("; its own description calls it dummy"), "{reason}");
}

pub(in super::super) fn out_of_tree(stage: &mut Stage) {
    let image = Image::of("dummy").unsigned().patched(".modinfo", b"\0intree=Y\0", b"\0intrex=Y\0");
    let document = load(stage, &image);
    document
        .contains(json!({ "lkm_monitor": {
            "module": { "taint_flags": "OE", "taints": 1 << 12 | 1 << 13, "intree": false },
        } }))
        .has_findings(&[
            "load-from-nonstandard-path",
            "out-of-tree-module",
            "tainted-module",
            "unsigned-module",
            "unusual-loader",
        ]);
    // The kernel says so, too: nobody has hidden it.
    assert_eq!(finding(&document, "out-of-tree-module").0, MEDIUM, "{}", document.value());
}

/// What many drivers may do is shown, and alerts nobody.
pub(in super::super) fn symbols_of_interest(stage: &mut Stage) {
    let path = installed("nf_defrag_ipv4");
    let insmod = program("/sbin/insmod", [&path]).succeeded();
    stage
        .live_load(&insmod, "nf_defrag_ipv4", &path)
        .contains(whole(&Image::of("nf_defrag_ipv4").0))
        .contains(json!({ "lkm_monitor": { "image": {
            "uses": [{ "symbol": "nf_register_net_hooks", "capability": "packet-hook" }],
            "mentions": null,
        } } }))
        .has_findings(&[]);
}

/// The kernel gives it to nobody, and refuses who asks for it.
pub(in super::super) fn symbol_that_is_not_exported(stage: &mut Stage) {
    let (from, to) = (b"\0nf_register_net_hooks\0", b"\0kallsyms_lookup_name\0\0");
    let image = Image::of("nf_defrag_ipv4").unsigned().patched(".strtab", from, to);
    let loader = stage.load_in_fork(&image.write("/tmp/patched.ko")).failed_with(libc::ENOENT);
    let document = stage.load_by(loader.pid);
    document
        .contains(expected::refused("finit_module", libc::ENOENT))
        .contains(whole(&image.0))
        .contains(json!({ "lkm_monitor": { "image": {
            "name": "nf_defrag_ipv4",
            "uses": [{ "symbol": "kallsyms_lookup_name", "capability": "symbol-lookup" }],
            "mentions": null,
        } } }))
        .has_findings(&["hiding-capabilities", "load-from-nonstandard-path", "unusual-loader"]);
    let (severity, reason) = finding(&document, "hiding-capabilities");
    assert_eq!(severity, HIGH, "{reason}");
    assert!(reason.contains("; it uses kallsyms_lookup_name"), "{reason}");
}

/// What is not exported is found by its name.
pub(in super::super) fn names_of_what_is_not_exported(stage: &mut Stage) {
    let image = Image::of("brd").unsigned().patched_anywhere(b"module NOT loaded !!!", b"kallsyms_lookup_name ");
    let file = image.write("/tmp/patched.ko");
    let loader = forked(|| finit_module(&file, c"rd_nr=1", 0)).succeeded();
    let document = stage.load_by(loader.pid);
    document
        .contains(whole(&image.0))
        .contains(json!({ "lkm_monitor": { "image": {
            "uses": null,
            "mentions": [{ "symbol": "kallsyms_lookup_name", "capability": "symbol-lookup" }],
        } } }))
        .has_findings(&[
            "hiding-capabilities",
            "load-from-nonstandard-path",
            "tainted-module",
            "unsigned-module",
            "unusual-loader",
        ]);
    let (severity, reason) = finding(&document, "hiding-capabilities");
    assert_eq!(severity, HIGH, "{reason}");
    assert!(reason.contains("; it holds the name of kallsyms_lookup_name"), "{reason}");
}

/// By the time the daemon gets to look at the file, it holds something else, or is gone.
pub(in super::super) fn swapped_behind_the_load(stage: &mut Stage) {
    const PATH: &str = "/tmp/swapped.ko";
    let other = Image::of("nls_utf8").0;
    let over = || fs::write(PATH, &other).expect("write over it");
    let away = || {
        fs::write("/tmp/other.ko", &other).expect("write another one");
        fs::rename("/tmp/other.ko", PATH).expect("put it in its place");
    };
    let gone = || fs::remove_file(PATH).expect("remove it");
    let swaps: [(&dyn Fn(), u64, &str); 3] = [
        (&over, HIGH, "; a moment later the file held other bytes"),
        (&away, HIGH, "; a moment later the file held other bytes"),
        (&gone, MEDIUM, "; a moment later the file was gone"),
    ];
    let loaded = Image::of("dummy");
    for (swap, severity, words) in swaps {
        let file = copy("dummy", PATH);
        stage.sensor.settle();
        stage.sensor.pause();
        let loader = stage.load_in_fork(&file);
        swap();
        stage.sensor.resume();
        let loader = loader.succeeded();
        delete_module(c"dummy", 0).expect("unload it");
        let document = stage.load_by(loader.pid);
        document
            .contains(whole(&loaded.0))
            .contains(json!({ "file": { "path": PATH }, "lkm_monitor": { "module": { "name": "dummy" } } }))
            .has_findings(&["load-from-nonstandard-path", "module-file-swapped", "unusual-loader"]);
        let (found, reason) = finding(&document, "module-file-swapped");
        assert_eq!(found, severity, "{reason}");
        assert!(reason.ends_with(words), "{reason}");
    }
}
