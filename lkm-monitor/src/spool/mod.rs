//! Documents on their way: durable before they are sent, kept until every sink's receiver has them.
//!
//! `store` is the file, `chunk` and `tables` its layout, `batch` what goes in and out, `retention` what leaves it, `failover` what takes
//! its place, `handover` how far sinks have got then, `counts` what became of documents, `dead_letter` those that no receiver takes, `ask`
//! what others want to know. This file is one [`Spool`] for the thread that brings documents in, and for those that carry them out.
//!
//! Promise: at least once, from the return of [`Spool::append`] to a receiver's acknowledgement. A spool that cannot be written goes on in
//! memory, bounded and counted, and says so; it tries the file again.

mod ask;
mod batch;
mod chunk;
mod counts;
mod dead_letter;
mod failover;
mod handover;
mod retention;
mod store;
mod tables;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

pub use self::{
    batch::{Batch, Incoming, Receipt},
    counts::{Count, Counter, Counts, Scope, own, total},
    dead_letter::DeadLetter,
    store::Limits,
};
use self::{
    failover::{guarded, in_memory, least, open_as_it_is, open_file},
    handover::Handover,
    store::Store,
};
use crate::{
    database::{Claim, DatabaseError, Identity},
    latency::Latencies,
};

/// Where the daemon keeps it.
pub const PATH: &str = "/var/lib/lkm-monitor/spool.redb";

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
    /// A daemon's on the file: what its sinks have to get, another one would take for nobody's.
    claim: Option<Claim>,
    /// What the store is in; nothing while it is in memory.
    file: Option<Identity>,
    /// Which store it is: numbers of one say nothing of another.
    generation: u64,
    /// How many there were.
    stores: u64,
    handover: Handover,
    /// The file is another process's: it is not put aside when it is damaged.
    is_visited: bool,
    /// The file cannot be used: why, and when it was last tried.
    failed: Option<(String, Instant)>,
    /// Which sinks there are; true for those that want alerts only.
    sinks: BTreeMap<String, bool>,
    /// What was told by runs before; nothing until the file can be read.
    before: Option<Counts>,
    /// What was told last.
    told: Counts,
    /// What the file has counted, when it was last read.
    filed: Counts,
    /// Counted while there was no file to write it to.
    uncounted: Counts,
    /// When running time was last entered in the file.
    ran_to: Instant,
    /// The sum of documents that came in: tells whether there is something new.
    arrived: u64,
    /// By sink: how many had come in when there was nothing for it.
    satisfied: BTreeMap<String, u64>,
    durable: Latencies,
}

impl Spool {
    /// Opens the spool, or makes it. One that is damaged is put aside. Where there can be none, this one is in memory and says why.
    pub fn open(settings: Settings) -> Result<Self, DatabaseError> {
        let opened = Claim::on(&settings.path).and_then(|claim| Ok((claim, open_file(&settings.path)?)));
        match opened {
            Ok((claim, (store, file))) => {
                let spool = Self::around(settings, store, Some(file), None);
                spool.inner().claim = Some(claim);
                Ok(spool)
            }
            Err(error) => {
                tracing::error!(%error, "the spool cannot be opened: documents are kept in memory only");
                let store = in_memory(&settings.path)?;
                Ok(Self::around(settings, store, None, Some((error.to_string(), Instant::now()))))
            }
        }
    }

    /// Opens a spool that is there, as it is: somebody wants to look into it.
    pub fn open_existing(settings: Settings) -> Result<Self, DatabaseError> {
        let there = std::fs::metadata(&settings.path);
        there.map_err(|source| DatabaseError::File { path: settings.path.clone(), source })?;
        let (mut store, file) = open_as_it_is(&settings.path)?;
        guarded(|| store.know_sinks()).map_err(|error| DatabaseError::new(&settings.path, error))?;
        let spool = Self::around(settings, store, Some(file), None);
        spool.inner().is_visited = true;
        Ok(spool)
    }

