//! Reads the rings, and keeps the book of what should have been in them.

use std::{collections::BTreeSet, fs::File, os::fd::AsFd as _};

use aya::maps::{Map, MapError};
use lkm_monitor_common::event::WIRE_VERSION;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    attach::{Incomplete, Programs},
    recording::Recorder,
    ring::{Ring, Tampering},
};

/// Events taken from one ring before the others have their turn and signals and timers are looked at: few enough that what
/// the kernel confirmed does not wait behind a flood of calls.
const BATCH: usize = 32;

/// The rings, ready to be waited for.
pub struct Rings {
    truth: AsyncFd<Ring>,
    files: AsyncFd<Ring>,
    calls: AsyncFd<Ring>,
    recorder: Option<Recorder<File>>,
    book: Book,
}

/// What the probes put into the rings, and what came out.
#[derive(Debug, Default)]
struct Book {
    /// Events that the probes had put in when they were last asked.
    submitted: u64,
    received: u64,
    missing: u64,
    tampering: BTreeSet<(&'static str, Tampering)>,
}

/// Why the rings cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    #[error(transparent)]
    Programs(#[from] Incomplete),
    #[error("the kernel does not say how large a ring is: {0}")]
    Size(#[from] MapError),
    #[error("a ring cannot be mapped: {0}")]
    Map(std::io::Error),
    #[error("a ring cannot be waited for: {0}")]
    Wait(#[from] std::io::Error),
}

impl Rings {
    /// Takes the rings out of `programs`. Needs a tokio runtime with I/O.
    pub fn open(programs: &mut Programs) -> Result<Self, RingError> {
        Ok(Self {
            truth: ring(programs, "TRUTH")?,
            files: ring(programs, "FILES")?,
            calls: ring(programs, "CALLS")?,
            recorder: None,
            book: Book::default(),
        })
    }

    /// Writes all events to a file from now on, too. Who reads the rings waits for its disk.
    pub fn record(&mut self, recorder: Recorder<File>) {
        self.recorder = Some(recorder);
    }

    /// Waits until a ring holds something.
    pub async fn readable(&mut self) -> Result<(), RingError> {
        let Self { truth, files, calls, .. } = self;
        tokio::select! {
            guard = truth.readable() => guard?.clear_ready(),
            guard = files.readable() => guard?.clear_ready(),
            guard = calls.readable() => guard?.clear_ready(),
        }
        Ok(())
    }

    /// Hands up to [`BATCH`] events of each ring to `take`, the kernel's own word first, which says when they happened
    /// (nanoseconds since boot). `None` when all rings were empty in the end, else the time up to which all events have
    /// been handed over.
    pub fn read(&mut self, mut take: impl FnMut(&[u8]) -> u64) -> Option<u64> {
        let Self { recorder, book, .. } = self;
        let mut recorded = |event: &[u8]| {
            if let Some(Err(error)) = recorder.as_mut().map(|recorder| recorder.add(event)) {
                tracing::error!(%error, "events cannot be recorded any more");
                *recorder = None;
            }
            take(event)
        };
        let rings = [("TRUTH", &mut self.truth), ("FILES", &mut self.files), ("CALLS", &mut self.calls)];
        let read_to_ns = rings.map(|(name, ring)| read_batch(name, ring.get_mut(), book, &mut recorded));
        if [&self.truth, &self.files, &self.calls].iter().all(|ring| ring.get_ref().is_empty()) {
            book.balance();
        }
        read_to_ns.into_iter().flatten().min()
    }

    /// Expects as many events altogether as the probes have put into the rings by now.
    pub const fn expect(&mut self, submitted: u64) {
        self.book.submitted = submitted;
    }

    /// Events that the probes put into the rings and that never came out, since the start.
    pub const fn missing(&self) -> u64 {
        self.book.missing
    }

    /// What somebody did to the rings since this was asked last, a sentence each.
    pub fn take_tampering(&mut self) -> Vec<String> {
        std::mem::take(&mut self.book.tampering)
            .into_iter()
            .map(|(name, found)| format!("ring {name}: {found}"))
            .collect()
    }
}

impl Book {
    /// Compares, at a moment at which the rings are empty. What the probes count is in a ring before they count it.
    fn balance(&mut self) {
        self.missing = self.missing.max(self.submitted.saturating_sub(self.received));
    }
}

/// The time of the last event, if there may be more behind it.
fn read_batch(
    name: &'static str,
    ring: &mut Ring,
    book: &mut Book,
    take: &mut impl FnMut(&[u8]) -> u64,
) -> Option<u64> {
    let mut last_ns = 0;
    for _ in 0..BATCH {
        let found = match ring.next().transpose()? {
            Ok(event) => {
                book.received += 1;
                last_ns = take(event);
                (!is_of_probes(event)).then_some(Tampering::Foreign)
            }
            Err(found) => Some(found),
        };
        book.tampering.extend(found.map(|found| (name, found)));
    }
    Some(last_ns)
}

/// Whether an event's head has the version that the probes were built with, which lies behind its kind.
fn is_of_probes(event: &[u8]) -> bool {
    event.get(2..4) == Some(WIRE_VERSION.to_ne_bytes().as_slice())
}

fn ring(programs: &mut Programs, name: &'static str) -> Result<AsyncFd<Ring>, RingError> {
    let ring = open(programs, name)?;
    // SAFETY: the ring owns its map's descriptor, keeps it open as long as it lives, and always returns the same one.
    let registered = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
    Ok(registered.map_err(std::io::Error::from)?)
}

/// Takes a ring out of `programs`.
pub(super) fn open(programs: &mut Programs, name: &'static str) -> Result<Ring, RingError> {
    let Some(Map::RingBuf(map)) = programs.ebpf.take_map(name) else {
        return Err(Incomplete(name).into());
    };
    let size_bytes = map.info()?.max_entries();
    map.fd().as_fd().try_clone_to_owned().and_then(|map| Ring::open(map, size_bytes)).map_err(RingError::Map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_out_is_missing_and_stays_so() {
        let mut book = Book { submitted: 7, received: 5, ..Book::default() };
        book.balance();
        assert_eq!(book.missing, 2);
        // One that was put in and not counted yet.
        book.received = 8;
        book.balance();
        assert_eq!(book.missing, 2);
    }

    #[test]
    fn an_event_of_another_layout_is_none_of_the_probes() {
        let head = |version: u16| [[1, 0], version.to_ne_bytes()].concat();
        assert!(is_of_probes(&head(WIRE_VERSION)));
        assert!(!is_of_probes(&head(WIRE_VERSION + 1)) && !is_of_probes(&head(WIRE_VERSION)[..3]));
    }
}
