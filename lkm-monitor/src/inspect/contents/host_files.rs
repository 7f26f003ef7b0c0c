//! Looks at files of the host of which nobody says that they changed: by name, once, with the same care.

use std::{
    fmt,
    fs::File,
    io::{self, ErrorKind},
};

use rustix::fs::FileType;

use super::{
    compare::{Versions, compare, tell_unsearched},
    follow::{self, Followed},
    modules::Modules,
    read::{Found, Wanted, examine, glance, is_folder},
    tree::{Miss, Tree},
};
use crate::model::{Content, ContentStatus, FileState, Subject};

/// Why nothing is found behind a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotThere {
    #[error("there is nothing by this name")]
    Gone,
    #[error("its file system may never answer (network, FUSE, or one that is not known)")]
    Slow,
    #[error("permission denied")]
    Denied,
    #[error("it cannot be opened, or leads through too many links")]
    Failed,
}

impl From<Miss> for NotThere {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Gone => Self::Gone,
            Miss::Slow => Self::Slow,
            Miss::Denied => Self::Denied,
            Miss::Detour | Miss::Stale | Miss::Unreachable | Miss::Failed => Self::Failed,
        }
    }
}

impl From<NotThere> for io::Error {
    fn from(why: NotThere) -> Self {
        let kind = match why {
            NotThere::Gone => ErrorKind::NotFound,
            NotThere::Slow => ErrorKind::Unsupported,
            NotThere::Denied => ErrorKind::PermissionDenied,
            NotThere::Failed => ErrorKind::Other,
        };
        Self::new(kind, why)
    }
}

/// What of a file's content is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// Of 64 KiB or less.
    ShortText,
    /// Of 64 MiB or less, as much as is read of any file.
    All,
}

/// One look at a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub status: ContentStatus,
    pub state: FileState,
    /// Major and minor number of the file system.
    pub device: (u32, u32),
    /// All of the content where it was to be kept and was read.
    pub content: Option<Vec<u8>>,
    /// Why the system refused, where the status is that it did.
    pub refusal: Option<String>,
}

/// The files of the host as process 1 sees them; for who may not look through its eyes, as this process does.
pub struct HostFiles {
    tree: Tree,
    modules: Modules,
}

impl HostFiles {
    /// Reads the table of mounts: what is mounted later is not entered.
    pub fn open() -> Result<Self, NotThere> {
        Ok(Self { tree: Tree::host()?, modules: Modules::of_running_kernel() })
    }

    /// The path without links that an absolute path leads to. The last part may be a link too. No file system is entered that could make
    /// us wait, and what stands behind the root stays there.
    pub fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, NotThere> {
        Ok(follow::to_the_end(&self.tree, path)?.path)
    }

    /// What a folder is called without links, and the names in it, at most `limit`, sorted.
    pub fn names(&self, folder: &[u8], limit: usize) -> Result<(Vec<u8>, Vec<Vec<u8>>), NotThere> {
        let Followed { path, opened } = follow::to_the_end(&self.tree, folder)?;
        let mut names = opened.names(limit).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => NotThere::Gone,
            ErrorKind::PermissionDenied => NotThere::Denied,
            _ => NotThere::Failed,
        })?;
        names.sort_unstable();
        Ok((path, names))
    }

    /// The regular file that an absolute path leads to, opened for reading. Anything else in its place is an error of kind `InvalidInput`.
    pub fn file(&self, path: &[u8]) -> io::Result<File> {
        let Followed { opened, .. } = follow::to_the_end(&self.tree, path).map_err(NotThere::from)?;
        // Of a device or a pipe that is known before it is opened.
        match glance(&opened) {
            Some(state) if FileType::from_raw_mode(state.mode) == FileType::RegularFile => opened.reopen(),
            Some(_) => Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file")),
            None => Err(NotThere::Failed.into()),
        }
    }

    /// The inode of what an absolute path leads to.
    pub fn inode(&self, path: &[u8]) -> Option<u64> {
        let Followed { opened, .. } = follow::to_the_end(&self.tree, path).ok()?;
        Some(glance(&opened)?.inode)
    }

    /// What the file of this path without links is, with the SHA-256 of what it holds. A link is not followed: what it says is in `state`. Of
    /// a kernel setting there is no hash, and always the content. A folder is no file.
    pub fn look(&self, path: &[u8], keep: Keep) -> Result<Seen, NotThere> {
        let opened = self.tree.open(path)?;
        if is_folder(&opened) {
            return Err(NotThere::Gone);
        }
        let wanted = Wanted { text: keep == Keep::ShortText, whole: keep == Keep::All, ..Wanted::default() };
        let Found { status, state, text } = examine(&opened, wanted);
        let state = state.ok_or(NotThere::Failed)?;
        let refused = (status == ContentStatus::Failed).then(|| opened.reopen().err()).flatten();
        let refusal = refused.map(|error| error.kind().to_string());
        Ok(Seen { status, state, device: opened.mount.device, content: text, refusal })
    }

    /// What is dangerous in the whole of this text, as the rules for changed files have it: clauses, the gravest first.
    pub fn dangers(&mut self, subject: Subject, content: Option<&[u8]>) -> Vec<String> {
        let mut told = Content::default();
        match content {
            Some(_) => compare(subject, Versions { before: None, after: content }, &mut self.modules, &mut told),
            None => tell_unsearched(subject, &mut told),
        }
        told.dangers
    }
}

