//! Documents on standard output, a line each.

use std::{
    io::{self, Stdout},
    os::fd::AsFd,
    sync::{Mutex, PoisonError},
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
    rest: &'static Mutex<Vec<u8>>,
}

/// That of standard output: it outlives a sink that a reload makes anew.
static REST: Mutex<Vec<u8>> = Mutex::new(Vec::new());

impl StdoutSink {
    /// Writes to this process's standard output. `timeout` is for a batch.
    pub fn new(timeout: Duration) -> Self {
        Self::to(io::stdout(), timeout, &REST)
    }
}

impl<T: AsFd> StdoutSink<T> {
    const fn to(target: T, timeout: Duration, rest: &'static Mutex<Vec<u8>>) -> Self {
        Self { target, timeout, rest }
    }

    fn write(&self, rest: &mut Vec<u8>, deadline: Instant) -> io::Result<()> {
        while !rest.is_empty() {
            self.wait(deadline)?;
            let piece = &rest[..rest.len().min(PIECE_BYTES)];
            let written = retry_on_intr(|| rustix::io::write(&self.target, piece))?;
            rest.drain(..written);
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
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fates = Vec::with_capacity(batch.len());
        for entry in batch {
            let written = self.write(&mut rest, deadline).and_then(|()| {
                rest.extend_from_slice(&entry.json);
                rest.push(b'\n');
                self.write(&mut rest, deadline)
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

    fn no_rest() -> &'static Mutex<Vec<u8>> {
        Box::leak(Box::default())
    }

    #[test]
    fn a_reader_gets_every_line() {
        let (mut reader, writer) = io::pipe().unwrap();
        let batch = entries(0..40, 9000);
        let sent = batch.clone();
        let sending =
            std::thread::spawn(move || StdoutSink::to(writer, Duration::from_secs(20), no_rest()).deliver(&sent));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(sending.join().unwrap(), Delivered::Each(vec![Fate::Taken; 40]));
        let lines: Vec<&[u8]> = read.split_inclusive(|byte| *byte == b'\n').map(|line| line.trim_ascii_end()).collect();
        assert_eq!(lines, batch.iter().map(|entry| &*entry.json).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_stands_still_costs_the_timeout_and_tears_no_line() {
        let (mut reader, writer) = io::pipe().unwrap();
        let rest = no_rest();
        let mut sink = StdoutSink::to(writer, Duration::from_millis(50), rest);
        let batch = entries(0..40, 9000);
        let Delivered::Each(fates) = sink.deliver(&batch) else { panic!("nothing fitted into the pipe") };
        let taken = fates.iter().filter(|fate| **fate == Fate::Taken).count();
        assert!((1..40).contains(&taken) && matches!(fates[taken], Fate::TryAgain(_)), "{fates:?}");
        assert!(matches!(sink.deliver(&batch[taken..]), Delivered::Failed(_)));

        // A reload makes it anew.
        let mut sink = StdoutSink::to(sink.target, sink.timeout, rest);
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
        let delivered = StdoutSink::to(writer, Duration::from_secs(5), no_rest()).deliver(&entries(0..1, 10));
        assert!(matches!(delivered, Delivered::Failed(_)), "{delivered:?}");
    }
}
