//! Who signed a module, found out with the key that the running kernel's own image holds, and with certificates in a folder. The scenario has
//! a daemon of its own, which has that image: the others have no keys.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::system::{delete_module, finit_module};
use serde_json::{Value, json};

use super::{HIGH, MEDIUM, finding, whole};
use crate::{
    document::Document,
    expected, machine,
    module_file::{Image, installed},
    process::{Ended, forked, program},
    sensor::Sensor,
    stage::Stage,
};

/// MODULE_INIT_IGNORE_MODVERSIONS and MODULE_INIT_IGNORE_VERMAGIC of linux/module.h.
const IGNORE_BOTH: i32 = 1 | 2;

/// dummy with the signature of somebody whom the kernel does not know, and his certificate.
const FOREIGN: &str = "/fixtures/foreign.ko";
const CERTIFICATE: &str = "/fixtures/foreign.der";
const STRANGER: &str = "Somebody else";
/// Where the daemon looks for certificates. There is nothing at first.
const CERTIFICATES: &str = "/tmp/certificates";
/// The daemon reads keys again when it meets a signer whom it does not know, and that at the most every ten seconds.
const ENROLMENT_DEADLINE: Duration = Duration::from_secs(60);
/// TAINT_UNSIGNED_MODULE of linux/panic.h.
const UNSIGNED: u64 = 1 << 13;

/// The kernel's image, and its configuration if its package has it, where distributions have them, as long as this lives.
struct KernelImage {
    path: PathBuf,
    config: Option<PathBuf>,
}

impl KernelImage {
    fn put() -> Self {
        let put = |name: &str| {
            let path = Path::new("/boot").join(format!("{name}-{}", machine::kernel_release()));
            fs::hard_link(format!("/fixtures/{name}"), &path).map(|()| path)
        };
        fs::create_dir_all("/boot").expect("make a folder for the kernel");
        Self { path: put("vmlinuz").expect("put the kernel's image there"), config: put("config").ok() }
    }
}

impl Drop for KernelImage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all("/boot");
    }
}

/// A signature as modinfo shows it.
struct Shown {
    signer: String,
    key_id: String,
    algorithm: String,
}

impl Shown {
    fn of(path: &Path) -> Self {
        let path = path.to_str().expect("plain path");
        let field = |name: &str| program("/sbin/modinfo", ["-F", name, path]).succeeded().output.trim().to_owned();
        Self { signer: field("signer"), key_id: field("sig_key"), algorithm: field("sig_hashalgo") }
    }
}

/// A daemon with keys, and the machine that it watches.
struct Verifier<'a> {
    stage: &'a Stage,
    sensor: Sensor,
    kernel: KernelImage,
}

pub(in super::super) fn by_the_kernel_and_by_others(stage: &mut Stage) {
    let kernel = KernelImage::put();
    let settings = format!("[rarity]\nenabled = false\n[signatures]\ncertificates = [\"{CERTIFICATES}\"]\n");
    let sensor = Sensor::start_set(stage.hooks, &["--events"], "signatures", &settings, &[]);
    sensor.says("keys of this host are read");
    let mut verifier = Verifier { stage, sensor, kernel };
    verifier.stranger();
    // Meanwhile the time passes after which keys are read again.
    let certificate = enroll();
    verifier.kernels_own();
    verifier.changed_after_it_was_signed();
    verifier.stranger_who_is_known_by_now(&certificate);
    verifier.sensor.stop();
}

/// The stranger's certificate is put where the daemon looks.
fn enroll() -> PathBuf {
    let path = Path::new(CERTIFICATES).join("stranger.der");
    fs::create_dir(CERTIFICATES).expect("make a folder for certificates");
    fs::copy(CERTIFICATE, &path).expect("put a certificate there");
    path
}

