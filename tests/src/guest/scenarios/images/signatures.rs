//! Who signed a module, found out with the key that the running kernel's own image holds. The scenario has a daemon of its own, which has that
//! image: the others have no keys.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::system::{delete_module, finit_module};
use serde_json::json;

use super::{HIGH, MEDIUM, finding, whole};
use crate::{
    expected, machine,
    module_file::{Image, installed},
    process::{forked, program},
    sensor::Sensor,
    stage::Stage,
};

/// MODULE_INIT_IGNORE_MODVERSIONS and MODULE_INIT_IGNORE_VERMAGIC of linux/module.h.
const IGNORE_BOTH: i32 = 1 | 2;

/// The kernel's image where distributions have it, as long as this lives.
struct KernelImage(PathBuf);

impl KernelImage {
    fn put() -> Self {
        let path = Path::new("/boot").join(format!("vmlinuz-{}", machine::kernel_release()));
        fs::create_dir_all("/boot").expect("make a folder for the kernel");
        fs::hard_link("/fixtures/vmlinuz", &path).expect("put the kernel's image there");
        Self(path)
    }
}

impl Drop for KernelImage {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir("/boot");
    }
}

pub(in super::super) fn by_the_kernels_own_key(stage: &mut Stage) {
    let kernel = KernelImage::put();
    let settings = "[rarity]\nenabled = false\n";
    let mut sensor = Sensor::start_set(stage.hooks, &["--events"], "signatures", settings, &[]);
    sensor.says("keys of this host are read");
    let load_by = |pid: u32| sensor.expect("the load", |document| document.is_load() && document.is_by(pid));

    let path = installed("dummy");
    let modinfo = |field: &str| {
        let path = path.to_str().expect("plain path");
        program("/sbin/modinfo", ["-F", field, path]).succeeded().output.trim().to_owned()
    };
    let (signer, key_id, algorithm) = (modinfo("signer"), modinfo("sig_key"), modinfo("sig_hashalgo"));
    let insmod = program("/sbin/insmod", [&path]).succeeded();
    delete_module(c"dummy", 0).expect("unload it");
    let signed = load_by(insmod.pid);
    signed
        .contains(whole(&Image::of("dummy").0))
        .contains(json!({
            "file": { "code_signature": {
                "exists": true,
                "valid": true,
                "trusted": true,
                "status": "valid",
                "subject_name": signer,
                "digest_algorithm": algorithm,
            } },
            "lkm_monitor": {
                "module": { "taints": 0 },
                "signature": {
                    "key_id": key_id,
                    "key": { "source": "kernel-image", "path": kernel.0, "revoked": null },
                },
            },
        }))
        .has_findings(&[]);
    let subject = signed.text("lkm_monitor.signature.key.subject");
    assert!(subject.contains(&signer), "its certificate is made for the build, and issues itself: {subject}");
    assert!(signed.number("lkm_monitor.signature.host_keys") > Some(0), "{}", signed.value());
    assert_eq!(signed.text("file.code_signature.thumbprint_sha256").len(), 64, "{}", signed.value());

    let cut = Image::of("dummy").unsigned();
    let loader = stage.load_in_fork(&cut.write("/tmp/unsigned.ko")).succeeded();
    delete_module(c"dummy", 0).expect("unload it");
    let unsigned = load_by(loader.pid);
    unsigned
        .contains(whole(&cut.0))
        .contains(json!({
            "file": { "code_signature": {
                "exists": false,
                "valid": null,
                "trusted": null,
                "status": "absent",
                "subject_name": null,
            } },
            "lkm_monitor": { "module": { "taint_flags": "E" }, "signature": { "key": null, "key_id": null } },
        }))
        .has_findings(&["load-from-nonstandard-path", "tainted-module", "unsigned-module", "unusual-loader"]);
    let (severity, reason) = finding(&unsigned, "unsigned-module");
    assert_eq!(severity, MEDIUM, "{reason}");
    assert!(reason.contains("; the kernel has marked it as unsigned"), "{reason}");

    // As long as before, under the signature of what it was.
    let changed = Image::of("dummy").patched(".modinfo", b"dummy pseudo", b"dumby pseudo");
    let loader = stage.load_in_fork(&changed.write("/tmp/changed.ko")).failed_with(libc::EKEYREJECTED);
    let refused = load_by(loader.pid);
    refused
        .contains(expected::refused("finit_module", libc::EKEYREJECTED))
        .contains(whole(&changed.0))
        .contains(json!({
            "file": { "code_signature": {
                "exists": true,
                "valid": false,
                "trusted": false,
                "status": "mismatch",
                "subject_name": signer,
            } },
            "lkm_monitor": { "signature": { "key_id": key_id, "key": { "source": "kernel-image" } } },
        }))
        .has_findings(&["bad-module-signature", "load-from-nonstandard-path", "load-refused", "unusual-loader"]);
    // None of its code ran.
    assert_eq!(finding(&refused, "bad-module-signature").0, MEDIUM, "{}", refused.value());

    // The kernel looks at no signature when it is told to ignore what the module was built for, and takes what was changed.
    let file = changed.write("/tmp/forced.ko");
    let loader = forked(|| finit_module(&file, c"", IGNORE_BOTH)).succeeded();
    delete_module(c"dummy", 0).expect("unload it");
    let forced = load_by(loader.pid);
    forced.contains(whole(&changed.0)).contains(json!({ "file": { "code_signature": { "status": "mismatch" } } }));
    assert_eq!(finding(&forced, "bad-module-signature").0, HIGH, "{}", forced.value());
    sensor.stop();
}
