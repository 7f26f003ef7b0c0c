//! Opening files by paths that others rule over, of the host and of other mount namespaces.
//!
//! A walk must end: it goes through no symbolic link (the kernel's paths have none), and enters a mount only if the table of
//! mounts says that its file system answers by itself. Somebody who mounts another one in its place meanwhile is found out by
//! the mount's id before anything is asked of it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat, readlinkat},
    io::Errno,
};

use super::mount_table::{FileSystem, Mount, MountTable, rest};

/// A directory tree as one mount namespace shows it.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    /// The mount on which `root` lies.
    start: u64,
    table: MountTable,
    /// Only root mounts in it, so that an overlay lies on what the host's root put there.
    own: bool,
}

/// Something in a tree, opened without any effect on it (O_PATH).
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    pub(super) mount: Mount,
}

/// Why a path leads to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    Gone,
    /// A symbolic link stands in the place of a folder.
    Detour,
    /// A file system on the way could make us wait.
    Slow,
    /// Mounts changed meanwhile.
    Stale,
    Unreachable,
    /// This process may not look there.
    Denied,
    Failed,
}

/// File systems that answer without asking another process or machine.
const LOCAL: &[&str] = &[
    "bcachefs",
    "btrfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "exfat",
    "ext2",
    "ext3",
    "ext4",
    "f2fs",
    "iso9660",
    "jfs",
    "msdos",
    "nilfs2",
    "ntfs3",
    "proc",
    "ramfs",
    "reiserfs",
    "rootfs",
    "securityfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
    "udf",
    "vfat",
    "xfs",
    "zfs",
];

/// Mount tables are cut here.
const MAX_TABLE_BYTES: u64 = 16 << 20;

impl Tree {
    /// What the host shows: process 1, or without the right to look through its eyes the daemon itself.
    pub(super) fn host() -> Result<Self, Miss> {
        let of_first = || Self::read(open_folder(CWD, "/proc/1/root")?, Path::new("/proc/1/mountinfo"), true);
        let own = || Self::read(open_folder(CWD, "/")?, Path::new("/proc/self/mountinfo"), true);
        of_first().or_else(|_| own()).map_err(|_| Miss::Failed)
    }

    /// What a process of the mount namespace with this number shows. By this id there may be another process by now, of any
    /// namespace.
    pub(super) fn of_process(pid: u32, namespace: u32) -> Result<Self, Miss> {
        // Whatever is opened in this folder is the same process's.
        let process = open_folder(CWD, format!("/proc/{pid}")).map_err(|_| Miss::Unreachable)?;
        let read = || {
            let root = open_folder(&process, "root")?;
            let link = readlinkat(&process, "ns/mnt", Vec::new())?;
            if link.as_bytes() != format!("mnt:[{namespace}]").as_bytes() {
                return Err(Errno::SRCH.into());
            }
            Self::read(root, &of_fd(&process).join("mountinfo"), false)
        };
        read().map_err(|_: io::Error| Miss::Unreachable)
    }

    fn read(root: OwnedFd, table: &Path, own: bool) -> io::Result<Self> {
        let start = mount_id(root.as_fd())?;
        let mut mountinfo = Vec::new();
        File::open(table)?.take(MAX_TABLE_BYTES).read_to_end(&mut mountinfo)?;
        Ok(Self { root, start, table: MountTable::new(mountinfo), own })
    }

    /// The paths by which this tree shows a file, see [`MountTable::resolve`].
    pub(super) fn resolve(&self, file_system: FileSystem, path: &[u8]) -> Vec<Vec<u8>> {
        self.table.resolve(self.start, file_system, path)
    }

    /// Opens what has this path.
    pub(super) fn open(&self, path: &[u8]) -> Result<Opened, Miss> {
        if !is_plain(path) {
            return Err(Miss::Failed);
        }
        let mut way = self.table.way(self.start, path).ok_or(Miss::Unreachable)?.into_iter();
        let mut mount = way.next().ok_or(Miss::Slow)?;
        // Whoever has the host's root makes all programs wait. On the way to another mount nothing is asked of it but where that is.
        let goes_on = way.len() > 0;
        if !self.trusts(&mount) && !(self.own && goes_on) {
            return Err(Miss::Slow);
        }
        let mut folder = self.root.try_clone().map_err(|_| Miss::Failed)?;
        for next in way {
            if !self.trusts(&next) {
                return Err(Miss::Slow);
            }
            let step = rest(&next.point, &mount.point).ok_or(Miss::Stale)?;
            folder = enter(folder, step, next.id)?;
            mount = next;
        }
        let last = rest(path, &mount.point).ok_or(Miss::Stale)?;
        let fd = if matches!(last, b"" | b"/") { folder } else { walk(folder.as_fd(), last)? };
        Ok(Opened { fd, mount })
    }

