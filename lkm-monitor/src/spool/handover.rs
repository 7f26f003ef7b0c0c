//! How far sinks have got, while one store takes another's place: a batch may be under way then, and its receipt comes later.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use super::store::Receipt;
use crate::database::Identity;

/// By sink: the numbers that it is delivering.
pub(super) type Held = BTreeMap<String, RangeInclusive<u64>>;

/// What becomes of receipts whose store is not the one that takes documents now.
#[derive(Debug, Default)]
pub(super) struct Handover {
    pub(super) left: Option<Left>,
    pub(super) moved: Option<(u64, Moved)>,
}

/// A file that was left because it cannot be written. When it can be, it goes on.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) generation: u64,
    pub(super) file: Identity,
    /// How far sinks have got in it since.
    pub(super) reached: BTreeMap<String, u64>,
    pub(super) held: Held,
}

/// Documents that were moved from one store to another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// The generation of the store that they are in now.
    pub(super) to: u64,
    /// Their numbers before, in order. The first is `after` + 1 now, and so on.
    pub(super) numbers: Vec<u64>,
    pub(super) after: u64,
    /// Sinks that had everything with lower numbers.
    pub(super) sinks: BTreeSet<String>,
}

impl Moved {
    /// The number now of the last document that was moved and had at most this number.
    pub(super) fn place(&self, number: u64) -> u64 {
        self.after + self.numbers.partition_point(|moved| *moved <= number) as u64
    }
}

impl Handover {
    /// Through which number a sink has everything in the store of generation `now`. Zero where that is not known: what was delivered is
    /// delivered again.
    pub(super) fn through(&mut self, sink: &str, receipt: &Receipt, now: u64) -> u64 {
        let (mut generation, mut through) = (receipt.generation, receipt.through);
        if let Some((from, moved)) = &self.moved
            && *from == generation
            && moved.sinks.contains(sink)
        {
            (generation, through) = (moved.to, moved.place(through));
        }
        if generation == now {
            return through;
        }
        if let Some(left) = self.left.as_mut().filter(|left| left.generation == generation) {
            let reached = left.reached.entry(sink.to_owned()).or_default();
            *reached = through.max(*reached);
            left.held.remove(sink);
        }
        0
    }
}
