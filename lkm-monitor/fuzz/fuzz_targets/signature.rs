//! Modules, certificates, kernel images and lists of keys of any bytes. The first byte says which.
//!
//! A module is only ever valid if it is the one that the key in `keys/` signed. The private key was thrown away.

#![no_main]
#![allow(dead_code, unreachable_pub, unused_imports)]

#[path = "../../src/model/signature.rs"]
mod facts;
#[path = "../../src/inspect/regular.rs"]
mod regular;
#[path = "../../src/signature/mod.rs"]
mod signature;
#[path = "../../src/model/text.rs"]
mod text;

mod model {
    pub(crate) use super::{facts::*, text};
}

mod inspect {
    pub(crate) use super::regular;
}

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;

use self::{
    model::SignatureVerdict,
    signature::{KeySources, Keys, examine},
};

const SIGNED: &[u8] = b"\x7fELF of a module";

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/keys"));
    let keys = Keys::read(&KeySources { certificates: vec![folder], ..nowhere() });
    assert!(!keys.is_empty());
    keys
});

fn nowhere() -> KeySources {
    KeySources { kernel_images: Vec::new(), certificates: Vec::new(), kernel_keys: PathBuf::from("/dev/null") }
}

fn as_file(bytes: &[u8], sources: impl Fn(PathBuf) -> KeySources) {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir_in("/dev/shm").unwrap());
    let path = FOLDER.path().join("input");
    fs::write(&path, bytes).unwrap();
    let keys = Keys::read(&sources(path));
    for key in keys.facts() {
        assert!(key.subject.len() <= 256);
    }
    assert!(keys.problems().len() <= 64);
}

fuzz_target!(|bytes: &[u8]| {
    match bytes {
        [b'm', module @ ..] => {
            let facts = examine(module, &KEYS);
            let _ = facts.verdict.reason();
            if let SignatureVerdict::Valid { .. } = facts.verdict {
                assert!(module.starts_with(SIGNED));
                assert!(module.len() as u64 - facts.signature_bytes - 40 == SIGNED.len() as u64);
            }
        }
        [b'c', file @ ..] => as_file(file, |path| KeySources { certificates: vec![path], ..nowhere() }),
        [b'i', image @ ..] => as_file(image, |path| KeySources { kernel_images: vec![path], ..nowhere() }),
        [b'k', list @ ..] => as_file(list, |path| KeySources { kernel_keys: path, ..nowhere() }),
        _ => {}
    }
});
