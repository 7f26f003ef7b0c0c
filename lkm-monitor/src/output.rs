//! Delivers rendered documents to standard output, a line each.
//!
//! A thread of its own writes, because the reader of the rings must never wait for whoever reads our output. Between
//! them is a bounded queue; what does not fit is handed back to be counted.

use std::{io::Write, thread::JoinHandle, time::Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded};

/// Documents that may wait. At the most 16 KiB each.
const QUEUE: usize = 2048;
/// Of these, for documents that not everybody can cause.
const RESERVE: usize = 512;

/// Whose documents may fill the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// What any process can cause at any rate: calls that the kernel refused, requests.
    Ordinary,
    /// What the kernel did for a privileged process, and what the daemon has to say of itself.
    Reserved,
}

/// The writing end.
#[derive(Debug)]
pub struct Output {
    queue: Sender<Vec<u8>>,
    writer: JoinHandle<std::io::Result<()>>,
    /// Nothing ever comes out of it; the writer holds the other end as long as it lives.
    alive: Receiver<()>,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Queued,
    /// The queue is full: the reader of our output is too slow.
    Full,
    /// The output is gone.
    Closed,
}

/// Why the output did not end well.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("writing documents failed: {0}")]
    Write(#[from] std::io::Error),
    #[error("the writer of documents died")]
    Died,
    #[error("documents were not taken in time; those still queued are lost")]
    Stuck,
}

impl Output {
    /// Starts to write to `target`.
    pub fn start(target: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (queue, documents) = bounded(QUEUE);
        let (life, alive) = bounded(0);
        let writer = std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            let _life: Sender<()> = life;
            write_all(&documents, target)
        })?;
        Ok(Self { queue, writer, alive })
    }

    /// Queues one document, its newline included. Never waits. A flood of ordinary ones leaves room for the others.
    pub fn send(&self, document: Vec<u8>, priority: Priority) -> Sent {
        if priority == Priority::Ordinary && self.queue.len() >= QUEUE - RESERVE {
            return Sent::Full;
        }
        match self.queue.try_send(document) {
            Ok(()) => Sent::Queued,
            Err(TrySendError::Full(_)) => Sent::Full,
            Err(TrySendError::Disconnected(_)) => Sent::Closed,
        }
    }

    /// Queues one document; waits for room until `deadline`.
    pub fn send_before(&self, deadline: Instant, document: Vec<u8>) -> Sent {
        match self.queue.send_deadline(document, deadline) {
            Ok(()) => Sent::Queued,
            Err(SendTimeoutError::Timeout(_)) => Sent::Full,
            Err(SendTimeoutError::Disconnected(_)) => Sent::Closed,
        }
    }

    /// Waits until everything queued is written, at the longest until `deadline`.
    pub fn finish(self, deadline: Instant) -> Result<(), OutputError> {
        drop(self.queue);
        match self.alive.recv_deadline(deadline) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => return Err(OutputError::Stuck),
        }
        Ok(self.writer.join().map_err(|_| OutputError::Died)??)
    }
}

/// Writes until the queue is closed and empty; flushes whenever it runs empty.
fn write_all(documents: &Receiver<Vec<u8>>, target: impl Write) -> std::io::Result<()> {
    let mut target = std::io::BufWriter::with_capacity(64 * 1024, target);
    while let Ok(document) = documents.recv() {
        target.write_all(&document)?;
        while let Ok(document) = documents.try_recv() {
            target.write_all(&document)?;
        }
        target.flush()?;
    }
    target.flush()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex, mpsc},
        time::Duration,
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Takes nothing until it is told to.
    struct Blocked(mpsc::Receiver<()>);

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.recv().map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn in_time() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn documents_come_out_in_order() {
        let target = Shared::default();
        let output = Output::start(target.clone()).unwrap();
        for number in 0..100 {
            assert_eq!(output.send(format!("{number}\n").into_bytes(), Priority::Ordinary), Sent::Queued);
        }
        output.finish(in_time()).unwrap();
        let written = String::from_utf8(target.0.lock().unwrap().clone()).unwrap();
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn a_reader_that_takes_nothing_does_not_block_the_sender() {
        let (_gate, gate) = mpsc::channel();
        let output = Output::start(Blocked(gate)).unwrap();
        let send = |priority| output.send(vec![b'x'; 100_000], priority);
        let queued = |priority| (0..2 * QUEUE).map(|_| send(priority)).filter(|sent| *sent == Sent::Queued).count();
        assert!(queued(Priority::Ordinary) >= QUEUE - RESERVE);
        assert_eq!(send(Priority::Ordinary), Sent::Full);
        assert_eq!(queued(Priority::Reserved), RESERVE, "a flood leaves room for what matters");
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(output.send_before(soon, b"x".to_vec()), Sent::Full);
        assert!(matches!(output.finish(soon), Err(OutputError::Stuck)));
    }

    #[test]
    fn at_the_end_the_sender_waits_for_room() {
        let target = Shared::default();
        let output = Output::start(target.clone()).unwrap();
        for _ in 0..4 * QUEUE {
            assert_eq!(output.send_before(in_time(), b"x".to_vec()), Sent::Queued);
        }
        output.finish(in_time()).unwrap();
        assert_eq!(target.0.lock().unwrap().len(), 4 * QUEUE);
    }

    #[test]
    fn an_output_that_is_gone_is_an_error() {
        let (gate, closed) = mpsc::channel();
        drop(gate);
        let output = Output::start(Blocked(closed)).unwrap();
        output.send(b"x\n".to_vec(), Priority::Ordinary);
        assert!(matches!(output.finish(in_time()), Err(OutputError::Write(_))));
    }
}
