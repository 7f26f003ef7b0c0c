//! The spool's file: what is kept, how far each sink has got, what is given up when there is no room.
//!
//! Everything that belongs together is one transaction, and durable when the function returns: documents with their counts, an
//! acknowledgement with what it lets go of, a dead letter with the end of the wait for it, and with what became of one that was sent again
//! its end. Other processes may look into the file and change it between transactions, so nothing is remembered from one to the next but
//! what only this daemon knows: what its sinks are, and what they hold.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TransactionError, WriteTransaction};

use super::{
    batch::{Batch, Incoming, Receipt},
    chunk::Chunk,
    counts::{Count, Counter, Counts},
    handover::{BySink, Moved, Numbers},
    tables::{AHEAD, BYTES, CHUNKS, CLOCK_S, COUNTS, META, NEXT, Reached, SINKS, TOLD, Tables},
};
use crate::{model::Class, sinks::Entry};

/// So long another process may write, and how often it is looked whether it still does.
const WRITERS: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(2);
/// Chunks that are purged in one transaction: some megabytes.
const PURGED_CHUNKS: usize = 64;

/// What bounds the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of documents.
    pub max_bytes: u64,
    /// How long a document is kept, in seconds for which a daemon runs: the wall clock may jump.
    pub max_age_s: u64,
    /// Bytes of dead letters.
    pub max_dead_letter_bytes: u64,
}

/// What the daemon knows of a sink.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) alerts_only: bool,
    /// What it is delivering, which is not given up meanwhile.
    pub(super) held: Option<Numbers>,
}

/// See the module.
pub(super) struct Store {
    pub(super) database: Database,
    readers: BTreeMap<String, Reader>,
}

impl Store {
    /// The store in this database; `None` when it is of another version.
    pub(super) fn new(database: Database) -> Result<Option<Self>, redb::Error> {
        let mut store = Self { database, readers: BTreeMap::new() };
        let is_ours = store.change(|tables, _| tables.claim())?;
        Ok(is_ours.then_some(store))
    }

    /// These sinks, and no others, have to get every document; true for those that want alerts only. A new one begins with the oldest
    /// document that is there.
    pub(super) fn set_sinks(&mut self, sinks: &BTreeMap<String, bool>) -> Result<(), redb::Error> {
        let before = std::mem::take(&mut self.readers);
        let reader = |(name, alerts_only): (&String, &bool)| {
            let held = before.get(name).and_then(|reader| reader.held.clone());
            (name.clone(), Reader { alerts_only: *alerts_only, held })
        };
        self.readers = sinks.iter().map(reader).collect();
        self.change(|tables, _| {
            for gone in tables.sink_names()?.iter().filter(|name| !sinks.contains_key(*name)) {
                // Which documents a sink of another run wanted is not known: all.
                tables.forget(gone, before.get(gone).is_some_and(|reader| reader.alerts_only))?;
            }
            for name in sinks.keys() {
                if tables.sinks.get(name.as_str())?.is_none() {
                    tables.sinks.insert(name.as_str(), 0)?;
                }
            }
            tables.let_go()
        })
    }

    /// Takes the sinks of the file for all there are, so that what somebody else than the daemon throws away is counted for each. Which
    /// of them want alerts only the file does not say.
    pub(super) fn know_sinks(&mut self) -> Result<(), redb::Error> {
        let reader = |name| (name, Reader { alerts_only: false, held: None });
        self.readers = self.acknowledged()?.into_keys().map(reader).collect();
        Ok(())
    }

    /// Keeps documents, and gives up others where `max_bytes` do not suffice. `ran_s` are seconds that the daemon has run since this was
    /// last called.
    pub(super) fn append(&mut self, documents: &[Incoming], ran_s: u64, limits: Limits) -> Result<(), redb::Error> {
        self.change(|tables, readers| {
            let clock_s = tables.value(CLOCK_S)? + ran_s;
            tables.meta.insert(CLOCK_S, clock_s)?;
            tables.count(&Counter::of(Count::Spooled), documents.len() as u64)?;
            tables.take_in(documents)?;
            tables.expire(readers, clock_s.saturating_sub(limits.max_age_s))?;
            tables.evict(readers, limits.max_bytes)
        })
    }

