//! What waits to be kept, and whether there is anybody who wants it kept.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

#[derive(Debug)]
pub(super) struct Waiting {
    bytes: AtomicU64,
    images: AtomicU64,
    /// Since when the disk has been at work: the store is being opened, or an image written.
    begun: Mutex<Option<Instant>>,
    max_bytes: u64,
    is_closed: AtomicBool,
    is_given_up: AtomicBool,
}

impl Waiting {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            images: AtomicU64::new(0),
            begun: Mutex::new(None),
            max_bytes,
            is_closed: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        }
    }

    /// Whether an image with so many bytes has room.
    pub(super) fn admit(&self, bytes: u64) -> bool {
        let more = |waiting: u64| waiting.checked_add(bytes).filter(|waiting| *waiting <= self.max_bytes);
        let is_admitted = self.bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        self.images.fetch_add(u64::from(is_admitted), Ordering::Relaxed);
        is_admitted
    }

    pub(super) fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.images.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, at: Option<Instant>) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Whether the disk has been at work for so long.
    pub(super) fn is_overdue(&self, patience: Duration) -> bool {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.is_some_and(|begun| begun.elapsed() >= patience)
    }

    pub(super) fn images(&self) -> u64 {
        self.images.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Nothing will ever be kept.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// What waits is counted as lost by now, and needs no more work.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }
}
