//! What this host has seen, on disk.
//!
//! Events are counted in memory and written together, once in a while: what was not written yet is lost by a crash, and nothing
//! else ([`SYNC`]). The file is never half of anything (redb commits with copy on write and two phases), and opens at once after a crash.
//! Other processes may read it, and import a baseline, at any time.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Read as _},
    ops::Bound,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use redb::{
    Builder, ConcurrencyMode, Database, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase as _, ReadableTable,
    ReadableTableMetadata as _, TableDefinition,
};

use super::{
    groups::KeyNames,
    name::GroupName,
    tally::{Tally, Window, day_of},
};

/// How long what was counted may stay in memory only.
pub const SYNC: Duration = Duration::from_secs(1);
/// Groups that may wait in memory. More are written at once.
const MAX_UNWRITTEN: usize = 8192;
/// Pages that redb keeps in memory, in bytes.
const CACHE_BYTES: usize = 1 << 20;
/// Groups that are looked at in one write for whether they are over.
const SWEPT: usize = 512;

const GROUPS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("groups");
/// Groups of which the fleet's store does not know all.
const UNSENT: TableDefinition<'_, &[u8], ()> = TableDefinition::new("unsent");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// A number of its own for each store.
const EPOCH: &str = "epoch";
/// What groups are made of.
const KEYS: &str = "keys";
/// The layout of the tables.
const FORMAT: &str = "format";
const FORMAT_NOW: &[u8] = b"1";

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Database { path: PathBuf, source: Box<redb::Error> },
    #[error("{path}: it is of another version of lkm-monitor")]
    Format { path: PathBuf },
}

/// What bounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub window: Window,
    pub max_groups: u64,
}

/// What was counted for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// With the event.
    pub tally: Tally,
    /// It was seen within the window before.
    pub seen_before: bool,
}

/// See the module.
pub struct Store {
    path: PathBuf,
    /// After a failure redb has to open the file anew; `None` when that failed as well.
    database: Option<Database>,
    limits: Limits,
    epoch: u64,
    /// What changed since the last write.
    unwritten: HashMap<GroupName, Tally>,
    /// Groups that have to go into the table of what is unsent, and out of it.
    unsent: BTreeMap<GroupName, bool>,
    /// The last group that was looked at for whether it is over.
    swept_to: Vec<u8>,
    evicted: u64,
}

