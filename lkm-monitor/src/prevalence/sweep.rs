//! Which groups go when there are too many.

use std::ops::Bound;

use redb::{ReadableTable as _, Table};

use super::{file::decode, tally::Tally};

/// Groups that are looked at in one write, at least.
const LOOKED_AT: usize = 512;
/// And at most: a bound that was lowered is reached after some writes.
const MOST: usize = 16_384;

/// What to do.
#[derive(Debug)]
pub(super) struct Sweep<'a> {
    /// The last group that was looked at.
    pub(super) from: &'a [u8],
    /// Groups that are too many.
    pub(super) surplus: u64,
}

/// What was done.
#[derive(Debug)]
pub(super) struct Swept {
    pub(super) to: Vec<u8>,
    /// Groups that were given up though they were not over.
    pub(super) evicted: u64,
}

/// Looks at some groups behind the last one, in the order of their names and round again; removes those that are over, and of the
/// others the oldest, as many as there are too many.
///
/// Looking at all would find the oldest of all; looking at some in turn finds old ones at a bounded cost.
pub(super) fn sweep(
    groups: &mut Table<'_, &'static [u8], &'static [u8]>,
    unsent: &mut Table<'_, &'static [u8], ()>,
    Sweep { from, surplus }: Sweep<'_>,
    is_over: impl Fn(&Tally) -> bool,
) -> Result<Swept, redb::Error> {
    let surplus = usize::try_from(surplus).unwrap_or(usize::MAX);
    let most = surplus.saturating_mul(2).clamp(LOOKED_AT, MOST);
    let mut seen = Vec::new();
    let behind = (Bound::Excluded(from), Bound::Unbounded);
    let again = (Bound::Unbounded, Bound::Included(from));
    for range in [behind, again] {
        for entry in groups.range::<&[u8]>(range)?.take(most - seen.len()) {
            let (name, tally) = entry?;
            seen.push((name.value().to_vec(), decode(tally.value())));
        }
    }
    let to = seen.last().map(|(name, _)| name.clone()).unwrap_or_default();
    let (over, mut living): (Vec<_>, Vec<_>) = seen.into_iter().partition(|(_, tally)| is_over(tally));
    living.sort_by_key(|(_, tally)| tally.last_s);
    living.truncate(surplus.saturating_sub(over.len()));
    for (name, _) in over.iter().chain(&living) {
        groups.remove(name.as_slice())?;
        unsent.remove(name.as_slice())?;
    }
    Ok(Swept { to, evicted: living.len() as u64 })
}
