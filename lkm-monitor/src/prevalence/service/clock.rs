//! Whether the wall clock can be believed.

use std::time::{Duration, Instant};

/// So long a clock has to go on as it does before anything is thrown away by what it says.
const TRUSTED_AFTER: Duration = Duration::from_secs(3600);

/// Follows the wall clock, to see it being set.
#[derive(Debug, Default)]
pub(super) struct TrustedClock {
    /// What the wall clock showed at this moment.
    seen: Option<(Instant, u64)>,
    /// Since when it goes on as it does.
    since: Option<Instant>,
}

impl TrustedClock {
    /// Whether the clock has gone on without a step long enough.
    pub(super) fn is_trusted(&mut self, now: Instant, wall_s: u64) -> bool {
        let steady = self.seen.is_some_and(|(at, shown_s)| {
            (shown_s + now.duration_since(at).as_secs()).abs_diff(wall_s) < TRUSTED_AFTER.as_secs()
        });
        self.seen = Some((now, wall_s));
        if !steady {
            self.since = Some(now);
        }
        self.since.is_some_and(|since| now.duration_since(since) >= TRUSTED_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_trusted_when_it_goes_on_for_long() {
        let begin = Instant::now();
        let mut clock = TrustedClock::default();
        let mut at = |hours: u64, shown_s: u64| clock.is_trusted(begin + Duration::from_secs(3600 * hours), shown_s);
        assert!(!at(0, 1_000_000));
        assert!(at(1, 1_003_600));
        assert!(!at(2, 9_000_000), "it was set");
        assert!(at(3, 9_003_600));
        assert!(!at(4, 1_000_000), "and set back");
    }
}
