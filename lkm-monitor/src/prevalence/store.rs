//! What this host has seen, on disk.
//!
//! Events are counted in memory and written together, once in a while: what was not written yet is lost by a crash, and nothing
//! else ([`SYNC`]). The file is never half of anything (redb commits with copy on write and two phases), and opens at once after a crash.
//! Other processes may read it, and import a baseline, at any time.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    path::Path,
    time::Duration,
};

use redb::{ReadOnlyTable, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _, Table, WriteTransaction};

pub use super::file::{StoreError, read_all};
use super::{
    file::{OTHERS, ROOTS, StoreFile, UNSENT, decode, encode},
    groups::KeyNames,
    name::GroupName,
    sweep::{Sweep, sweep},
    tally::{Bucket, Tally, Window, day_of},
};

/// How long what was counted may stay in memory only.
pub const SYNC: Duration = Duration::from_secs(1);
/// Groups that may wait in memory. More are written at once.
const MAX_UNWRITTEN: usize = 8192;
/// Groups of a baseline that are written together.
const IMPORTED: usize = 8192;
/// Of all groups, so many may be such that no privileged process caused: one of so many.
const OTHERS_SHARE: u64 = 4;

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
    /// An event of the group was told, or was no cause to, within the window before.
    pub seen_before: bool,
}

/// What the wall clock is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It may be wrong: nothing is thrown away by what it says.
    Doubtful,
    /// Groups that are over go where there is no room for others.
    WhenFull,
    /// They go in any case.
    Now,
}

/// See the module.
pub struct Store {
    file: StoreFile,
    limits: Limits,
    /// What changed since the last write.
    unwritten: HashMap<GroupName, Tally>,
    /// Groups that have to go into the table of what is unsent, and out of it.
    unsent: BTreeMap<GroupName, bool>,
    /// The last groups that were looked at for whether they are over: root's, and the others.
    swept_to: [Vec<u8>; 2],
    evicted: u64,
}

