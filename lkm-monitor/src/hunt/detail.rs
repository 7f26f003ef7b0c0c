//! What a report shows of a group besides its figures: on which days it happened, and what ties it to other groups.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry};

use jiff::Timestamp;

use super::evidence::Trace;

/// Different traces that are remembered of a group. One of more events may be tied to more than is known.
pub const REMEMBERED_TRACES: usize = 64;

/// A day of the UTC calendar, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub i64);

impl Day {
    pub const SECONDS: i64 = 86_400;

    pub fn of(time: Timestamp) -> Self {
        Self(time.as_second().div_euclid(Self::SECONDS))
    }
}

/// Of one group.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    days: BTreeMap<Day, u64>,
    /// The day of each event that the group remembers by its id.
    day_of_id: HashMap<u64, Day>,
    traces: HashSet<Trace>,
    more_traces: bool,
}

impl Detail {
    /// Of which no more is known than when they were.
    pub(super) fn of_days(days: Vec<(Day, u64)>) -> Self {
        Self { days: days.into_iter().collect(), ..Self::default() }
    }

    /// Events by day; days without any are left out.
    pub fn days(&self) -> impl Iterator<Item = (Day, u64)> {
        self.days.iter().filter(|(_, count)| **count > 0).map(|(day, count)| (*day, *count))
    }

    pub fn traces(&self) -> impl Iterator<Item = &Trace> {
        self.traces.iter()
    }

    /// Whether there may have been more traces than are remembered.
    pub fn has_more_traces(&self) -> bool {
        self.more_traces
    }

    /// An event that counts, and its id where the group remembers it.
    pub(super) fn add(&mut self, time: Timestamp, id: Option<u64>, trace: impl FnOnce() -> Trace) {
        let day = Day::of(time);
        *self.days.entry(day).or_default() += 1;
        if let Some(id) = id {
            self.day_of_id.insert(id, day);
        }
        // A trace costs more than all else here, and most events are of groups that have enough of them.
        if self.traces.len() < REMEMBERED_TRACES {
            self.remember(trace());
        } else {
            self.more_traces = true;
        }
    }

    fn remember(&mut self, trace: Trace) {
        if trace.is_empty() || self.traces.contains(&trace) {
            return;
        }
        if self.traces.len() < REMEMBERED_TRACES {
            self.traces.insert(trace);
        } else {
            self.more_traces = true;
        }
    }

    /// Adds what was counted elsewhere. An event that both remember counts once.
    pub(super) fn merge(&mut self, other: Self) {
        for (day, count) in other.days {
            *self.days.entry(day).or_default() += count;
        }
        for (id, day) in other.day_of_id {
            match self.day_of_id.entry(id) {
                Entry::Vacant(entry) => drop(entry.insert(day)),
                Entry::Occupied(_) => {
                    self.days.entry(day).and_modify(|count| *count = count.saturating_sub(1));
                }
            }
        }
        self.more_traces |= other.more_traces;
        other.traces.into_iter().for_each(|trace| self.remember(trace));
    }
}
