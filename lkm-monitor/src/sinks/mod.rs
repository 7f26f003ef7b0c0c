//! Where documents go.
//!
//! A sink takes a batch of documents, waits for its receiver, and says what became of each. Each has a thread of its own (the
//! `courier`), which reads the spool, tries again, and notes in the spool how far the receiver has got: so a sink that is slow or dead
//! delays no other. A sink never retries by itself, never drops anything by itself, and never waits for longer than its timeout.

pub mod courier;
mod document;
pub mod elasticsearch;
mod facts;
pub mod file;
pub mod http;
pub mod journald;
#[cfg(test)]
pub(crate) mod samples;
pub mod splunk;
pub mod stdout;
pub mod syslog;
pub mod tls;
pub mod webhook;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use crate::{model::Class, spool::Count};

/// One document as the spool keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the spool, which grows and is never given twice.
    pub number: u64,
    pub class: Class,
    /// When it happened, in milliseconds of the wall clock.
    pub happened_ms: u64,
    /// A JSON object in one line, without the newline.
    pub json: Arc<[u8]>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Of each document in the order of the batch.
    Each(Vec<Fate>),
    /// Of none it is known that the receiver has it. All are tried again.
    Failed(Failure),
    /// The receiver takes no batch of this size. Smaller ones are tried; a single document that is too large is a dead letter.
    TooLarge,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The receiver has it.
    Taken,
    /// The receiver had it already.
    Duplicate,
    /// The receiver has it, but not where it belongs.
    Misfiled,
    /// The receiver did not take it now, and may take it later. Says why.
    TryAgain(String),
    /// The receiver will never take it. Says why.
    Refused(String),
}

/// Why nothing is known of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: String,
    /// The receiver may have taken documents of it, and only its answer is missing: they may arrive twice.
    pub maybe_taken: bool,
    /// The receiver said how long it wants to be left alone. It is, for no less than that.
    pub retry_after: Option<Duration>,
}

/// One way out.
pub trait Sink: Send {
    /// Delivers documents, in order. Blocks for no longer than the timeout it was made with, and opens its connection, or its file, again
    /// when that is lost.
    fn deliver(&mut self, batch: &[Entry]) -> Delivered;

    /// What it counted besides the fates of documents, since it was last asked.
    fn take_counts(&mut self) -> Vec<(Count, u64)> {
        Vec::new()
    }
}

/// A batch of which the first documents have their fate when something stops the sink.
fn stopped(mut fates: Vec<Fate>, batch: usize, reason: String) -> Delivered {
    if fates.is_empty() {
        return Delivered::Failed(Failure { reason, maybe_taken: false, retry_after: None });
    }
    fates.resize(batch, Fate::TryAgain(reason));
    Delivered::Each(fates)
}
