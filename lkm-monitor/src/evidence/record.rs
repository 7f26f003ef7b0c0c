//! When an image was loaded, and by whom: one JSON object beside it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::Digest;
use crate::model::{
    KeptImage, KeptLoad,
    text::{hex, shorten, text},
};

/// Of the file's layout; a file of another version says nothing.
const VERSION: u32 = 1;
/// Loads of which a record says more than that they were: the first ones, which tell how it came, and the last ones.
pub(super) const FIRST_LOADS: usize = 8;
pub(super) const SHOWN_LOADS: usize = 16;
const MAX_RULES: usize = 32;
const MAX_WORD_BYTES: usize = 256;
const MAX_PATH_BYTES: usize = 4096;
/// Texts of such lengths, each byte of them escaped, stay below.
pub(super) const MAX_RECORD_BYTES: u64 = 1 << 20;

/// Why a file is no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("the record has more than {MAX_RECORD_BYTES} bytes")]
    TooLarge,
    #[error("the record is damaged: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the record is of version {version}, which this program does not know")]
    Version { version: u32 },
    #[error("the record is not by this program: it tells of more loads than there were, or holds control characters")]
    Impossible,
    #[error("the record is that of another image")]
    OtherImage,
}

/// What is known of an image. Texts are as [`text`] makes them, so none holds control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// Of the bytes that are kept.
    pub sha256: String,
    /// Bytes that the image had, and how many of them are kept.
    pub size: u64,
    pub kept_bytes: u64,
    /// What the wall clock showed at the first load, and at the last one.
    #[serde(with = "rfc3339")]
    pub first_seen: Timestamp,
    #[serde(with = "rfc3339")]
    pub last_seen: Timestamp,
    /// Seconds for which daemons had run with this folder at the last load.
    pub(super) seen_s: u64,
    /// How often it was loaded.
    pub loads: u64,
    /// Code of it ran in one of these loads, or may have.
    pub ran: bool,
    /// The first 8 loads and the last 8.
    pub shown_loads: Vec<RecordedLoad>,
}

/// One load of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedLoad {
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// Bytes of the whole image: more than are kept where these are its first part.
    pub image_bytes: u64,
    pub event_id: String,
    pub boot_id: String,
    pub module_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    pub pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    pub rules: Vec<String>,
}

impl Record {
    /// That of an image of which no load is known.
    pub(super) fn new(sha256: &Digest, (size, kept_bytes): (u64, u64), at: Timestamp) -> Self {
        Self {
            version: VERSION,
            sha256: hex(sha256),
            size,
            kept_bytes,
            first_seen: at,
            last_seen: at,
            seen_s: 0,
            loads: 0,
            ran: false,
            shown_loads: Vec::new(),
        }
    }

    /// That of the first load of this image.
    pub(super) fn of(sha256: &Digest, image: &KeptImage, load: &KeptLoad) -> Self {
        let kept_bytes = image.content.len() as u64;
        Self::new(sha256, (image.size.max(kept_bytes), kept_bytes), load.at)
    }

    /// Notes one more load, when daemons have run for `seen_s` seconds.
    pub(super) fn add(&mut self, load: &KeptLoad, image_bytes: u64, seen_s: u64) {
        self.last_seen = load.at;
        self.seen_s = seen_s;
        self.loads = self.loads.saturating_add(1);
        self.ran |= load.ran;
        if self.shown_loads.len() >= SHOWN_LOADS {
            self.shown_loads.remove(FIRST_LOADS);
        }
        self.shown_loads.push(RecordedLoad::of(load, image_bytes));
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let mut json = serde_json::to_vec(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// What [`Self::encode`] wrote for this image. `json` is no longer than [`MAX_RECORD_BYTES`] and a byte.
    pub(super) fn decode(json: &[u8], sha256: &Digest) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        if json.len() as u64 > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge);
        }
        let Head { version } = serde_json::from_slice(json)?;
        if version != VERSION {
            return Err(RecordError::Version { version });
        }
        let record: Self = serde_json::from_slice(json)?;
        if record.shown_loads.len() > SHOWN_LOADS
            || (record.shown_loads.len() as u64) > record.loads
            || record.kept_bytes > record.size
            || !record.shown_loads.iter().all(RecordedLoad::is_plain)
        {
            return Err(RecordError::Impossible);
        }
        if record.sha256 == hex(sha256) { Ok(record) } else { Err(RecordError::OtherImage) }
    }
}

impl RecordedLoad {
    fn is_plain(&self) -> bool {
        let always = [&self.event_id, &self.boot_id, &self.module_name];
        let mut texts = always.into_iter().chain(&self.path).chain(&self.user).chain(&self.rules);
        !texts.any(|text| text.contains(char::is_control))
    }
}

impl RecordedLoad {
    fn of(load: &KeptLoad, image_bytes: u64) -> Self {
        let word = |bytes: &[u8]| shorten(&text(bytes), MAX_WORD_BYTES);
        Self {
            at: load.at,
            image_bytes,
            event_id: word(load.event_id.as_bytes()),
            boot_id: word(load.boot_id.as_bytes()),
            module_name: word(&load.module_name),
            path: load.path.as_deref().map(|path| shorten(&text(path), MAX_PATH_BYTES)),
            pid: load.pid,
            uid: load.uid,
            user: load.user.as_deref().map(|user| word(user.as_bytes())),
            rules: load.rules.iter().take(MAX_RULES).map(|rule| word(rule.as_bytes())).collect(),
        }
    }
}

/// A time as RFC 3339 has it, in UTC.
mod rfc3339 {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
