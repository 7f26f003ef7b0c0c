//! How long daemons have run with this folder: the clock by which evidence grows old.

use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;
pub(super) const MAX_CLOCK_BYTES: u64 = 4096;
/// So much of its time a crash may cost: evidence is kept the longer then.
const SAVED_EVERY_S: u64 = 3600;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    ran_s: u64,
}

#[derive(Debug, Default)]
pub(super) struct Clock {
    pub(super) now_s: u64,
    saved_s: u64,
}

impl Clock {
    /// The clock in this file; `None` if there is none in it.
    pub(super) fn decode(json: &[u8]) -> Option<Self> {
        let Saved { version, ran_s } = serde_json::from_slice(json).ok()?;
        (version == VERSION).then_some(Self { now_s: ran_s, saved_s: ran_s })
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Saved { version: VERSION, ran_s: self.now_s })
    }

    /// So many seconds have passed.
    pub(super) fn pass(&mut self, seconds: u64) {
        self.now_s = self.now_s.saturating_add(seconds);
    }

    /// Whether it is time to save it.
    pub(super) fn is_due(&self) -> bool {
        self.now_s.saturating_sub(self.saved_s) >= SAVED_EVERY_S
    }

    pub(super) fn is_saved(&self) -> bool {
        self.now_s == self.saved_s
    }

    pub(super) fn saved(&mut self) {
        self.saved_s = self.now_s;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_saved_now_and_then() {
        let mut clock = Clock::default();
        clock.pass(3599);
        assert!(!clock.is_due() && !clock.is_saved());
        clock.pass(1);
        assert!(clock.is_due());
        clock.saved();
        assert!(!clock.is_due() && clock.is_saved());
        assert_eq!(clock.encode().unwrap(), br#"{"version":1,"ran_s":3600}"#);
        assert!(Clock::decode(br#"{"version":2,"ran_s":3600}"#).is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(now_s: u64, bytes: Vec<u8>) {
            let mut clock = Clock::default();
            clock.pass(now_s);
            prop_assert_eq!(Clock::decode(&clock.encode().unwrap()).unwrap().now_s, now_s);
            let _ = Clock::decode(&bytes);
        }
    }
}
