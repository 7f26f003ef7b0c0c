//! Keeps evidence in a thread of its own: a disk can make who writes wait, and the reader of the rings must not.

mod waiting;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use self::waiting::Waiting;
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

/// The other end, for a thread of its own.
struct Worker {
    images: Receiver<(KeptImage, KeptLoad)>,
    waiting: Arc<Waiting>,
    totals: Arc<Totals>,
    _life: Sender<()>,
}

impl Service {
    /// Starts, and opens the store meanwhile: that, too, can make who does it wait for ever. Images of `max_waiting_bytes` together may
    /// wait, that which is being written among them. If the store cannot be opened the log says so, and all images are lost.
    pub fn start(settings: Settings, max_waiting_bytes: u64) -> Result<Self, EvidenceError> {
        Self::start_with(max_waiting_bytes, move |totals| Store::open_counted(settings, totals))
    }

    pub(crate) fn start_with(
        max_waiting_bytes: u64,
        open: impl FnOnce(Arc<Totals>) -> Result<Store, EvidenceError> + Send + 'static,
    ) -> Result<Self, EvidenceError> {
        let (service, worker) = Self::prepare(max_waiting_bytes);
        let thread = thread::Builder::new().name("evidence".to_owned());
        thread.spawn(move || worker.run(open)).map_err(EvidenceError::Thread)?;
        Ok(service)
    }

    fn prepare(max_waiting_bytes: u64) -> (Self, Worker) {
        let (waiting, totals) = (Arc::new(Waiting::new(max_waiting_bytes)), Arc::default());
        let (queue, images) = bounded(QUEUE);
        let (life, alive) = bounded(0);
        let worker = Worker { images, waiting: Arc::clone(&waiting), totals: Arc::clone(&totals), _life: life };
        (Self { queue, waiting, totals, alive }, worker)
    }

    /// Lets an image be kept. Never waits. Each error is counted.
    pub fn keep(&self, image: KeptImage, load: KeptLoad) -> Result<(), QueueError> {
        let result = self.queue(image, load);
        match result {
            Ok(()) => {}
            Err(QueueError::Full) => self.totals.add(Count::QueueFull),
            Err(QueueError::Ended) => self.totals.add(Count::Failed),
        }
        result
    }

    fn queue(&self, image: KeptImage, load: KeptLoad) -> Result<(), QueueError> {
        if self.waiting.is_closed() {
            return Err(QueueError::Ended);
        }
        let bytes = image.content.len() as u64;
        if !self.waiting.admit(bytes) {
            return Err(QueueError::Full);
        }
        self.queue.try_send((image, load)).map_err(|error| {
            self.waiting.release(bytes);
            match error {
                TrySendError::Full(_) => QueueError::Full,
                TrySendError::Disconnected(_) => QueueError::Ended,
            }
        })
    }

    /// Totals since the start, and what is held.
    pub fn totals(&self) -> Arc<Totals> {
        Arc::clone(&self.totals)
    }

    /// Whether one image has been written, or the store opened, for longer than `patience`: a disk hangs, or somebody lets it. What waits
    /// may be kept yet.
    pub fn hangs(&self, patience: Duration) -> bool {
        self.waiting.is_overdue(patience)
    }

    /// Images that wait, and that which is being written.
    pub fn waiting_images(&self) -> u64 {
        self.waiting.images()
    }

    /// Bytes of images that wait.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting.bytes()
    }

    /// Waits until everything that waits is kept, at the longest until `deadline`. What waits then is given up, but that which is being
    /// written.
    pub fn finish(self, deadline: Instant) -> Result<(), ServiceError> {
        let Self { queue, waiting, alive, .. } = self;
        drop(queue);
        // When the thread has ended nothing waits, unless it failed.
        let _ = alive.recv_deadline(deadline);
        waiting.give_up();
        match waiting.images() {
            // The store may be being opened still, or the clock saved.
            0 => Ok(()),
            waiting_images => Err(ServiceError::Stuck { waiting_images, waiting_bytes: waiting.bytes() }),
        }
    }
}

impl Worker {
    fn run(self, open: impl FnOnce(Arc<Totals>) -> Result<Store, EvidenceError>) {
        let began = Instant::now();
        self.waiting.begin(Some(began));
        let opened = open(Arc::clone(&self.totals));
        self.waiting.begin(None);
        match opened {
            Ok(store) => self.work(store, began),
            Err(error) => {
                tracing::error!(%error, "no images of modules can be kept");
                self.refuse();
            }
        }
    }

    /// Lets nothing more in, and counts what came before.
    fn refuse(&self) {
        self.waiting.close();
        // To the end: one may be on its way.
        for (image, _) in &self.images {
            if self.waiting.is_given_up() {
                break;
            }
            self.totals.add(Count::Failed);
            self.waiting.release(image.content.len() as u64);
        }
    }

    /// Keeps until the queue is closed and empty, or nobody wants it.
    fn work(&self, mut store: Store, began: Instant) {
        let waiting = &self.waiting;
        let mut passed_s = 0;
        let (mut keeping, mut aging) = (Health::Good, Health::Good);
        while !waiting.is_given_up() {
            let next = self.images.recv_timeout(PASS);
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
