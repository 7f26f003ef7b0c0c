//! Documents on their way: durable before they are sent, kept until every sink's receiver has them.
//!
//! `store` is the file, `chunk` and `tables` its layout, `counts` what became of documents, `dead_letter` those that no receiver takes. This
//! file is what others see: one [`Spool`] for the thread that brings documents in, those that carry them out, and those who ask.
//!
//! Promise: at least once, from the return of [`Spool::append`] to a receiver's acknowledgement. A spool that cannot be written goes on in
//! memory, bounded and counted, and says so; it tries the file again.

mod chunk;
mod counts;
mod dead_letter;
mod store;
mod tables;

use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redb::{Builder, backends::InMemoryBackend};

use self::store::Store;
pub use self::{
    counts::{Count, Counter, Counts, total},
    dead_letter::DeadLetter,
    store::{Batch, Incoming, Limits, Receipt},
};
use crate::{
    database::{self, DatabaseError},
    latency::Latencies,
    model::Class,
    sinks::Entry,
};

/// Where the daemon keeps it.
pub const PATH: &str = "/var/lib/lkm-monitor/spool.redb";

/// Pages of the file that stay in memory, in bytes.
const CACHE_BYTES: usize = 4 << 20;
/// What is kept in memory while the file cannot be written, and in the file however full the file system is, in bytes of documents.
const LEAST_BYTES: u64 = 8 << 20;
/// How often a file that cannot be written is tried again, unless somebody knows better.
pub const RETRY: Duration = Duration::from_secs(10);

/// How the spool is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub path: PathBuf,
    pub limits: Limits,
    /// What others are left of the file system, in bytes: when less is free the spool grows no more.
    pub min_free_bytes: u64,
    /// How often a file that cannot be written is tried again.
    pub retry: Duration,
}

/// Whether documents survive the end of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Durable,
    /// Why not.
    InMemory(String),
}

/// See the module.
pub struct Spool {
    settings: Mutex<Settings>,
    inner: Mutex<Inner>,
    /// Documents came in, or somebody is to stop.
    grown: Condvar,
}

/// Tells one who waits at the spool to leave.
#[derive(Clone, Debug, Default)]
pub struct Leave(Arc<AtomicBool>);

impl Leave {
    /// Whether it is time to.
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Inner {
    store: Store,
    /// Grows whenever another store takes its place: numbers of one say nothing of the other.
    generation: u64,
    /// In memory: why, and when the file was last tried.
    failed: Option<(String, Instant)>,
    /// Which sinks there are; true for those that want alerts only.
    sinks: BTreeMap<String, bool>,
    /// Counted while there was no file to write it to.
    uncounted: Counts,
    /// When running time was last entered in the file.
    ran_to: Instant,
    /// The sum of documents that came in: tells whether there is something new.
    arrived: u64,
    durable: Latencies,
}

impl Spool {
    /// Opens the spool, or makes it. One that is damaged is put aside. Where there can be none, this one is in memory and says why.
    pub fn open(settings: Settings) -> Result<Self, DatabaseError> {
        let (store, failed) = match open_file(&settings.path) {
            Ok(store) => (store, None),
            Err(error) => {
                tracing::error!(%error, "the spool cannot be opened: documents are kept in memory only");
                (in_memory(&settings.path)?, Some((error.to_string(), Instant::now())))
            }
        };
        Ok(Self::around(settings, store, failed))
    }

    /// Opens a spool that is there, as it is: somebody wants to look into it.
    pub fn open_existing(settings: Settings) -> Result<Self, DatabaseError> {
        let there = std::fs::metadata(&settings.path);
        there.map_err(|source| DatabaseError::File { path: settings.path.clone(), source })?;
        let store = open_as_it_is(&settings.path)?;
        Ok(Self::around(settings, store, None))
    }

    fn around(settings: Settings, store: Store, failed: Option<(String, Instant)>) -> Self {
        let inner = Inner {
            store,
            generation: 0,
            failed,
            sinks: BTreeMap::new(),
            uncounted: Counts::new(),
            ran_to: Instant::now(),
            arrived: 0,
            durable: Latencies::default(),
        };
        Self { settings: Mutex::new(settings), inner: Mutex::new(inner), grown: Condvar::new() }
    }

    /// These sinks have to get every document from now on; true for those that want alerts only.
    pub fn set_sinks(&self, sinks: BTreeMap<String, bool>) -> Result<(), DatabaseError> {
        let mut inner = self.inner();
        inner.store.set_sinks(&sinks).map_err(|error| self.error(error))?;
        inner.sinks = sinks;
        Ok(())
    }

