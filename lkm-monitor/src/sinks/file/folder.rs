//! The folder of the file, and the names in it. Everything is done relative to the open folder: nobody can put another in its place meanwhile.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Permissions, TryLockError},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown},
        },
    },
    path::{Path, PathBuf},
};

use jiff::{Timestamp, ToSpan as _, civil::DateTime};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};

use super::FileError;

/// The time in the name of a renamed file, in UTC. Such names sort by their age.
const TIME: &str = "%Y%m%dT%H%M%S.%6fZ";
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// Device and inode.
pub(super) type FileId = (u64, u64);

pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    name: OsString,
}

impl Folder {
    /// Opens the folder that holds `file`, and makes it where there is none, for `group` to enter. Refuses one in which others could
    /// exchange files.
    pub(super) fn open(file: &Path, group: Option<u32>) -> Result<Self, FileError> {
        let no_name = || FileError::NoName { path: file.to_owned() };
        let (path, name) = (file.parent().ok_or_else(no_name)?, file.file_name().ok_or_else(no_name)?);
        let failed = |source| FileError::Folder { path: path.to_owned(), source };
        let made = match std::fs::DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => false,
            created => created.map(|()| true).map_err(failed)?,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| failed(error.into()))?;
        if made && let Some(group) = group.filter(|group| *group != stat.st_gid) {
            fchown(&fd, None, Some(group)).map_err(|source| {
                // The next attempt would take it for somebody else's, which keeps its group.
                let _ = std::fs::remove_dir(path);
                failed(source)
            })?;
        }
        let (uid, mode) = (stat.st_uid, stat.st_mode & 0o7777);
        if mode & 0o022 != 0 || (uid != 0 && uid != rustix::process::geteuid().as_raw()) {
            return Err(FileError::Exposed { path: path.to_owned(), uid, mode });
        }
        Ok(Self { fd, path: path.to_owned(), name: name.to_owned() })
    }

    /// The file of today and its length, if it is there.
    pub(super) fn find(&self) -> Result<Option<(FileId, u64)>, FileError> {
        match rustix::fs::statat(&self.fd, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(((stat.st_dev, stat.st_ino), u64::try_from(stat.st_size).unwrap_or_default()))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("look at", &self.name, error)),
        }
    }

    /// Opens the file of today, if it is there, for nobody else to write to.
    pub(super) fn open_file(&self) -> Result<Option<File>, FileError> {
        match self.open_regular(&self.name, OFlags::RDWR | OFlags::APPEND) {
            Err(FileError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.and_then(|file| self.lock(file)).map(Some),
        }
    }

    /// Two writers would cut each other's lines, and each rename the other's file. Held until the file is closed.
    fn lock(&self, file: File) -> Result<File, FileError> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(FileError::Held { path: self.path.join(&self.name) }),
            // Where a file system knows no locks, settings are all that keeps sinks apart.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        }
    }

    pub(super) fn open_rotated(&self, name: &OsStr) -> Result<File, FileError> {
        self.open_regular(name, OFlags::RDONLY)
    }

    /// Not waiting for the other end of a pipe.
    fn open_regular(&self, name: &OsStr, access: OFlags) -> Result<File, FileError> {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        let not_regular = || FileError::NotRegular { path: self.path.join(name) };
        let file = match opened {
            Ok(fd) => File::from(fd),
            // A symbolic link; a folder; a socket.
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::ISDIR | rustix::io::Errno::NXIO) => {
                return Err(not_regular());
            }
            Err(error) => return Err(self.failed("open", name, error)),
        };
        let metadata = file.metadata().map_err(|error| self.failed("look at", name, error))?;
        if metadata.is_file() { Ok(file) } else { Err(not_regular()) }
    }

    /// Makes the file of today, which must not be there, for nobody else to write to.
    pub(super) fn create(&self) -> Result<File, FileError> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = rustix::fs::openat(&self.fd, &self.name, flags, Mode::from_raw_mode(0o600));
        let created = created.map(File::from).map_err(|error| self.failed("make", &self.name, error))?;
        self.lock(created)
    }

    /// Gives the file of today its mode and group, whatever it had.
    pub(super) fn secure(&self, file: &File, group: Option<u32>) -> Result<FileId, FileError> {
        let wanted = group.unwrap_or(rustix::process::getegid().as_raw());
        let secured = file
            .metadata()
            // Services may be forbidden even what changes nothing.
            .and_then(|there| if there.gid() == wanted { Ok(()) } else { fchown(file, None, Some(wanted)) })
            .and_then(|()| file.set_permissions(Permissions::from_mode(FILE_MODE)))
            .and_then(|()| file.metadata());
        let metadata = secured.map_err(|error| self.failed("give mode and group to", &self.name, error))?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// Renames the file of today: `events.ndjson` to `events-20260102T030405.000000Z.ndjson`.
    pub(super) fn retire(&self, now: Timestamp) -> Result<(), FileError> {
        let rotated = self.rotated()?;
        // Later than all others, whatever the clock says: the names tell which is the oldest.
        let last = rotated.last().and_then(|name| self.time_of(name));
        let now = last.map_or(now, |last| now.max(last.saturating_add(1.microsecond()).unwrap_or(now)));
        let (before, after) = self.around_time();
        let name = [before.as_slice(), now.strftime(TIME).to_string().as_bytes(), after.as_slice()].concat();
        rustix::fs::renameat(&self.fd, &self.name, &self.fd, OsStr::from_bytes(&name))
            .map_err(|error| self.failed("rename", &self.name, error))
    }

    /// Renames a file that is not ours: `events.ndjson` to `events.ndjson.aside-20260102T030405.000000Z`. It is none of those that are
    /// removed.
    pub(super) fn put_aside(&self, now: Timestamp) -> Result<(), FileError> {
        let name = [self.name.as_bytes(), b".aside-", now.strftime(TIME).to_string().as_bytes()].concat();
        rustix::fs::renameat(&self.fd, &self.name, &self.fd, OsStr::from_bytes(&name))
            .map_err(|error| self.failed("put aside", &self.name, error))
    }

    /// Names of the renamed files, oldest first.
    pub(super) fn rotated(&self) -> Result<Vec<OsString>, FileError> {
        let failed = |error: rustix::io::Errno| FileError::Folder { path: self.path.clone(), source: error.into() };
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let name = OsString::from_vec(entry.map_err(failed)?.file_name().to_bytes().to_owned());
            if self.time_of(&name).is_some() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn size(&self, name: &OsStr) -> Result<u64, FileError> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|error| self.failed("look at", name, error))?;
        Ok(u64::try_from(stat.st_size).unwrap_or_default())
    }

    pub(super) fn remove(&self, name: &OsStr) -> Result<(), FileError> {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()).map_err(|error| self.failed("remove", name, error))
    }

    /// Removes the file of today, which could not be begun. The first error is the one that tells.
    pub(super) fn discard(&self) {
        let _ = self.remove(&self.name);
    }

    /// Returns when the names are on the disk.
    pub(super) fn sync(&self) -> Result<(), FileError> {
        rustix::fs::fsync(&self.fd).map_err(|error| FileError::Folder { path: self.path.clone(), source: error.into() })
    }

    /// When a file was renamed; `None` for files that are not ours.
    fn time_of(&self, name: &OsStr) -> Option<Timestamp> {
        let (before, after) = self.around_time();
        let time = name.as_bytes().strip_prefix(before.as_slice())?.strip_suffix(after.as_slice())?;
        let time = DateTime::strptime(TIME, time).ok()?;
        time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp())
    }

    /// What stands around the time in the name of a renamed file.
    fn around_time(&self) -> (Vec<u8>, Vec<u8>) {
        let name = Path::new(&self.name);
        let stem = name.file_stem().unwrap_or_default().as_bytes();
        let after = name.extension().map(|extension| [b".", extension.as_bytes()].concat());
        ([stem, b"-"].concat(), after.unwrap_or_default())
    }

    fn failed(&self, what: &'static str, name: &OsStr, source: impl Into<io::Error>) -> FileError {
        FileError::File { what, path: self.path.join(name), source: source.into() }
    }
}
