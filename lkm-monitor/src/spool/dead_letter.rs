//! A document that a receiver will never take.

use serde::{Deserialize, Serialize};

use crate::{model::Class, sinks::Entry};

/// With what is needed to send it again, or to find out why it was refused.
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

    pub(super) fn encode(&self) -> Vec<u8> {
        // Into memory this cannot fail.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}
