//! Changes of files that are not to be told of.
//!
//! Exclusions are for changes of files only: a module that is loaded from an excluded place is a load like any other. A change
//! that has two names is excluded only if both are, so nothing leaves an excluded tree unseen.

use super::{PathPattern, PatternError};
use crate::model::{Excluded, FileChange};

/// A pattern, and the program that it is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// Of the whole path. A star stands for slashes too.
    pub path: String,
    /// The path of the program that makes the change; any if `None`.
    pub executable: Option<String>,
}

/// What initramfs tools make by the hundred. The tools clear these folders away themselves.
const DEFAULTS: [&str; 2] = ["/run/initramfs/*", "/var/tmp/mkinitramfs*"];

/// All exclusions, and how many changes each has kept back.
#[derive(Debug)]
pub struct Exclusions {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    exclusion: Exclusion,
    path: PathPattern,
    executable: Option<PathPattern>,
    count: u64,
}

impl Exclusions {
    pub fn new(exclusions: impl IntoIterator<Item = Exclusion>) -> Result<Self, PatternError> {
        let entries = exclusions.into_iter().map(|exclusion| {
            let absolute = |pattern: &str| {
                if pattern.starts_with('/') { Ok(()) } else { Err(PatternError::NotAbsolute(pattern.to_owned())) }
            };
            absolute(&exclusion.path)?;
            let path = PathPattern::new(&exclusion.path, false)?;
            let executable = exclusion
                .executable
                .as_deref()
                .map(|pattern| absolute(pattern).and_then(|()| PathPattern::new(pattern, false)));
            Ok(Entry { path, executable: executable.transpose()?, exclusion, count: 0 })
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }

    /// [`DEFAULTS`].
    pub fn defaults() -> impl Iterator<Item = Exclusion> {
        DEFAULTS.into_iter().map(|path| Exclusion { path: path.to_owned(), executable: None })
    }

    /// Whether a change is excluded; then it is counted. Only what the host's own mount namespace shows can be: in another one
    /// every path is what its owner makes of it.
    pub fn exclude(&mut self, change: &FileChange, in_host_namespace: bool) -> bool {
        if !in_host_namespace {
            return false;
        }
        let executable = change.process.caller.executable.as_ref().map(|path| path.absolute.as_slice());
        let paths = || [Some(&change.path), change.old_path.as_ref()].into_iter().flatten();
        let plain = paths().all(|path| !path.truncated && !path.unreadable && !path.foreign_root && !path.outside_root);
        let excludes = |entry: &Entry| {
            let by_program = entry.executable.as_ref().is_none_or(|pattern| {
                executable.is_some_and(|executable| pattern.matches(executable))
                    && !change.process.caller.executable_unlinked
            });
            by_program && paths().all(|path| entry.path.matches(&path.absolute))
        };
        let Some(entry) = self.entries.iter_mut().find(|entry| plain && excludes(entry)) else {
            return false;
        };
        entry.count += 1;
        true
    }

    /// What was kept back since the start, by exclusion.
    pub fn counts(&self) -> impl Iterator<Item = Excluded> {
        self.entries.iter().map(|entry| Excluded {
            path: entry.exclusion.path.clone(),
            executable: entry.exclusion.executable.clone(),
            count: entry.count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::samples::{file_change, path};

    fn exclusions(executable: Option<&str>) -> Exclusions {
        let exclusion = |path: &str| Exclusion { path: path.to_owned(), executable: executable.map(str::to_owned) };
        Exclusions::new(DEFAULTS.map(exclusion)).unwrap()
    }

    fn created(at: &str) -> FileChange {
        FileChange { path: path(at), ..file_change() }
    }

    #[test]
    fn trees_are_excluded_and_counted() {
        let mut exclusions = exclusions(None);
        for (at, excluded) in [
            ("/run/initramfs/lib/modules/6.1/a.ko", true),
            ("/var/tmp/mkinitramfs_Ab12/usr/a.ko", true),
            ("/run/initramfs2/a.ko", false),
            ("/srv/run/initramfs/a.ko", false),
        ] {
            assert_eq!(exclusions.exclude(&created(at), true), excluded, "{at}");
        }
        assert_eq!(exclusions.counts().map(|excluded| excluded.count).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn another_mount_namespace_decides_nothing() {
        assert!(!exclusions(None).exclude(&created("/run/initramfs/a.ko"), false));
    }

    #[test]
    fn what_leaves_a_tree_is_told() {
        let mut exclusions = exclusions(None);
        let renamed = |from: &str, to: &str| FileChange { old_path: Some(path(from)), ..created(to) };
        assert!(exclusions.exclude(&renamed("/run/initramfs/a", "/run/initramfs/a.ko"), true));
        assert!(!exclusions.exclude(&renamed("/run/initramfs/a.ko", "/tmp/a.ko"), true));
        assert!(!exclusions.exclude(&renamed("/tmp/a.ko", "/run/initramfs/a.ko"), true));
        assert!(!exclusions.exclude(&renamed("/var/tmp/mkinitramfs_1/a.ko", "/run/initramfs/a.ko"), true), "two trees");
    }

    #[test]
    fn an_exclusion_may_be_bound_to_a_program() {
        let change = created("/run/initramfs/a.ko");
        let program = change.process.caller.executable.clone().unwrap();
        let name = String::from_utf8(program.absolute).unwrap();
        assert!(exclusions(Some(&name)).exclude(&change, true));
        assert!(!exclusions(Some("/usr/bin/other")).exclude(&change, true));
        let mut deleted = change;
        deleted.process.caller.executable_unlinked = true;
        assert!(!exclusions(Some(&name)).exclude(&deleted, true));
    }

    #[test]
    fn patterns_are_absolute() {
        let relative = Exclusion { path: "run/*".to_owned(), executable: None };
        assert!(Exclusions::new([relative]).is_err());
    }
}
