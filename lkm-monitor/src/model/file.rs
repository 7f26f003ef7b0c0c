//! A file as its inode describes it.

use super::SeenPath;

/// Facts of an open file, taken from the kernel's own structures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFacts {
    pub path: SeenPath,
    pub inode: u64,
    pub device_major: u32,
    pub device_minor: u32,
    pub size: u64,
    /// Type and permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    /// `statfs` magic of the file system.
    pub fs_magic: u64,
    /// Its name was removed while it stayed open, or it never had one (O_TMPFILE).
    pub unlinked: bool,
    /// On a file system that the kernel mounts for itself.
    pub kernel_mount: bool,
    /// Times of access, modification and change; `None` where they are not known.
    pub accessed: Option<FileTime>,
    pub modified: Option<FileTime>,
    pub changed: Option<FileTime>,
    /// When it was made, on file systems that know.
    pub created: Option<FileTime>,
}

/// A time stamp of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileTime {
    /// Since 1970.
    pub seconds: i64,
    pub nanoseconds: u32,
}

impl FileTime {
    /// Nanoseconds since 1970.
    pub fn realtime_ns(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
}

/// `statfs` magic number of procfs (include/uapi/linux/magic.h).
pub(super) const PROC: u64 = 0x9fa0;

impl FileFacts {
    /// What procfs shows is made when somebody looks.
    pub const fn is_on_procfs(&self) -> bool {
        self.fs_magic == PROC
    }

    /// Created by memfd_create(2): lives in memory, has no path (its name may hold slashes). A file of that name on an ordinary mount is not one.
    pub fn is_memfd(&self) -> bool {
        self.kernel_mount && self.path.anonymous && self.path.seen.starts_with(b"memfd:")
    }
}
