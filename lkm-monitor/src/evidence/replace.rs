//! A file that takes the place of the one before: after a crash at any moment, one of them is there and whole.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use rustix::fs::{Mode, OFlags};

use super::{
    folder::{Folder, FolderError},
    name::Name,
    step::{self, Step},
};

/// Bytes that are written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A file that nobody sees under its name until [`Self::commit`] or [`Self::place`]. It is removed when it is dropped before.
pub(super) struct Draft<'a> {
    folder: &'a Folder,
    name: Name,
    /// Bytes that it has.
    pub(super) bytes: u64,
    is_committed: bool,
}

impl<'a> Draft<'a> {
    /// Writes all of a file, for its owner alone; it is on the disk when this returns.
    pub(super) fn write(
        folder: &'a Folder,
        name: Name,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Self, FolderError> {
        let new = name.new_text();
        // What a crash left, or somebody put there, is not written into.
        folder.remove(&new)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = step::before(Step::Create)
            .and_then(|()| Ok(rustix::fs::openat(&folder.fd, &new, flags, Mode::RUSR | Mode::WUSR)?))
            .map_err(|error| folder.failed("make", &new, error))?;
        let mut draft = Self { folder, name, bytes: 0, is_committed: false };
        let mut writer = BufWriter::with_capacity(CHUNK_BYTES, Stepped { file: file.into(), bytes: 0 });
        content(&mut writer)
            .and_then(|()| writer.into_inner().map_err(io::IntoInnerError::into_error))
            .and_then(|stepped| {
                draft.bytes = stepped.bytes;
                step::before(Step::SyncFile)?;
                stepped.file.sync_all()
            })
            .map_err(|error| folder.failed("write", &new, error))?;
        Ok(draft)
    }

    /// Puts the file in its place; it is there to stay when this returns.
    pub(super) fn commit(self) -> Result<(), FolderError> {
        let folder = self.folder;
        self.place()?;
        folder.sync()
    }

    /// Puts the file in its place; it is there to stay when the folder is synced.
    pub(super) fn place(mut self) -> Result<(), FolderError> {
        let (new, name) = (self.name.new_text(), self.name.text());
        step::before(Step::Rename)
            .and_then(|()| Ok(rustix::fs::renameat(&self.folder.fd, &new, &self.folder.fd, &name)?))
            .map_err(|error| self.folder.failed("rename", &new, error))?;
        self.is_committed = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            // The first error is the one that tells; what is left is removed before the next attempt.
            let _ = self.folder.remove(&self.name.new_text());
        }
    }
}

/// Counts what is written.
struct Stepped {
    file: File,
    bytes: u64,
}

impl Write for Stepped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = step::before(Step::Write) {
            // A disk that is full takes what it can.
            let part = bytes.get(..bytes.len() / 2).unwrap_or_default();
            return self.file.write_all(part).and(Err(error));
        }
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
