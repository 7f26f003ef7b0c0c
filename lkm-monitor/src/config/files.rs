//! `[files]`: which files are watched, and which changes are not told.

use serde::Deserialize;

use super::{Invalid, Key};
use crate::{
    model::Subject,
    select::{Exclusion, Exclusions, WatchList},
    sensor::filter,
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
    /// What the files are: `module`, `modprobe`, `modules-load`, `depmod`, `initramfs`, `pam`, `module-index`, `kernel-setting`,
    /// `sensor-file`.
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

fn kinds() -> String {
    Subject::ALL.map(|(_, name, _)| name).join(", ")
}

impl FilesConfig {
    /// The paths to watch.
    pub fn watch_list(&self) -> Result<WatchList, Invalid> {
        let mut entries = Vec::new();
        for (number, watch) in self.watch.iter().enumerate() {
            let key = |name| Key::from("files.watch").item(number).key(name);
            let row = Subject::ALL.into_iter().find(|(_, name, _)| *name == watch.kind);
            let unknown = || format!("there is no kind `{}`; there are {}", watch.kind, kinds());
            let (subject, ..) = row.ok_or_else(|| Invalid::new(key("kind"), unknown()))?;
            let entry = (subject, watch.path.as_str());
            // By itself, so that it is known which one is wrong.
            let alone = WatchList::new([entry]).map_err(|error| Invalid::new(key("path"), error))?;
            filter::check(alone.filter()).map_err(|error| Invalid::new(key("path"), error))?;
            entries.push(entry);
        }
        if self.watch_defaults {
            for entry in WatchList::defaults() {
                entries.push(entry);
            }
        }
        let all = |error: &dyn ToString| Invalid::new("files.watch", error.to_string());
        let list = WatchList::new(entries).map_err(|error| all(&error))?;
        filter::check(list.filter()).map_err(|error| all(&error))?;
        Ok(list)
    }

    /// The changes not to tell.
    pub fn exclusions(&self) -> Result<Exclusions, Invalid> {
        let mut entries = Vec::new();
        for (number, Exclude { path, executable }) in self.exclude.iter().enumerate() {
            let entry = Exclusion { path: path.clone(), executable: executable.clone() };
            for (name, part) in
                [("path", Exclusion { executable: None, ..entry.clone() }), ("executable", entry.clone())]
            {
                let key = || Key::from("files.exclude").item(number).key(name);
                Exclusions::new([part]).map_err(|error| Invalid::new(key(), error))?;
            }
            entries.push(entry);
        }
        if self.exclude_defaults {
            entries.extend(Exclusions::defaults());
        }
        Exclusions::new(entries).map_err(|error| Invalid::new("files.exclude", error))
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
            error("[[watch]]\npath = \"/a/b\"\nkind = \"x\"\n")
                .starts_with("files.watch.kind: there is no kind `x`; there are module, modprobe")
        );
        assert!(error("[[watch]]\npath = \"a/b\"\nkind = \"pam\"\n").starts_with("files.watch.path: `a/b` must begin"));
        let long = error("[[watch]]\npath = \"/a/a-name-of-more-than-thirty-one-bytes\"\nkind = \"pam\"\n");
        assert!(long.contains("files.watch.path") && long.contains("too long to be watched"), "{long}");
        let error = |text: &str| parse(text).exclusions().unwrap_err().to_string();
        assert!(error("[[exclude]]\npath = \"tmp/*\"\n").starts_with("files.exclude.path: `tmp/*`"));
        let by = error("[[exclude]]\npath = \"/tmp/*\"\nexecutable = \"ld\"\n");
        assert!(by.starts_with("files.exclude.executable: `ld`"), "{by}");
    }
}