    fn trusts(&self, mount: &Mount) -> bool {
        // An overlay asks the file systems that it lies on. Where others than root can mount, they can be anything.
        (self.own && mount.kind == b"overlay") || LOCAL.iter().any(|kind| kind.as_bytes() == mount.kind)
    }
}

impl Opened {
    /// Opens the very same file or folder for reading. The times of the file stay as they are, as far as its file system lets
    /// us choose.
    pub(super) fn reopen(&self) -> io::Result<File> {
        let path = of_fd(&self.fd);
        // Neither who holds a lease on the file makes us wait, nor does anything become our terminal.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = match openat(CWD, &path, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => openat(CWD, &path, flags, Mode::empty()),
            opened => opened,
        };
        Ok(File::from(opened?))
    }

    /// The names in a folder, at most `limit`.
    pub(super) fn names(&self, limit: usize) -> io::Result<Vec<Vec<u8>>> {
        use std::os::unix::ffi::OsStringExt as _;
        let entries = fs::read_dir(of_fd(&self.fd))?.take(limit);
        entries.map(|entry| Ok(entry?.file_name().into_vec())).collect()
    }
}

/// An absolute path without empty parts and parts that lead back.
fn is_plain(path: &[u8]) -> bool {
    let Some(parts) = path.strip_prefix(b"/") else { return false };
    path == b"/" || parts.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// The mount with this id, whose mount point is at `step` from `folder`.
fn enter(folder: OwnedFd, step: &[u8], id: u64) -> Result<OwnedFd, Miss> {
    let name = step.iter().rposition(|byte| *byte == b'/').ok_or(Miss::Stale)?;
    let (above, name) = step.split_at(name);
    let above = if above.is_empty() { folder } else { walk(folder.as_fd(), above)? };
    open_part(above.as_fd(), name.strip_prefix(b"/").unwrap_or(name), id)
}

/// Opens what is at `step`, which begins with a slash, from `folder`, on the same mount.
///
/// This is what `openat2` does that may neither leave the mount nor follow a link. That call is not used: a service manager that
/// forbids set-user-id files forbids it as a whole (`RestrictSUIDSGID=` in systemd.exec(5)).
fn walk(folder: BorrowedFd<'_>, step: &[u8]) -> Result<OwnedFd, Miss> {
    let id = mount_id(folder).map_err(|_| Miss::Failed)?;
    let mut parts = step.strip_prefix(b"/").unwrap_or(step).split(|byte| *byte == b'/');
    let first = open_part(folder, parts.next().unwrap_or_default(), id)?;
    parts.try_fold(first, |folder, part| open_part(folder.as_fd(), part, id))
}

/// Opens one part of a path, which has to lie on, or be, the mount with this id. A mount that is not wanted is not asked anything.
fn open_part(folder: BorrowedFd<'_>, part: &[u8], id: u64) -> Result<OwnedFd, Miss> {
    let opened = openat(folder, part, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(|error| match error {
        Errno::NOENT => Miss::Gone,
        Errno::NOTDIR if readlinkat(folder, "", Vec::new()).is_ok() => Miss::Detour,
        Errno::NOTDIR => Miss::Gone,
        Errno::ACCESS | Errno::PERM => Miss::Denied,
        _ => Miss::Failed,
    })?;
    match mount_id(opened.as_fd()) {
        Ok(found) if found == id => Ok(opened),
        Ok(_) => Err(Miss::Stale),
        Err(_) => Err(Miss::Failed),
    }
}

fn open_folder(at: impl AsFd, path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    Ok(openat(at, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The path by which the kernel gives what we have open.
fn of_fd(fd: &OwnedFd) -> std::path::PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// On which mount something open lies. Other than with `statx`, its file system is not asked.
fn mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).and_then(|id| id.trim().parse().ok());
    id.ok_or_else(|| io::Error::other("the kernel does not tell the mount of an open file"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt as _, fs::symlink};

    use super::*;

    fn bytes(path: &Path) -> &[u8] {
        path.as_os_str().as_bytes()
    }

    #[test]
    fn files_are_found_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let folder_path = folder.path().canonicalize().unwrap();
        let path = folder_path.join("x.ko");
        fs::write(&path, "content").unwrap();
        let tree = Tree::host().unwrap();
        let opened = tree.open(bytes(&path)).unwrap();
        let mut content = String::new();
        opened.reopen().unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        assert_eq!(tree.open(bytes(&folder_path)).unwrap().names(10).unwrap(), [b"x.ko"]);
        assert_eq!(tree.open(bytes(&folder_path.join("y"))).unwrap_err(), Miss::Gone);
        assert_eq!(tree.open(bytes(&path.join("y"))).unwrap_err(), Miss::Gone);
        assert!(tree.open(b"/").is_ok());
        // Another mount.
        assert_eq!(tree.open(b"/proc/sys/kernel/ostype").unwrap().mount.kind, b"proc");
    }

    #[test]
    fn no_symbolic_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let folder_path = folder.path().canonicalize().unwrap();
        symlink("/etc", folder_path.join("link")).unwrap();
        let tree = Tree::host().unwrap();
        assert_eq!(tree.open(bytes(&folder_path.join("link/passwd"))).unwrap_err(), Miss::Detour);
        let link = tree.open(bytes(&folder_path.join("link"))).unwrap();
        assert_eq!(readlinkat(&link.fd, "", Vec::new()).unwrap().as_bytes(), b"/etc");
    }

    #[test]
    fn paths_that_lead_back_are_refused() {
        let tree = Tree::host().unwrap();
        for path in ["", "etc", "/etc/../etc", "/etc//passwd", "/./etc", "/etc/", "/\0"] {
            assert_eq!(tree.open(path.as_bytes()).unwrap_err(), Miss::Failed, "{path}");
        }
    }

    #[test]
    fn mounts_that_are_not_those_of_the_table_are_not_entered() {
        let tree = |mountinfo: &str| {
            let root = open_folder(CWD, "/").unwrap();
            let start = mount_id(root.as_fd()).unwrap();
            let mountinfo = mountinfo.replace("START", &start.to_string()).into_bytes();
            Tree { root, start, table: MountTable::new(mountinfo), own: false }
        };
        let unknown = tree("START 1 0:1 / / rw - ext4 x rw\n");
        assert_eq!(unknown.open(b"/proc/version").unwrap_err(), Miss::Stale);
        let other = tree("START 1 0:1 / / rw - ext4 x rw\n9999 START 0:2 / /proc rw - tmpfs x rw\n");
        assert_eq!(other.open(b"/proc/version").unwrap_err(), Miss::Stale);
        let slow = tree("START 1 0:1 / / rw - ext4 x rw\n9999 START 0:2 / /proc rw - fuse.x x rw\n");
        assert_eq!(slow.open(b"/proc/version").unwrap_err(), Miss::Slow);
        let overlay = tree("START 1 0:1 / / rw - overlay x rw\n");
        assert_eq!(overlay.open(b"/etc").unwrap_err(), Miss::Slow, "not in another namespace");
        assert_eq!(Tree { own: true, ..overlay }.open(b"/etc").map(|opened| opened.mount.kind).unwrap(), b"overlay");
        assert_eq!(tree("").open(b"/etc").unwrap_err(), Miss::Unreachable);
        let proc = mount_id(open_folder(CWD, "/proc").unwrap().as_fd()).unwrap();
        let table = format!("START 1 0:1 / / rw - nfs4 x rw\n{proc} START 0:2 / /proc rw - proc x rw\n");
        assert_eq!(tree(&table).open(b"/proc/version").unwrap_err(), Miss::Slow);
        let of_host = Tree { own: true, ..tree(&table) };
        assert!(of_host.open(b"/proc/version").is_ok(), "through a root of another machine");
        assert_eq!(of_host.open(b"/etc").unwrap_err(), Miss::Slow);
    }

    #[test]
    fn processes_of_other_namespaces_are_not_taken() {
        let pid = std::process::id();
        let link = fs::read_link("/proc/self/ns/mnt").unwrap();
        let number: u32 = link.to_str().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        assert!(Tree::of_process(pid, number).is_ok());
        assert_eq!(Tree::of_process(pid, number + 1).unwrap_err(), Miss::Unreachable);
        assert_eq!(Tree::of_process(u32::MAX, number).unwrap_err(), Miss::Unreachable);
    }
}
