//! How far a batch has got.

use crate::{
    model::Class,
    sinks::Entry,
    spool::{Batch, Count, DeadLetter, Receipt},
};

/// What is known of a batch.
#[derive(Debug)]
pub(super) struct Progress {
    /// Without its documents.
    batch: Batch,
    settled: Vec<Settled>,
    /// In the order of their numbers.
    pub(super) pending: Vec<Entry>,
}

/// A document that has its fate.
#[derive(Debug)]
struct Settled {
    number: u64,
    counts: &'static [Count],
    letter: Option<DeadLetter>,
}

impl Progress {
    /// Nothing has been sent yet.
    pub(super) fn new(mut batch: Batch) -> Self {
        let pending = std::mem::take(&mut batch.entries);
        Self { batch, settled: Vec::new(), pending }
    }

    /// Notes that the receiver has a document.
    pub(super) fn taken(&mut self, number: u64, counts: &'static [Count]) {
        self.settled.push(Settled { number, counts, letter: None });
    }

    /// Notes that the receiver will never have it.
    pub(super) fn refused(&mut self, number: u64, letter: DeadLetter) {
        let counts: &[_] = match letter.class() {
            Class::Loss => &[Count::DeadLettered, Count::LossRefused],
            _ => &[Count::DeadLettered],
        };
        self.settled.push(Settled { number, counts, letter: Some(letter) });
    }

    /// All documents with lower numbers have their fate. Behind it some may: those are sent again, and counted then.
    pub(super) fn reached(&self) -> u64 {
        self.pending.first().map_or(u64::MAX, |first| first.number)
    }

    /// What the part comes to that has been reached.
    pub(super) fn receipt(mut self) -> Receipt {
        let reached = self.reached();
        self.batch.end_before(reached);
        let mut receipt = Receipt::of(&self.batch);
        for Settled { counts, letter, .. } in self.settled.into_iter().filter(|settled| settled.number < reached) {
            counts.iter().for_each(|count| add(&mut receipt, *count));
            receipt.dead_letters.extend(letter);
        }
        receipt
    }
}

fn add(receipt: &mut Receipt, count: Count) {
    match receipt.counts.iter_mut().find(|(known, _)| *known == count) {
        Some((_, number)) => *number += 1,
        None => receipt.counts.push((count, 1)),
    }
}
