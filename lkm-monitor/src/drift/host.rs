//! The host's files as a look reads them: no file system is entered that could keep who looks waiting, wherever links and mounts lead.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::inspect::contents::{HostFiles, NotThere};

/// The files below a root folder.
pub(super) struct Host {
    root: PathBuf,
    pub(super) files: Result<HostFiles, NotThere>,
}

impl Host {
    /// With the mounts that there are now.
    pub(super) fn open(root: &Path) -> Self {
        Self { root: root.to_owned(), files: HostFiles::open() }
    }

    /// A regular file, by its path below the root folder.
    pub(super) fn file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let files = self.files.as_ref().map_err(|why| io::Error::from(why.clone()))?;
        files.file(self.path(path.as_ref()).as_os_str().as_bytes())
    }

    /// The first `limit` bytes of a regular file.
    pub(super) fn read(&self, path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.file(path)?.take(limit).read_to_end(&mut content)?;
        Ok(content)
    }

    /// The inode of whatever has this path.
    pub(super) fn inode(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.files.as_ref().ok()?.inode(self.path(path.as_ref()).as_os_str().as_bytes())
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}
