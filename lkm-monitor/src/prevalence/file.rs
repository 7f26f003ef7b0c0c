//! The file of a store: its tables, and how it is opened.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use redb::{Database, ReadOnlyDatabase, ReadableDatabase as _, ReadableTable, TableDefinition};

pub use crate::database::DatabaseError as StoreError;
use crate::database::{self, Identity};

use super::{groups::KeyNames, name::GroupName, tally::Tally};

/// Pages that redb keeps in memory, in bytes.
const CACHE_BYTES: usize = 1 << 20;

/// Names of groups with their tallies.
pub(super) type Groups = TableDefinition<'static, &'static [u8], &'static [u8]>;
/// Groups of which a privileged process caused an event, or that a baseline names.
pub(super) const ROOTS: Groups = TableDefinition::new("groups");
/// All others: what everybody can cause does not push out what only root can.
pub(super) const OTHERS: Groups = TableDefinition::new("others");
/// Groups of which the fleet's store does not know all.
pub(super) const UNSENT: TableDefinition<'_, &[u8], ()> = TableDefinition::new("unsent");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// A number of its own for each store.
const EPOCH: &str = "epoch";
/// What groups are made of.
const KEYS: &str = "keys";
/// The layout of the tables.
const FORMAT: &str = "format";
const FORMAT_NOW: &[u8] = b"1";

/// See the module.
pub(super) struct StoreFile {
    path: PathBuf,
    /// After a failure redb has to open the file anew; `None` when that failed as well.
    database: Option<Database>,
    epoch: u64,
    identity: Identity,
}

impl StoreFile {
    /// Opens it, or makes it and its folder.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut file = Self { path: path.to_owned(), database: None, epoch: 0, identity: (0, 0) };
        file.database()?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The database, opened anew where it has failed before.
    pub(super) fn database(&mut self) -> Result<&Database, StoreError> {
        let open = self.database.take().map_or_else(|| self.opened(), Ok)?;
        Ok(self.database.insert(open))
    }

    /// Does something with the database. Where that fails it will be opened anew.
    pub(super) fn with<T>(&mut self, what: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let done = what(self.database()?);
        if done.is_err() {
            self.database = None;
        }
        done.map_err(|source| StoreError::new(&self.path, source))
    }

    /// Nobody else lets us write.
    pub(super) fn busy(&self) -> StoreError {
        StoreError::Busy { path: self.path.clone() }
    }

    /// Sees whether the file is still there: what is written to one that was removed is read by nobody.
    pub(super) fn look_after(&mut self) {
        if self.database.is_some() && database::identity(&self.path) != Some(self.identity) {
            tracing::error!(path = %self.path.display(), "the prevalence store was removed or replaced: counting begins anew");
            self.database = None;
        }
    }

    fn opened(&mut self) -> Result<Database, StoreError> {
        let (database, identity) = database::open(&self.path, CACHE_BYTES)?;
        self.identity = identity;
        let epoch = prepare(&database).map_err(|source| StoreError::new(&self.path, source))?;
        self.epoch = epoch.ok_or_else(|| StoreError::Format { path: self.path.clone() })?;
        Ok(database)
    }

    /// Says what groups are made of. Of kinds that were made of something else, nothing is left: their names say something else now.
    /// What they were made of, then.
    pub(super) fn name_keys(&mut self, names: &KeyNames) -> Result<Option<KeyNames>, StoreError> {
        self.with(|database| {
            if keys(&database.begin_read()?.open_table(META)?)?.as_ref() == Some(names) {
                return Ok(None);
            }
            let transaction = database.begin_write()?;
            let before = {
                let mut meta = transaction.open_table(META)?;
                let before = keys(&meta)?.filter(|before| before != names);
                if let Some(before) = &before {
                    let is_other = |name: &[u8]| {
                        let kind = GroupName::from_bytes(name).kind();
                        kind.is_none_or(|kind| before.of(kind) != names.of(kind))
                    };
                    for table in [ROOTS, OTHERS] {
                        transaction.open_table(table)?.retain(|name, _| !is_other(name))?;
                    }
                    transaction.open_table(UNSENT)?.retain(|name, ()| !is_other(name))?;
                }
                // Into memory this cannot fail.
                meta.insert(KEYS, serde_json::to_vec(names).unwrap_or_default().as_slice())?;
                before
            };
            transaction.commit()?;
            Ok(before)
        })
    }
}

