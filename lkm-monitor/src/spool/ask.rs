//! What is asked of the spool, and ordered, by those who carry nothing.

use std::collections::BTreeMap;

use super::{Condition, Counts, DeadLetter, Spool, Store, add};
use crate::{database::DatabaseError, latency::Latencies, model::Class, sinks::Entry};

impl Spool {
    /// How long it took from events to durable documents, since the start.
    pub fn durable(&self) -> Latencies {
        self.inner().durable.clone()
    }

    /// Whether documents are durable.
    pub fn condition(&self) -> Condition {
        let inner = self.inner();
        inner.failed.as_ref().map_or(Condition::Durable, |(reason, _)| Condition::InMemory(reason.clone()))
    }

    /// Totals since the file was made. While it cannot be read they go on from what it said last.
    pub fn counts(&self) -> Counts {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let counts = self.with(inner, |store| store.counts()).unwrap_or_default();
        if inner.file.is_some() && !counts.is_empty() {
            inner.filed.clone_from(&counts);
        }
        let mut totals = inner.filed.clone();
        if inner.file.is_none() {
            add(&mut totals, &counts);
        }
        add(&mut totals, &inner.uncounted);
        totals
    }

    /// What of these totals was told by runs before.
    pub fn before(&self) -> Counts {
        self.inner().before.clone().unwrap_or_default()
    }

    /// Notes what of the totals was told. After a crash the rest is told by the next run.
    pub fn note_told(&self, told: Counts) {
        let mut inner = self.inner();
        if inner.file.is_none() || self.with(&mut inner, |store| store.tell(&told)).is_ok() {
            inner.told = told;
        }
    }

    /// By sink: how many documents came in after those that it has. What was given up since, or is not for it, is among them.
    pub fn waiting(&self) -> BTreeMap<String, u64> {
        self.with(&mut self.inner(), |store| store.waiting()).unwrap_or_default()
    }

    /// Whether somebody who carries for this sink has found that all is carried.
    pub fn is_satisfied(&self, sink: &str) -> bool {
        let inner = self.inner();
        inner.satisfied.get(sink) == Some(&inner.arrived)
    }

    /// What bounds the documents that are kept, in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.settings().limits.max_bytes
    }

    /// Bytes of documents that are kept.
    pub fn bytes(&self) -> u64 {
        self.with(&mut self.inner(), |store| store.bytes()).unwrap_or_default()
    }

    /// By sink: the number of the last document that it has, with all before.
    pub fn acknowledged(&self) -> Result<BTreeMap<String, u64>, DatabaseError> {
        self.ask(|store| store.acknowledged())
    }

    /// All documents that some sink waits for, in order, for as long as `each` says so.
    pub fn documents(&self, each: impl FnMut(Entry) -> bool) -> Result<(), DatabaseError> {
        self.ask(|store| store.documents(each))
    }

    /// All dead letters with their numbers, oldest first.
    pub fn dead_letters(&self) -> Result<Vec<(u64, DeadLetter)>, DatabaseError> {
        self.ask(|store| store.dead_letters())
    }

    /// How many dead letters there are.
    pub fn dead_letter_count(&self) -> u64 {
        self.with(&mut self.inner(), |store| store.dead_letter_count()).unwrap_or_default()
    }

    /// Lets dead letters be sent again, by the daemon, when their sinks have nothing else to do, or half a minute later.
    pub fn retry_dead_letters(&self, numbers: &[u64]) -> Result<(), DatabaseError> {
        self.ask(|store| store.retry_dead_letters(numbers))
    }

    /// Throws dead letters away.
    pub fn remove_dead_letters(&self, numbers: &[u64]) -> Result<(), DatabaseError> {
        self.ask(|store| store.remove_dead_letters(numbers))
    }

    /// Throws documents of these classes away.
    pub fn purge(&self, classes: &[Class]) -> Result<(), DatabaseError> {
        for class in classes {
            let mut from = 0;
            while let Some(next) = self.ask(|store| store.purge_some(*class, from))? {
                from = next;
            }
        }
        Ok(())
    }

    pub(super) fn ask<T>(&self, what: impl FnOnce(&mut Store) -> Result<T, redb::Error>) -> Result<T, DatabaseError> {
        self.with(&mut self.inner(), what).map_err(|error| self.error(error))
    }
}
