//! Module images, put together again from the pieces in their ring.
//!
//! A thread of its own reads that ring, so that megabytes do not delay events. The probe writes all pieces of an image, in order, before the
//! event that tells of it: who has the event knows how many bytes there are, and waits for them here. Bytes that do not follow each other are
//! no image: it is never wrong, only not whole.

mod assembly;

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use self::assembly::Assembly;
use super::{
    attach::Programs,
    ring::Ring,
    rings::{self, RingError},
};
use crate::model::ImageName;

/// Bytes of images that wait for somebody, at the least. Always the largest image has room twice.
const LEAST_BYTES: usize = 32 << 20;
/// How long an image waits. A load is told long before.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for images that nobody wants.
const SWEEP: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// Pieces that are taken before others have their turn with what is there.
const BATCH: usize = 64;
/// How long it reads on when it is told to stop: of what somebody keeps moving there is never an end.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// What was captured and is not yet done with.
#[derive(Clone, Debug)]
pub struct Images(Arc<Shared>);

/// The thread that reads the ring.
#[derive(Debug)]
pub struct ImageReader {
    images: Images,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    assembly: Mutex<Assembly>,
    grown: Condvar,
}

impl ImageReader {
    /// Takes the ring out of `programs`, and begins to read it. `image_bytes` is what is captured of one image at the most.
    pub fn start(programs: &mut Programs, image_bytes: u32) -> Result<Self, RingError> {
        let ring = rings::open(programs, "IMAGES")?;
        let max_bytes = LEAST_BYTES.max(2 * usize::try_from(image_bytes).unwrap_or(usize::MAX / 2));
        let images = Images(Arc::new(Shared { assembly: Mutex::new(Assembly::new(max_bytes)), grown: Condvar::new() }));
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(std::io::Error::from)?);
        let (own_images, own_stop) = (images.clone(), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("images".to_owned())
            .spawn(move || own_images.read(ring, &own_stop))
            .map_err(RingError::Wait)?;
        Ok(Self { images, stop, thread: Some(thread) })
    }

    /// What it has put together.
    pub fn images(&self) -> Images {
        self.images.clone()
    }
}

impl Drop for ImageReader {
    fn drop(&mut self) {
        // An eventfd that nobody has written to takes this.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // It ends when it has seen that; one that panicked has ended.
            let _ = thread.join();
        }
    }
}

impl Images {
    /// The first `len` bytes that were captured of an image, when they are here; waits for them, at the longest until `deadline`. `None` where
    /// they did not all come, or were given up. They stay here until [`Self::release`].
    pub fn wait_for(&self, name: ImageName, len: u64, deadline: Instant) -> Option<Arc<Vec<u8>>> {
        let mut assembly = self.assembly();
        loop {
            if let Some(bytes) = assembly.get(name, len) {
                return Some(bytes);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || assembly.is_lost(name) {
                return None;
            }
            assembly = self.0.grown.wait_timeout(assembly, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nobody needs this image any more.
    pub fn release(&self, name: ImageName) {
        self.assembly().release(name);
    }

    /// What somebody did to the ring since this was asked last, a sentence each.
    pub fn take_tampering(&self) -> Vec<String> {
        self.assembly().take_tampering().into_iter().map(|found| format!("ring IMAGES: {found}")).collect()
    }

    /// Reads until it is told to stop.
    fn read(&self, mut ring: Ring, stop: &OwnedFd) {
        let mut told = None;
        loop {
            let mut wanted = [PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            // An interrupted wait is a short one.
            let _ = poll(&mut wanted, Some(&SWEEP));
            if wanted[1].revents().contains(PollFlags::IN) {
                told.get_or_insert_with(Instant::now);
            }
            let more = self.read_batch(&mut ring);
            self.0.grown.notify_all();
            self.assembly().expire(PATIENCE);
            if told.is_some_and(|told| !more || told.elapsed() >= LAST_PATIENCE) {
                return;
            }
        }
    }

    /// Whether there may be more.
    fn read_batch(&self, ring: &mut Ring) -> bool {
        for _ in 0..BATCH {
            let Some(piece) = ring.next().transpose() else { return false };
            match piece {
                Ok(piece) => self.assembly().push(piece),
                Err(found) => self.assembly().note_tampering(found),
            }
        }
        true
    }

    fn assembly(&self) -> MutexGuard<'_, Assembly> {
        // Nothing in it is half done when a holder panics.
        self.0.assembly.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Images {
    /// One image, which is here already.
    pub(crate) fn with(name: ImageName, bytes: &[u8]) -> Self {
        let mut assembly = Assembly::new(LEAST_BYTES);
        assembly.push(&assembly::piece(name, 0, bytes));
        Self(Arc::new(Shared { assembly: Mutex::new(assembly), grown: Condvar::new() }))
    }

    /// As if others had needed the room.
    pub(crate) fn give_up(&self, name: ImageName) {
        self.assembly().give_up(name);
    }
}
