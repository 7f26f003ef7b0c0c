//! Images and loads for tests.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Digest, Limits, Settings};
use crate::model::{KeptImage, KeptLoad};

/// Bytes that begin as a module does, others for each seed. They do not pack.
pub(crate) fn image(seed: u64, bytes: usize) -> KeptImage {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let mut content = b"\x7fELF\x02\x01\x01".to_vec();
    content.resize_with(bytes.max(8), &mut random);
    KeptImage { content: content.into(), size: bytes.max(8) as u64 }
}

pub(crate) fn digest(image: &KeptImage) -> Digest {
    Sha256::digest(&*image.content).into()
}

/// The load of a module at this second by the wall clock.
pub(crate) fn load(second: i64) -> KeptLoad {
    KeptLoad {
        at: Timestamp::from_second(second).unwrap(),
        event_id: format!("event-{second}"),
        boot_id: "boot".to_owned(),
        module_name: b"evil".to_vec(),
        path: Some(b"/tmp/evil.ko".to_vec()),
        pid: 7,
        uid: Some(0),
        user: Some("root".to_owned()),
        rules: vec!["unsigned-module".to_owned()],
        ran: true,
    }
}

/// Bounds that are far away.
pub(crate) fn settings(path: &Path) -> Settings {
    Settings { path: path.join("evidence"), limits: Limits::default(), min_free_bytes: 0 }
}

pub(crate) fn part(image: &KeptImage, size: u64) -> KeptImage {
    KeptImage { content: Arc::clone(&image.content), size }
}
