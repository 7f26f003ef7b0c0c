//! Documents that a receiver will never take: what is kept of them, and for how long.

use redb::{ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};
use serde::{Deserialize, Serialize};

use super::{
    batch::Batch,
    counts::{Count, Counter},
    store::Store,
    tables::{DEAD_BYTES, DEAD_LETTERS, DEAD_NEXT, Tables},
};
use crate::{model::Class, sinks::Entry};

/// One of them, with what is needed to send it again, or to find out why it was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The sink that could not deliver it.
    pub sink: String,
    /// What the receiver said.
    pub reason: String,
    /// When, in seconds of the wall clock.
    pub refused_s: u64,
    /// The number of its class.
    class: u8,
    pub happened_ms: u64,
    pub json: Vec<u8>,
    /// Somebody wants it to be sent again.
    pub retry: bool,
}

impl DeadLetter {
    pub fn new(sink: &str, reason: &str, refused_s: u64, entry: &Entry) -> Self {
        Self {
            sink: sink.to_owned(),
            reason: reason.to_owned(),
            refused_s,
            class: entry.class as u8,
            happened_ms: entry.happened_ms,
            json: entry.json.to_vec(),
            retry: false,
        }
    }

    pub fn class(&self) -> Class {
        Class::from_number(self.class).unwrap_or(Class::Loss)
    }

    /// As a document again, under this number.
    pub fn entry(&self, number: u64) -> Entry {
        Entry { number, class: self.class(), happened_ms: self.happened_ms, json: self.json.as_slice().into() }
    }

    fn encode(&self) -> Vec<u8> {
        // Into memory this cannot fail.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

impl Tables<'_> {
    /// Keeps a dead letter; where there is no room, those of the lowest class go, of it the oldest first; that may be this one.
    pub(super) fn bury(&mut self, letter: &DeadLetter, max_bytes: u64) -> Result<(), redb::Error> {
        let value = letter.encode();
        let number = self.value(DEAD_NEXT)?.max(1);
        self.meta.insert(DEAD_NEXT, number + 1)?;
        self.dead_letters.insert((letter.class() as u8, number), value.as_slice())?;
        let mut bytes = self.value(DEAD_BYTES)? + value.len() as u64;
        while bytes > max_bytes {
            let least = self.dead_letters.pop_first()?.map(|(_, least)| least.value().len() as u64);
            let Some(size) = least else { break };
            bytes = bytes.saturating_sub(size);
            self.count(&Counter::of(Count::DeadLetterEvicted), 1)?;
        }
        self.meta.insert(DEAD_BYTES, bytes)?;
        Ok(())
    }

    /// Takes a dead letter away, if it is there.
    pub(super) fn exhume(&mut self, number: u64) -> Result<(), redb::Error> {
        let mut bytes = self.value(DEAD_BYTES)?;
        for class in Class::ALL {
            let letter = self.dead_letters.remove((class as u8, number))?;
            bytes = bytes.saturating_sub(letter.map_or(0, |letter| letter.value().len() as u64));
        }
        self.meta.insert(DEAD_BYTES, bytes)?;
        Ok(())
    }

    /// Notes that a dead letter is to be sent again, if it is there.
    fn let_retry(&mut self, number: u64) -> Result<(), redb::Error> {
        for key in Class::ALL.map(|class| (class as u8, number)) {
            let letter = self.dead_letters.get(key)?.and_then(|letter| DeadLetter::decode(letter.value()));
            if let Some(mut letter) = letter {
                letter.retry = true;
                // It is as long as before.
                let value = letter.encode();
                self.dead_letters.insert(key, value.as_slice())?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// All dead letters with their numbers, oldest first.
    pub(super) fn dead_letters(&self) -> Result<Vec<(u64, DeadLetter)>, redb::Error> {
        let letters = self.database.begin_read()?.open_table(DEAD_LETTERS)?;
        let mut found = Vec::new();
        for item in letters.iter()? {
            let (key, letter) = item?;
            found.extend(DeadLetter::decode(letter.value()).map(|letter| (key.value().1, letter)));
        }
        found.sort_by_key(|(number, _)| *number);
        Ok(found)
    }

    /// How many dead letters there are.
    pub(super) fn dead_letter_count(&self) -> Result<u64, redb::Error> {
        Ok(self.database.begin_read()?.open_table(DEAD_LETTERS)?.len()?)
    }

    /// Notes that dead letters are to be sent again.
    pub(super) fn retry_dead_letters(&mut self, numbers: &[u64]) -> Result<(), redb::Error> {
        self.change(|tables, _| numbers.iter().try_for_each(|number| tables.let_retry(*number)))
    }

    /// Takes dead letters away.
    pub(super) fn remove_dead_letters(&mut self, numbers: &[u64]) -> Result<(), redb::Error> {
        self.change(|tables, _| numbers.iter().try_for_each(|number| tables.exhume(*number)))
    }

    /// What a sink is to be sent again of its dead letters, the oldest first. They stay until it acknowledges them.
    pub(super) fn read_dead_letters(&self, sink: &str, most: usize) -> Result<Batch, redb::Error> {
        let letters = self.dead_letters()?.into_iter().filter(|(_, letter)| letter.retry && letter.sink == sink);
        let entries: Vec<_> = letters.take(most).map(|(number, letter)| letter.entry(number)).collect();
        Ok(Batch { resent: entries.iter().map(|entry| entry.number).collect(), entries, ..Batch::default() })
    }
}
