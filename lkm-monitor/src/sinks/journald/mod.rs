//! Documents in the journal of this host, by its native protocol: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.
//!
//! journald does not answer either: `Taken` says that the record is in the queue of its socket. The service manager holds that socket open
//! while journald restarts, so the queue outlives it. What journald then drops for its own rate limit it says only in the journal.

mod record;
mod send;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use self::send::Socket;
use super::{Delivered, Entry, Fate, Sink};

/// Sends to one journald.
#[derive(Debug)]
pub struct JournaldSink {
    socket: PathBuf,
    timeout: Duration,
}

impl JournaldSink {
    /// Opens nothing yet. `timeout` is for a batch.
    pub const fn new(socket: PathBuf, timeout: Duration) -> Self {
        Self { socket, timeout }
    }
}

impl Sink for JournaldSink {
    fn deliver(&mut self, batch: &[Entry]) -> Delivered {
        let deadline = Instant::now() + self.timeout;
        let mut fates = Vec::with_capacity(batch.len());
        let failed = |error| format!("{}: {error}", self.socket.display());
        // Connected for each batch: after a restart of the host's journal another socket has that name.
        let socket = match Socket::connect(&self.socket) {
            Ok(socket) => socket,
            Err(error) => return super::stopped(fates, batch.len(), failed(error)),
        };
        for entry in batch {
            match record::record(entry) {
                Ok(record) => match socket.send(&record, deadline) {
                    Ok(()) => fates.push(Fate::Taken),
                    Err(error) => return super::stopped(fates, batch.len(), failed(error)),
                },
                Err(error) => fates.push(Fate::Refused(format!("it is not JSON: {error}"))),
            }
        }
        Delivered::Each(fates)
    }
}