impl Store {
    /// Opens it, or makes it and its folder.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        Ok(Self {
            file: StoreFile::open(path)?,
            limits,
            unwritten: HashMap::new(),
            unsent: BTreeMap::new(),
            swept_to: Default::default(),
            evicted: 0,
        })
    }

    /// Tells this store from one that the same host had before.
    pub const fn epoch(&self) -> u64 {
        self.file.epoch()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Says what groups are made of. What they were made of before, where that is something else: those are gone then.
    pub fn name_keys(&mut self, names: &KeyNames) -> Result<Option<KeyNames>, StoreError> {
        self.file.name_keys(names)
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
        let mut stored = None;
        for (name, privileged) in events {
            if !self.unwritten.contains_key(name) {
                if self.unwritten.len() >= MAX_UNWRITTEN {
                    stored = None;
                    if !self.write(now_s, Expiry::Doubtful)? {
                        return Err(self.file.busy());
                    }
                }
                if stored.is_none() {
                    stored = Some(self.stored()?);
                }
                let found = stored.as_ref().map_or(Ok(None), |stored| stored.get(name));
                let tally = self.file.with(|_| found)?.unwrap_or_default();
                self.unwritten.insert(name.clone(), tally);
            }
            let Some(tally) = self.unwritten.get_mut(name) else { continue };
            let seen_before = tally.is_settled(*privileged) && tally.count(today, window) > 0;
            tally.add(now_s, *privileged, window);
            counted.push(Counted { tally: tally.clone(), seen_before });
        }
        Ok(counted)
    }

    /// Notes that the first event of a group was told, or was no cause to: the next one is not the first.
    pub fn settle(&mut self, name: &GroupName, privileged: bool) -> Result<(), StoreError> {
        self.change(name, |tally| tally.settle(privileged))
    }

    /// Notes that the fleet's store does not know all of a group.
    pub fn mark_unsent(&mut self, name: &GroupName) {
        self.unsent.insert(name.clone(), true);
    }

    /// Notes what the fleet's store has confirmed. What it does not know yet.
    pub fn confirm(&mut self, name: &GroupName, confirmed: &[Bucket]) -> Result<Vec<Bucket>, StoreError> {
        let mut left = Vec::new();
        self.change(name, |tally| {
            tally.confirm(confirmed);
            left = tally.unsent().collect();
        })?;
        if left.is_empty() {
            self.unsent.insert(name.clone(), false);
        }
        Ok(left)
    }

    /// Changes a group that is there: it may have been given up meanwhile.
    fn change(&mut self, name: &GroupName, change: impl FnOnce(&mut Tally)) -> Result<(), StoreError> {
        let mut tally = match self.unwritten.remove(name) {
            Some(tally) => tally,
            None => match self.get(name)? {
                Some(tally) => tally,
                None => return Ok(()),
            },
        };
        change(&mut tally);
        self.unwritten.insert(name.clone(), tally);
        Ok(())
    }

    /// Up to `most` groups behind `from` that the fleet's store does not know all of, in order, with their tallies.
    pub fn unsent(&mut self, from: &GroupName, most: usize) -> Result<Vec<(GroupName, Tally)>, StoreError> {
        let fresh = self.unsent.range::<GroupName, _>((Bound::Excluded(from), Bound::Unbounded));
        let fresh = fresh.filter(|(_, unsent)| **unsent).map(|(name, _)| name.clone());
        let mut names: Vec<_> = fresh.take(most).collect();
        let known = &self.unsent;
        let stored = self.file.with(|database| {
            let table = database.begin_read()?.open_table(UNSENT)?;
            let mut stored = Vec::new();
            for entry in table.range::<&[u8]>((Bound::Excluded(from.as_bytes()), Bound::Unbounded))? {
                if stored.len() >= most {
                    break;
                }
                let name = GroupName::from_bytes(entry?.0.value());
                if !known.contains_key(&name) {
                    stored.push(name);
                }
            }
            Ok(stored)
        })?;
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

    /// Says that groups are normal, as of `now_s`. Waits for its turn to write.
    pub fn import(&mut self, names: &[GroupName], now_s: u64) -> Result<(), StoreError> {
        for names in names.chunks(IMPORTED) {
            self.file.with(|database| {
                let mut transaction = database.begin_write()?;
                transaction.set_quick_repair(true);
                {
                    let mut groups = OpenGroups::of(&transaction)?;
                    for name in names {
                        let fresh = Tally { first_s: now_s, last_s: now_s, ..Tally::default() };
                        let mut tally = groups.get(name)?.unwrap_or(fresh);
                        tally.baseline_day = Some(day_of(now_s));
                        // Whoever runs the host says so.
                        tally.privileged = true;
                        groups.put(name, &tally)?;
                    }
                }
                Ok(transaction.commit()?)
            })?;
        }
        Ok(())
    }

    /// Writes what changed, unless another process is writing: whether that was done. Where there are too many groups of a kind of
    /// callers some are given up: those that are over, then the oldest, of some that are looked at in turn.
    pub fn write(&mut self, now_s: u64, expiry: Expiry) -> Result<bool, StoreError> {
        self.file.look_after();
        let (unwritten, unsent, limits, swept_to) = (&self.unwritten, &self.unsent, self.limits, &self.swept_to);
        let written = self.file.with(|database| {
            let mut transaction = match database.try_begin_write() {
                Ok(transaction) => transaction,
                Err(redb::TransactionError::WouldBlock) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            transaction.set_quick_repair(true);
            let swept = {
                let mut groups = OpenGroups::of(&transaction)?;
                let mut table = transaction.open_table(UNSENT)?;
                for (name, tally) in unwritten {
                    groups.put_ours(name, tally.clone())?;
                }
                for (name, is_unsent) in unsent {
                    if *is_unsent {
                        table.insert(name.as_bytes(), ())?;
                    } else {
                        table.remove(name.as_bytes())?;
                    }
                }
                groups.sweep(&mut table, limits, now_s, expiry, swept_to)?
            };
            transaction.commit()?;
            Ok(Some(swept))
        })?;
        let Some((swept_to, evicted)) = written else { return Ok(false) };
        self.swept_to = swept_to;
        self.evicted += evicted;
        self.unwritten.clear();
        self.unsent.clear();
        Ok(true)
    }

    fn get(&mut self, name: &GroupName) -> Result<Option<Tally>, StoreError> {
        let stored = self.stored()?;
        self.file.with(|_| stored.get(name))
    }

    fn stored(&mut self) -> Result<Stored, StoreError> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            Ok(Stored { tables: [transaction.open_table(ROOTS)?, transaction.open_table(OTHERS)?] })
        })
    }
}