impl Store {
    /// Opens it, or makes it and its folder.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        let file = |source| StoreError::File { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(file)?;
        }
        // Made here, so that nobody else may read it.
        fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(file)?;
        let named = |source: redb::Error| StoreError::Database { path: path.to_owned(), source: Box::new(source) };
        let database = builder().create(path).map_err(|error| named(error.into()))?;
        let (epoch, is_ours) = prepare(&database).map_err(named)?;
        if !is_ours {
            return Err(StoreError::Format { path: path.to_owned() });
        }
        Ok(Self {
            path: path.to_owned(),
            database: Some(database),
            limits,
            epoch,
            unwritten: HashMap::new(),
            unsent: BTreeMap::new(),
            swept_to: Vec::new(),
            evicted: 0,
        })
    }

    /// Tells this store from one that the same host had before.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Says what groups are made of. What they were made of before, where that is something else: older groups are found no more then.
    pub fn name_keys(&mut self, names: &KeyNames) -> Result<Option<KeyNames>, StoreError> {
        let mut name = || -> Result<Option<KeyNames>, redb::Error> {
            let transaction = self.opened()?.begin_write()?;
            let before = {
                let mut meta = transaction.open_table(META)?;
                let before = keys(&meta)?;
                // Into memory this cannot fail.
                meta.insert(KEYS, serde_json::to_vec(names).unwrap_or_default().as_slice())?;
                before
            };
            transaction.commit()?;
            Ok(before.filter(|before| before != names))
        };
        let named = name();
        named.map_err(|source| self.named(source))
    }

    /// Groups that were given up though they were within the window, since the start.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Whether there is something to write.
    pub fn is_unwritten(&self) -> bool {
        !self.unwritten.is_empty() || !self.unsent.is_empty()
    }

    /// Counts events, each of a group and by a privileged process or not.
    pub fn count(&mut self, events: &[(GroupName, bool)], now_s: u64) -> Result<Vec<Counted>, StoreError> {
        let (window, today) = (self.limits.window, day_of(now_s));
        let mut counted = Vec::with_capacity(events.len());
        let mut groups = None;
        for (name, privileged) in events {
            if !self.unwritten.contains_key(name) {
                if self.unwritten.len() >= MAX_UNWRITTEN {
                    groups = None;
                    self.write(now_s, false)?;
                }
                if groups.is_none() {
                    groups = Some(self.groups()?);
                }
                let found = groups.as_ref().map_or(Ok(None), |groups| read(groups, name));
                let tally = found.map_err(|source| self.named(source))?.unwrap_or_default();
                self.unwritten.insert(name.clone(), tally);
            }
            let Some(tally) = self.unwritten.get_mut(name) else { continue };
            let seen_before = tally.count(today, window) > 0;
            tally.add(now_s, *privileged, window);
            counted.push(Counted { tally: tally.clone(), seen_before });
        }
        Ok(counted)
    }

    /// Notes that the fleet's store does not know all of a group.
    pub fn mark_unsent(&mut self, name: &GroupName) {
        self.unsent.insert(name.clone(), true);
    }

    /// Notes what the fleet's store has confirmed.
    pub fn confirm(&mut self, name: &GroupName, confirmed: &[super::tally::Bucket]) -> Result<(), StoreError> {
        let mut tally = match self.unwritten.remove(name) {
            Some(tally) => tally,
            None => match self.get(name)? {
                Some(tally) => tally,
                // Given up meanwhile.
                None => return Ok(()),
            },
        };
        tally.confirm(confirmed);
        if tally.unsent().next().is_none() {
            self.unsent.insert(name.clone(), false);
        }
        self.unwritten.insert(name.clone(), tally);
        Ok(())
    }

    /// Up to `most` groups behind `from` that the fleet's store does not know all of, in order, with their tallies.
    pub fn unsent(&mut self, from: &GroupName, most: usize) -> Result<Vec<(GroupName, Tally)>, StoreError> {
        let fresh = self.unsent.range::<GroupName, _>((Bound::Excluded(from), Bound::Unbounded));
        let fresh = fresh.filter(|(_, unsent)| **unsent).map(|(name, _)| name.clone());
        let mut names: Vec<_> = fresh.take(most).collect();
        let stored = self.stored_unsent(from, most).map_err(|source| self.named(source))?;
        names.extend(stored);
        names.sort_unstable();
        names.truncate(most);
        let mut found = Vec::new();
        for name in names {
            let tally = match self.unwritten.get(&name) {
                Some(tally) => Some(tally.clone()),
                None => self.get(&name)?,
            };
            found.push((name, tally.unwrap_or_default()));
        }
        Ok(found)
    }

    fn stored_unsent(&mut self, from: &GroupName, most: usize) -> Result<Vec<GroupName>, redb::Error> {
        let table = self.opened()?.begin_read()?.open_table(UNSENT)?;
        let mut stored = Vec::new();
        for entry in table.range::<&[u8]>((Bound::Excluded(from.as_bytes()), Bound::Unbounded))? {
            if stored.len() >= most {
                break;
            }
            let name = GroupName::from_bytes(entry?.0.value());
            if !self.unsent.contains_key(&name) {
                stored.push(name);
            }
        }
        Ok(stored)
    }

    /// Says that groups are normal, as of `now_s`.
    pub fn import(&mut self, names: impl Iterator<Item = GroupName>, now_s: u64) -> Result<u64, StoreError> {
        let mut imported = 0;
        for name in names {
            let mut tally = match self.unwritten.remove(&name) {
                Some(tally) => tally,
                None => self.get(&name)?.unwrap_or(Tally { first_s: now_s, last_s: now_s, ..Tally::default() }),
            };
            tally.baseline_day = Some(day_of(now_s));
            // Whoever runs the host says so.
            tally.privileged = true;
            self.unwritten.insert(name, tally);
            imported += 1;
            if self.unwritten.len() >= MAX_UNWRITTEN {
                self.write(now_s, false)?;
            }
        }
        self.write(now_s, false)?;
        Ok(imported)
    }

    /// Writes what changed. Where there are too many groups some are given up: those that are over, then those that no privileged
    /// process caused, then the oldest, of some that are looked at in turn. With `sweep`, groups that are over go in any case.
    pub fn write(&mut self, now_s: u64, sweep: bool) -> Result<(), StoreError> {
        let written = self.try_write(now_s, sweep);
        if written.is_err() {
            self.database = None;
        }
        let (swept_to, evicted) = written.map_err(|source| self.named(source))?;
        self.swept_to = swept_to;
        self.evicted += evicted;
        self.unwritten.clear();
        self.unsent.clear();
        Ok(())
    }

    fn try_write(&mut self, now_s: u64, sweep: bool) -> Result<(Vec<u8>, u64), redb::Error> {
        let mut transaction = self.opened()?.begin_write()?;
        transaction.set_quick_repair(true);
        let swept;
        {
            let mut groups = transaction.open_table(GROUPS)?;
            let mut unsent = transaction.open_table(UNSENT)?;
            for (name, tally) in &self.unwritten {
                let mut tally = tally.clone();
                // Only an import by another process writes besides us, and that is all it writes.
                if let Some(stored) = groups.get(name.as_bytes())? {
                    let imported = decode(stored.value()).baseline_day;
                    tally.baseline_day = tally.baseline_day.max(imported);
                }
                groups.insert(name.as_bytes(), encode(&tally).as_slice())?;
            }
            for (name, is_unsent) in &self.unsent {
                if *is_unsent {
                    unsent.insert(name.as_bytes(), ())?;
                } else {
                    unsent.remove(name.as_bytes())?;
                }
            }
            let surplus = groups.len()?.saturating_sub(self.limits.max_groups);
            swept = if surplus > 0 || sweep {
                super::sweep::sweep(&mut groups, &mut unsent, &self.swept_to, (surplus, SWEPT), |tally| {
                    tally.is_over(day_of(now_s), self.limits.window)
                })?
            } else {
                (self.swept_to.clone(), 0)
            };
        }
        transaction.commit()?;
        Ok(swept)
    }

    /// The database, opened anew where it has failed before.
    fn opened(&mut self) -> Result<&Database, redb::Error> {
        match &mut self.database {
            Some(database) => Ok(database),
            failed => Ok(failed.insert(builder().create(&self.path)?)),
        }
    }

    fn get(&mut self, name: &GroupName) -> Result<Option<Tally>, StoreError> {
        read(&self.groups()?, name).map_err(|source| self.named(source))
    }

    fn groups(&mut self) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>, StoreError> {
        let mut open = || -> Result<_, redb::Error> { Ok(self.opened()?.begin_read()?.open_table(GROUPS)?) };
        let opened = open();
        if opened.is_err() {
            self.database = None;
        }
        opened.map_err(|source| self.named(source))
    }

    fn named(&self, source: redb::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source: Box::new(source) }
    }
}

