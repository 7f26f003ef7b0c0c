//! redb files: how they are opened safely, and what becomes of damaged ones.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use redb::{Builder, ConcurrencyMode, Database, backends::FileBackend};

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Database { path: PathBuf, source: Box<redb::Error> },
    #[error("{path}: another process has been writing for too long")]
    Busy { path: PathBuf },
    #[error("{path}: another daemon has it")]
    Taken { path: PathBuf },
    #[error("{path}: it is of another version of lkm-monitor")]
    Format { path: PathBuf },
}

impl DatabaseError {
    pub(crate) fn new(path: &Path, source: redb::Error) -> Self {
        Self::Database { path: path.to_owned(), source: Box::new(source) }
    }

    /// The file holds what no daemon writes.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Database { source, .. } if is_damage(source))
    }
}

/// A database holds what no daemon writes.
pub(crate) fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted => true,
        redb::Error::Io(error) => matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
        redb::Error::TableTypeMismatch { .. } | redb::Error::TypeDefinitionChanged { .. } => true,
        _ => false,
    }
}

/// Device and inode of a file.
pub(crate) type Identity = (u64, u64);

/// Other processes of ours may open the file, too. `cache_bytes` of its pages stay in memory.
pub(crate) fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes).set_concurrency_mode(ConcurrencyMode::MultiWriter);
    builder
}

/// Opens the file, or makes it and its folder, for its owner alone.
pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<(Database, Identity), DatabaseError> {
    let error = |source| DatabaseError::File { path: path.to_owned(), source };
    let file = regular(path).map_err(error)?;
    let facts = file.metadata().map_err(error)?;
    let named = |source: redb::Error| DatabaseError::new(path, source);
    let backend = FileBackend::new(file).map_err(|error| named(error.into()))?;
    let database = builder(cache_bytes).create_with_backend(backend).map_err(|error| named(error.into()))?;
    Ok((database, (facts.dev(), facts.ino())))
}

/// Claims a file for as long as this is kept: of those who do that one has it. Others may open it.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    identity: Identity,
    /// Of a file beside it: redb has locks of its own on the file itself.
    _lock: fs::File,
}

impl Claim {
    pub(crate) fn on(path: &Path) -> Result<Self, DatabaseError> {
        let beside = with_suffix(path, ".lock");
        let error = |source| DatabaseError::File { path: beside.clone(), source };
        let lock = regular(&beside).map_err(error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(DatabaseError::Taken { path: path.to_owned() }),
            Err(fs::TryLockError::Error(source)) => return Err(error(source)),
        }
        let facts = lock.metadata().map_err(error)?;
        Ok(Self { identity: (facts.dev(), facts.ino()), path: beside, _lock: lock })
    }

    /// Whether nobody else can make the same claim.
    pub(crate) fn is_in_force(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }
}

/// Which file has the name now.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).map(|there| (there.dev(), there.ino())).ok()
}

/// Renames a damaged file, so that a new one can be made. The last one that was damaged is kept; its new name.
pub(crate) fn put_aside(path: &Path) -> Result<PathBuf, DatabaseError> {
    let aside = with_suffix(path, ".damaged");
    fs::rename(path, &aside).map_err(|source| DatabaseError::File { path: path.to_owned(), source })?;
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The file, made with its folder if it is not there. Nothing that makes who opens it wait, or that is known by another name.
fn regular(path: &Path) -> io::Result<fs::File> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut options = fs::OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() || facts.nlink() != 1 {
        return Err(io::Error::other("it is no regular file, or has another name besides"));
    }
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}