    /// Takes over what some sink waits for in another store, its dead letters, and these counts. Sinks go on where they have got to there.
    pub(super) fn take_over(
        &mut self,
        other: &Self,
        (counts, told): (&Counts, &Counts),
        limits: Limits,
    ) -> Result<Moved, redb::Error> {
        let (reached, letters) = (other.acknowledged()?, other.dead_letters()?);
        let done = reached.values().min().copied().unwrap_or(u64::MAX);
        let (mut moved, mut documents) = (Moved::default(), Vec::new());
        other.documents(|Entry { number, class, happened_ms, json }| {
            if number > done {
                moved.numbers.push(number);
                documents.push(Incoming { class, happened_ms, json: json.to_vec() });
            }
            true
        })?;
        let mut readers = self.readers.clone();
        self.change(|tables, _| {
            moved.after = tables.value(NEXT)?.max(1) - 1;
            for (sink, through) in reached {
                if moved.place(through) > moved.after {
                    tables.reach(&sink, &(moved.after + 1..=moved.place(through)))?;
                }
                let held = other.readers.get(&sink).and_then(|reader| reader.held.as_ref());
                if let (Some(held), Some(reader)) = (held, readers.get_mut(&sink)) {
                    reader.held = Some(moved.places(held));
                }
            }
            tables.take_in(&documents)?;
            letters.iter().try_for_each(|(_, letter)| tables.bury(letter, limits.max_dead_letter_bytes))?;
            tables.count_all(counts)?;
            tables.tell(told)?;
            tables.evict(&readers, limits.max_bytes)?;
            tables.let_go()
        })?;
        self.readers = readers;
        Ok(moved)
    }

    /// What sinks are delivering.
    pub(super) fn held(&self) -> BySink {
        let of = |(name, reader): (&String, &Reader)| reader.held.clone().map(|held| (name.clone(), held));
        self.readers.iter().filter_map(of).collect()
    }

    /// These sinks are still delivering what another store of the same file gave them.
    pub(super) fn hold(&mut self, held: &BySink) {
        for (name, held) in held {
            if let Some(reader) = self.readers.get_mut(name) {
                reader.held = Some(held.clone());
            }
        }
    }

