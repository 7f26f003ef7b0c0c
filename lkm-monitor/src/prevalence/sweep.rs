//! Which groups go when there are too many.

use std::{cmp::Reverse, ops::Bound};

use redb::{ReadableTable as _, Table};

use super::{store::decode, tally::Tally};

/// Looks at some groups behind `from`, in the order of their names and round again; removes those that are over, and of the others
/// as many as there are too many. Where it came to, and how many of the latter it removed.
///
/// Looking at all would find the oldest of all; looking at some in turn finds old ones at a bounded cost.
pub(super) fn sweep(
    groups: &mut Table<'_, &[u8], &[u8]>,
    unsent: &mut Table<'_, &[u8], ()>,
    from: &[u8],
    (surplus, most): (u64, usize),
    is_over: impl Fn(&Tally) -> bool,
) -> Result<(Vec<u8>, u64), redb::Error> {
    let most = most.max(usize::try_from(surplus).unwrap_or(usize::MAX).saturating_mul(2));
    let mut seen = Vec::new();
    for entry in groups.range::<&[u8]>((Bound::Excluded(from), Bound::Unbounded))?.take(most) {
        let (name, tally) = entry?;
        seen.push((name.value().to_vec(), decode(tally.value())));
    }
    let is_end = seen.len() < most;
    if is_end {
        for entry in groups.range::<&[u8]>((Bound::Unbounded, Bound::Included(from)))?.take(most - seen.len()) {
            let (name, tally) = entry?;
            seen.push((name.value().to_vec(), decode(tally.value())));
        }
    }
    let to = seen.last().map(|(name, _)| name.clone()).unwrap_or_default();
    let (over, mut living): (Vec<_>, Vec<_>) = seen.into_iter().partition(|(_, tally)| is_over(tally));
    // What everybody can cause goes before what only root can.
    living.sort_by_key(|(_, tally)| (tally.privileged, Reverse(tally.days.is_empty()), tally.last_s));
    living.truncate(usize::try_from(surplus).unwrap_or(usize::MAX).saturating_sub(over.len()));
    for (name, _) in over.iter().chain(&living) {
        groups.remove(name.as_slice())?;
        unsent.remove(name.as_slice())?;
    }
    Ok((to, living.len() as u64))
}
