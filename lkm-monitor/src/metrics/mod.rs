//! What the daemon counts, for Prometheus and its like to fetch.
//!
//! The main loop publishes a [`Snapshot`] from time to time; a thread of its own (`server`) turns the last one into text (`page`, which
//! knows the format, and `families`, which knows the names) for whoever asks at the place that is set (`listen`).
//!
//! Whoever asks, and however slowly, the main loop never waits: it leaves a snapshot out rather than wait for the lock.

mod families;
mod listen;
mod page;
mod server;
mod snapshot;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

pub use self::{
    listen::{Listen, ListenError},
    server::{ServerError, start},
    snapshot::{Snapshot, Waiting},
};

/// Where the last snapshot hangs.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Option<Arc<Snapshot>>>>);

impl Board {
    /// Hangs up another one, unless somebody is just taking the last one down. Never waits.
    pub fn publish(&self, snapshot: Snapshot) {
        let snapshot = Some(Arc::new(snapshot));
        if let Ok(mut last) = self.0.try_lock() {
            *last = snapshot;
        }
    }

    /// The last one; nothing before the first.
    pub fn last(&self) -> Option<Arc<Snapshot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
