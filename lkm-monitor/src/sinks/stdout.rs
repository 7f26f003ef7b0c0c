//! Documents on standard output, a line each.

use std::{
    io::{self, Stdout},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, retry_on_intr},
};

use super::{Delivered, Entry, Fate, Sink};

/// What is ready takes so much without making the writer wait: PIPE_BUF of pipe(7).
const PIECE_BYTES: usize = 4096;

/// Writes to a pipe, a terminal or a file that somebody else opened. Readiness is asked for before each piece, instead of a flag on the
/// descriptor that all its users would share.
#[derive(Debug)]
pub struct StdoutSink<T = Stdout> {
    target: T,
    timeout: Duration,
    /// The rest of a line that was begun when the time was over. It comes first, so that no line begins inside another.
    rest: Vec<u8>,
}

impl StdoutSink {
    /// Writes to this process's standard output. `timeout` is for a batch.
    pub fn new(timeout: Duration) -> Self {
        Self::to(io::stdout(), timeout)
    }
}

impl<T: AsFd> StdoutSink<T> {
    fn to(target: T, timeout: Duration) -> Self {
        Self { target, timeout, rest: Vec::new() }
    }

    fn write_rest(&mut self, deadline: Instant) -> io::Result<()> {
        while !self.rest.is_empty() {
            self.wait(deadline)?;
            let piece = &self.rest[..self.rest.len().min(PIECE_BYTES)];
            let written = retry_on_intr(|| rustix::io::write(&self.target, piece))?;
            self.rest.drain(..written);
        }
        Ok(())
    }

    /// Until the target takes a piece.
    fn wait(&self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.target, PollFlags::OUT)], Some(&left)) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "the reader is too slow")),
            // Interrupted: the write is tried, at the worst for one piece.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl<T: AsFd + Send> Sink for StdoutSink<T> {
    fn deliver(&mut self, batch: &[Entry]) -> Delivered {
        let deadline = Instant::now() + self.timeout;
        let mut fates = Vec::with_capacity(batch.len());
        for entry in batch {
            let written = self.write_rest(deadline).and_then(|()| {
                self.rest.extend_from_slice(&entry.json);
                self.rest.push(b'\n');
                self.write_rest(deadline)
            });
            match written {
                Ok(()) => fates.push(Fate::Taken),
                Err(error) => return super::stopped(fates, batch.len(), format!("standard output: {error}")),
            }
        }
        Delivered::Each(fates)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::sinks::samples::entries;

    #[test]
    fn a_reader_gets_every_line() {
        let (mut reader, writer) = io::pipe().unwrap();
        let batch = entries(0..40, 9000);
        let sent = batch.clone();
        let sending = std::thread::spawn(move || StdoutSink::to(writer, Duration::from_secs(20)).deliver(&sent));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(sending.join().unwrap(), Delivered::Each(vec![Fate::Taken; 40]));
        let lines: Vec<&[u8]> = read.split_inclusive(|byte| *byte == b'\n').map(|line| line.trim_ascii_end()).collect();
        assert_eq!(lines, batch.iter().map(|entry| &*entry.json).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_stands_still_costs_the_timeout_and_tears_no_line() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = StdoutSink::to(writer, Duration::from_millis(50));
        let batch = entries(0..40, 9000);
        let Delivered::Each(fates) = sink.deliver(&batch) else { panic!("nothing fitted into the pipe") };
        let taken = fates.iter().filter(|fate| **fate == Fate::Taken).count();
        assert!((1..40).contains(&taken) && matches!(fates[taken], Fate::TryAgain(_)), "{fates:?}");
        assert!(matches!(sink.deliver(&batch[taken..]), Delivered::Failed(_)));

        let reading = std::thread::spawn(move || {
            let mut read = String::new();
            reader.read_to_string(&mut read).unwrap();
            read
        });
        let mut left = &batch[taken..];
        while !left.is_empty() {
            if let Delivered::Each(fates) = sink.deliver(left) {
                left = &left[fates.iter().filter(|fate| **fate == Fate::Taken).count()..];
            }
        }
        drop(sink);
        let read = reading.join().unwrap();
        // The one that was begun came twice.
        let mut lines: Vec<&str> = read.lines().collect();
        lines.dedup();
        assert_eq!(lines, batch.iter().map(|entry| str::from_utf8(&entry.json).unwrap()).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_is_gone_is_a_failure() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let delivered = StdoutSink::to(writer, Duration::from_secs(5)).deliver(&entries(0..1, 10));
        assert!(matches!(delivered, Delivered::Failed(_)), "{delivered:?}");
    }
}
