//! Whether a file or a folder is still what it was, told without reading it.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Two changes within this time can leave the same times behind: those of the kernel go on with its ticks, those of ext3 with the seconds.
const SETTLED_S: u64 = 2;

/// What changes with any change: the times in seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` for what is not there, or cannot be looked at.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether a change that comes at this time gives another stamp.
    fn is_settled_at(&self, now: SystemTime) -> bool {
        let now_s = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        u64::try_from(self.changed.0).unwrap_or(0).abs_diff(now_s) > SETTLED_S
    }
}

/// The stamps of what an answer was made from, taken before it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    stamps: Vec<Option<Stamp>>,
    settled: bool,
}

impl Stamps {
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let stamps: Vec<_> = paths.into_iter().map(Stamp::of).collect();
        let now = SystemTime::now();
        let settled = stamps.iter().flatten().all(|stamp| stamp.is_settled_at(now));
        Self { stamps, settled }
    }

    /// Whether what was read after `earlier` was taken is what would be read now.
    pub(super) fn vouch_for(&self, earlier: &Self) -> bool {
        earlier.settled && self.stamps == earlier.stamps
    }

    /// As if they had been taken later.
    #[cfg(test)]
    pub(super) const fn settle(&mut self) {
        self.settled = true;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn another_content_or_another_file_is_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status");
        assert_eq!(Stamp::of(&path), None);
        fs::write(&path, "a").unwrap();
        let first = Stamp::of(&path).unwrap();
        assert_eq!(Stamp::of(&path), Some(first));
        fs::write(&path, "ab").unwrap();
        assert_ne!(Stamp::of(&path), Some(first));
        fs::write(folder.path().join("new"), "a").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(!Stamp::of(&path).unwrap().is_same_file(&first));
    }

    #[test]
    fn what_changed_just_now_may_change_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let fresh = || Stamps::of([folder.path()]);
        assert!(!fresh().vouch_for(&fresh()));
        let old = || {
            let mut stamps = fresh();
            stamps.settle();
            stamps
        };
        assert!(fresh().vouch_for(&old()));
        let stamp = Stamp::of(folder.path()).unwrap();
        for away_s in [9, SETTLED_S + 2] {
            let away = Duration::from_secs(away_s);
            assert!(stamp.is_settled_at(SystemTime::now() + away) && stamp.is_settled_at(SystemTime::now() - away));
        }
        let before = old();
        fs::write(folder.path().join("new"), "a").unwrap();
        assert!(!fresh().vouch_for(&before));
    }
}
