//! Keeps evidence in a thread of its own: a disk can make who writes wait, and the reader of the rings must not.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::{
    count::{Count, Totals},
    store::{EvidenceError, Settings, Store},
};
use crate::model::{KeptImage, KeptLoad};

/// Images that may wait, however small they are.
const QUEUE: usize = 1024;
/// From one look for what is too old to the next, at the most.
const PASS: Duration = Duration::from_secs(600);

/// Why an image will not be kept. It is a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("too many bytes of images wait to be kept")]
    Full,
    #[error("nobody keeps evidence any more")]
    Ended,
}

/// Why the end was not a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    #[error("{waiting_images} images of {waiting_bytes} bytes were not kept in time, and are lost")]
    Stuck { waiting_images: u64, waiting_bytes: u64 },
}

/// Who keeps evidence.
#[derive(Debug)]
pub struct Service {
    queue: Sender<(KeptImage, KeptLoad)>,
    waiting: Arc<Waiting>,
    totals: Arc<Totals>,
    /// Nothing ever comes out of it; the thread holds the other end as long as it lives.
    alive: Receiver<()>,
}

/// What waits, and whether there is anybody who wants it kept.
#[derive(Debug)]
struct Waiting {
    bytes: AtomicU64,
    images: AtomicU64,
    /// Since when the first of them has been written.
    begun: Mutex<Option<Instant>>,
    max_bytes: u64,
    is_given_up: AtomicBool,
}

impl Waiting {
    fn new(max_bytes: u64) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            images: AtomicU64::new(0),
            begun: Mutex::new(None),
            max_bytes,
            is_given_up: AtomicBool::new(false),
        }
    }

    fn admit(&self, bytes: u64) -> bool {
        let more = |waiting: u64| waiting.checked_add(bytes).filter(|waiting| *waiting <= self.max_bytes);
        let is_admitted = self.bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        self.images.fetch_add(u64::from(is_admitted), Ordering::Relaxed);
        is_admitted
    }

    fn begin(&self, at: Option<Instant>) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.images.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service {
    /// Opens the store and starts. Images of `max_waiting_bytes` together may wait, that which is being written among them.
    pub fn start(settings: Settings, max_waiting_bytes: u64) -> Result<Self, EvidenceError> {
        let store = Store::open(settings)?;
        let totals = store.totals();
        let waiting = Arc::new(Waiting::new(max_waiting_bytes));
        let (queue, images) = bounded(QUEUE);
        let (life, alive) = bounded(0);
        let (of_thread, began) = (Arc::clone(&waiting), Instant::now());
        thread::Builder::new()
            .name("evidence".to_owned())
            .spawn(move || {
                let _life: Sender<()> = life;
                work(store, &images, &of_thread, began);
            })
            .map_err(EvidenceError::Thread)?;
        Ok(Self { queue, waiting, totals, alive })
    }

    /// Lets an image be kept. Never waits.
    pub fn keep(&self, image: KeptImage, load: KeptLoad) -> Result<(), QueueError> {
        let bytes = image.content.len() as u64;
        let result = if self.waiting.admit(bytes) {
            self.queue.try_send((image, load)).map_err(|error| {
                self.waiting.release(bytes);
                match error {
                    TrySendError::Full(_) => QueueError::Full,
                    TrySendError::Disconnected(_) => QueueError::Ended,
                }
            })
        } else {
            Err(QueueError::Full)
        };
        if result.is_err() {
            self.totals.add(Count::QueueFull);
        }
        result
    }

    /// Totals since the start, and what is held.
    pub fn totals(&self) -> Arc<Totals> {
        Arc::clone(&self.totals)
    }

    /// Images that wait behind one that has been written for longer than `patience`: a disk hangs, or somebody lets it. They may be kept yet.
    pub fn overdue(&self, patience: Duration) -> u64 {
        let begun = *self.waiting.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let is_overdue = begun.is_some_and(|begun| begun.elapsed() >= patience);
        if is_overdue { self.waiting.images.load(Ordering::Relaxed) } else { 0 }
    }

    /// Bytes of images that wait.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting.bytes.load(Ordering::Relaxed)
    }

    /// Waits until everything that waits is kept, at the longest until `deadline`. What waits then is given up, but that which is being
    /// written.
    pub fn finish(self, deadline: Instant) -> Result<(), ServiceError> {
        let Self { queue, waiting, alive, .. } = self;
        drop(queue);
        if alive.recv_deadline(deadline) != Err(RecvTimeoutError::Timeout) {
            return Ok(());
        }
        waiting.is_given_up.store(true, Ordering::Relaxed);
        let [waiting_images, waiting_bytes] = [&waiting.images, &waiting.bytes].map(|sum| sum.load(Ordering::Relaxed));
        Err(ServiceError::Stuck { waiting_images, waiting_bytes })
    }
}

/// Keeps until the queue is closed and empty, or nobody wants it.
fn work(mut store: Store, images: &Receiver<(KeptImage, KeptLoad)>, waiting: &Waiting, began: Instant) {
    let mut passed_s = 0;
    let (mut keeping, mut aging) = (Health::Good, Health::Good);
    while !waiting.is_given_up.load(Ordering::Relaxed) {
        let next = images.recv_timeout(PASS);
        let ran_s = began.elapsed().as_secs();
        aging.follow(store.pass(ran_s - passed_s), |error| tracing::warn!(%error, "old evidence stays"));
        passed_s = ran_s;
        match next {
            Ok((image, load)) => {
                let (bytes, event_id) = (image.content.len() as u64, &load.event_id);
                waiting.begin(Some(Instant::now()));
                let kept = store.keep(&image, &load);
                waiting.begin(None);
                keeping.follow(kept, |error| tracing::warn!(event_id, %error, "an image is not kept as evidence"));
                drop(image);
                waiting.release(bytes);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    aging.follow(store.save_clock(), |error| tracing::warn!(%error, "evidence is kept for longer"));
}

/// Whether the last attempt was good.
#[derive(Clone, Copy)]
enum Health {
    Good,
    Bad,
}

impl Health {
    /// Tells the first of many errors: the next attempts will fail, too, and are counted.
    fn follow<T>(&mut self, result: Result<T, EvidenceError>, tell: impl FnOnce(EvidenceError)) {
        match (*self, result) {
            (_, Ok(_)) => *self = Self::Good,
            (Self::Good, Err(error)) => {
                *self = Self::Bad;
                tell(error);
            }
            (Self::Bad, Err(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests;