/// Reads all groups of a store, while a daemon may be writing it. Returns what they are made of.
pub fn read_all(path: &Path, mut each: impl FnMut(GroupName, Tally)) -> Result<KeyNames, StoreError> {
    let mut read = || -> Result<KeyNames, redb::Error> {
        let database: ReadOnlyDatabase = builder().open_read_only(path)?;
        let transaction = database.begin_read()?;
        let groups = transaction.open_table(GROUPS)?;
        for entry in groups.iter()? {
            let (name, tally) = entry?;
            each(GroupName::from_bytes(name.value()), decode(tally.value()));
        }
        Ok(keys(&transaction.open_table(META)?)?.unwrap_or_default())
    };
    read().map_err(|source| StoreError::Database { path: path.to_owned(), source: Box::new(source) })
}

fn keys(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<KeyNames>, redb::Error> {
    Ok(meta.get(KEYS)?.and_then(|value| serde_json::from_slice(value.value()).ok()))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(ConcurrencyMode::MultiWriter);
    builder
}

/// Makes the tables; the store's epoch, and whether its layout is ours.
fn prepare(database: &Database) -> Result<(u64, bool), redb::Error> {
    let transaction = database.begin_write()?;
    let found = {
        transaction.open_table(GROUPS)?;
        transaction.open_table(UNSENT)?;
        let mut meta = transaction.open_table(META)?;
        let format = meta.get(FORMAT)?.map(|value| value.value().to_vec());
        let epoch = meta.get(EPOCH)?.and_then(|value| value.value().try_into().ok().map(u64::from_le_bytes));
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => {
                let epoch = random().map_err(redb::Error::Io)?;
                meta.insert(EPOCH, epoch.to_le_bytes().as_slice())?;
                epoch
            }
        };
        if format.is_none() {
            meta.insert(FORMAT, FORMAT_NOW)?;
        }
        (epoch, format.is_none_or(|format| format == FORMAT_NOW))
    };
    transaction.commit()?;
    Ok(found)
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read(groups: &ReadOnlyTable<&[u8], &[u8]>, name: &GroupName) -> Result<Option<Tally>, redb::Error> {
    Ok(groups.get(name.as_bytes())?.map(|value| decode(value.value())))
}

fn encode(tally: &Tally) -> Vec<u8> {
    // Into memory this cannot fail.
    postcard::to_allocvec(tally).unwrap_or_default()
}

/// What is no tally is a group that was never seen, which is told as rare.
pub(super) fn decode(bytes: &[u8]) -> Tally {
    postcard::from_bytes(bytes).unwrap_or_default()
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("path", &self.path).field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
