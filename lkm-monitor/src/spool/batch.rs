//! What goes into the spool, out of it, and back as an answer.

use super::{counts::Count, dead_letter::DeadLetter, handover::Numbers};
use crate::{model::Class, sinks::Entry};

/// A document that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    pub class: Class,
    /// When it happened, in milliseconds of the wall clock.
    pub happened_ms: u64,
    /// A JSON object in one line, without the newline.
    pub json: Vec<u8>,
}

/// What one sink gets next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub entries: Vec<Entry>,
    /// Which store the numbers are of.
    pub(super) generation: u64,
    /// All documents with these numbers are in `entries`, or not for this sink, or there no more.
    pub(super) numbers: Option<Numbers>,
    /// Dead letters that `entries` are, by their numbers: they have no place in the spool's order.
    pub(super) resent: Vec<u64>,
}

impl Batch {
    /// Leaves documents from this number on to another batch.
    pub fn end_before(&mut self, number: u64) {
        let numbers =
            self.numbers.take().map(|numbers| *numbers.start()..=(*numbers.end()).min(number.saturating_sub(1)));
        self.numbers = numbers.filter(|numbers| !numbers.is_empty());
        self.resent.retain(|letter| *letter < number);
    }
}

/// How a batch ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The batch's.
    pub(super) generation: u64,
    pub(super) numbers: Option<Numbers>,
    pub(super) resent: Vec<u64>,
    pub counts: Vec<(Count, u64)>,
    pub dead_letters: Vec<DeadLetter>,
}

impl Receipt {
    /// One for a batch. It says nothing of its documents yet.
    pub fn of(batch: &Batch) -> Self {
        let Batch { generation, numbers, resent, .. } = batch;
        Self { generation: *generation, numbers: numbers.clone(), resent: resent.clone(), ..Self::default() }
    }
}
