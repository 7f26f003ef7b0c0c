//! The tables of the spool's file, and what they sum up to.

use std::sync::Arc;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::{
    batch::Incoming,
    chunk::{Chunk, Damaged},
    counts::{Count, Counter, Counts},
    handover::Numbers,
};
use crate::{model::Class, sinks::Entry};

/// Chunks by the number of their first document. A chunk's numbers end before the next one's.
pub(super) const CHUNKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("chunks");
/// By class and chunk: bytes of documents of that class. So what is to be given up is found at once.
const CLASSES: TableDefinition<'_, (u8, u64), u64> = TableDefinition::new("classes");
/// By sink: the number through which its receiver has everything, or everything has been accounted for.
pub(super) const SINKS: TableDefinition<'_, &str, u64> = TableDefinition::new("sinks");
/// By sink and number: the last number of documents that it has, though it has not got all before. They came while the file was away.
pub(super) const AHEAD: TableDefinition<'_, (&str, u64), u64> = TableDefinition::new("ahead");
pub(super) const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");
/// What of the counts was told.
pub(super) const TOLD: TableDefinition<'_, &str, u64> = TableDefinition::new("told");
/// By class and number: what is to be given up first is the first.
pub(super) const DEAD_LETTERS: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("letters");
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT: &str = "format";
const FORMAT_NOW: u64 = 2;
/// The number of the next document.
pub(super) const NEXT: &str = "next";
/// Bytes of all documents.
pub(super) const BYTES: &str = "bytes";
/// Bytes of all dead letters.
pub(super) const DEAD_BYTES: &str = "dead_bytes";
/// The number of the next dead letter. None is used twice: who sends one again knows it by its number.
pub(super) const DEAD_NEXT: &str = "dead_next";
/// Seconds for which daemons have run with this spool.
pub(super) const CLOCK_S: &str = "clock_s";

