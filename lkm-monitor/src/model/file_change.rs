//! Changes of watched files.

use super::{Bytes, Clock, FileFacts, FileTime, ProcessTree, SeenPath, file::PROC};

/// What was done to a file, or to the name of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileAction {
    /// It was made, by an open or by mknod.
    Created,
    /// It was there, and was opened for writing.
    Written,
    /// It has this name instead of another one.
    Renamed,
    /// Two names were exchanged.
    Exchanged,
    /// It has this name besides another one.
    Linked,
    /// The name is a symbolic link now.
    Symlinked,
    /// The name is gone.
    Removed,
    ModeChanged,
    OwnerChanged,
    TimesChanged,
    /// It was cut or lengthened by its name, without being opened.
    Truncated,
    /// Something was mounted over it.
    MountedOver,
}

impl FileAction {
    /// The past participle in `event.action`, and in sentences.
    pub const fn participle(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Written => "modified",
            Self::Renamed => "renamed",
            Self::Exchanged => "exchanged",
            Self::Linked => "linked",
            Self::Symlinked => "symlinked",
            Self::Removed => "removed",
            Self::ModeChanged => "mode-changed",
            Self::OwnerChanged => "owner-changed",
            Self::TimesChanged => "times-changed",
            Self::Truncated => "truncated",
            Self::MountedOver => "mounted-over",
        }
    }

    /// Whether afterwards there is a file by this name that was not there before, or another one.
    pub const fn makes_name(self) -> bool {
        matches!(
            self,
            Self::Created | Self::Renamed | Self::Exchanged | Self::Linked | Self::Symlinked | Self::MountedOver
        )
    }

    /// Whether the content under this name may be another one afterwards.
    pub const fn changes_content(self) -> bool {
        self.makes_name() || matches!(self, Self::Written | Self::Truncated | Self::Removed)
    }
}

/// What is known of the writers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Nobody opened it in this change.
    None,
    /// The last writer has closed it.
    Closed,
    /// Somebody still has it open.
    Open,
    /// Whether it is still being written is not known.
    Unknown,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct FileChange {
    pub action: FileAction,
    /// The event that began it, in nanoseconds since boot.
    pub boot_ns: u64,
    pub cpu: u32,
    pub tid: u32,
    /// The name that was made, changed or removed.
    pub path: SeenPath,
    /// The name that a renamed file had, or that a linked file has besides.
    pub old_path: Option<SeenPath>,
    /// The text of a symbolic link.
    pub link_target: Option<Bytes>,
    /// The inode after the change: where a writer closed it, then. Its path is `path`.
    pub facts: Option<FileFacts>,
    /// The inode when its writing began.
    pub facts_before: Option<FileFacts>,
    /// Its times were of that very moment then: who writes at once leaves them as they are.
    pub just_changed: bool,
    /// 0, or a negated errno; `None` where it is not known.
    pub ret: Option<i64>,
    pub writing: Writing,
    /// When it was found closed, in nanoseconds since boot.
    pub closed_boot_ns: Option<u64>,
    /// Processes that opened it for writing.
    pub writers: u32,
    /// The mode that chmod was given.
    pub call_flags: u32,
    pub process: ProcessTree,
    /// How often it was told before it was finished.
    pub told: u32,
}

impl FileChange {
    /// Whether it was done; `None` where that is not known.
    pub fn succeeded(&self) -> Option<bool> {
        self.ret.map(|ret| ret == 0)
    }

    /// The errno of a failed change.
    pub fn errno(&self) -> Option<i32> {
        let ret = self.ret?;
        (-4095..0).contains(&ret).then_some(-(ret as i32))
    }

    /// It was opened for writing, but its times and size are what they were.
    pub fn has_same_times(&self) -> bool {
        let (FileAction::Written, Writing::Closed, Some(before), Some(after)) =
            (self.action, self.writing, &self.facts_before, &self.facts)
        else {
            return false;
        };
        (before.size, before.modified, before.changed) == (after.size, after.modified, after.changed)
    }

    /// And they are not, wherever something was written.
    pub fn is_untouched(&self) -> bool {
        let tells = |facts: &FileFacts| !SILENT_FILE_SYSTEMS.contains(&facts.fs_magic);
        self.has_same_times()
            && !self.just_changed
            && [&self.facts_before, &self.facts].into_iter().flatten().all(tells)
    }
}

/// `statfs` magic numbers of file systems on which a file can be written without its times moving: tmpfs and ramfs (through a
/// mapping that was read before), overlayfs (through any mapping), procfs, and FUSE, where another process keeps the times.
const SILENT_FILE_SYSTEMS: [u64; 5] = [0x0102_1994, 0x8584_58f6, 0x794c_7630, PROC, 0x6573_5546];

/// Time stamps of one file system tick, and of file systems that keep seconds or two.
const TICK_NS: i128 = 1_500_000_000;
const COARSE_TICK_NS: i128 = 3_000_000_000;

