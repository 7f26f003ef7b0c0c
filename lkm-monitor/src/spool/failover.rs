//! What becomes of a spool whose file is damaged, or cannot be written: a new file, or memory until it can be written again.
//!
//! Whether a transaction is in the file whose commit failed only the file can say, and it may not open now. So the same is done in memory:
//! it comes twice rather than never.

use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    path::Path,
    time::{Duration, Instant},
};

use redb::{Builder, backends::InMemoryBackend};

use super::{
    Count, Counter, Counts, Incoming, Inner, LEAST_BYTES, Limits, Receipt, Settings, Spool, add,
    handover::{Left, Moved, UnderWay},
    store::Store,
};
use crate::database::{self, Claim, DatabaseError, Identity};

/// Pages of the file that stay in memory, in bytes.
const CACHE_BYTES: usize = 4 << 20;

impl Spool {
    pub(super) fn append_to_file(
        &self,
        inner: &mut Inner,
        settings: &Settings,
        documents: &[Incoming],
    ) -> Result<(), redb::Error> {
        let ran_s = inner.ran_to.elapsed().as_secs();
        self.in_file(inner, |inner| {
            self.with(inner, |store| store.append(documents, ran_s, within_free_space(settings, store)))
        })?;
        inner.ran_to += Duration::from_secs(ran_s);
        Ok(())
    }

    /// Notes a receipt in the store, or for the file that was left.
    pub(super) fn note(
        &self,
        inner: &mut Inner,
        sink: &str,
        receipt: &Receipt,
        limits: Limits,
    ) -> Result<(), redb::Error> {
        self.in_file(inner, |inner| {
            let receipt = inner.handover.translate(sink, receipt, inner.generation);
            self.with(inner, |store| store.acknowledge(sink, &receipt, limits))
        })
    }

    /// Does something, and does it again where another file took the place of a damaged one.
    pub(super) fn in_file<T>(
        &self,
        inner: &mut Inner,
        mut what: impl FnMut(&mut Inner) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        loop {
            let generation = inner.generation;
            match what(inner) {
                Err(_) if inner.generation != generation && inner.failed.is_none() => {}
                done => return done,
            }
        }
    }

    /// Does something with the store. A file that turns out to be damaged is put aside, and a new one takes its place.
    pub(super) fn with<T>(
        &self,
        inner: &mut Inner,
        what: impl FnOnce(&mut Store) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let damage = match guarded(|| what(&mut inner.store)) {
            Err(error) if database::is_damage(&error) => error,
            done => return done,
        };
        if inner.failed.is_none() && !inner.is_visited {
            let settings = self.settings();
            match start_anew(&settings.path, &damage.to_string(), &inner.sinks, (&inner.filed, &inner.told)) {
                Ok((store, file)) => inner.replace(store, Some(file)),
                Err(error) => self.go_on_in_memory(inner, &settings, &error.to_string()),
            }
        }
        Err(damage)
    }

    pub(super) fn go_on_in_memory(&self, inner: &mut Inner, settings: &Settings, error: &str) {
        tracing::error!(error, path = %settings.path.display(), "the spool cannot be written: documents are kept in memory only");
        let opened = in_memory(&settings.path).and_then(|mut store| {
            store.set_sinks(&inner.sinks).map_err(|error| self.error(error))?;
            Ok(store)
        });
        match opened {
            Ok(store) => {
                if let Ok(counts) = guarded(|| inner.store.counts()) {
                    inner.filed = counts;
                }
                let (generation, held) = (inner.generation, inner.store.held());
                let left = |file| Left { generation, file, done: BTreeMap::new(), held, resent: Vec::new() };
                inner.handover.left = inner.file.map(left);
                inner.replace(store, None);
                inner.failed = Some((error.to_owned(), Instant::now()));
            }
            Err(error) => tracing::error!(%error, "documents cannot be kept in memory either"),
        }
    }

    /// Says that the file is no more what its name stands for, when that is so. It is used until a new one can take its place.
    pub(super) fn look_for_file(&self, inner: &mut Inner, settings: &Settings) {
        if inner.failed.is_some() {
            return;
        }
        let error = if inner.file != database::identity(&settings.path) {
            "its file was removed or replaced"
        } else if !inner.is_claimed() {
            "the lock beside its file was removed or replaced: another daemon may use it"
        } else {
            return;
        };
        tracing::error!(error, path = %settings.path.display(), "what is in the spool may not survive the end");
        inner.failed = Some((error.to_owned(), Instant::now()));
    }

    /// Goes back to the file, if it can be written again, and takes there what is kept elsewhere.
    pub(super) fn try_file_again(&self, inner: &mut Inner, settings: &Settings, every: Duration) {
        let Some((_, tried)) = &mut inner.failed else { return };
        if tried.elapsed() < every {
            return;
        }
        *tried = Instant::now();
        if let Err(error) = self.claim_and_use(inner, settings) {
            tracing::warn!(%error, "the spool still cannot be written");
        }
    }

    fn claim_and_use(&self, inner: &mut Inner, settings: &Settings) -> Result<(), DatabaseError> {
        if !inner.is_claimed() {
            inner.claim = Some(Claim::on(&settings.path)?);
        }
        if inner.file.is_none() || inner.file != database::identity(&settings.path) {
            return self.back_to_file(inner, settings);
        }
        // The file has its name again, or only the lock was gone.
        let counted = guarded(|| inner.store.go_on_counting(&inner.uncounted, &Counts::new()));
        counted.map_err(|error| self.error(error))?;
        inner.uncounted.clear();
        inner.failed = None;
        Ok(())
    }