    /// What a sink gets next, and holds until it acknowledges it or reads again.
    pub(super) fn read(&mut self, sink: &str, most: usize, most_bytes: usize) -> Result<Batch, redb::Error> {
        let Some(reader) = self.readers.get_mut(sink) else { return Ok(Batch::default()) };
        reader.held = None;
        let transaction = self.database.begin_read()?;
        let reached = Reached::of(&transaction.open_table(SINKS)?, &transaction.open_table(AHEAD)?, sink)?;
        let chunks = transaction.open_table(CHUNKS)?;
        let (after, mut through) = (reached.through, reached.through);
        let mut batch = Batch::default();
        let mut bytes = 0;
        let start = chunks.range(..=after + 1)?.next_back().transpose()?.map_or(0, |(first, _)| first.value());
        'chunks: for item in chunks.range(start..)? {
            let (first, value) = item?;
            let Ok(chunk) = Chunk::decode(first.value(), value.value()) else {
                drop((first, value, chunks, transaction));
                batch.numbers = (through > after).then_some(after + 1..=through);
                reader.held.clone_from(&batch.numbers);
                return self.without_damage().map(|()| batch);
            };
            for entry in chunk.entries.into_iter().filter(|entry| entry.number > after) {
                if reached.has(entry.number) || (reader.alerts_only && !entry.class.is_alert()) {
                    through = entry.number;
                    continue;
                }
                bytes += entry.json.len();
                if batch.entries.len() >= most || (bytes > most_bytes && !batch.entries.is_empty()) {
                    batch.numbers = Some(after + 1..=through);
                    break 'chunks;
                }
                through = entry.number;
                batch.entries.push(entry);
            }
        }
        if batch.numbers.is_none() {
            // Nothing more is there: what has a higher number than the last document was given up.
            let next = transaction.open_table(META)?.get(NEXT)?.map_or(0, |next| next.value());
            through = through.max(next.saturating_sub(1));
            batch.numbers = (through > after).then_some(after + 1..=through);
        }
        reader.held.clone_from(&batch.numbers);
        Ok(batch)
    }

    /// Notes that all of a batch is accounted for.
    pub(super) fn acknowledge(&mut self, sink: &str, receipt: &Receipt, limits: Limits) -> Result<(), redb::Error> {
        let is_new = match &receipt.numbers {
            Some(numbers) => self.acknowledged()?.get(sink).is_some_and(|through| through < numbers.end()),
            None => false,
        };
        if !is_new && receipt.counts.is_empty() && receipt.dead_letters.is_empty() && receipt.resent.is_empty() {
            return Ok(());
        }
        self.change(|tables, _| {
            receipt.resent.iter().try_for_each(|number| tables.exhume(*number))?;
            for (count, number) in &receipt.counts {
                tables.count(&Counter::of_sink(*count, sink), *number)?;
            }
            for letter in &receipt.dead_letters {
                tables.bury(letter, limits.max_dead_letter_bytes)?;
            }
            if let Some(numbers) = receipt.numbers.as_ref().filter(|_| is_new) {
                tables.reach(sink, numbers)?;
                tables.let_go()?;
            }
            Ok(())
        })?;
        if let Some(reader) = self.readers.get_mut(sink) {
            reader.held = None;
        }
        Ok(())
    }

    /// Adds to a count.
    pub(super) fn count(&mut self, counter: &Counter, number: u64) -> Result<(), redb::Error> {
        if number == 0 {
            return Ok(());
        }
        self.change(|tables, _| tables.count(counter, number))
    }

    /// Goes on with what another store has counted, and with what of it was told.
    pub(super) fn go_on_counting(&mut self, counts: &Counts, told: &Counts) -> Result<(), redb::Error> {
        self.change(|tables, _| {
            tables.count_all(counts)?;
            tables.tell(told)
        })
    }

    /// Notes which totals were told.
    pub(super) fn tell(&mut self, told: &Counts) -> Result<(), redb::Error> {
        self.change(|tables, _| tables.tell(told))
    }

    /// Totals since the file was made.
    pub(super) fn counts(&self) -> Result<Counts, redb::Error> {
        self.totals(COUNTS)
    }

    /// Which totals were told.
    pub(super) fn told(&self) -> Result<Counts, redb::Error> {
        self.totals(TOLD)
    }

    fn totals(&self, table: TableDefinition<'_, &str, u64>) -> Result<Counts, redb::Error> {
        let counts = self.database.begin_read()?.open_table(table)?;
        let mut totals = Counts::new();
        for item in counts.iter()? {
            let (key, total) = item?;
            totals.extend(Counter::from_key(key.value()).map(|counter| (counter, total.value())));
        }
        Ok(totals)
    }

    /// Bytes of documents that are kept.
    pub(super) fn bytes(&self) -> Result<u64, redb::Error> {
        Ok(self.database.begin_read()?.open_table(META)?.get(BYTES)?.map_or(0, |bytes| bytes.value()))
    }

    /// All documents that some sink waits for, in order, for as long as `each` says so.
    pub(super) fn documents(&self, mut each: impl FnMut(Entry) -> bool) -> Result<(), redb::Error> {
        let chunks = self.database.begin_read()?.open_table(CHUNKS)?;
        for item in chunks.iter()? {
            let (first, value) = item?;
            for entry in Chunk::decode(first.value(), value.value()).map(|chunk| chunk.entries).unwrap_or_default() {
                if !each(entry) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// By sink: the number through which it has everything.
    pub(super) fn acknowledged(&self) -> Result<BTreeMap<String, u64>, redb::Error> {
        let sinks = self.database.begin_read()?.open_table(SINKS)?;
        let mut acknowledged = BTreeMap::new();
        for item in sinks.iter()? {
            let (name, through) = item?;
            acknowledged.insert(name.value().to_owned(), through.value());
        }
        Ok(acknowledged)
    }

    /// By sink: how many numbers were given to documents after those that it has.
    pub(super) fn waiting(&self) -> Result<BTreeMap<String, u64>, redb::Error> {
        let next = self.database.begin_read()?.open_table(META)?.get(NEXT)?.map_or(1, |next| next.value());
        let mut waiting = self.acknowledged()?;
        waiting.values_mut().for_each(|through| *through = next.saturating_sub(*through + 1));
        Ok(waiting)
    }

    /// Throws away documents of this class in some of the chunks from this number on; the number to go on with, if there are more. Nobody
    /// waits for long who wants to write, too.
    pub(super) fn purge_some(&mut self, class: Class, from: u64) -> Result<Option<u64>, redb::Error> {
        self.change(|tables, readers| {
            let mut from = from;
            for _ in 0..PURGED_CHUNKS {
                let Some(first) = tables.first_with(class, from)? else { return Ok(None) };
                tables.give_up(readers, first, Count::Purged, |entry| entry.class == class)?;
                from = first + 1;
            }
            Ok(Some(from))
        })
    }

    /// Takes damaged chunks away.
    fn without_damage(&mut self) -> Result<(), redb::Error> {
        self.change(|tables, _| {
            let firsts: Vec<u64> = tables.firsts()?;
            firsts.into_iter().try_for_each(|first| tables.chunk(first).map(drop))
        })
    }

    /// One durable transaction.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Tables<'_>, &BTreeMap<String, Reader>) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let mut transaction = self.begin()?;
        // Opens at once after a crash.
        transaction.set_quick_repair(true);
        let done = change(&mut Tables::open(&transaction)?, &self.readers)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Waits a little for another process that is writing, but not for one that was stopped.
    fn begin(&self) -> Result<WriteTransaction, redb::Error> {
        let deadline = Instant::now() + WRITERS;
        loop {
            match self.database.try_begin_write() {
                Err(TransactionError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOOK),
                Err(TransactionError::WouldBlock) => {
                    return Err(io::Error::other("another process has been writing for too long").into());
                }
                begun => return Ok(begun?),
            }
        }
    }
}

#[cfg(test)]
mod tests;
