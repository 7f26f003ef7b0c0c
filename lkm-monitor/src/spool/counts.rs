//! What became of documents, counted since the spool's file was made.

use std::collections::BTreeMap;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// Documents that came into the spool.
    Spooled,
    /// Documents that came while the spool could not be written, and were kept in memory.
    Unspooled,
    /// Documents that were lost because the spool could not be written.
    SpoolError,
    /// Documents that were given up for want of room, before the sink's receiver had them.
    SpoolEvicted,
    /// Documents that were given up because they were too old, before the sink's receiver had them.
    SpoolExpired,
    /// Documents that somebody threw away by command, or with the sink that waited for them, before its receiver had them.
    Purged,
    /// Damaged chunks of the spool, and torn last lines of files.
    TornRecord,
    /// Documents that were sent again.
    Retried,
    /// Documents that were sent again though the receiver may have them: its answer was missing.
    MaybeDuplicate,
    /// Documents that the receiver said to have already.
    Duplicate,
    /// Documents that the receiver put where they do not belong.
    Misfiled,
    /// Documents that the receiver will never take.
    DeadLettered,
    /// Documents among these that tell of a loss: that they are refused is told nowhere else.
    LossRefused,
    /// Dead letters that were given up for want of room.
    DeadLetterEvicted,
    /// Documents that the receiver has.
    Acked,
    /// Files, not documents: renamed ones that the sink removed to keep to its limits.
    FileRemoved,
}

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Spool,
    EachSink,
    /// The spool chunks of its own, and sinks what they keep themselves.
    Both,
}

impl Count {
    pub const ALL: [Self; 16] = [
        Self::Spooled,
        Self::Unspooled,
        Self::SpoolError,
        Self::SpoolEvicted,
        Self::SpoolExpired,
        Self::Purged,
        Self::TornRecord,
        Self::Retried,
        Self::MaybeDuplicate,
        Self::Duplicate,
        Self::Misfiled,
        Self::DeadLettered,
        Self::LossRefused,
        Self::DeadLetterEvicted,
        Self::Acked,
        Self::FileRemoved,
    ];

    /// The name in counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spooled => "spooled",
            Self::Unspooled => "unspooled",
            Self::SpoolError => "spool_error",
            Self::SpoolEvicted => "spool_evicted",
            Self::SpoolExpired => "spool_expired",
            Self::Purged => "purged",
            Self::TornRecord => "torn_record",
            Self::Retried => "retried",
            Self::MaybeDuplicate => "maybe_duplicate",
            Self::Duplicate => "duplicate",
            Self::Misfiled => "misfiled",
            Self::DeadLettered => "dead_lettered",
            Self::LossRefused => "loss_refused",
            Self::DeadLetterEvicted => "dead_letter_evicted",
            Self::Acked => "acked",
            Self::FileRemoved => "file_removed",
        }
    }

    /// The stage that counts: `spool` or `sink`.
    pub const fn stage(self) -> &'static str {
        match self {
            Self::Retried
            | Self::MaybeDuplicate
            | Self::Duplicate
            | Self::Misfiled
            | Self::DeadLettered
            | Self::LossRefused
            | Self::Acked
            | Self::FileRemoved => "sink",
            _ => "spool",
        }
    }

    /// Whether there is one of it, or one for each sink.
    pub const fn scope(self) -> Scope {
        match self {
            Self::Spooled | Self::Unspooled | Self::SpoolError | Self::DeadLetterEvicted => Scope::Spool,
            Self::TornRecord => Scope::Both,
            _ => Scope::EachSink,
        }
    }
}

/// A count, of one sink or of the spool itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counter {
    pub count: Count,
    pub sink: Option<String>,
}

impl Counter {
    /// The spool's own.
    pub const fn of(count: Count) -> Self {
        Self { count, sink: None }
    }

    pub fn of_sink(count: Count, sink: &str) -> Self {
        Self { count, sink: Some(sink.to_owned()) }
    }

    /// The key in the file: the name, a slash, and the sink.
    pub(super) fn key(&self) -> String {
        let mut key = self.count.name().to_owned();
        if let Some(sink) = &self.sink {
            key.push('/');
            key.push_str(sink);
        }
        key
    }

    /// What [`Self::key`] made; nothing for what another version counts.
    pub(super) fn from_key(key: &str) -> Option<Self> {
        let (name, sink) = key.split_once('/').map_or((key, None), |(name, sink)| (name, Some(sink.to_owned())));
        Count::ALL.into_iter().find(|count| count.name() == name).map(|count| Self { count, sink })
    }
}

/// Totals.
pub type Counts = BTreeMap<Counter, u64>;

/// All sinks together.
pub fn total(counts: &Counts, count: Count) -> u64 {
    counts.iter().filter(|(counter, _)| counter.count == count).map(|(_, total)| total).sum()
}

/// The spool's own, without the sinks'.
pub fn own(counts: &Counts, count: Count) -> u64 {
    counts.get(&Counter::of(count)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_counters() {
        for count in Count::ALL {
            for counter in [Counter::of(count), Counter::of_sink(count, "siem/2")] {
                assert_eq!(Counter::from_key(&counter.key()), Some(counter));
            }
        }
        assert_eq!(Counter::from_key("of another version"), None);
    }

    #[test]
    fn the_documentation_says_what_each_count_is_of() {
        let page = include_str!("../../../docs/operations.md");
        let rows: Vec<Vec<_>> = page.lines().map(|line| line.split(" | ").collect()).collect();
        for count in Count::ALL {
            let stage = format!("| {}", count.stage());
            let is_of_it = |row: &Vec<&str>| row[0] == stage && row[1].split(", ").any(|name| name == count.name());
            assert!(rows.iter().any(is_of_it), "docs/operations.md: {}", count.name());
        }
    }
}
