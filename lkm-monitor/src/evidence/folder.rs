//! The folder of the store. Everything is done relative to the open folder: nobody can put another in its place meanwhile.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FlockOperation, Mode, OFlags},
    io::Errno,
};

use super::{
    name::Name,
    step::{self, Step},
};

/// Why the folder or a file in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path}: it is a symbolic link, or no folder; evidence would go to where somebody else wants it")]
    NoFolder { path: PathBuf },
    #[error("{path}: it belongs to user {uid}; it must belong to root, or to who runs the daemon")]
    Owner { path: PathBuf, uid: u32 },
    #[error("{path}: others than its owner can exchange files in it (mode {mode:04o}); it must be 0755 or less")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{path}: another daemon keeps its evidence there")]
    Held { path: PathBuf },
    #[error("cannot {what} {path}: {source}")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{path}: it is no regular file")]
    NotRegular { path: PathBuf },
    #[error("{path}: the folder was removed, renamed or mounted over: what is written to it nobody finds there")]
    Moved { path: PathBuf },
}

impl FolderError {
    /// Whether there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

#[derive(Debug)]
pub(super) struct Folder {
    pub(super) fd: OwnedFd,
    /// For messages.
    path: PathBuf,
}

impl Folder {
    /// An error if its path leads elsewhere by now.
    pub(super) fn make_sure_of_place(&self) -> Result<(), FolderError> {
        let identity = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        let is_there = rustix::fs::fstat(&self.fd).is_ok_and(|own| {
            rustix::fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|there| identity(there) == identity(own))
        });
        if is_there { Ok(()) } else { Err(FolderError::Moved { path: self.path.clone() }) }
    }

    /// Opens the folder to read it, whosever it is.
    pub(super) fn open_to_read(path: &Path) -> Result<Self, FolderError> {
        Self::open(path, OFlags::empty())
    }

    /// Opens the folder to write to it, for nobody else to do so until it is closed, and makes it where there is none. Refuses one that
    /// could be somebody else's.
    pub(super) fn open_to_write(path: &Path) -> Result<Self, FolderError> {
        // With a slash at its end, a link would be followed.
        let path: &Path = &path.components().collect::<PathBuf>();
        match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(FolderError::Open { path: path.to_owned(), source: error.into() }),
        }
        let folder = Self::open(path, OFlags::NOFOLLOW)?;
        let failed = |error: Errno| FolderError::Open { path: path.to_owned(), source: error.into() };
        let stat = rustix::fs::fstat(&folder.fd).map_err(failed)?;
        let (uid, mode) = (stat.st_uid, stat.st_mode & 0o7777);
        if uid != 0 && uid != rustix::process::geteuid().as_raw() {
            return Err(FolderError::Owner { path: path.to_owned(), uid });
        }
        if mode & 0o022 != 0 {
            return Err(FolderError::Exposed { path: path.to_owned(), mode });
        }
        match rustix::fs::flock(&folder.fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Err(FolderError::Held { path: path.to_owned() }),
            // Where a file system knows no locks, settings are all that keeps daemons apart.
            Ok(()) | Err(_) => Ok(folder),
        }
    }

    fn open(path: &Path, flags: OFlags) -> Result<Self, FolderError> {
        let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path: path.to_owned() }),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(FolderError::NoFolder { path: path.to_owned() }),
            Err(error) => Err(FolderError::Open { path: path.to_owned(), source: error.into() }),
        }
    }

    /// A file of ours, and what it is. Never waits for the other end of a pipe.
    pub(super) fn open_file(&self, name: Name) -> Result<(File, Metadata), FolderError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let not_regular = || FolderError::NotRegular { path: self.path.join(name.text()) };
        let file = match rustix::fs::openat(&self.fd, name.text(), flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            // A symbolic link; a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(not_regular()),
            Err(error) => return Err(self.failed("open", &name.text(), error)),
        };
        let metadata = file.metadata().map_err(|error| self.failed("look at", &name.text(), error))?;
        if metadata.is_file() { Ok((file, metadata)) } else { Err(not_regular()) }
    }

    /// The first `max_bytes` bytes of a file of ours.
    pub(super) fn read_file(&self, name: Name, max_bytes: u64) -> Result<Vec<u8>, FolderError> {
        let (file, _) = self.open_file(name)?;
        let mut content = Vec::new();
        file.take(max_bytes).read_to_end(&mut content).map_err(|error| self.failed("read", &name.text(), error))?;
        Ok(content)
    }

    /// Bytes that a file of ours has.
    pub(super) fn size(&self, name: Name) -> Result<u64, FolderError> {
        let stat = rustix::fs::statat(&self.fd, name.text(), AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|error| self.failed("look at", &name.text(), error))?;
        Ok(u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), FolderError> {
        let removed = step::before(Step::Remove)
            .and_then(|()| rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()).map_err(io::Error::from));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", name, error)),
            _ => Ok(()),
        }
    }

    /// Returns when the names are on the disk.
    pub(super) fn sync(&self) -> Result<(), FolderError> {
        step::before(Step::SyncFolder)
            .and_then(|()| rustix::fs::fsync(&self.fd).map_err(io::Error::from))
            .map_err(|source| FolderError::File { what: "sync", path: self.path.clone(), source })
    }

    /// Bytes of the file system that are free for us.
    pub(super) fn free_bytes(&self) -> Result<u64, FolderError> {
        let stat = rustix::fs::fstatvfs(&self.fd)
            .map_err(|error| FolderError::Open { path: self.path.clone(), source: error.into() })?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    pub(super) fn failed(&self, what: &'static str, name: &str, source: impl Into<io::Error>) -> FolderError {
        FolderError::File { what, path: self.path.join(name), source: source.into() }
    }
}

#[cfg(test)]
mod tests;
