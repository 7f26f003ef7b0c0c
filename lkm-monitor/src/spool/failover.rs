//! What becomes of a spool whose file is damaged, or cannot be written: a new file, or memory until it can be written again.

use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    path::Path,
    time::{Duration, Instant},
};

use redb::{Builder, backends::InMemoryBackend};

use super::{Count, Counter, Incoming, Inner, LEAST_BYTES, Limits, Settings, Spool, add, store::Store};
use crate::{
    database::{self, DatabaseError},
    sinks::Entry,
};

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
        loop {
            let generation = inner.generation;
            let limits = within_free_space(settings, &inner.store);
            match self.with(inner, |store| store.append(documents, ran_s, limits)) {
                Ok(()) => break,
                // Another file took the place of a damaged one.
                Err(_) if inner.generation != generation && inner.failed.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        inner.ran_to += Duration::from_secs(ran_s);
        Ok(())
    }

    /// Does something with the store. A file that turns out to be damaged is put aside, and a new one takes its place.
    pub(super) fn with<T>(
        &self,
        inner: &mut Inner,
        what: impl FnOnce(&mut Store) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        // redb panics on some damaged pages.
        let damage = match panic::catch_unwind(AssertUnwindSafe(|| what(&mut inner.store))) {
            Ok(Err(error)) if database::is_damage(&error) => error,
            Ok(done) => return done,
            Err(_) => redb::Error::Corrupted("it cannot be read".to_owned()),
        };
        if inner.failed.is_none() {
            let settings = self.settings();
            match start_anew(&settings.path, &damage.to_string(), &inner.sinks) {
                Ok(store) => {
                    inner.store = store;
                    inner.generation += 1;
                }
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
                inner.file_counts();
                inner.store = store;
                inner.generation += 1;
                inner.failed = Some((error.to_owned(), Instant::now()));
            }
            Err(error) => tracing::error!(%error, "documents cannot be kept in memory either"),
        }
    }

    /// Goes back to the file, if it can be written again, and takes there what is in memory.
    pub(super) fn try_file_again(&self, inner: &mut Inner, settings: &Settings, every: Duration) {
        let Some((_, tried)) = &mut inner.failed else { return };
        if tried.elapsed() < every {
            return;
        }
        *tried = Instant::now();
        if let Err(error) = self.back_to_file(inner, settings) {
            tracing::warn!(%error, "the spool still cannot be written");
        }
    }

    fn back_to_file(&self, inner: &mut Inner, settings: &Settings) -> Result<(), DatabaseError> {
        let mut store = open_file(&settings.path)?;
        store.set_sinks(&inner.sinks).map_err(|error| self.error(error))?;
        let mut documents = Vec::new();
        let kept = inner.store.documents(|Entry { class, happened_ms, json, .. }| {
            documents.push(Incoming { class, happened_ms, json: json.to_vec() });
            true
        });
        kept.map_err(|error| self.error(error))?;
        let number = documents.len();
        let limits = within_free_space(settings, &store);
        let mut counts = inner.memory_counts();
        add(&mut counts, &inner.uncounted);
        let written = store
            .append(&documents, 0, limits)
            .and_then(|()| counts.iter().try_for_each(|(counter, number)| store.count(counter, *number)));
        written.map_err(|error| self.error(error))?;
        inner.uncounted.clear();
        inner.store = store;
        inner.generation += 1;
        inner.failed = None;
        tracing::info!(documents = number, "the spool can be written again");
        Ok(())
    }
}

pub(super) fn open_file(path: &Path) -> Result<Store, DatabaseError> {
    // redb panics on some damaged files.
    let opened = panic::catch_unwind(|| open_as_it_is(path));
    let damage = match opened {
        Ok(Err(error)) if error.is_damage() => error.to_string(),
        Ok(opened) => return opened,
        Err(_) => "it cannot be read".to_owned(),
    };
    start_anew(path, &damage, &BTreeMap::new())
}

fn start_anew(path: &Path, damage: &str, sinks: &BTreeMap<String, bool>) -> Result<Store, DatabaseError> {
    let aside = database::put_aside(path)?;
    tracing::error!(damage, put_aside = %aside.display(), "the spool is damaged: what was not sent yet is lost");
    let mut store = open_as_it_is(path)?;
    let prepared = store.set_sinks(sinks).and_then(|()| store.count(&Counter::of(Count::TornRecord), 1));
    prepared.map_err(|error| DatabaseError::new(path, error))?;
    Ok(store)
}

pub(super) fn open_as_it_is(path: &Path) -> Result<Store, DatabaseError> {
    let (database, _) = database::open(path, CACHE_BYTES)?;
    let store = Store::new(database).map_err(|error| DatabaseError::new(path, error))?;
    store.ok_or_else(|| DatabaseError::Format { path: path.to_owned() })
}

pub(super) fn in_memory(path: &Path) -> Result<Store, DatabaseError> {
    let opened = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(InMemoryBackend::new());
    let named = |error: redb::Error| DatabaseError::new(path, error);
    let store = opened.map_err(|error| named(error.into())).and_then(|database| Store::new(database).map_err(named))?;
    store.ok_or_else(|| DatabaseError::Format { path: path.to_owned() })
}

/// The limits, or where the file system is nearly full, what is kept already; a little in any case.
fn within_free_space(settings: &Settings, store: &Store) -> Limits {
    let folder = settings.path.parent().unwrap_or(Path::new("/"));
    let free = rustix::fs::statvfs(folder).map(|there| there.f_bavail.saturating_mul(there.f_frsize));
    let mut limits = settings.limits;
    if free.is_ok_and(|free| free < settings.min_free_bytes) {
        limits.max_bytes = limits.max_bytes.min(store.bytes().unwrap_or_default().max(LEAST_BYTES));
    }
    limits
}
