//! The databases of rpm. That of SQLite is read; others are recognised.

#[cfg(test)]
pub(super) mod fixture;
mod header;
mod package;
mod sqlite;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::owner::{Found, Problems};

/// Where distributions keep it: Fedora since 36 and SUSE in the first folder, others in the second.
const FOLDERS: [&str; 2] = ["usr/lib/sysimage/rpm", "var/lib/rpm"];

/// How rpm keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Sqlite,
    /// SUSE's own.
    Ndb,
    /// That of rpm before 4.16.
    BerkeleyDb,
}

/// The file of each format.
const FORMATS: [(&str, Format); 3] =
    [("rpmdb.sqlite", Format::Sqlite), ("Packages.db", Format::Ndb), ("Packages", Format::BerkeleyDb)];

/// A format that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Unsupported {
    #[error("a database of rpm in the format ndb, which is not read")]
    Ndb,
    #[error("a database of rpm in the format of Berkeley DB, which is not read")]
    BerkeleyDb,
}

/// The databases that there may be.
#[derive(Debug)]
pub(super) struct Rpm {
    databases: Vec<(PathBuf, Format)>,
    logs: Vec<PathBuf>,
}

impl Rpm {
    pub(super) fn new(root: &Path) -> Self {
        let of_format = |(name, format)| FOLDERS.map(|folder| (root.join(folder).join(name), format));
        let databases: Vec<_> = FORMATS.into_iter().flat_map(of_format).collect();
        let is_sqlite = |(_, format): &&(PathBuf, Format)| *format == Format::Sqlite;
        let logs = databases.iter().filter(is_sqlite).map(|(path, _)| sqlite::log(path)).collect();
        Self { databases, logs }
    }

    /// What changes when the database changes.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.databases.iter().map(|(path, _)| path).chain(&self.logs).map(PathBuf::as_path)
    }

    /// Who owns the file with these names. `None` when there is no such database.
    pub(super) fn owner(&self, spellings: &[Vec<u8>]) -> Option<Found> {
        let (path, format) = self.databases.iter().find(|(path, _)| path.exists())?;
        let mut problems = Problems::default();
        let owner = match format {
            Format::Sqlite => sqlite::owner(path, spellings).unwrap_or_else(|reason| {
                problems.add(path, reason);
                None
            }),
            Format::Ndb => {
                problems.add(path, Unsupported::Ndb);
                None
            }
            Format::BerkeleyDb => {
                problems.add(path, Unsupported::BerkeleyDb);
                None
            }
        };
        Some(Found { owner, problems })
    }
}