/// All tables, to be changed.
pub(super) struct Tables<'t> {
    pub(super) chunks: Table<'t, u64, &'static [u8]>,
    classes: Table<'t, (u8, u64), u64>,
    pub(super) sinks: Table<'t, &'static str, u64>,
    pub(super) ahead: Table<'t, (&'static str, u64), u64>,
    counts: Table<'t, &'static str, u64>,
    told: Table<'t, &'static str, u64>,
    pub(super) dead_letters: Table<'t, (u8, u64), &'static [u8]>,
    pub(super) meta: Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            chunks: transaction.open_table(CHUNKS)?,
            classes: transaction.open_table(CLASSES)?,
            sinks: transaction.open_table(SINKS)?,
            ahead: transaction.open_table(AHEAD)?,
            counts: transaction.open_table(COUNTS)?,
            told: transaction.open_table(TOLD)?,
            dead_letters: transaction.open_table(DEAD_LETTERS)?,
            meta: transaction.open_table(META)?,
        })
    }

    pub(super) fn sink_names(&self) -> Result<Vec<String>, redb::Error> {
        self.sinks.iter()?.map(|item| Ok(item?.0.value().to_owned())).collect()
    }

    /// Notes that a sink has these documents.
    pub(super) fn reach(&mut self, sink: &str, numbers: &Numbers) -> Result<(), redb::Error> {
        let before = self.sinks.get(sink)?.map(|through| through.value());
        let Some(mut through) = before.filter(|through| through < numbers.end()) else { return Ok(()) };
        if *numbers.start() > through + 1 {
            self.ahead.insert((sink, *numbers.start()), numbers.end())?;
            return Ok(());
        }
        through = *numbers.end();
        for range in ahead(&self.ahead, sink)? {
            if *range.start() <= through + 1 {
                through = through.max(*range.end());
                self.ahead.remove((sink, *range.start()))?;
            }
        }
        self.sinks.insert(sink, through)?;
        Ok(())
    }

    /// What a sink has.
    pub(super) fn reached(&self, sink: &str) -> Result<Reached, redb::Error> {
        Reached::of(&self.sinks, &self.ahead, sink)
    }

    /// Whether the layout is ours. Says so in a new file.
    pub(super) fn claim(&mut self) -> Result<bool, redb::Error> {
        let format = self.meta.get(FORMAT)?.map(|format| format.value());
        if format.is_none() {
            self.meta.insert(FORMAT, FORMAT_NOW)?;
        }
        Ok(format.is_none_or(|format| format == FORMAT_NOW))
    }

    pub(super) fn value(&self, key: &str) -> Result<u64, redb::Error> {
        Ok(self.meta.get(key)?.map_or(0, |value| value.value()))
    }

    pub(super) fn count(&mut self, counter: &Counter, count: u64) -> Result<(), redb::Error> {
        if count > 0 {
            let key = counter.key();
            let before = self.counts.get(key.as_str())?.map_or(0, |count| count.value());
            self.counts.insert(key.as_str(), before.saturating_add(count))?;
        }
        Ok(())
    }

    pub(super) fn count_all(&mut self, counts: &Counts) -> Result<(), redb::Error> {
        counts.iter().try_for_each(|(counter, number)| self.count(counter, *number))
    }

    /// Notes that these totals were told.
    pub(super) fn tell(&mut self, told: &Counts) -> Result<(), redb::Error> {
        for (counter, total) in told {
            self.told.insert(counter.key().as_str(), total)?;
        }
        Ok(())
    }

    /// Keeps documents, with the next numbers.
    pub(super) fn take_in(&mut self, documents: &[Incoming]) -> Result<(), redb::Error> {
        let stored_s = self.value(CLOCK_S)?;
        // Numbers begin with one: nothing is acknowledged through zero.
        let mut next = self.value(NEXT)?.max(1);
        let numbered = documents.iter().map(|Incoming { class, happened_ms, json }| {
            let number = next;
            next += 1;
            Entry { number, class: *class, happened_ms: *happened_ms, json: Arc::from(json.as_slice()) }
        });
        let mut entries = numbered.peekable();
        while let Some(chunk) = Chunk::fill(stored_s, &mut entries) {
            if let Some(first) = chunk.entries.first().map(|entry| entry.number) {
                self.put(first, &chunk)?;
            }
        }
        drop(entries);
        self.meta.insert(NEXT, next)?;
        Ok(())
    }

    /// Keeps a chunk under this number.
    pub(super) fn put(&mut self, first: u64, chunk: &Chunk) -> Result<(), redb::Error> {
        self.remove(first)?;
        let mut bytes = self.value(BYTES)?;
        for (class, in_class) in chunk.bytes_by_class().into_iter().enumerate().filter(|(_, bytes)| *bytes > 0) {
            self.classes.insert((class as u8, first), in_class)?;
            bytes += in_class;
        }
        if !chunk.entries.is_empty() {
            self.chunks.insert(first, chunk.encode(first).as_slice())?;
        }
        self.meta.insert(BYTES, bytes)?;
        Ok(())
    }

    /// Takes a chunk away.
    pub(super) fn remove(&mut self, first: u64) -> Result<(), redb::Error> {
        let mut bytes = self.value(BYTES)?;
        for class in Class::ALL {
            bytes =
                bytes.saturating_sub(self.classes.remove((class as u8, first))?.map_or(0, |in_class| in_class.value()));
        }
        self.chunks.remove(first)?;
        self.meta.insert(BYTES, bytes)?;
        Ok(())
    }

    /// The first chunk with documents of this class, from this number on.
    pub(super) fn first_with(&self, class: Class, from: u64) -> Result<Option<u64>, redb::Error> {
        let class = class as u8;
        let mut found = self.classes.range((class, from)..=(class, u64::MAX))?;
        Ok(found.next().transpose()?.map(|(key, _)| key.value().1))
    }

    /// The chunk with this number. One that is damaged is counted, and taken away: nothing in it can be told from the rest.
    pub(super) fn chunk(&mut self, first: u64) -> Result<Option<Chunk>, redb::Error> {
        let decoded = self.chunks.get(first)?.map(|value| Chunk::decode(first, value.value()));
        match decoded {
            Some(Ok(chunk)) => Ok(Some(chunk)),
            Some(Err(Damaged)) => {
                tracing::error!(first, "a chunk of the spool is damaged: its documents are lost");
                self.remove(first)?;
                self.count(&Counter::of(Count::TornRecord), 1)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

/// What a sink has.
pub(super) struct Reached {
    /// Everything through this number.
    pub(super) through: u64,
    ahead: Vec<Numbers>,
}

impl Reached {
    pub(super) fn of(
        sinks: &impl ReadableTable<&'static str, u64>,
        ahead_of_sinks: &impl ReadableTable<(&'static str, u64), u64>,
        sink: &str,
    ) -> Result<Self, redb::Error> {
        let through = sinks.get(sink)?.map_or(0, |through| through.value());
        Ok(Self { through, ahead: ahead(ahead_of_sinks, sink)? })
    }

    pub(super) fn has(&self, number: u64) -> bool {
        number <= self.through || self.ahead.iter().any(|numbers| numbers.contains(&number))
    }
}

fn ahead(table: &impl ReadableTable<(&'static str, u64), u64>, sink: &str) -> Result<Vec<Numbers>, redb::Error> {
    let ranges = table.range((sink, 0)..=(sink, u64::MAX))?;
    ranges.map(|item| item.map(|(key, last)| key.value().1..=last.value()).map_err(Into::into)).collect()
}
