//! Sinks against receivers that take them to the letter, and fail.

mod elasticsearch;
mod http;
mod splunk;
mod webhook;

use std::time::Duration;

use super::{Delivered, Entry, Failure, Fate, fake};

/// Long enough for a loopback under load, and never reached by a test that passes.
const PATIENT: Duration = Duration::from_secs(60);

fn batch(count: u64) -> Vec<Entry> {
    (0..count).map(fake::entry).collect()
}

#[track_caller]
fn fates(delivered: Delivered) -> Vec<Fate> {
    match delivered {
        Delivered::Each(fates) => fates,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn failure(delivered: Delivered) -> Failure {
    match delivered {
        Delivered::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}
