//! Documents that are kept together: one value in the spool's file.
//!
//! ```text
//! stored_s u64 | { ahead u32 | class u8 | happened_ms u64 | len u32 | json }* | crc32 u32
//! ```
//!
//! All little endian. `ahead` is the document's number less that of the chunk, so documents can be taken out of the middle. Rows of this
//! size cost a seventh of a row for each document.

use std::{iter::Peekable, sync::Arc};

use crate::{model::Class, sinks::Entry};

/// Bytes of a chunk, if it holds more than one document. redb keeps a value in pages of a power of two, and writes them whole: a little more
/// would be twice as much on the disk. What is left out is for the head of a page with one key.
const ROOM_BYTES: u64 = (64 << 10) - 128;
const STORED_BYTES: usize = 8;
const HEAD_BYTES: usize = 17;
const CRC_BYTES: usize = 4;

/// A chunk that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunk is damaged")]
pub(super) struct Damaged;

/// Some documents, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// When they came, in seconds for which daemons had run with this spool.
    pub(super) stored_s: u64,
    pub(super) entries: Vec<Entry>,
}

impl Chunk {
    /// Takes documents from the front until the next one has no room; at least one.
    pub(super) fn fill(stored_s: u64, entries: &mut Peekable<impl Iterator<Item = Entry>>) -> Option<Self> {
        let mut chunk = Self { stored_s, entries: Vec::new() };
        let mut bytes = (STORED_BYTES + CRC_BYTES) as u64;
        while let Some(entry) = entries.next_if(|next| chunk.entries.is_empty() || bytes + cost(next) <= ROOM_BYTES) {
            bytes += cost(&entry);
            chunk.entries.push(entry);
        }
        (!chunk.entries.is_empty()).then_some(chunk)
    }

    /// Bytes that documents of each class take.
    pub(super) fn bytes_by_class(&self) -> [u64; Class::ALL.len()] {
        let mut bytes = [0; Class::ALL.len()];
        for entry in &self.entries {
            bytes[entry.class as usize] += cost(entry);
        }
        bytes
    }

    /// The value that is written for the chunk with this number.
    pub(super) fn encode(&self, first: u64) -> Vec<u8> {
        let bytes: u64 = self.bytes_by_class().iter().sum();
        let mut value = Vec::with_capacity(bytes as usize + STORED_BYTES + CRC_BYTES);
        value.extend_from_slice(&self.stored_s.to_le_bytes());
        for entry in &self.entries {
            // Numbers in a chunk are near each other, and documents are short: both are bounded far below.
            value.extend_from_slice(&((entry.number - first) as u32).to_le_bytes());
            value.push(entry.class as u8);
            value.extend_from_slice(&entry.happened_ms.to_le_bytes());
            value.extend_from_slice(&(entry.json.len() as u32).to_le_bytes());
            value.extend_from_slice(&entry.json);
        }
        let crc = crc32fast::hash(&value);
        value.extend_from_slice(&crc.to_le_bytes());
        value
    }

    /// What [`Self::encode`] wrote.
    pub(super) fn decode(first: u64, value: &[u8]) -> Result<Self, Damaged> {
        let (value, crc) = value.split_last_chunk::<CRC_BYTES>().ok_or(Damaged)?;
        if crc32fast::hash(value) != u32::from_le_bytes(*crc) {
            return Err(Damaged);
        }
        let (stored, mut rest) = value.split_first_chunk::<STORED_BYTES>().ok_or(Damaged)?;
        let mut chunk = Self { stored_s: u64::from_le_bytes(*stored), entries: Vec::new() };
        while !rest.is_empty() {
            let (head, json) = rest.split_first_chunk::<HEAD_BYTES>().ok_or(Damaged)?;
            let [a, b, c, d, class, at @ .., e, f, g, h] = *head;
            let (ahead, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
            let (json, after) = json.split_at_checked(len as usize).ok_or(Damaged)?;
            chunk.entries.push(Entry {
                number: first.checked_add(u64::from(ahead)).ok_or(Damaged)?,
                class: Class::from_number(class).ok_or(Damaged)?,
                happened_ms: u64::from_le_bytes(at),
                json: Arc::from(json),
            });
            rest = after;
        }
        Ok(chunk)
    }
}

/// Bytes that a document takes in a chunk.
pub(super) fn cost(entry: &Entry) -> u64 {
    (entry.json.len() + HEAD_BYTES) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let document = (0..7_u8, any::<u64>(), prop::collection::vec(any::<u8>(), 0..2000), 1..5_u64);
        prop::collection::vec(document, 1..80).prop_map(|documents| {
            let mut number = 0;
            let mut entry = |(class, happened_ms, json, step): (u8, u64, Vec<u8>, u64)| {
                number += step;
                Entry { number, class: Class::from_number(class).unwrap(), happened_ms, json: json.into() }
            };
            documents.into_iter().map(&mut entry).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in entries(), stored_s: u64) {
            let first = entries[0].number;
            let chunk = Chunk { stored_s, entries };
            prop_assert_eq!(Chunk::decode(first, &chunk.encode(first)), Ok(chunk));
        }

        #[test]
        fn what_was_changed_is_damaged(entries in entries(), at: prop::sample::Index, bit in 0..8_u8) {
            let mut value = Chunk { stored_s: 1, entries }.encode(1);
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
            prop_assert_eq!(Chunk::decode(1, &value), Err(Damaged));
            prop_assert_eq!(Chunk::decode(1, &value[..at]), Err(Damaged));
        }

        #[test]
        fn no_bytes_are_a_panic(first: u64, value in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut value = value;
            let crc = crc32fast::hash(&value);
            let _ = Chunk::decode(first, &value);
            value.extend_from_slice(&crc.to_le_bytes());
            let _ = Chunk::decode(first, &value);
        }

        #[test]
        fn every_document_has_a_chunk(entries in entries()) {
            let mut rest = entries.clone().into_iter().peekable();
            let chunks: Vec<_> = std::iter::from_fn(|| Chunk::fill(0, &mut rest)).collect();
            prop_assert!(chunks.iter().all(|chunk| chunk.encode(chunk.entries[0].number).len() as u64 <= ROOM_BYTES));
            for pair in chunks.windows(2) {
                let bytes = pair[0].encode(pair[0].entries[0].number).len() as u64;
                prop_assert!(bytes + cost(&pair[1].entries[0]) > ROOM_BYTES, "there was room");
            }
            let together: Vec<_> = chunks.into_iter().flat_map(|chunk| chunk.entries).collect();
            prop_assert_eq!(together, entries);
        }
    }
}
