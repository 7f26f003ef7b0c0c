//! All of a batch, or nothing of it.

use std::{
    fs::File,
    io::{self, Write},
};

/// A file that is written at its end. Tests have one that fails.
pub trait Storage: Write + From<File> + Send {
    /// Makes it `len` bytes long again.
    fn cut(&self, len: u64) -> io::Result<()>;
    /// Returns when the disk has what was written.
    fn sync(&self) -> io::Result<()>;
    /// Lets others lock it.
    fn unlock(&self) -> io::Result<()>;
}

impl Storage for File {
    fn cut(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn unlock(&self) -> io::Result<()> {
        Self::unlock(self)
    }
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub(in crate::sinks) enum AppendError {
    #[error("cannot write: {0}")]
    Nothing(io::Error),
    #[error("cannot write: {write}, and cannot cut what was written of it: {cut}")]
    Torn { write: io::Error, cut: io::Error },
}

impl AppendError {
    /// Whether the file is as it was.
    pub(super) const fn is_clean(&self) -> bool {
        matches!(self, Self::Nothing(_))
    }
}

/// Appends `bytes` to a file that is `len` bytes long.
pub(super) fn append(storage: &mut impl Storage, len: u64, bytes: &[u8], sync: bool) -> Result<(), AppendError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = storage.write_all(bytes).and_then(|()| if sync { storage.sync() } else { Ok(()) });
    written.map_err(|write| match storage.cut(len) {
        Ok(()) => AppendError::Nothing(write),
        Err(cut) => AppendError::Torn { write, cut },
    })
}
