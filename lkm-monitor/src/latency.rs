//! How long documents take, counted in buckets.

use std::time::SystemTime;

/// Upper bounds, in milliseconds; what takes longer is in a last bucket.
pub const BOUNDS_MS: [u64; 12] = [1, 5, 10, 25, 50, 100, 250, 1000, 5000, 30_000, 300_000, 3_600_000];

/// Counts of documents by how long they took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Not summed up. The last one holds what took longer than all bounds.
    pub buckets: [u64; BOUNDS_MS.len() + 1],
    pub sum_ms: u64,
}

impl Latencies {
    /// Notes something that took so long.
    pub fn note(&mut self, took_ms: u64) {
        self.buckets[BOUNDS_MS.partition_point(|bound| *bound < took_ms)] += 1;
        self.sum_ms = self.sum_ms.saturating_add(took_ms);
    }

    /// Notes something that began then, by the wall clock, and ends now. Where the clock was set back, it took no time.
    pub fn note_since(&mut self, began_ms: u64) {
        self.note(now_ms().saturating_sub(began_ms));
    }

    /// How many were noted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Milliseconds of the wall clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_the_first_bucket_that_holds_it() {
        let mut latencies = Latencies::default();
        for took_ms in [0, 1, 2, 5, 1000, 3_600_000, 3_600_001, u64::MAX / 2] {
            latencies.note(took_ms);
        }
        assert_eq!(latencies.buckets, [2, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2]);
        assert_eq!(latencies.count(), 8);
        latencies.note_since(u64::MAX);
        assert_eq!(latencies.buckets[0], 3);
    }
}
