//! `[spool]`: where documents wait for their receivers.

use std::path::PathBuf;

use serde::Deserialize;

use super::{
    Invalid, Key,
    problem::{absolute, in_range},
};
use crate::spool::{Limits, PATH, RETRY, Settings};

/// `[spool]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    pub path: PathBuf,
    /// Bytes of documents. The file may become twice as large.
    pub max_bytes: u64,
    /// How long a document is kept, in days for which the daemon runs.
    pub max_age_days: u32,
    /// Bytes of documents that no receiver takes.
    pub max_dead_letter_bytes: u64,
    /// Where less of the file system is free the spool grows no more.
    pub min_free_bytes: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            path: PATH.into(),
            max_bytes: 256 << 20,
            max_age_days: 14,
            max_dead_letter_bytes: 16 << 20,
            min_free_bytes: 256 << 20,
        }
    }
}

impl SpoolConfig {
    /// What the spool is opened with.
    pub fn settings(&self) -> Result<Settings, Invalid> {
        let key = |name| Key::from("spool").key(name);
        absolute(key("path"), &self.path, "file")?;
        in_range(key("max_bytes"), self.max_bytes, 1 << 20, 1 << 40)?;
        in_range(key("max_age_days"), self.max_age_days.into(), 1, 3650)?;
        in_range(key("max_dead_letter_bytes"), self.max_dead_letter_bytes, 0, 1 << 36)?;
        in_range(key("min_free_bytes"), self.min_free_bytes, 0, 1 << 50)?;
        let limits = Limits {
            max_bytes: self.max_bytes,
            max_age_s: u64::from(self.max_age_days) * 86_400,
            max_dead_letter_bytes: self.max_dead_letter_bytes,
        };
        Ok(Settings { path: self.path.clone(), limits, min_free_bytes: self.min_free_bytes, retry: RETRY })
    }
}
