//! `[files]`: which files are watched, and which changes are not told.

use serde::Deserialize;

use crate::{
    model::Subject,
    select::{Exclusion, Exclusions, PatternError, WatchList},
};

/// `[files]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesConfig {
    /// Whether the built-in list is watched too.
    pub watch_defaults: bool,
    /// What else is watched.
    pub watch: Vec<Watch>,
    /// Whether the built-in exclusions hold too.
    pub exclude_defaults: bool,
    /// What else is not told.
    pub exclude: Vec<Exclude>,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self { watch_defaults: true, watch: Vec::new(), exclude_defaults: true, exclude: Vec::new() }
    }
}

/// `[[files.watch]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Pattern of the whole path; a star does not stand for a slash.
    pub path: String,
    /// What the files are: `module`, `modprobe`, `modules-load`, `depmod`, `initramfs`, `pam`, `module-index`, `kernel-setting`.
    pub kind: String,
}

/// `[[files.exclude]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclude {
    /// Pattern of the whole path; a star stands for slashes too.
    pub path: String,
    /// Pattern of the path of the program that makes the change.
    pub executable: Option<String>,
}

/// What is wrong with `[files]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    #[error("files.watch: {0}")]
    Watch(PatternError),
    #[error("files.watch: there is no kind `{kind}`; there are {}", kinds())]
    Kind { kind: String },
    #[error("files.exclude: {0}")]
    Exclude(PatternError),
}

fn kinds() -> String {
    Subject::ALL.map(|(_, name, _)| name).join(", ")
}

impl FilesConfig {
    /// The paths to watch.
    pub fn watch_list(&self) -> Result<WatchList, FilesError> {
        let mut entries = Vec::new();
        for watch in &self.watch {
            let row = Subject::ALL.into_iter().find(|(_, name, _)| *name == watch.kind);
            let (subject, ..) = row.ok_or_else(|| FilesError::Kind { kind: watch.kind.clone() })?;
            entries.push((subject, watch.path.as_str()));
        }
        if self.watch_defaults {
            for entry in WatchList::defaults() {
                entries.push(entry);
            }
        }
        WatchList::new(entries).map_err(FilesError::Watch)
    }

    /// The changes not to tell.
    pub fn exclusions(&self) -> Result<Exclusions, FilesError> {
        let own = self
            .exclude
            .iter()
            .map(|exclude| Exclusion { path: exclude.path.clone(), executable: exclude.executable.clone() });
        let defaults = self.exclude_defaults.then(Exclusions::defaults).into_iter().flatten();
        Exclusions::new(own.chain(defaults)).map_err(FilesError::Exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> FilesConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn settings_add_to_what_is_built_in() {
        let config = parse("[[watch]]\npath = \"/opt/drivers/conf.d/*\"\nkind = \"modprobe\"\n");
        let list = config.watch_list().unwrap();
        assert_eq!(list.subject_of(b"/opt/drivers/conf.d/x"), Some(Subject::Modprobe));
        assert_eq!(list.subject_of(b"/etc/modprobe.d/x"), Some(Subject::Modprobe));
        assert_eq!(config.exclusions().unwrap().counts().count(), 2);
    }

    #[test]
    fn settings_can_stand_alone() {
        let config = parse("watch_defaults = false\nexclude_defaults = false\n");
        assert_eq!(config.watch_list().unwrap().subject_of(b"/etc/modprobe.d/x"), None);
        assert_eq!(config.exclusions().unwrap().counts().count(), 0);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| parse(text).watch_list().unwrap_err().to_string();
        assert!(
            error("[[watch]]\npath = \"/a/b\"\nkind = \"x\"\n").contains("no kind `x`; there are module, modprobe")
        );
        assert!(error("[[watch]]\npath = \"a/b\"\nkind = \"pam\"\n").contains("files.watch: `a/b` must begin"));
        let config = parse("[[exclude]]\npath = \"tmp/*\"\n");
        assert!(config.exclusions().unwrap_err().to_string().contains("files.exclude: `tmp/*`"));
    }
}