/// A group is in one of the tables.
fn find(
    tables: &[impl ReadableTable<&'static [u8], &'static [u8]>],
    name: &GroupName,
) -> Result<Option<Tally>, redb::Error> {
    for table in tables {
        if let Some(value) = table.get(name.as_bytes())? {
            return Ok(Some(decode(value.value())));
        }
    }
    Ok(None)
}

/// What is on disk at one moment.
struct Stored {
    tables: [ReadOnlyTable<&'static [u8], &'static [u8]>; 2],
}

impl Stored {
    fn get(&self, name: &GroupName) -> Result<Option<Tally>, redb::Error> {
        find(&self.tables, name)
    }
}

/// The tables of groups, to be changed: root's, and the others.
struct OpenGroups<'t> {
    tables: [Table<'t, &'static [u8], &'static [u8]>; 2],
}

impl<'t> OpenGroups<'t> {
    fn of(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self { tables: [transaction.open_table(ROOTS)?, transaction.open_table(OTHERS)?] })
    }

    fn get(&self, name: &GroupName) -> Result<Option<Tally>, redb::Error> {
        find(&self.tables, name)
    }

    fn put(&mut self, name: &GroupName, tally: &Tally) -> Result<(), redb::Error> {
        let [roots, others] = &mut self.tables;
        if tally.privileged {
            others.remove(name.as_bytes())?;
            roots.insert(name.as_bytes(), encode(tally).as_slice())?;
        } else {
            others.insert(name.as_bytes(), encode(tally).as_slice())?;
        }
        Ok(())
    }

    /// The same with what we have counted. An import by another process may have said something of the group meanwhile.
    fn put_ours(&mut self, name: &GroupName, mut tally: Tally) -> Result<(), redb::Error> {
        if let Some(stored) = self.get(name)? {
            tally.baseline_day = tally.baseline_day.max(stored.baseline_day);
            tally.privileged |= stored.privileged;
        }
        self.put(name, &tally)
    }

    /// Where it came to, and how many groups within the window were given up.
    fn sweep(
        &mut self,
        unsent: &mut Table<'_, &'static [u8], ()>,
        limits: Limits,
        now_s: u64,
        expiry: Expiry,
        swept_to: &[Vec<u8>; 2],
    ) -> Result<([Vec<u8>; 2], u64), redb::Error> {
        let shares = [limits.max_groups - limits.max_groups / OTHERS_SHARE, limits.max_groups / OTHERS_SHARE];
        let is_over = |tally: &Tally| expiry != Expiry::Doubtful && tally.is_over(day_of(now_s), limits.window);
        let (mut came_to, mut evicted) = (swept_to.clone(), 0);
        for ((table, share), from) in self.tables.iter_mut().zip(shares).zip(&mut came_to) {
            let surplus = table.len()?.saturating_sub(share);
            if surplus > 0 || expiry == Expiry::Now {
                let swept = sweep(table, unsent, Sweep { from, surplus }, is_over)?;
                *from = swept.to;
                evicted += swept.evicted;
            }
        }
        Ok((came_to, evicted))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("path", &self.path())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
