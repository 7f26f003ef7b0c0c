//! What a changed file holds, and held before.

use super::{FileTime, module_config::LineDiff};

/// What was found where a file was changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    pub status: ContentStatus,
    /// Where the host has the file, of a path whose mount the event did not show.
    pub resolved_path: Option<Vec<u8>>,
    /// The file as it is now.
    pub after: Option<FileState>,
    /// The file of this name as it was when it was last looked at; of files whose state is kept.
    pub before: Option<FileState>,
    /// Of text files.
    pub diff: Option<LineDiff>,
    /// Directives that appeared and disappeared, as `modprobe --showconfig` prints them, made [`super::text::text`].
    pub directives_added: Vec<String>,
    pub directives_removed: Vec<String>,
    /// What is dangerous in what appeared, a clause of a sentence each, without control characters.
    pub dangers: Vec<String>,
    /// The value of a kernel setting.
    pub value_before: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl Content {
    /// The hash of what the file of the event held then; `None` where it was not read, or may hold something else by now.
    pub fn own_sha256(&self) -> Option<[u8; 32]> {
        self.after.as_ref().filter(|_| self.status == ContentStatus::Read)?.sha256
    }

    /// Whether the file holds what it held before; `None` where that is not known.
    pub fn is_same(&self) -> Option<bool> {
        if !matches!(self.status, ContentStatus::Read | ContentStatus::ChangedSince) {
            return None;
        }
        if let (Some(before), Some(after)) = (&self.value_before, &self.value) {
            return Some(before == after);
        }
        let hash = |state: &Option<FileState>| state.as_ref().and_then(|state| state.sha256);
        Some(hash(&self.before)? == hash(&self.after)?)
    }
}

/// Whether the changed file could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentStatus {
    /// It was not looked at: the change does not touch what is in it, or failed.
    #[default]
    NotWanted,
    /// It was read whole, and is the file of the event.
    Read,
    /// There is nothing by this name any more.
    Gone,
    /// Another file has this name by now.
    Replaced,
    /// It changed again while it was read, or since it was closed.
    ChangedSince,
    /// It lies where the daemon cannot look: in a mount namespace that is gone, outside every mount that the host has.
    Unreachable,
    /// It is no regular file.
    Special,
    /// It is longer than what is read.
    TooLarge,
    /// Its file system could make the reader wait (FUSE, network).
    SlowFileSystem,
    /// It could not be read in time.
    TimedOut,
    /// Too many files were waiting to be read.
    Busy,
    /// The system refused.
    Failed,
}

impl ContentStatus {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotWanted => "not-wanted",
            Self::Read => "read",
            Self::Gone => "gone",
            Self::Replaced => "replaced",
            Self::ChangedSince => "changed-since",
            Self::Unreachable => "unreachable",
            Self::Special => "special-file",
            Self::TooLarge => "too-large",
            Self::SlowFileSystem => "slow-file-system",
            Self::TimedOut => "timed-out",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

/// A file at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileState {
    /// `None` where the content was not read whole.
    pub sha256: Option<[u8; 32]>,
    pub inode: u64,
    pub size: u64,
    /// Type and permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub accessed: Option<FileTime>,
    pub modified: Option<FileTime>,
    pub changed: Option<FileTime>,
    /// On file systems that know.
    pub created: Option<FileTime>,
    /// Where a symbolic link leads, as it says.
    pub link_target: Option<Vec<u8>>,
}

/// What is to be looked at, for one change.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    pub change: Box<super::FileChange>,
    pub subject: super::Subject,
    /// The change was made in the host's own mount namespace.
    pub in_host_namespace: bool,
    /// Nothing changed: a module was loaded from the file.
    pub of_load: bool,
}