/// Whether a file that is being opened for writing at `boot_ns` has just been made. The hook does not say so; but an inode that
/// was made a moment ago is empty, has one name, and all its times are now. An empty file that somebody else made a moment ago
/// looks the same, which does no harm.
pub fn is_new(facts: &FileFacts, boot_ns: u64, clock: Clock) -> bool {
    let Some(changed) = facts.changed else { return false };
    let same = facts.accessed == facts.changed && facts.modified == facts.changed;
    let age = clock.realtime_ns(boot_ns) - changed.realtime_ns();
    // procfs makes its inodes anew.
    !facts.is_on_procfs() && facts.size == 0 && facts.links == 1 && same && (-TICK_NS..tick(changed)).contains(&age)
}

/// Whether the times of a file that is being opened at `boot_ns` are of now, so that a change in this tick does not move them.
/// Times of the future are of a clock that was set, and may come again.
pub fn is_just_changed(facts: &FileFacts, boot_ns: u64, clock: Clock) -> bool {
    let age = |changed: FileTime| clock.realtime_ns(boot_ns) - changed.realtime_ns();
    facts.changed.is_none_or(|changed| age(changed) < tick(changed))
}

const fn tick(time: FileTime) -> i128 {
    if time.nanoseconds == 0 { COARSE_TICK_NS } else { TICK_NS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::samples;

    #[test]
    fn a_new_file_is_empty_and_of_now() {
        let clock = Clock { realtime_offset_ns: 1_000_000_000_000 };
        let now = FileTime { seconds: 1_005, nanoseconds: 1 };
        let new = FileFacts {
            links: 1,
            accessed: Some(now),
            modified: Some(now),
            changed: Some(now),
            ..FileFacts::default()
        };
        let is_new = |facts: &FileFacts| is_new(facts, 5_100_000_000, clock);
        assert!(is_new(&new));
        assert!(!is_new(&FileFacts { size: 1, ..new.clone() }));
        assert!(!is_new(&FileFacts { links: 2, ..new.clone() }));
        let older = FileTime { seconds: 1_001, nanoseconds: 1 };
        assert!(!is_new(&FileFacts { modified: Some(older), ..new.clone() }));
        let all_older = FileFacts { accessed: Some(older), modified: Some(older), changed: Some(older), ..new.clone() };
        assert!(!is_new(&all_older));
        assert!(!is_new(&FileFacts { fs_magic: 0x9fa0, ..new.clone() }), "a procfs that was mounted a moment ago");
        let of_seconds = FileTime { seconds: 1_003, nanoseconds: 0 };
        assert!(is_new(&FileFacts {
            accessed: Some(of_seconds),
            modified: Some(of_seconds),
            changed: Some(of_seconds),
            ..new
        }));
        assert!(!is_new(&FileFacts { links: 1, ..FileFacts::default() }), "nothing is known");
    }

    #[test]
    fn a_file_that_was_only_opened_is_untouched() {
        let facts =
            FileFacts { size: 5, changed: Some(FileTime { seconds: 1, nanoseconds: 2 }), ..FileFacts::default() };
        let change = FileChange {
            action: FileAction::Written,
            facts: Some(facts.clone()),
            facts_before: Some(facts.clone()),
            writing: Writing::Closed,
            ..samples::file_change()
        };
        assert!(change.is_untouched());
        let changed = Some(FileTime { seconds: 1, nanoseconds: 3 });
        assert!(!FileChange { facts: Some(FileFacts { changed, ..facts.clone() }), ..change.clone() }.is_untouched());
        let setting = Some(FileFacts { fs_magic: 0x9fa0, ..facts });
        assert!(!FileChange { facts: setting, ..change.clone() }.is_untouched(), "nothing shows that");
        assert!(!FileChange { action: FileAction::Created, ..change }.is_untouched());
    }

    #[test]
    fn times_that_need_not_move_say_nothing() {
        let facts =
            FileFacts { size: 5, changed: Some(FileTime { seconds: 1, nanoseconds: 2 }), ..FileFacts::default() };
        let opened = |facts: &FileFacts| FileChange {
            action: FileAction::Written,
            facts: Some(facts.clone()),
            facts_before: Some(facts.clone()),
            writing: Writing::Closed,
            ..samples::file_change()
        };
        let just_changed = FileChange { just_changed: true, ..opened(&facts) };
        assert!(just_changed.has_same_times() && !just_changed.is_untouched());
        for fs_magic in SILENT_FILE_SYSTEMS {
            let change = opened(&FileFacts { fs_magic, ..facts.clone() });
            assert!(change.has_same_times() && !change.is_untouched(), "{fs_magic:x}");
        }
    }

    #[test]
    fn what_changed_in_this_tick_can_change_again_unseen() {
        let clock = Clock { realtime_offset_ns: 1_000_000_000_000 };
        let just_changed =
            |changed| is_just_changed(&FileFacts { changed, ..FileFacts::default() }, 5_100_000_000, clock);
        let at = |seconds, nanoseconds| Some(FileTime { seconds, nanoseconds });
        assert!(just_changed(at(1_005, 1)) && just_changed(at(1_003, 0)) && just_changed(None));
        assert!(just_changed(at(2_000, 1)), "the future");
        assert!(!just_changed(at(1_003, 1)) && !just_changed(at(1_001, 0)));
    }
}
