//! `[sinks.NAME.file]`

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{inspect::AccountFiles, sinks::file::FileSettings};

/// Where documents go when no sink is configured.
pub const EVENTS: &str = "/var/log/lkm-monitor/events.ndjson";

/// `[sinks.NAME.file]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileConfig {
    /// The file. Its folder is made where there is none, and must not be writable by others.
    pub path: PathBuf,
    /// Who may read it besides its owner, and enter its folder where the sink makes that: a group's name or number. Its mode is 0640.
    pub group: Option<String>,
    /// Whether a batch must be on the disk before it counts as delivered. Without it, what a crash of the host takes away is lost.
    pub sync: bool,
    /// A file that would grow beyond this is renamed, and a new one begun.
    pub rotate_bytes: u64,
    /// So is one that is as old as this.
    pub rotate_hours: u32,
    /// Renamed files that are kept.
    pub keep_files: u32,
    /// Bytes of them that are kept.
    pub keep_bytes: u64,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            path: EVENTS.into(),
            group: None,
            sync: true,
            rotate_bytes: 100 << 20,
            rotate_hours: 24,
            keep_files: 7,
            keep_bytes: 1 << 30,
        }
    }
}

/// What is wrong with `[sinks.NAME.file]`.
#[derive(Debug, thiserror::Error)]
pub enum FileConfigError {
    #[error("file.path is `{path}`, but must be an absolute path of a file")]
    Path { path: PathBuf },
    #[error("file.group is `{group}`, but this host has no such group")]
    Group { group: String },
    #[error("file.{key} is {value}, but must be from {min} to {max}")]
    Range { key: &'static str, value: u64, min: u64, max: u64 },
}

impl FileConfig {
    /// The settings of the sink. Looks the group up on this host.
    pub fn settings(&self) -> Result<FileSettings, FileConfigError> {
        if !self.path.is_absolute() || self.path.file_name().is_none() {
            return Err(FileConfigError::Path { path: self.path.clone() });
        }
        in_range("rotate_bytes", self.rotate_bytes, 1 << 20, 1 << 40)?;
        in_range("rotate_hours", self.rotate_hours.into(), 1, 366 * 24)?;
        in_range("keep_files", self.keep_files.into(), 0, 10_000)?;
        in_range("keep_bytes", self.keep_bytes, 0, 1 << 50)?;
        Ok(FileSettings {
            path: self.path.clone(),
            group: self.group.as_deref().map(group).transpose()?,
            sync: self.sync,
            rotate_bytes: self.rotate_bytes,
            rotate_after: Duration::from_hours(self.rotate_hours.into()),
            keep_files: self.keep_files as usize,
            keep_bytes: self.keep_bytes,
        })
    }
}

fn group(name: &str) -> Result<u32, FileConfigError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let mut files = AccountFiles::new(Path::new("/etc"));
    let groups = &files.refresh().groups;
    let found = groups.iter().find(|(_, known)| *known == name.as_bytes()).map(|(number, _)| *number);
    found.ok_or_else(|| FileConfigError::Group { group: name.to_owned() })
}

fn in_range(key: &'static str, value: u64, min: u64, max: u64) -> Result<(), FileConfigError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(FileConfigError::Range { key, value, min, max }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<FileSettings, FileConfigError> {
        toml::from_str::<FileConfig>(text).unwrap().settings()
    }

    #[test]
    fn nothing_set_is_the_default_file() {
        let settings = settings("").unwrap();
        assert_eq!(settings.path, Path::new(EVENTS));
        assert!(settings.sync && settings.group.is_none());
        assert_eq!(settings.rotate_after, Duration::from_secs(86_400));
    }

    #[test]
    fn a_group_is_a_name_or_a_number() {
        assert_eq!(settings("group = \"root\"").unwrap().group, Some(0));
        assert_eq!(settings("group = \"4711\"").unwrap().group, Some(4711));
        let error = settings("group = \"no-such-group\"").unwrap_err().to_string();
        assert_eq!(error, "file.group is `no-such-group`, but this host has no such group");
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, named) in [
            ("path = \"events.ndjson\"", "file.path is `events.ndjson`"),
            ("path = \"/\"", "file.path is `/`"),
            ("rotate_bytes = 100", "file.rotate_bytes is 100"),
            ("rotate_hours = 0", "file.rotate_hours is 0"),
            ("keep_files = 10001", "file.keep_files is 10001"),
        ] {
            let error = settings(text).unwrap_err().to_string();
            assert!(error.starts_with(named), "{error}");
        }
    }
}