/// Reads all groups of a store, while a daemon may be writing it. `each` is told first what they are made of.
pub fn read_all(path: &Path, mut each: impl FnMut(&KeyNames, GroupName, Tally)) -> Result<KeyNames, StoreError> {
    let mut read = || -> Result<KeyNames, redb::Error> {
        let database: ReadOnlyDatabase = database::builder(CACHE_BYTES).open_read_only(path)?;
        let transaction = database.begin_read()?;
        let names = keys(&transaction.open_table(META)?)?.unwrap_or_default();
        for table in [ROOTS, OTHERS] {
            for entry in transaction.open_table(table)?.iter()? {
                let (name, tally) = entry?;
                each(&names, GroupName::from_bytes(name.value()), decode(tally.value()));
            }
        }
        Ok(names)
    };
    read().map_err(|source| StoreError::new(path, source))
}

fn keys(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<KeyNames>, redb::Error> {
    Ok(meta.get(KEYS)?.and_then(|value| serde_json::from_slice(value.value()).ok()))
}

/// The store's epoch, if its layout is ours. Makes the tables where they are not there: that waits for whoever writes now.
fn prepare(database: &Database) -> Result<Option<u64>, redb::Error> {
    let reading = database.begin_read()?;
    if let Ok(meta) = reading.open_table(META)
        && let (Some(format), Some(epoch)) = (meta.get(FORMAT)?, meta.get(EPOCH)?)
    {
        let epoch = epoch.value().try_into().ok().map(u64::from_le_bytes);
        return Ok(epoch.filter(|_| format.value() == FORMAT_NOW));
    }
    let transaction = database.begin_write()?;
    let epoch = {
        transaction.open_table(ROOTS)?;
        transaction.open_table(OTHERS)?;
        transaction.open_table(UNSENT)?;
        let mut meta = transaction.open_table(META)?;
        let format = meta.get(FORMAT)?.map(|value| value.value().to_vec());
        if format.is_some_and(|format| format != FORMAT_NOW) {
            return Ok(None);
        }
        meta.insert(FORMAT, FORMAT_NOW)?;
        let epoch = meta.get(EPOCH)?.and_then(|value| value.value().try_into().ok().map(u64::from_le_bytes));
        match epoch {
            Some(epoch) => epoch,
            None => {
                let epoch = random().map_err(redb::Error::Io)?;
                meta.insert(EPOCH, epoch.to_le_bytes().as_slice())?;
                epoch
            }
        }
    };
    transaction.commit()?;
    Ok(Some(epoch))
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

pub(super) fn encode(tally: &Tally) -> Vec<u8> {
    // Into memory this cannot fail.
    postcard::to_allocvec(tally).unwrap_or_default()
}

/// What is no tally is a group that was never seen, which is told as rare.
pub(super) fn decode(bytes: &[u8]) -> Tally {
    postcard::from_bytes(bytes).unwrap_or_default()
}

/// Makes a store of another layout.
#[cfg(test)]
pub(super) fn make_foreign(path: &Path) {
    let database = database::builder(CACHE_BYTES).create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(FORMAT, b"2".as_slice()).unwrap();
    transaction.commit().unwrap();
}

/// Holds the right to write, as another process can.
#[cfg(test)]
pub(super) fn hold(path: &Path, while_held: impl FnOnce()) {
    let database = database::builder(CACHE_BYTES).create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    while_held();
    transaction.abort().unwrap();
}
