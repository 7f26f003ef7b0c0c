//! Reads the rings.

use std::fs::File;

use aya::maps::{MapData, MapError, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    attach::{Incomplete, Programs},
    recording::Recorder,
};

/// Events taken from one ring before the others have their turn and signals and timers are looked at: few enough that what
/// the kernel confirmed does not wait behind a flood of calls.
const BATCH: usize = 32;

/// The rings, ready to be waited for.
pub struct Rings {
    truth: AsyncFd<RingBuf<MapData>>,
    files: AsyncFd<RingBuf<MapData>>,
    calls: AsyncFd<RingBuf<MapData>>,
    recorder: Option<Recorder<File>>,
}

/// Why the rings cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    #[error(transparent)]
    Programs(#[from] Incomplete),
    #[error("a ring cannot be mapped: {0}")]
    Map(#[from] MapError),
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
        let Self { recorder, .. } = self;
        let mut recorded = |event: &[u8]| {
            if let Some(Err(error)) = recorder.as_mut().map(|recorder| recorder.add(event)) {
                tracing::error!(%error, "events cannot be recorded any more");
                *recorder = None;
            }
            take(event)
        };
        let truth = read_batch(self.truth.get_mut(), &mut recorded);
        let files = read_batch(self.files.get_mut(), &mut recorded);
        let calls = read_batch(self.calls.get_mut(), &mut recorded);
        [truth, files, calls].into_iter().flatten().min()
    }
}

/// The time of the last event, if there may be more behind it.
fn read_batch(ring: &mut RingBuf<MapData>, take: &mut impl FnMut(&[u8]) -> u64) -> Option<u64> {
    let mut last_ns = 0;
    for _ in 0..BATCH {
        last_ns = take(&ring.next()?);
    }
    Some(last_ns)
}

fn ring(programs: &mut Programs, name: &'static str) -> Result<AsyncFd<RingBuf<MapData>>, RingError> {
    let map = programs.ebpf.take_map(name).ok_or(Incomplete(name))?;
    let ring = RingBuf::try_from(map)?;
    // SAFETY: the ring owns its map's descriptor, keeps it open as long as it lives, and always returns the same one.
    let registered = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
    Ok(registered.map_err(std::io::Error::from)?)
}
