//! Delivers rendered documents: as lines to standard output, or to the spool.
//!
//! A thread of its own does it, because the reader of the rings must never wait for whoever reads our output, nor for a disk. Between
//! them is a bounded queue; what does not fit is handed back to be counted.

use std::{
    io::Write,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded};

use crate::{
    alert::Document,
    spool::{Incoming, Spool},
};

/// Documents that may wait. At the most 16 KiB each.
const QUEUE: usize = 2048;
/// Of these, for documents that not everybody can cause.
const RESERVE: usize = 512;
/// Documents that are taken together.
const GROUP: usize = 1024;
/// From one group to the next, at the least. What comes alone does not wait. In a flood the disk is asked a hundred times a second to make
/// a hundredth of a second's documents durable, and not as often as it can.
const PACE: Duration = Duration::from_millis(10);

/// Whose documents may fill the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// What any process can cause at any rate: calls that the kernel refused, requests.
    Ordinary,
    /// What the kernel did for a privileged process, and what the daemon has to say of itself.
    Reserved,
}

/// Where documents go from here.
pub trait Target: Send {
    /// Takes documents, in order; none is left behind when this returns. An error ends the output.
    fn take(&mut self, documents: &mut Vec<Document>) -> std::io::Result<()>;
}

/// Lines to a pipe, a file or a terminal.
#[derive(Debug)]
pub struct Lines<W: Write>(std::io::BufWriter<W>);

impl<W: Write> Lines<W> {
    pub fn to(writer: W) -> Self {
        Self(std::io::BufWriter::with_capacity(64 * 1024, writer))
    }
}

impl<W: Write + Send> Target for Lines<W> {
    fn take(&mut self, documents: &mut Vec<Document>) -> std::io::Result<()> {
        for document in documents.drain(..) {
            self.0.write_all(&document.line)?;
        }
        self.0.flush()
    }
}

impl Target for Arc<Spool> {
    fn take(&mut self, documents: &mut Vec<Document>) -> std::io::Result<()> {
        let incoming = documents.drain(..).map(|Document { class, happened_ms, mut line, .. }| {
            line.pop();
            Incoming { class, happened_ms, json: line }
        });
        self.append(&incoming.collect::<Vec<_>>());
        Ok(())
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Output {
    queue: Sender<Document>,
    writer: JoinHandle<std::io::Result<()>>,
    /// Nothing ever comes out of it; the writer holds the other end as long as it lives.
    alive: Receiver<()>,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Queued,
    /// The queue is full: whoever takes our documents is too slow.
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
    /// Starts to bring documents to `target`.
    pub fn start(target: impl Target + 'static) -> std::io::Result<Self> {
        let (queue, documents) = bounded(QUEUE);
        let (life, alive) = bounded(0);
        let writer = thread::Builder::new().name("output".to_owned()).spawn(move || {
            let _life: Sender<()> = life;
            take_all(&documents, target)
        })?;
        Ok(Self { queue, writer, alive })
    }

    /// Queues one document. Never waits. A flood of ordinary ones leaves room for the others.
    pub fn send(&self, document: Document, priority: Priority) -> Sent {
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
    pub fn send_before(&self, deadline: Instant, document: Document) -> Sent {
        match self.queue.send_deadline(document, deadline) {
            Ok(()) => Sent::Queued,
            Err(SendTimeoutError::Timeout(_)) => Sent::Full,
            Err(SendTimeoutError::Disconnected(_)) => Sent::Closed,
        }
    }

    /// Documents that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Waits until everything queued is taken, at the longest until `deadline`.
    pub fn finish(self, deadline: Instant) -> Result<(), OutputError> {
        drop(self.queue);
        match self.alive.recv_deadline(deadline) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => return Err(OutputError::Stuck),
        }
        Ok(self.writer.join().map_err(|_| OutputError::Died)??)
    }
}

/// Takes until the queue is closed and empty, as many together as are there.
fn take_all(documents: &Receiver<Document>, mut target: impl Target) -> std::io::Result<()> {
    let (mut group, mut last) = (Vec::new(), None);
    while let Ok(document) = documents.recv() {
        thread::sleep(last.map_or(Duration::ZERO, |last: Instant| PACE.saturating_sub(last.elapsed())));
        last = Some(Instant::now());
        group.push(document);
        group.extend(documents.try_iter().take(GROUP));
        target.take(&mut group)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, mpsc},
        time::Duration,
    };

    use super::*;
    use crate::{model::Class, spool};

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

    fn document(line: impl Into<Vec<u8>>) -> Document {
        Document { id: String::new(), class: Class::High, happened_ms: 7, line: line.into() }
    }

    fn in_time() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn documents_come_out_in_order() {
        let target = Shared::default();
        let output = Output::start(Lines::to(target.clone())).unwrap();
        for number in 0..100 {
            assert_eq!(output.send(document(format!("{number}\n")), Priority::Ordinary), Sent::Queued);
        }
        output.finish(in_time()).unwrap();
        let written = String::from_utf8(target.0.lock().unwrap().clone()).unwrap();
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn a_reader_that_takes_nothing_does_not_block_the_sender() {
        let (_gate, gate) = mpsc::channel();
        let output = Output::start(Lines::to(Blocked(gate))).unwrap();
        let send = |priority| output.send(document(vec![b'x'; 100_000]), priority);
        let queued = |priority| (0..2 * QUEUE).map(|_| send(priority)).filter(|sent| *sent == Sent::Queued).count();
        assert!(queued(Priority::Ordinary) >= QUEUE - RESERVE);
        assert_eq!(send(Priority::Ordinary), Sent::Full);
        assert_eq!(queued(Priority::Reserved), RESERVE, "a flood leaves room for what matters");
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(output.send_before(soon, document("x")), Sent::Full);
        assert!(matches!(output.finish(soon), Err(OutputError::Stuck)));
    }

    #[test]
    fn at_the_end_the_sender_waits_for_room() {
        let target = Shared::default();
        let output = Output::start(Lines::to(target.clone())).unwrap();
        for _ in 0..4 * QUEUE {
            assert_eq!(output.send_before(in_time(), document("x")), Sent::Queued);
        }
        output.finish(in_time()).unwrap();
        assert_eq!(target.0.lock().unwrap().len(), 4 * QUEUE);
    }

    #[test]
    fn an_output_that_is_gone_is_an_error() {
        let (gate, closed) = mpsc::channel();
        drop(gate);
        let output = Output::start(Lines::to(Blocked(closed))).unwrap();
        output.send(document("x\n"), Priority::Ordinary);
        assert!(matches!(output.finish(in_time()), Err(OutputError::Write(_))));
    }

    #[test]
    fn the_spool_has_what_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        let limits = spool::Limits { max_bytes: 1 << 20, max_age_s: 60, max_dead_letter_bytes: 0 };
        let settings =
            spool::Settings { path: folder.path().join("spool.redb"), limits, min_free_bytes: 0, retry: spool::RETRY };
        let spool = Arc::new(Spool::open(settings).unwrap());
        spool.set_sinks([("siem".to_owned(), false)].into()).unwrap();
        let output = Output::start(Arc::clone(&spool)).unwrap();
        output.send(document("{}\n"), Priority::Reserved);
        output.finish(in_time()).unwrap();
        let batch = spool.next("siem", (10, 1000), Duration::ZERO, &spool::Leave::default()).unwrap();
        let [entry] = batch.entries.as_slice() else { panic!("one document, not {batch:?}") };
        assert_eq!((entry.class, entry.happened_ms, &*entry.json), (Class::High, 7, b"{}".as_slice()));
    }
}
