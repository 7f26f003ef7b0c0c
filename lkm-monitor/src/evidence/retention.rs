//! What is held, and what of it goes: what was not seen for too long, and the oldest where there is too much.
//!
//! Ages are counted in seconds for which daemons have run with this folder, by a clock that nobody sets. A wall clock that jumps
//! forwards would remove everything, and one that jumps backwards would keep it for ever; it is shown to people and decides nothing.

use std::collections::BTreeMap;

use super::{count::Count, name::Digest};

/// What bounds the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of images and records together, as they are on the disk. An image with more bytes is refused. While one is written, it may
    /// take as much again as it has.
    pub max_bytes: u64,
    /// How long an image is kept since it was last seen, in seconds for which a daemon runs.
    pub max_age_s: u64,
    pub max_images: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_age_s: 90 * 86_400, max_images: 1024 }
    }
}

/// What is there of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) image_bytes: u64,
    pub(super) record_bytes: u64,
    /// When it was last seen, by the clock of the store.
    pub(super) seen_s: u64,
    /// Code of it ran, as far as is known.
    pub(super) ran: bool,
}

/// All images in the folder.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// With a number that grows with each sight: the least is the oldest.
    held: BTreeMap<Digest, (Held, u64)>,
    bytes: u64,
    sights: u64,
}

impl Holdings {
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.held.contains_key(digest)
    }

    /// Whether code of this image ran, as far as is known.
    pub(super) fn ran(&self, digest: &Digest) -> bool {
        self.held.get(digest).is_some_and(|(held, _)| held.ran)
    }

    /// Takes note of what is there now. It is the latest.
    pub(super) fn put(&mut self, digest: Digest, held: Held) {
        self.remove(&digest);
        self.sights += 1;
        self.bytes = self.bytes.saturating_add(bytes(held));
        self.held.insert(digest, (held, self.sights));
    }

    pub(super) fn remove(&mut self, digest: &Digest) {
        if let Some((held, _)) = self.held.remove(digest) {
            self.bytes = self.bytes.saturating_sub(bytes(held));
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn images(&self) -> u64 {
        self.held.len() as u64
    }

    /// What has to go at this time of the store's clock, and why: what is too old; and where there is too much, the oldest of what never ran,
    /// which anybody with root makes as much of as he likes, before the oldest of what did. Nothing is removed yet.
    pub(super) fn surplus(&self, now_s: u64, limits: &Limits) -> Vec<(Digest, Count)> {
        let is_expired = |held: Held| now_s.saturating_sub(held.seen_s) > limits.max_age_s;
        let mut by_worth: Vec<_> = self.held.iter().map(|(digest, (held, sight))| (*sight, *digest, *held)).collect();
        by_worth.sort_unstable_by_key(|(sight, _, held)| (!is_expired(*held), held.ran, *sight));
        let (mut left_bytes, mut left_images) = (self.bytes, self.images());
        let mut surplus = Vec::new();
        for (_, digest, held) in by_worth {
            let reason = if is_expired(held) {
                Count::Expired
            } else if left_bytes > limits.max_bytes {
                Count::EvictedForBytes
            } else if left_images > limits.max_images {
                Count::EvictedForNumber
            } else {
                break;
            };
            left_bytes = left_bytes.saturating_sub(bytes(held));
            left_images -= 1;
            surplus.push((digest, reason));
        }
        surplus
    }
}

fn bytes(held: Held) -> u64 {
    held.image_bytes.saturating_add(held.record_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { max_bytes: 1000, max_age_s: 100, max_images: 5 };

    fn holdings(sizes: &[(u64, u64)]) -> Holdings {
        let mut holdings = Holdings::default();
        for (number, (bytes, seen_s)) in (0..).zip(sizes) {
            holdings.put(
                [number; 32],
                Held { image_bytes: bytes / 2, record_bytes: bytes - bytes / 2, seen_s: *seen_s, ran: true },
            );
        }
        holdings
    }

    fn gone(holdings: &Holdings, now_s: u64) -> Vec<(u8, Count)> {
        holdings.surplus(now_s, &LIMITS).into_iter().map(|(digest, reason)| (digest[0], reason)).collect()
    }

    #[test]
    fn what_fits_stays_to_the_last_byte_second_and_image() {
        let holdings = holdings(&[(200, 0), (200, 0), (200, 0), (200, 0), (200, 0)]);
        assert_eq!((holdings.bytes(), holdings.images()), (1000, 5));
        assert_eq!(gone(&holdings, 100), []);
        assert_eq!(gone(&holdings, 101).len(), 5);
    }

    #[test]
    fn each_bound_takes_the_oldest() {
        assert_eq!(gone(&holdings(&[(600, 0), (300, 0), (200, 0)]), 0), [(0, Count::EvictedForBytes)]);
        assert_eq!(gone(&holdings(&[(1, 0); 7]), 0), [(0, Count::EvictedForNumber), (1, Count::EvictedForNumber)]);
        assert_eq!(gone(&holdings(&[(1, 0), (1, 49), (1, 60)]), 150), [(0, Count::Expired), (1, Count::Expired)]);
    }

    #[test]
    fn what_never_ran_makes_room_for_what_did_and_never_takes_it() {
        let mut holdings = holdings(&[(1, 0), (1, 0), (1, 0), (1, 0)]);
        for number in 4..8 {
            holdings.put([number; 32], Held { image_bytes: 1, record_bytes: 0, seen_s: 0, ran: false });
        }
        let evicted = |number| (number, Count::EvictedForNumber);
        assert_eq!(gone(&holdings, 0), [evicted(4), evicted(5), evicted(6)]);
        holdings.put([9; 32], Held { image_bytes: 998, record_bytes: 0, seen_s: 0, ran: false });
        assert_eq!(gone(&holdings, 0).len(), 5, "all that never ran");
    }

    #[test]
    fn what_is_seen_again_is_the_latest() {
        let mut holdings = holdings(&[(600, 0), (300, 1)]);
        holdings.put([0; 32], Held { image_bytes: 800, record_bytes: 0, seen_s: 2, ran: true });
        assert_eq!(holdings.bytes(), 1100);
        assert_eq!(gone(&holdings, 2), [(1, Count::EvictedForBytes)]);
    }

    proptest! {
        #[test]
        fn no_more_goes_than_has_to(sizes in prop::collection::vec(0..600_u64, 0..12), mut now_s in 0..300_u64) {
            let sizes: Vec<_> = sizes.iter().zip(0..).map(|(bytes, at)| (*bytes, at * 15)).collect();
            now_s = now_s.max(sizes.last().map_or(0, |(_, seen_s)| *seen_s));
            let mut holdings = holdings(&sizes);
            let fits = |holdings: &Holdings| {
                let young = holdings.held.values().all(|(held, _)| now_s - held.seen_s <= LIMITS.max_age_s);
                young && holdings.bytes() <= LIMITS.max_bytes && holdings.images() <= LIMITS.max_images
            };
            for (digest, _) in holdings.surplus(now_s, &LIMITS) {
                prop_assert!(!fits(&holdings));
                holdings.remove(&digest);
            }
            prop_assert!(fits(&holdings));
        }
    }
}
