//! Changes of files that are not to be told of.
//!
//! Exclusions are for changes of files only: a module that is loaded from an excluded place is a load like any other. A change
//! that has two names is excluded only if both are, so nothing leaves an excluded tree unseen.

use super::{PathPattern, PatternError};
use crate::model::{Excluded, FileAction, FileChange, SystemMount};

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
    /// What exclusions kept back that are no more.
    former: Vec<Excluded>,
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
        Ok(Self { entries: entries.collect::<Result<_, _>>()?, former: Vec::new() })
    }

    /// Goes on counting where others have stopped.
    #[must_use]
    pub fn succeed(mut self, others: &Self) -> Self {
        for excluded in others.counts() {
            let is_same = |entry: &&mut Entry| {
                entry.count == 0
                    && entry.exclusion.path == excluded.path
                    && entry.exclusion.executable == excluded.executable
            };
            match self.entries.iter_mut().find(is_same) {
                Some(entry) => entry.count = excluded.count,
                None if excluded.count > 0 => self.former.push(excluded),
                None => {}
            }
        }
        self
    }

    /// [`DEFAULTS`].
    pub fn defaults() -> impl Iterator<Item = Exclusion> {
        DEFAULTS.into_iter().map(|path| Exclusion { path: path.to_owned(), executable: None })
    }

    /// Whether a change in the host's own mount namespace is excluded; then it is counted. In another one every path is what its
    /// owner makes of it; and so is what lies on a mount that is not among `first_mounts`. A file with further names may be one that
    /// lies elsewhere.
    pub fn exclude(&mut self, change: &FileChange, first_mounts: &[SystemMount]) -> bool {
        let executable = change.process.caller.executable.as_ref().map(|path| path.absolute.as_slice());
        let paths = || [Some(&change.path), change.old_path.as_ref()].into_iter().flatten();
        let plain = paths().all(|path| !path.truncated && !path.unreadable && !path.foreign_root && !path.outside_root);
        let facts = change.facts.as_ref().or(change.facts_before.as_ref());
        let device = facts.map(|facts| (facts.device_major, facts.device_minor));
        let in_place = || paths().all(|path| first_mounts.iter().any(|mount| mount.is_of(path, device)));
        let of_the_name = change.action.makes_name() || change.action == FileAction::Removed;
        let has_other_names = !of_the_name && facts.is_some_and(|facts| facts.links > 1);
        let excludes = |entry: &Entry| {
            let by_program = entry.executable.as_ref().is_none_or(|pattern| {
                executable.is_some_and(|executable| pattern.matches(executable))
                    && !change.process.caller.executable_unlinked
            });
            by_program && paths().all(|path| entry.path.matches(&path.absolute))
        };
        let Some(entry) =
            self.entries.iter_mut().find(|entry| plain && !has_other_names && excludes(entry) && in_place())
        else {
            return false;
        };
        entry.count += 1;
        true
    }

    /// Which paths are excluded whoever changes them, as far as these exclusions say now.
    pub fn of_all_programs(&self) -> impl Fn(&[u8]) -> bool + Send + Sync + use<> {
        let whoever = self.entries.iter().filter(|entry| entry.executable.is_none());
        let patterns: Vec<_> = whoever.map(|entry| entry.path.clone()).collect();
        move |path| patterns.iter().any(|pattern| pattern.matches(path))
    }

    /// The same as patterns.
    pub fn patterns_of_all_programs(&self) -> Vec<String> {
        let whoever = self.entries.iter().filter(|entry| entry.executable.is_none());
        whoever.map(|entry| entry.exclusion.path.clone()).collect()
    }

    /// What was kept back since the start, by exclusion.
    pub fn counts(&self) -> impl Iterator<Item = Excluded> {
        let now = self.entries.iter().map(|entry| Excluded {
            path: entry.exclusion.path.clone(),
            executable: entry.exclusion.executable.clone(),
            count: entry.count,
        });
        now.chain(self.former.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        SeenPath,
        samples::{file_change, host, path},
    };

    fn exclusions(executable: Option<&str>) -> Exclusions {
        let exclusion = |path: &str| Exclusion { path: path.to_owned(), executable: executable.map(str::to_owned) };
        Exclusions::new(DEFAULTS.map(exclusion)).unwrap()
    }

    /// On a host with this one mount.
    fn exclude(exclusions: &mut Exclusions, change: &FileChange) -> bool {
        exclusions.exclude(change, &host().system_mounts)
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
            assert_eq!(exclude(&mut exclusions, &created(at)), excluded, "{at}");
        }
        assert_eq!(exclusions.counts().map(|excluded| excluded.count).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn a_later_mount_is_another_place() {
        let mut exclusions = exclusions(None);
        let at = "/run/initramfs/a.ko";
        assert!(exclude(&mut exclusions, &created(at)));
        let elsewhere = |change: fn(&mut FileChange)| {
            let mut created = created(at);
            change(&mut created);
            created
        };
        for change in [
            elsewhere(|change| change.path.mount_id += 1),
            elsewhere(|change| change.path.mount_point = Some(b"/run/initramfs".to_vec())),
            elsewhere(|change| change.path.mount_root = Some(b"/opt/mods".to_vec())),
            elsewhere(|change| change.path.mount_point = None),
            elsewhere(|change| change.facts.as_mut().unwrap().device_minor += 1),
            elsewhere(|change| change.old_path = Some(SeenPath { mount_id: 99, ..change.path.clone() })),
        ] {
            assert!(!exclude(&mut exclusions, &change), "{change:?}");
        }
        assert!(!exclusions.exclude(&created(at), &[]), "no mounts are known");
        let without_inode = elsewhere(|change| change.facts = None);
        assert!(exclude(&mut exclusions, &without_inode));
    }

    #[test]
    fn a_file_with_another_name_may_lie_elsewhere() {
        let mut exclusions = exclusions(None);
        let mut linked = created("/run/initramfs/a.ko");
        linked.facts.as_mut().unwrap().links = 2;
        assert!(exclude(&mut exclusions, &linked), "a name that was made");
        linked.action = FileAction::Written;
        assert!(!exclude(&mut exclusions, &linked));
    }

    #[test]
    fn what_leaves_a_tree_is_told() {
        let mut exclusions = exclusions(None);
        let renamed = |from: &str, to: &str| FileChange { old_path: Some(path(from)), ..created(to) };
        assert!(exclude(&mut exclusions, &renamed("/run/initramfs/a", "/run/initramfs/a.ko")));
        assert!(!exclude(&mut exclusions, &renamed("/run/initramfs/a.ko", "/tmp/a.ko")));
        assert!(!exclude(&mut exclusions, &renamed("/tmp/a.ko", "/run/initramfs/a.ko")));
        assert!(!exclude(&mut exclusions, &renamed("/var/tmp/mkinitramfs_1/a.ko", "/run/initramfs/a.ko")), "two trees");
    }

    #[test]
    fn an_exclusion_may_be_bound_to_a_program() {
        let change = created("/run/initramfs/a.ko");
        let program = change.process.caller.executable.clone().unwrap();
        let name = String::from_utf8(program.absolute).unwrap();
        assert!(exclude(&mut exclusions(Some(&name)), &change));
        assert!(!exclude(&mut exclusions(Some("/usr/bin/other")), &change));
        let mut deleted = change;
        deleted.process.caller.executable_unlinked = true;
        assert!(!exclude(&mut exclusions(Some(&name)), &deleted));
    }

    #[test]
    fn what_is_excluded_for_all_programs_is_known() {
        let of_all = exclusions(None).of_all_programs();
        assert!(of_all(b"/run/initramfs/x/a.conf") && !of_all(b"/etc/modprobe.d/a.conf"));
        assert!(!exclusions(Some("/usr/bin/cp")).of_all_programs()(b"/run/initramfs/a"));
    }

    #[test]
    fn other_exclusions_go_on_counting() {
        let mut before = exclusions(None);
        for at in ["/run/initramfs/a.ko", "/run/initramfs/b.ko", "/var/tmp/mkinitramfs_1/a.ko"] {
            assert!(exclude(&mut before, &created(at)));
        }
        let exclusion = |path: &str| Exclusion { path: path.to_owned(), executable: None };
        let count = |exclusions: &Exclusions| -> Vec<_> {
            exclusions.counts().map(|excluded| (excluded.path, excluded.count)).collect()
        };
        let counted = |path: &str, count| (path.to_owned(), count);
        let mut after = Exclusions::new(["/x/*", DEFAULTS[0]].map(exclusion)).unwrap().succeed(&before);
        assert!(exclude(&mut after, &created("/run/initramfs/a.ko")));
        assert_eq!(count(&after), [counted("/x/*", 0), counted(DEFAULTS[0], 3), counted(DEFAULTS[1], 1)]);
        let again = Exclusions::new([exclusion(DEFAULTS[1])]).unwrap().succeed(&after);
        assert_eq!(count(&again), [counted(DEFAULTS[1], 1), counted(DEFAULTS[0], 3)]);
    }

    #[test]
    fn patterns_are_absolute() {
        let relative = Exclusion { path: "run/*".to_owned(), executable: None };
        assert!(Exclusions::new([relative]).is_err());
    }
}