/// What the kernel itself demands, by its own files. It lets unsigned modules in here, or these scenarios would be others.
fn kernels_demands() -> Value {
    let enforces = fs::read_to_string("/sys/module/module/parameters/sig_enforce").expect("it verifies modules");
    assert_eq!(enforces.trim_end(), "N", "Debian's kernels demand no signature by themselves");
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").ok();
    let lockdown = lockdown.map(|modes| {
        let (_, rest) = modes.split_once('[').expect("one of the modes is in force");
        rest.split(']').next().unwrap_or_default().to_owned()
    });
    json!({ "lkm_monitor": { "signature": { "kernel": { "enforces_signatures": false, "lockdown": lockdown } } } })
}

impl Verifier<'_> {
    fn load_by(&self, loader: &Ended) -> Document {
        self.sensor.expect("the load", |document| document.is_load() && document.is_by(loader.pid))
    }

    /// A fork loads it, and it is unloaded again.
    fn load(&self, file: &File) -> Document {
        let loader = self.stage.load_in_fork(file).succeeded();
        delete_module(c"dummy", 0).expect("unload it");
        self.load_by(&loader)
    }

    fn load_foreign(&self) -> Document {
        self.load(&File::open(FOREIGN).expect("open the module that a stranger signed"))
    }

    fn stranger(&self) {
        let image = fs::read(FOREIGN).expect("read the module that a stranger signed");
        assert!(image.starts_with(&Image::of("dummy").unsigned().0), "but for its signature it is the kernel's own");
        let shown = Shown::of(Path::new(FOREIGN));
        assert_eq!((shown.signer.as_str(), shown.algorithm.as_str()), (STRANGER, "sha256"));
        let document = self.load_foreign();
        document.contains(expected::live("finit_module")).contains(whole(&image)).contains(kernels_demands()).contains(
            json!({
                "file": { "path": FOREIGN, "code_signature": {
                    "exists": true,
                    "valid": null,
                    "trusted": null,
                    "status": "unknown-key",
                    "subject_name": STRANGER,
                    "digest_algorithm": "sha256",
                    "thumbprint_sha256": null,
                } },
                "lkm_monitor": {
                    "module": { "name": "dummy", "taint_flags": "E", "taints": UNSIGNED },
                    "signature": {
                        "verdict": "no certificate of this host is the signer's",
                        "signer": STRANGER,
                        "key_id": shown.key_id,
                        "key": null,
                    },
                },
            }),
        );
        is_foreign(&document, "; no certificate of this host is the signer's (it names Somebody else as its signer)");
    }

    fn kernels_own(&self) {
        let path = installed("dummy");
        let Shown { signer, key_id, algorithm } = Shown::of(&path);
        let insmod = program("/sbin/insmod", [&path]).succeeded();
        delete_module(c"dummy", 0).expect("unload it");
        let signed = self.load_by(&insmod);
        signed
            .contains(whole(&Image::of("dummy").0))
            .contains(kernels_demands())
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
                        // Root's daemon sees the keys that the kernel lists.
                        "key": {
                            "source": "kernel-image", "path": self.kernel.path, "in_kernel": true, "revoked": null,
                        },
                    },
                },
            }))
            .has_findings(&[]);
        // It was built to sign like that.
        let config = self.kernel.config.as_ref().map(|path| {
            json!({ "path": path, "verifies_signatures": true, "enforces_signatures": false, "hash": algorithm })
        });
        signed.contains(json!({ "lkm_monitor": { "signature": { "kernel": { "config": config } } } }));
        let subject = signed.text("lkm_monitor.signature.key.subject");
        assert!(subject.contains(&signer), "its certificate is made for the build, and issues itself: {subject}");
        assert!(signed.number("lkm_monitor.signature.host_keys") > Some(0), "{}", signed.value());
        assert_eq!(signed.text("file.code_signature.thumbprint_sha256").len(), 64, "{}", signed.value());

        let cut = Image::of("dummy").unsigned();
        let unsigned = self.load(&cut.write("/tmp/unsigned.ko"));
        unsigned
            .contains(whole(&cut.0))
            .contains(kernels_demands())
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
    }

    /// As long as before, under the signature of what it was.
    fn changed_after_it_was_signed(&self) {
        let changed = Image::of("dummy").patched(".modinfo", b"dummy pseudo", b"dumby pseudo");
        let loader = self.stage.load_in_fork(&changed.write("/tmp/changed.ko")).failed_with(libc::EKEYREJECTED);
        let refused = self.load_by(&loader);
        let Shown { signer, key_id, .. } = Shown::of(&installed("dummy"));
        refused
            .contains(expected::refused("finit_module", libc::EKEYREJECTED))
            .contains(whole(&changed.0))
            .contains(kernels_demands())
            .contains(json!({
                "file": { "code_signature": {
                    "exists": true,
                    "valid": false,
                    "trusted": false,
                    "status": "mismatch",
                    "subject_name": signer,
                } },
                "lkm_monitor": { "signature": {
                    "key_id": key_id,
                    "key": { "source": "kernel-image", "in_kernel": true },
                } },
            }))
            .has_findings(&["bad-module-signature", "load-from-nonstandard-path", "load-refused", "unusual-loader"]);
        // None of its code ran.
        assert_eq!(finding(&refused, "bad-module-signature").0, MEDIUM, "{}", refused.value());

        // The kernel looks at no signature when it is told to ignore what the module was built for, and takes what was changed.
        let file = changed.write("/tmp/forced.ko");
        let loader = forked(|| finit_module(&file, c"", IGNORE_BOTH)).succeeded();
        delete_module(c"dummy", 0).expect("unload it");
        let forced = self.load_by(&loader);
        forced.contains(whole(&changed.0)).contains(json!({ "file": { "code_signature": { "status": "mismatch" } } }));
        assert_eq!(finding(&forced, "bad-module-signature").0, HIGH, "{}", forced.value());
    }

    /// Whoever writes a certificate there makes his own signatures valid, and does not make the kernel trust him.
    fn stranger_who_is_known_by_now(&self, certificate: &Path) {
        let begun = Instant::now();
        let document = loop {
            let document = self.load_foreign();
            if document.text("file.code_signature.status") != "unknown-key" {
                break document;
            }
            assert!(begun.elapsed() < ENROLMENT_DEADLINE, "the certificate is not found: {}", document.value());
        };
        let der = fs::read(certificate).expect("read the certificate");
        document.contains(expected::live("finit_module")).contains(kernels_demands()).contains(json!({
            "file": { "path": FOREIGN, "code_signature": {
                "exists": true,
                "valid": true,
                "trusted": false,
                "status": "valid",
                "subject_name": STRANGER,
                "thumbprint_sha256": expected::sha256(&der),
            } },
            "lkm_monitor": {
                "module": { "name": "dummy", "taint_flags": "E", "taints": UNSIGNED },
                "signature": {
                    "verdict": "the key `CN=Somebody else` signed the module",
                    "key": {
                        "subject": "CN=Somebody else",
                        "algorithm": "rsa-2048",
                        "source": "file",
                        "path": certificate,
                        "in_kernel": false,
                        "revoked": null,
                    },
                },
            },
        }));
        is_foreign(&document, "; the key `CN=Somebody else` signed the module (it names Somebody else as its signer)");
    }
}

/// The stranger is none of the kernel's, whether or not his certificate is known.
fn is_foreign(document: &Document, verdict: &str) {
    document.has_findings(&["foreign-module-signer", "load-from-nonstandard-path", "tainted-module", "unusual-loader"]);
    let (severity, reason) = finding(document, "foreign-module-signer");
    assert_eq!(severity, HIGH, "{reason}");
    assert!(reason.ends_with(&format!("{verdict}; the kernel has marked it as unsigned")), "{reason}");
}