impl fmt::Debug for HostFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HostFiles").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Read as _,
        os::unix::{ffi::OsStrExt as _, fs::symlink},
        path::Path,
    };

    use super::*;

    fn bytes(path: &Path) -> &[u8] {
        path.as_os_str().as_bytes()
    }

    #[test]
    fn links_are_followed_as_the_kernel_does() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("usr/lib/modprobe.d")).unwrap();
        fs::write(root.join("usr/lib/modprobe.d/a.conf"), "blacklist a\n").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink(root.join("lib/../lib/./modprobe.d"), root.join("absolute")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        symlink("nothing", root.join("dangling")).unwrap();
        let files = HostFiles::open().unwrap();
        let resolved = |path: &str| files.resolve(bytes(&root.join(path)));
        let canonical = bytes(&root.join("usr/lib/modprobe.d/a.conf")).to_vec();
        for path in
            ["usr/lib/modprobe.d/a.conf", "lib/modprobe.d/a.conf", "absolute/a.conf", "lib//./modprobe.d/a.conf"]
        {
            assert_eq!(resolved(path), Ok(canonical.clone()), "{path}");
        }
        assert_eq!(resolved("circle"), Err(NotThere::Failed));
        assert_eq!(resolved("dangling"), Err(NotThere::Gone));
        assert_eq!(files.resolve(b"/../.."), Ok(b"/".to_vec()));

        let seen = files.look(&canonical, Keep::ShortText).unwrap();
        assert_eq!((seen.status, seen.content.as_deref()), (ContentStatus::Read, Some(&b"blacklist a\n"[..])));
        assert!(seen.state.sha256.is_some());
        let (path, names) = files.names(bytes(&root.join("lib/..")), 10).unwrap();
        assert_eq!(path, bytes(&root.join("usr")));
        assert_eq!(names, [b"lib"]);
        assert_eq!(files.names(&canonical, 10), Err(NotThere::Gone));

        let mut content = String::new();
        files.file(bytes(&root.join("absolute/a.conf"))).unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "blacklist a\n");
        let refused = |path: &str| files.file(bytes(&root.join(path))).unwrap_err().kind();
        assert_eq!(refused("dangling"), io::ErrorKind::NotFound);
        assert_eq!(refused("usr"), io::ErrorKind::InvalidInput);
        let fifo = root.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert_eq!(refused("pipe"), io::ErrorKind::InvalidInput, "and nobody waits");
        let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(root.join("usr")).unwrap());
        assert_eq!(files.inode(bytes(&root.join("lib/.."))), Some(inode));
        let read = |path: &str| files.file(path.as_bytes()).is_ok();
        assert_eq!([read("/proc/self/root/proc/version"), read("/proc/version")], [true; 2]);
    }

    #[test]
    fn the_dangers_of_a_whole_file_are_told() {
        let mut files = HostFiles::open().unwrap();
        let found = files.dangers(Subject::Modprobe, Some(b"install a /bin/x\n"));
        assert_eq!(found, ["an install command for a runs \"/bin/x\""]);
        assert_eq!(files.dangers(Subject::Modprobe, None).len(), 1);
        assert!(files.dangers(Subject::Pam, None).is_empty());
    }
}
