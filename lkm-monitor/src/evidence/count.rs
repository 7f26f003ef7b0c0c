//! What became of images.

use std::sync::atomic::{AtomicU64, Ordering};

/// A fate of an image or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// An image was written that was not there.
    Kept,
    /// An image was there, and only its record was written.
    Known,
    /// An image was on record, but its file was gone or damaged, and was written anew.
    Restored,
    /// An image was removed because it was not seen for too long.
    Expired,
    /// An image was removed because all together had too many bytes.
    EvictedForBytes,
    /// An image was removed because there were too many.
    EvictedForNumber,
    /// An image was larger than what is kept at all.
    Refused,
    /// An image or its record could not be written, or the store not be opened.
    Failed,
    /// An image came while too many waited.
    QueueFull,
}

impl Count {
    /// In the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Kept,
        Self::Known,
        Self::Restored,
        Self::Expired,
        Self::EvictedForBytes,
        Self::EvictedForNumber,
        Self::Refused,
        Self::Failed,
        Self::QueueFull,
    ];

    /// The name in documents and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Known => "known",
            Self::Restored => "restored",
            Self::Expired => "expired",
            Self::EvictedForBytes => "evicted_for_bytes",
            Self::EvictedForNumber => "evicted_for_number",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::QueueFull => "queue_full",
        }
    }
}

/// How often each was the case since the start, and what is held. Can be read by any thread at any time.
#[derive(Debug, Default)]
pub struct Totals {
    counts: [AtomicU64; Count::ALL.len()],
    bytes: AtomicU64,
    images: AtomicU64,
}

impl Totals {
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// Bytes of all images and records in the folder.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Images in the folder.
    pub fn images(&self) -> u64 {
        self.images.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, count: Count) {
        self.counts[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hold(&self, bytes: u64, images: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.images.store(images, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_by_itself() {
        assert!((0..).zip(Count::ALL).all(|(number, count)| count as usize == number));
        let totals = Totals::default();
        for (times, count) in Count::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| totals.add(count));
        }
        assert_eq!(Count::ALL.map(|count| totals.get(count)), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