    /// Uses other bounds from now on. The path stays.
    pub fn set_limits(&self, limits: Limits, min_free_bytes: u64) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.limits = limits;
        settings.min_free_bytes = min_free_bytes;
    }

    /// Takes documents in. They are durable when this returns, unless [`Self::condition`] says otherwise.
    pub fn append(&self, documents: &[Incoming]) {
        let settings = self.settings();
        let mut inner = self.inner();
        inner.arrived += documents.len() as u64;
        self.try_file_again(&mut inner, &settings, settings.retry);
        if inner.failed.is_none() {
            match self.append_to_file(&mut inner, &settings, documents) {
                Ok(()) => {
                    documents.iter().for_each(|document| inner.durable.note_since(document.happened_ms));
                    self.grown.notify_all();
                    return;
                }
                Err(error) => self.go_on_in_memory(&mut inner, &settings, &error.to_string()),
            }
        }
        let number = documents.len() as u64;
        let limits = Limits { max_bytes: LEAST_BYTES, ..settings.limits };
        let kept = inner.failed.is_some() && inner.store.append(documents, 0, limits).is_ok();
        let count = if kept { Count::Unspooled } else { Count::SpoolError };
        *inner.uncounted.entry(Counter::of(count)).or_default() += number;
        self.grown.notify_all();
    }

    /// Tries a file again that could not be written, when it is time to: there may be no document that does.
    pub fn look_after(&self) {
        let settings = self.settings();
        self.try_file_again(&mut self.inner(), &settings, settings.retry);
    }

    /// What a sink gets next, when there is something; waits for it, at the longest so long.
    pub fn next(
        &self,
        sink: &str,
        (most, most_bytes): (usize, usize),
        patience: Duration,
        leave: &Leave,
    ) -> Result<Batch, DatabaseError> {
        let deadline = Instant::now() + patience;
        let mut inner = self.inner();
        loop {
            let read = self.with(&mut inner, |store| store.read(sink, most, most_bytes));
            let mut batch = read.map_err(|error| self.error(error))?;
            batch.generation = inner.generation;
            if !batch.entries.is_empty() || Instant::now() >= deadline || leave.is_wanted() {
                return Ok(batch);
            }
            let arrived = inner.arrived;
            inner = self.wait(inner, deadline, |inner| inner.arrived != arrived || leave.is_wanted());
        }
    }

    /// Waits for so long, or until it is time to leave.
    pub fn rest(&self, time: Duration, leave: &Leave) {
        drop(self.wait(self.inner(), Instant::now() + time, |_| leave.is_wanted()));
    }

