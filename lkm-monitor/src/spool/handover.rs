//! How far sinks have got, while one store takes another's place: a batch may be under way then, and its receipt comes later.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::batch::Receipt;
use crate::database::Identity;

/// Numbers of documents.
pub(super) type Numbers = RangeInclusive<u64>;
/// By sink.
pub(super) type BySink = BTreeMap<String, Numbers>;

/// What becomes of receipts whose store is not the one that takes documents now.
#[derive(Debug, Default)]
pub(super) struct Handover {
    pub(super) left: Option<Left>,
    /// By sink: what it was delivering when that was moved.
    pub(super) under_way: BTreeMap<String, UnderWay>,
}

/// A batch whose documents have other numbers than its receipt will say.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// The generations of the stores that they were in, and are in.
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) moved: Moved,
}

/// A file that was left because it cannot be written. When it can be, it goes on.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) generation: u64,
    pub(super) file: Identity,
    /// What sinks got of it since.
    pub(super) done: BySink,
    /// What sinks are delivering of it.
    pub(super) held: BySink,
    /// Its dead letters that were sent again since.
    pub(super) resent: Vec<u64>,
}

/// Documents that were moved from one store to another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Their numbers before, in order. The first is `after` + 1 now, and so on.
    pub(super) numbers: Vec<u64>,
    pub(super) after: u64,
}

impl Moved {
    /// The number now of the last document that was moved and had at most this number.
    pub(super) fn place(&self, number: u64) -> u64 {
        self.after + self.numbers.partition_point(|moved| *moved <= number) as u64
    }

    /// Of these documents alone.
    pub(super) fn only(&self, numbers: &Numbers) -> Self {
        let these = self.numbers.iter().copied().filter(|number| numbers.contains(number)).collect();
        Self { numbers: these, after: self.places(numbers).start() - 1 }
    }

    /// The numbers now of documents that had these.
    pub(super) fn places(&self, numbers: &Numbers) -> Numbers {
        self.place(numbers.start().saturating_sub(1)) + 1..=self.place(*numbers.end())
    }
}

impl Handover {
    /// A receipt as the store of generation `now` understands it. What it says of another store is kept until that is back.
    pub(super) fn translate(&mut self, sink: &str, receipt: &Receipt, now: u64) -> Receipt {
        let mut here = Receipt { numbers: self.numbers(sink, receipt, now), ..receipt.clone() };
        if receipt.generation != now {
            let resent = std::mem::take(&mut here.resent);
            if let Some(left) = self.left.as_mut().filter(|left| left.generation == receipt.generation) {
                left.resent.extend(resent);
            }
        }
        here
    }

    /// The numbers of a receipt in the store of generation `now`. None where that is not known: what was delivered is delivered again.
    fn numbers(&mut self, sink: &str, receipt: &Receipt, now: u64) -> Option<Numbers> {
        let (mut generation, mut numbers) = (receipt.generation, receipt.numbers.clone()?);
        if self.under_way.get(sink).is_some_and(|way| way.from == generation)
            && let Some(UnderWay { to, moved, .. }) = self.under_way.remove(sink)
        {
            (generation, numbers) = (to, moved.places(&numbers));
        }
        if generation == now {
            return Some(numbers);
        }
        if let Some(left) = self.left.as_mut().filter(|left| left.generation == generation) {
            left.done.insert(sink.to_owned(), numbers);
            left.held.remove(sink);
        }
        None
    }
}