    fn back_to_file(&self, inner: &mut Inner, settings: &Settings) -> Result<(), DatabaseError> {
        let error = |error| self.error(error);
        let (mut store, mut file) = open_file(&settings.path)?;
        let read = guarded(|| Ok((store.told()?, inner.move_to(&mut store, file, settings)?)));
        let (told, moved) = match read {
            Err(damage) if database::is_damage(&damage) => {
                drop(store);
                (store, file) =
                    start_anew(&settings.path, &damage.to_string(), &inner.sinks, (&inner.filed, &inner.told))?;
                (Counts::new(), guarded(|| inner.move_to(&mut store, file, settings)).map_err(error)?)
            }
            read => read.map_err(error)?,
        };
        let (from, documents, held) = (inner.generation, moved.numbers.len(), inner.store.held());
        inner.replace(store, Some(file));
        if let Some(left) = inner.handover.left.take_if(|left| left.file == file) {
            // Its documents have the numbers that they had.
            inner.generation = left.generation;
        }
        let to = inner.generation;
        let under_way = held.iter().map(|(sink, held)| (sink.clone(), UnderWay { from, to, moved: moved.only(held) }));
        inner.handover.under_way.extend(under_way);
        inner.before.get_or_insert(told);
        inner.uncounted.clear();
        inner.failed = None;
        tracing::info!(documents, "the spool can be written again");
        Ok(())
    }
}

impl Inner {
    /// Whether no other daemon can have the file.
    fn is_claimed(&self) -> bool {
        self.claim.as_ref().is_some_and(Claim::is_in_force)
    }

    /// Lets this store take documents from now on. `file` is what it is in, if it is not in memory.
    fn replace(&mut self, store: Store, file: Option<Identity>) {
        self.store = store;
        self.file = file;
        self.stores += 1;
        self.generation = self.stores;
    }

    /// Brings all that is kept and counted into a file.
    fn move_to(&self, store: &mut Store, file: Identity, settings: &Settings) -> Result<Moved, redb::Error> {
        let limits = within_free_space(settings, store);
        store.set_sinks(&self.sinks)?;
        if let Some(left) = self.handover.left.as_ref().filter(|left| left.file == file) {
            for (sink, numbers) in &left.done {
                let receipt = Receipt { numbers: Some(numbers.clone()), ..Receipt::default() };
                store.acknowledge(sink, &receipt, limits)?;
            }
            store.hold(&left.held);
            store.remove_dead_letters(&left.resent)?;
        }
        let mut counts = self.store.counts()?;
        add(&mut counts, &self.uncounted);
        store.take_over(&self.store, (&counts, &self.told), limits)
    }
}

/// Does something with a store. redb panics on some damaged pages.
pub(super) fn guarded<T>(what: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    panic::catch_unwind(AssertUnwindSafe(what))
        .unwrap_or_else(|_| Err(redb::Error::Corrupted("it cannot be read".to_owned())))
}

pub(super) fn open_file(path: &Path) -> Result<(Store, Identity), DatabaseError> {
    // redb panics on some damaged files.
    let opened = panic::catch_unwind(|| open_as_it_is(path));
    let damage = match opened {
        Ok(Err(error)) if error.is_damage() => error.to_string(),
        Ok(opened) => return opened,
        Err(_) => "it cannot be read".to_owned(),
    };
    start_anew(path, &damage, &BTreeMap::new(), (&Counts::new(), &Counts::new()))
}

/// A file in the place of a damaged one, which had counted so much, and of which so much was told.
fn start_anew(
    path: &Path,
    damage: &str,
    sinks: &BTreeMap<String, bool>,
    (counts, told): (&Counts, &Counts),
) -> Result<(Store, Identity), DatabaseError> {
    let aside = database::put_aside(path)?;
    tracing::error!(damage, put_aside = %aside.display(), "the spool is damaged: what was not sent yet is lost");
    let (mut store, file) = open_as_it_is(path)?;
    let mut counts = counts.clone();
    add(&mut counts, &[(Counter::of(Count::TornRecord), 1)].into());
    let prepared = store.set_sinks(sinks).and_then(|()| store.go_on_counting(&counts, told));
    prepared.map_err(|error| DatabaseError::new(path, error))?;
    Ok((store, file))
}

pub(super) fn open_as_it_is(path: &Path) -> Result<(Store, Identity), DatabaseError> {
    let (database, file) = database::open(path, CACHE_BYTES)?;
    let store = Store::new(database).map_err(|error| DatabaseError::new(path, error))?;
    Ok((store.ok_or_else(|| DatabaseError::Format { path: path.to_owned() })?, file))
}

pub(super) fn in_memory(path: &Path) -> Result<Store, DatabaseError> {
    let opened = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(InMemoryBackend::new());
    let named = |error: redb::Error| DatabaseError::new(path, error);
    let store = opened.map_err(|error| named(error.into())).and_then(|database| Store::new(database).map_err(named))?;
    store.ok_or_else(|| DatabaseError::Format { path: path.to_owned() })
}

/// Without a file to write to: what is kept already, or a little.
pub(super) fn least(limits: Limits, store: &Store) -> Limits {
    Limits { max_bytes: limits.max_bytes.min(store.bytes().unwrap_or_default().max(LEAST_BYTES)), ..limits }
}

/// The limits, or where the file system is nearly full, what is kept already; a little in any case.
fn within_free_space(settings: &Settings, store: &Store) -> Limits {
    let folder = settings.path.parent().unwrap_or(Path::new("/"));
    let free = rustix::fs::statvfs(folder).map(|there| there.f_bavail.saturating_mul(there.f_frsize));
    if free.is_ok_and(|free| free < settings.min_free_bytes) {
        return least(settings.limits, store);
    }
    settings.limits
}

#[cfg(test)]
mod tests;