    fn wait<'a>(
        &self,
        mut inner: MutexGuard<'a, Inner>,
        deadline: Instant,
        is_over: impl Fn(&Inner) -> bool,
    ) -> MutexGuard<'a, Inner> {
        while !is_over(&inner) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            inner = self.grown.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner
    }

    /// Notes how a sink's batch ended.
    pub fn acknowledge(&self, sink: &str, receipt: &Receipt) -> Result<(), DatabaseError> {
        let limits = self.settings().limits;
        let mut inner = self.inner();
        // Of another store it is not known how far it was read. What was delivered is delivered again.
        let through = if receipt.generation == inner.generation { receipt.through } else { 0 };
        let receipt = Receipt { through, ..receipt.clone() };
        self.with(&mut inner, |store| store.acknowledge(sink, &receipt, limits)).map_err(|error| self.error(error))
    }

    /// Adds to a sink's count.
    pub fn count(&self, count: Count, sink: &str, number: u64) {
        let counter = Counter::of_sink(count, sink);
        let mut inner = self.inner();
        if self.with(&mut inner, |store| store.count(&counter, number)).is_err() {
            *inner.uncounted.entry(counter).or_default() += number;
        }
    }

    /// How long it took from events to durable documents, since the start.
    pub fn durable(&self) -> Latencies {
        self.inner().durable.clone()
    }

    /// Whether documents are durable.
    pub fn condition(&self) -> Condition {
        let inner = self.inner();
        inner.failed.as_ref().map_or(Condition::Durable, |(reason, _)| Condition::InMemory(reason.clone()))
    }

    /// Totals since the file was made.
    pub fn counts(&self) -> Counts {
        let inner = self.inner();
        let mut counts = inner.store.counts().unwrap_or_default();
        for (counter, number) in &inner.uncounted {
            *counts.entry(counter.clone()).or_default() += number;
        }
        counts
    }

    /// Bytes of documents that are kept.
    pub fn bytes(&self) -> u64 {
        self.inner().store.bytes().unwrap_or_default()
    }

    /// By sink: the number of the last document that it has, with all before.
    pub fn acknowledged(&self) -> Result<BTreeMap<String, u64>, DatabaseError> {
        self.inner().store.acknowledged().map_err(|error| self.error(error))
    }

    /// All documents that some sink waits for, in order, for as long as `each` says so.
    pub fn documents(&self, each: impl FnMut(Entry) -> bool) -> Result<(), DatabaseError> {
        self.inner().store.documents(each).map_err(|error| self.error(error))
    }

    /// All dead letters with their numbers, oldest first.
    pub fn dead_letters(&self) -> Result<Vec<(u64, DeadLetter)>, DatabaseError> {
        self.inner().store.dead_letters().map_err(|error| self.error(error))
    }

    /// How many dead letters there are.
    pub fn dead_letter_count(&self) -> u64 {
        self.inner().store.dead_letter_count().unwrap_or_default()
    }

    /// Lets dead letters be sent again, by the daemon, as soon as their sinks have nothing else to do.
    pub fn retry_dead_letters(&self, numbers: &[u64]) -> Result<(), DatabaseError> {
        self.inner().store.retry_dead_letters(numbers).map_err(|error| self.error(error))
    }

    /// Throws dead letters away.
    pub fn remove_dead_letters(&self, numbers: &[u64]) -> Result<(), DatabaseError> {
        self.inner().store.remove_dead_letters(numbers).map_err(|error| self.error(error))
    }

    /// Throws documents of these classes away.
    pub fn purge(&self, classes: &[Class]) -> Result<(), DatabaseError> {
        self.inner().store.purge(classes).map_err(|error| self.error(error))
    }

    /// Lets somebody leave who waits here.
    pub fn dismiss(&self, leave: &Leave) {
        leave.0.store(true, Ordering::Relaxed);
        // Who is about to wait has looked already: the lock makes it wait first.
        drop(self.inner());
        self.grown.notify_all();
    }

    fn append_to_file(
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
    fn with<T>(
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

    fn go_on_in_memory(&self, inner: &mut Inner, settings: &Settings, error: &str) {
        tracing::error!(error, path = %settings.path.display(), "the spool cannot be written: documents are kept in memory only");
        let opened = in_memory(&settings.path).and_then(|mut store| {
            store.set_sinks(&inner.sinks).map_err(|error| self.error(error))?;
            Ok(store)
        });
        match opened {
            Ok(store) => {
                inner.store = store;
                inner.generation += 1;
                inner.failed = Some((error.to_owned(), Instant::now()));
            }
            Err(error) => tracing::error!(%error, "documents cannot be kept in memory either"),
        }
    }

    /// Goes back to the file, if it can be written again, and takes there what is in memory.
    fn try_file_again(&self, inner: &mut Inner, settings: &Settings, every: Duration) {
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
        let mut counts = inner.store.counts().unwrap_or_default();
        counts.extend(std::mem::take(&mut inner.uncounted));
        let written = store.append(&documents, 0, limits).and_then(|()| {
            // They were counted when they came.
            counts
                .iter()
                .filter(|(counter, _)| counter.count != Count::Spooled)
                .try_for_each(|(counter, number)| store.count(counter, *number))
        });
        if let Err(error) = written {
            inner.uncounted = counts;
            return Err(self.error(error));
        }
        inner.store = store;
        inner.generation += 1;
        inner.failed = None;
        tracing::info!(documents = number, "the spool can be written again");
        Ok(())
    }

    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A transaction that a panic cut short was not committed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, error: redb::Error) -> DatabaseError {
        DatabaseError::new(&self.settings().path, error)
    }
}

fn open_file(path: &Path) -> Result<Store, DatabaseError> {
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

fn open_as_it_is(path: &Path) -> Result<Store, DatabaseError> {
    let (database, _) = database::open(path, CACHE_BYTES)?;
    let store = Store::new(database).map_err(|error| DatabaseError::new(path, error))?;
    store.ok_or_else(|| DatabaseError::Format { path: path.to_owned() })
}

fn in_memory(path: &Path) -> Result<Store, DatabaseError> {
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

impl std::fmt::Debug for Spool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Spool").field("settings", &self.settings()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
