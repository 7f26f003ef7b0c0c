//! Documents as messages of RFC 5424, over TCP with octet counting (RFC 6587) or over TLS (RFC 5425).
//!
//! Syslog knows no answer. So `Taken` says this much: the receiver's kernel has acknowledged every byte, and the connection was still open
//! then, and after its first second. What lay in that kernel when the receiver died is lost, and nobody can know it. Whatever is short of
//! that counts as not delivered and is sent again, and so may arrive twice; `event.id` tells.

mod connection;
mod message;
mod reduce;
#[cfg(test)]
mod tests;

use std::{
    io,
    time::{Duration, Instant},
};

use self::connection::Connection;
use super::{Delivered, Entry, Failure, Fate, Sink, tls::TlsError};
use crate::config::sinks::TlsConfig;

/// Whom the messages go to, and what they look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogSettings {
    pub host: String,
    pub port: u16,
    pub tls: Option<TlsConfig>,
    /// Its number in RFC 5424, table 1.
    pub facility: u8,
    /// Bytes of one message, without its octet count, at the most.
    pub max_bytes: usize,
    pub enterprise_number: u32,
}

/// Why a batch did not get through.
#[derive(Debug, thiserror::Error)]
enum SyslogError {
    #[error("{0} has no address: {1}")]
    Resolve(String, io::Error),
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    #[error("{0} is no name that a certificate could be for")]
    Name(String),
    #[error(transparent)]
    Files(#[from] TlsError),
    #[error("TLS with {0}: {1}")]
    Handshake(String, io::Error),
    #[error("the connection to {0} broke: {1}")]
    Broken(String, io::Error),
}

impl SyslogError {
    /// Whether messages were on their way.
    const fn is_in_flight(&self) -> bool {
        matches!(self, Self::Broken(..))
    }
}

/// Sends to one receiver.
#[derive(Debug)]
pub struct SyslogSink {
    settings: SyslogSettings,
    timeout: Duration,
    connection: Option<Connection>,
    frames: Vec<u8>,
}

impl SyslogSink {
    /// Connects with the first batch. `timeout` is for a batch, with its connection; a name is looked up for as long as the host's resolver
    /// takes.
    pub const fn new(settings: SyslogSettings, timeout: Duration) -> Self {
        Self { settings, timeout, connection: None, frames: Vec::new() }
    }

    /// The batch as it goes over the wire; the fate of each document if it gets there.
    fn frame(&mut self, batch: &[Entry]) -> Vec<Fate> {
        self.frames.clear();
        let mut fates = Vec::with_capacity(batch.len());
        for entry in batch {
            fates.push(match message::message(entry, &self.settings) {
                Ok(message) => {
                    // RFC 6587, section 3.4.1.
                    self.frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
                    self.frames.extend_from_slice(message.as_bytes());
                    Fate::Taken
                }
                Err(error) => Fate::Refused(error.to_string()),
            });
        }
        fates
    }

    fn send(&mut self) -> Result<(), SyslogError> {
        let deadline = Instant::now() + self.timeout;
        // A receiver that went away meanwhile would take the first messages into the void.
        let open = self.connection.take().and_then(|mut connection| match connection.look(deadline) {
            Ok(()) => Some(connection),
            Err(error) => {
                tracing::info!(host = self.settings.host, %error, "the receiver went away, connecting anew");
                None
            }
        });
        let mut connection = match open {
            Some(connection) => connection,
            None => Connection::open(&self.settings, deadline)?,
        };
        let sent = connection.send(&self.frames, deadline).and_then(|()| connection.settle(deadline));
        sent.map_err(|error| SyslogError::Broken(connection::name(&self.settings), error))?;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Sink for SyslogSink {
    fn deliver(&mut self, batch: &[Entry]) -> Delivered {
        let fates = self.frame(batch);
        if self.frames.is_empty() {
            return Delivered::Each(fates);
        }
        match self.send() {
            Ok(()) => Delivered::Each(fates),
            Err(error) => Delivered::Failed(Failure {
                reason: error.to_string(),
                maybe_taken: error.is_in_flight(),
                retry_after: None,
            }),
        }
    }
}
