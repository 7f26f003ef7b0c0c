//! `[evidence]`: images of modules that are kept.

use std::{collections::BTreeSet, path::PathBuf};

use serde::Deserialize;

use super::{
    Invalid, Key,
    problem::{absolute, in_range},
};
use crate::{
    evidence::{Limits, PATH, Settings},
    model::EvidenceCause,
};

/// `[evidence]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvidenceConfig {
    pub enabled: bool,
    /// The folder.
    pub path: PathBuf,
    /// Which images are kept of loads that alert.
    pub keep: BTreeSet<EvidenceCause>,
    /// Bytes of all of them on the disk.
    pub max_bytes: u64,
    /// How long an image is kept since its last load, in days for which the daemon runs.
    pub max_age_days: u32,
    pub max_images: u64,
    /// Where less of the file system would be free nothing is kept.
    pub min_free_bytes: u64,
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        let Limits { max_bytes, max_images, .. } = Limits::default();
        Self {
            enabled: true,
            path: PATH.into(),
            keep: [EvidenceCause::Memory, EvidenceCause::Unsigned, EvidenceCause::Unpackaged].into(),
            max_bytes,
            max_age_days: 90,
            max_images,
            min_free_bytes: 256 << 20,
        }
    }
}

impl EvidenceConfig {
    /// What the store is opened with; `None` where nothing is kept.
    pub fn settings(&self) -> Result<Option<Settings>, Invalid> {
        let key = |name| Key::from("evidence").key(name);
        absolute(key("path"), &self.path, "folder")?;
        in_range(key("max_bytes"), self.max_bytes, 1 << 20, 1 << 40)?;
        in_range(key("max_age_days"), self.max_age_days.into(), 1, 3650)?;
        in_range(key("max_images"), self.max_images, 1, 1_000_000)?;
        in_range(key("min_free_bytes"), self.min_free_bytes, 0, 1 << 50)?;
        let limits = Limits {
            max_bytes: self.max_bytes,
            max_age_s: u64::from(self.max_age_days) * 86_400,
            max_images: self.max_images,
        };
        let settings = Settings { path: self.path.clone(), limits, min_free_bytes: self.min_free_bytes };
        Ok(self.enabled.then_some(settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_can_be_switched_off_and_bounds_are_checked() {
        let of = |text| toml::from_str::<EvidenceConfig>(text).unwrap().settings();
        assert_eq!(of(""), Ok(Some(Settings::default())));
        assert_eq!(of("enabled = false"), Ok(None));
        for wrong in ["path = \"a\"", "max_bytes = 1", "max_age_days = 0", "max_images = 0"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert!(toml::from_str::<EvidenceConfig>("keep = [\"nonsense\"]").is_err());
    }
}