    fn around(settings: Settings, store: Store, file: Option<Identity>, failed: Option<(String, Instant)>) -> Self {
        let inner = Inner {
            before: file.and_then(|_| guarded(|| store.told()).ok()),
            told: Counts::new(),
            store,
            claim: None,
            file,
            generation: 0,
            stores: 0,
            handover: Handover::default(),
            is_visited: false,
            failed,
            sinks: BTreeMap::new(),
            filed: Counts::new(),
            uncounted: Counts::new(),
            ran_to: Instant::now(),
            arrived: 0,
            satisfied: BTreeMap::new(),
            durable: Latencies::default(),
        };
        Self { settings: Mutex::new(settings), inner: Mutex::new(inner), grown: Condvar::new() }
    }

    /// These sinks have to get every document from now on; true for those that want alerts only.
    pub fn set_sinks(&self, sinks: BTreeMap<String, bool>) -> Result<(), DatabaseError> {
        let settings = self.settings();
        let mut inner = self.inner();
        let set = self.in_file(&mut inner, |inner| self.with(inner, |store| store.set_sinks(&sinks)));
        inner.sinks = sinks;
        match set {
            Err(error) if inner.file.is_some() => {
                self.go_on_in_memory(&mut inner, &settings, &error.to_string());
                Ok(())
            }
            set => set.map_err(|error| self.error(error)),
        }
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
        let is_elsewhere = inner.failed.is_some();
        let store = &mut inner.store;
        let kept = is_elsewhere && guarded(|| store.append(documents, 0, least(settings.limits, store))).is_ok();
        let count = if kept { Count::Unspooled } else { Count::SpoolError };
        *inner.uncounted.entry(Counter::of(count)).or_default() += number;
        self.grown.notify_all();
    }

    /// Looks whether the file is still there, and tries one again that could not be used, when it is time to: there may be no document
    /// that does.
    pub fn look_after(&self) {
        let settings = self.settings();
        let mut inner = self.inner();
        self.look_for_file(&mut inner, &settings);
        self.try_file_again(&mut inner, &settings, settings.retry);
    }

    /// Tries once more to bring what is in memory into the file.
    pub fn come_to_an_end(&self) {
        self.try_file_again(&mut self.inner(), &self.settings(), Duration::ZERO);
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
            let arrived = inner.arrived;
            if batch.entries.is_empty() {
                inner.satisfied.insert(sink.to_owned(), arrived);
            }
            if !batch.entries.is_empty() || Instant::now() >= deadline || leave.is_wanted() {
                return Ok(batch);
            }
            inner = self.wait(inner, deadline, |inner| inner.arrived != arrived || leave.is_wanted());
        }
    }

    /// What a sink is to be sent again of its dead letters, if there is something.
    pub fn next_dead_letters(&self, sink: &str, most: usize) -> Result<Batch, DatabaseError> {
        let mut inner = self.inner();
        let read = self.with(&mut inner, |store| store.read_dead_letters(sink, most));
        let batch = read.map_err(|error| self.error(error))?;
        Ok(Batch { generation: inner.generation, ..batch })
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
        let settings = self.settings();
        let mut inner = self.inner();
        let mut noted = self.note(&mut inner, sink, receipt, settings.limits);
        if let Err(error) = &noted
            && inner.failed.is_none()
        {
            self.go_on_in_memory(&mut inner, &settings, &error.to_string());
            noted = self.note(&mut inner, sink, receipt, settings.limits);
        }
        noted.map_err(|error| self.error(error))
    }

    /// Adds to a sink's count.
    pub fn count(&self, count: Count, sink: &str, number: u64) {
        let counter = Counter::of_sink(count, sink);
        let mut inner = self.inner();
        if self.with(&mut inner, |store| store.count(&counter, number)).is_err() {
            *inner.uncounted.entry(counter).or_default() += number;
        }
    }

    /// Lets somebody leave who waits here.
    pub fn dismiss(&self, leave: &Leave) {
        leave.0.store(true, Ordering::Relaxed);
        // Who is about to wait has looked already: the lock makes it wait first.
        drop(self.inner());
        self.grown.notify_all();
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

fn add(counts: &mut Counts, more: &Counts) {
    for (counter, number) in more {
        *counts.entry(counter.clone()).or_default() += number;
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Spool").field("settings", &self.settings()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
