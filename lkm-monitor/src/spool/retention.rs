//! What leaves the spool: documents that every sink has, that are too old, or that have no room.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::{
    chunk::cost,
    counts::{Count, Counter},
    store::Reader,
    tables::{BYTES, NEXT, Tables},
};
use crate::{model::Class, sinks::Entry};

impl Tables<'_> {
    pub(super) fn firsts(&self) -> Result<Vec<u64>, redb::Error> {
        self.chunks.iter()?.map(|item| Ok(item?.0.value())).collect()
    }

    /// Takes the chunks away that every sink has done with.
    pub(super) fn let_go(&mut self) -> Result<(), redb::Error> {
        let mut done = u64::MAX;
        for item in self.sinks.iter()? {
            done = done.min(item?.1.value());
        }
        let next = self.value(NEXT)?;
        let mut gone = Vec::new();
        let mut firsts = self.chunks.iter()?.map(|item| item.map(|(first, _)| first.value())).peekable();
        while let Some(first) = firsts.next().transpose()? {
            let after = match firsts.peek() {
                Some(Ok(after)) => *after,
                Some(Err(_)) => break,
                None => next,
            };
            if after > done.saturating_add(1) {
                break;
            }
            gone.push(first);
        }
        drop(firsts);
        gone.into_iter().try_for_each(|first| self.remove(first))
    }

    /// Forgets a sink. What it has not got is counted as thrown away: somebody took it out of the settings.
    pub(super) fn forget(&mut self, sink: &str, alerts_only: bool) -> Result<(), redb::Error> {
        let reached = self.reached(sink)?;
        self.sinks.remove(sink)?;
        self.ahead.retain(|(name, _), _| name != sink)?;
        let mut missed = 0;
        for first in self.firsts()? {
            let chunk = self.chunk(first)?.unwrap_or_default();
            let wanted = |entry: &&Entry| !reached.has(entry.number) && (!alerts_only || entry.class.is_alert());
            missed += chunk.entries.iter().filter(wanted).count() as u64;
        }
        if missed > 0 {
            tracing::warn!(sink, documents = missed, "this sink is gone, and what it has not got is thrown away");
        }
        self.count(&Counter::of_sink(Count::Purged, sink), missed)
    }

    /// Gives up what came before that second.
    pub(super) fn expire(&mut self, readers: &BTreeMap<String, Reader>, before_s: u64) -> Result<(), redb::Error> {
        let mut from = 0;
        loop {
            let first = self.chunks.range(from..)?.next().transpose()?.map(|(first, _)| first.value());
            let Some(first) = first else { return Ok(()) };
            if let Some(chunk) = self.chunk(first)? {
                if chunk.stored_s >= before_s {
                    return Ok(());
                }
                self.give_up(readers, first, Count::SpoolExpired, |_| true)?;
            }
            from = first + 1;
        }
    }

    /// Gives up documents until the rest has room: the lowest class first, in each the oldest first.
    pub(super) fn evict(&mut self, readers: &BTreeMap<String, Reader>, max_bytes: u64) -> Result<(), redb::Error> {
        for class in Class::ALL {
            let mut from = 0;
            loop {
                let mut surplus = self.value(BYTES)?.saturating_sub(max_bytes);
                if surplus == 0 {
                    return Ok(());
                }
                let Some(first) = self.first_with(class, from)? else { break };
                self.give_up(readers, first, Count::SpoolEvicted, |entry| {
                    let goes = entry.class == class && surplus > 0;
                    surplus = surplus.saturating_sub(if goes { cost(entry) } else { 0 });
                    goes
                })?;
                from = first + 1;
            }
        }
        Ok(())
    }

    /// Takes documents out of a chunk, but none that a sink is delivering. They are counted for each sink that has not got them.
    pub(super) fn give_up(
        &mut self,
        readers: &BTreeMap<String, Reader>,
        first: u64,
        count: Count,
        mut goes: impl FnMut(&Entry) -> bool,
    ) -> Result<(), redb::Error> {
        let Some(mut chunk) = self.chunk(first)? else { return Ok(()) };
        let is_held = |number: u64| readers.values().flat_map(|reader| &reader.held).any(|held| held.contains(&number));
        let mut gone = Vec::new();
        chunk.entries.retain(|entry| {
            let goes = !is_held(entry.number) && goes(entry);
            if goes {
                gone.push((entry.number, entry.class));
            }
            !goes
        });
        if gone.is_empty() {
            return Ok(());
        }
        self.put(first, &chunk)?;
        for (sink, reader) in readers {
            let reached = self.reached(sink)?;
            let wanted = |class: Class| !reader.alerts_only || class.is_alert();
            let missed = gone.iter().filter(|(number, class)| !reached.has(*number) && wanted(*class)).count();
            self.count(&Counter::of_sink(count, sink), missed as u64)?;
        }
        Ok(())
    }
}
