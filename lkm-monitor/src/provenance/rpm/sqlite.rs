//! The database of rpm since 4.16, a file of SQLite (rpm's `lib/backend/sqlite.cc`): table `Packages` has the header of each package,
//! table `Basenames` tells for the last part of a path which file of which header it may be.
//!
//! Nothing is written, and no file created. When rpm is not at work, its write-ahead log is empty, and the file alone is read as one that
//! nobody changes (`immutable`), without a lock; whether somebody did is looked at afterwards. When the log is not empty, SQLite reads it as
//! well, through the index in shared memory that rpm made, which is opened for reading only (`readonly_shm`). All that SQLite then does to
//! the files, if it runs as root, is to give the log and the index to the owner of the database, who has them already.
//!
//! SQLite is C, and runs here with the rights of the daemon. Only root can write the file, who needs no mistake of SQLite to do what
//! the daemon may do; SQLite is tested against damaged files, and here may neither attach files, nor trust the schema, nor write, nor go on
//! for long.

use std::{
    fmt::Write as _,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _,
    config::DbConfig,
    limits::Limit,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    header::{Header, HeaderError},
    package::owner_of,
};
use crate::{
    inspect::regular,
    provenance::{owner::Owner, stamp::Stamp},
};

/// A header of 100,000 files has 12 MiB.
const MAX_VALUE_BYTES: i32 = 64 << 20;
/// Files with one name that are looked at. A module has one in the packages of each kernel.
const MAX_CANDIDATES: usize = 256;
/// Steps of SQLite's virtual machine between two looks at the clock.
const STEPS: i32 = 1000;
const MAX_TIME: Duration = Duration::from_secs(2);
/// How long rpm may hold the lock that it holds for moments.
const MAX_WAIT: Duration = Duration::from_millis(200);
/// Readings that are begun because somebody wrote meanwhile.
const MAX_ATTEMPTS: u32 = 3;

/// Why the database tells nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    #[error("cannot be opened: {0}")]
    Open(#[source] io::Error),
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("reading it takes too long")]
    Slow,
    #[error("it is being written")]
    Busy,
    #[error("a transaction was not finished; rpm ends it when it runs next as root")]
    Unfinished,
    #[error("it is seen under a path where SQLite finds another file")]
    Elsewhere,
    #[error("more than {MAX_CANDIDATES} files have this name")]
    Candidates,
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Who owns the file with one of these names.
pub(super) fn owner(database: &Path, spellings: &[Vec<u8>]) -> Result<Option<Owner>, DatabaseError> {
    owner_within(MAX_TIME, database, spellings)
}

pub(super) fn owner_within(
    time: Duration,
    database: &Path,
    spellings: &[Vec<u8>],
) -> Result<Option<Owner>, DatabaseError> {
    let end = Instant::now() + time;
    for _ in 0..MAX_ATTEMPTS {
        // SQLite would wait at a pipe.
        regular::open(database).map_err(DatabaseError::Open)?;
        let before = Stamp::of(database);
        let reading = Reading::of(database)?;
        let answer = reading.open(database, end).and_then(|connection| query(&connection, spellings));
        if reading == Reading::Log || (Stamp::of(database) == before && Reading::of(database).ok() == Some(reading)) {
            return answer;
        }
    }
    Err(DatabaseError::Busy)
}

/// The write-ahead log of a database.
pub(super) fn log(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// What is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The file, which has everything.
    File,
    /// The file and the log.
    Log,
}

impl Reading {
    fn of(database: &Path) -> Result<Self, DatabaseError> {
        let bytes = |ending| Stamp::of(&beside(database, ending)).map_or(0, |stamp| stamp.bytes());
        if bytes("-journal") > 0 {
            return Err(DatabaseError::Unfinished);
        }
        if bytes("-wal") == 0 {
            return Ok(Self::File);
        }
        if bytes("-shm") == 0 {
            return Err(DatabaseError::Unfinished);
        }
        for ending in ["-wal", "-shm"] {
            regular::open(&beside(database, ending)).map_err(DatabaseError::Open)?;
        }
        Ok(Self::Log)
    }

    fn open(self, database: &Path, end: Instant) -> Result<Connection, DatabaseError> {
        let how = match self {
            Self::File => "immutable=1",
            Self::Log => "readonly_shm=1",
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(format!("{}?mode=ro&{how}", uri(database)), flags)?;
        // It follows links by their text, and that of /proc/1/root is `/`.
        let opened = connection.path().and_then(|path| Stamp::of(Path::new(path)));
        if !opened.zip(Stamp::of(database)).is_some_and(|(opened, meant)| opened.is_same_file(&meant)) {
            return Err(DatabaseError::Elsewhere);
        }
        connection.busy_timeout(MAX_WAIT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        connection.progress_handler(STEPS, Some(move || Instant::now() >= end));
        Ok(connection)
    }
}

/// Any path as `file:` URI (RFC 3986).
fn uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            plain if plain.is_ascii_alphanumeric() => uri.push(char::from(plain)),
            other => {
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri
}

fn query(connection: &Connection, spellings: &[Vec<u8>]) -> Result<Option<Owner>, DatabaseError> {
    // All spellings end alike.
    let base = spellings.first().and_then(|path| path.rsplit(|byte| *byte == b'/').next()).unwrap_or_default();
    let mut candidates = connection.prepare("SELECT hnum, idx FROM Basenames WHERE key = ?1")?;
    let mut packages = connection.prepare("SELECT blob FROM Packages WHERE hnum = ?1")?;
    // rpm keeps texts as they are, be they UTF-8 or not.
    let mut rows = candidates.query([ToSqlOutput::Borrowed(ValueRef::Text(base))]).map_err(interrupted)?;
    let mut failed = None;
    let mut number = 0;
    while let Some(row) = rows.next().map_err(interrupted)? {
        number += 1;
        if number > MAX_CANDIDATES {
            return Err(DatabaseError::Candidates);
        }
        let (package, file): (i64, u32) = (row.get(0)?, row.get(1)?);
        let owner = packages
            .query_row([package], |row| {
                Ok(Header::parse(row.get_ref(0)?.as_blob()?).and_then(|header| owner_of(&header, file, spellings)))
            })
            .optional()
            .map_err(interrupted)?;
        match owner {
            Some(Ok(Some(owner))) => return Ok(Some(owner)),
            // Another package may be the owner.
            Some(Err(error)) => failed = Some(error),
            Some(Ok(None)) | None => {}
        }
    }
    failed.map_or(Ok(None), |error| Err(error.into()))
}

fn interrupted(error: rusqlite::Error) -> DatabaseError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => DatabaseError::Slow,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DatabaseError::Busy,
        _ => error.into(),
    }
}
