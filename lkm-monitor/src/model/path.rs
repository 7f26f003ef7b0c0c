//! Paths as the kernel walked them.

/// A file's path, seen from the root of the mount namespace and from the process's own root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenPath {
    /// Absolute path as the process sees it. Without a leading slash when the file hangs in no tree (memfd).
    pub seen: Vec<u8>,
    /// Absolute path from the root of the mount namespace; differs from `seen` in a chroot.
    pub absolute: Vec<u8>,
    /// Where the mount that holds the file is mounted, in terms of `absolute`.
    pub mount_point: Option<Vec<u8>>,
    /// That mount's id, as in /proc/PID/mountinfo; 0 when it is not known.
    pub mount_id: u32,
    /// Where in its file system that mount begins, without an end slash: empty at the file system's root. `None` when it is
    /// not known.
    pub mount_root: Option<Vec<u8>>,
    /// That mount shows a part of a file system only.
    pub bind_mount: bool,
    /// The file lies outside the process's root directory, or on a mount that is no longer attached.
    pub outside_root: bool,
    /// The path does not end at the root of the process's mount namespace but of another tree: one that no mount table
    /// shows, or another namespace's.
    pub foreign_root: bool,
    /// The file has no place in any directory tree.
    pub anonymous: bool,
    /// The path begins at the root of its file system: where that is mounted is not known.
    pub mount_unknown: bool,
    /// Cut at the root side: `seen` and `absolute` begin somewhere below the root, with `...`.
    pub truncated: bool,
    /// The kernel's structures could not be followed to the end.
    pub unreadable: bool,
}

impl SeenPath {
    /// The last component.
    pub fn name(&self) -> &[u8] {
        self.seen.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// The path inside the file system, whatever is mounted where.
    pub fn in_file_system(&self) -> Option<Vec<u8>> {
        let point = self.mount_point.as_deref()?;
        // A file can be mounted by itself.
        let is_mount = (self.absolute == point).then_some(b"".as_slice());
        let below = below(&self.absolute, point).or(is_mount)?;
        Some([self.mount_root.as_deref()?, below].concat())
    }

    /// Whether the process looks at the file system through a root of its own.
    pub fn in_chroot(&self) -> bool {
        !self.anonymous && self.seen != self.absolute
    }
}

/// What follows `point` in `path`, its slash included.
pub fn below<'a>(path: &'a [u8], point: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(point.strip_suffix(b"/").unwrap_or(point))?;
    rest.starts_with(b"/").then_some(rest)
}
