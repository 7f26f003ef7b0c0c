//! What a link to the fleet's store may cost: time, bytes and connections.
//!
//! The server, and without TLS everybody on the way to it, can answer without end, a byte at a time, or name any number of nodes.
//! All of that is bounded below TLS and the parser, which so need not be believed. All nodes of a cluster share one allowance.

use std::{
    cell::Cell,
    io,
    time::{Duration, Instant},
};

/// What servers may say in one exchange. An answer of the script has some 40 bytes, and 256 come together; the longest one is the list
/// of a cluster's slots.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Those that one link may open in its life.
pub(super) const MAX_CONNECTIONS: usize = 256;

pub(super) struct Allowance {
    connections: Cell<usize>,
    bytes: Cell<usize>,
    end: Cell<Instant>,
}

impl Allowance {
    /// For a new link. There is nothing for an exchange until it is renewed.
    pub(super) fn new() -> Self {
        Self { connections: Cell::new(MAX_CONNECTIONS), bytes: Cell::new(0), end: Cell::new(Instant::now()) }
    }

    /// For the next exchange.
    pub(super) fn renew(&self, time: Duration) {
        self.bytes.set(MAX_ANSWER_BYTES);
        self.end.set(Instant::now() + time);
    }

    /// More than zero; `TimedOut` when there is none.
    pub(super) fn time_left(&self) -> io::Result<Duration> {
        let left = self.end.get().saturating_duration_since(Instant::now());
        if left.is_zero() { Err(late()) } else { Ok(left) }
    }

    /// More than zero; `InvalidData` when there are none.
    pub(super) fn bytes_left(&self) -> io::Result<usize> {
        match self.bytes.get() {
            0 => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not stop answering")),
            left => Ok(left),
        }
    }

    pub(super) fn use_bytes(&self, count: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(count));
    }

    /// `QuotaExceeded` when there were too many.
    pub(super) fn use_connection(&self) -> io::Result<()> {
        let many = || io::Error::new(io::ErrorKind::QuotaExceeded, "it names too many nodes");
        self.connections.set(self.connections.get().checked_sub(1).ok_or_else(many)?);
        Ok(())
    }
}

/// What a socket says when its time is over.
pub(super) fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { late() } else { error }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time")
}
