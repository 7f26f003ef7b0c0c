//! When the kernel is looked at: from time to time, soon after modules came or went, and once more to confirm what was found.

use std::time::{Duration, Instant};

use crate::lifecycle::background::jittered;

/// Between two looks for the sake of changes there are so many times what the last one took: who makes modules come and go does not make
/// the host busy with looks.
const REST_TIMES: u32 = 10;

/// How soon after what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between two looks, while nothing happens, about.
    pub(super) interval: Duration,
    /// After the last of several modules that came or went one after the other: they are seen by one look.
    pub(super) quiet: Duration,
    /// After the first of them: who loads modules again and again does not put the look off for ever.
    pub(super) patience: Duration,
    /// Between two looks for the sake of changes, at the least.
    pub(super) apart: Duration,
    /// Until another look at what the last one found, at the least.
    pub(super) confirm: Duration,
}

impl Pace {
    /// With the interval that is set.
    pub(super) const fn every(interval: Duration) -> Self {
        Self {
            interval,
            quiet: Duration::from_secs(2),
            patience: Duration::from_secs(5),
            apart: Duration::from_secs(5),
            confirm: Duration::from_secs(1),
        }
    }

    /// After a look that took so long.
    fn rest(&self, took: Duration) -> Duration {
        self.apart.max(took.saturating_mul(REST_TIMES))
    }
}

/// See the module. Times are given, and none is read.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    /// The look that comes if nothing happens.
    next: Instant,
    /// The first and the last change since the last look.
    changes: Option<(Instant, Instant)>,
    confirm: Option<Instant>,
    /// No look for the sake of changes before.
    rest: Instant,
}

impl Schedule {
    /// Begins with a look at once.
    pub(super) const fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, next: now, changes: None, confirm: None, rest: now }
    }

    /// A module came or went.
    pub(super) fn changed(&mut self, now: Instant) {
        let (first, _) = self.changes.unwrap_or((now, now));
        self.changes = Some((first, now));
    }

    /// A look has ended that took so long. What it found may be certain if another one finds it `again` so much later.
    pub(super) fn looked(&mut self, now: Instant, took: Duration, again: Option<Duration>) {
        self.next = now + jittered(self.pace.interval);
        self.changes = None;
        self.confirm = again.map(|later| now + later.max(self.pace.confirm));
        self.rest = now + self.pace.rest(took);
    }

    /// When to look next.
    pub(super) fn due(&self) -> Instant {
        let changed =
            self.changes.map(|(first, last)| (last + self.pace.quiet).min(first + self.pace.patience).max(self.rest));
        [changed, self.confirm].into_iter().flatten().fold(self.next, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACE: Pace = Pace::every(Duration::from_secs(600));
    const LOOK: Duration = Duration::from_millis(40);

    fn second(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_first_look_is_at_once_and_the_next_after_the_interval() {
        let start = Instant::now();
        let mut schedule = Schedule::new(PACE, start);
        assert_eq!(schedule.due(), start);
        schedule.looked(start, LOOK, None);
        assert!((second(start, 540.0)..=second(start, 660.0)).contains(&schedule.due()));
    }

    #[test]
    fn modules_that_come_together_are_seen_by_one_look() {
        let start = Instant::now();
        let mut schedule = Schedule::new(PACE, start);
        schedule.looked(start, LOOK, None);
        for change in [100.0, 101.0, 101.5] {
            schedule.changed(second(start, change));
        }
        assert_eq!(schedule.due(), second(start, 103.5));
        for change in [103.0, 104.5, 106.0] {
            schedule.changed(second(start, change));
        }
        assert_eq!(schedule.due(), second(start, 105.0), "they put it off no longer");
        schedule.looked(second(start, 105.0), LOOK, None);
        schedule.changed(second(start, 105.1));
        assert_eq!(schedule.due(), second(start, 110.0), "the next one is some time later");
    }

    #[test]
    fn a_slow_look_is_followed_by_a_long_rest() {
        let start = Instant::now();
        let mut schedule = Schedule::new(PACE, start);
        schedule.looked(start, Duration::from_secs(3), None);
        schedule.changed(second(start, 1.0));
        assert_eq!(schedule.due(), second(start, 30.0));
    }

    #[test]
    fn what_was_found_is_looked_at_again_and_nothing_else_is() {
        let start = Instant::now();
        let mut schedule = Schedule::new(PACE, start);
        schedule.looked(start, LOOK, Some(Duration::from_secs(2)));
        assert_eq!(schedule.due(), second(start, 2.0));
        schedule.looked(second(start, 2.0), LOOK, Some(Duration::from_nanos(1)));
        assert_eq!(schedule.due(), second(start, 3.0), "not at once");
        schedule.looked(second(start, 3.0), LOOK, None);
        assert!(schedule.due() > second(start, 500.0));
    }

    proptest! {
        /// Whoever loads and unloads, whenever: no look is later than the interval allows, none is put off by more modules, and looks
        /// take no more than their share.
        #[test]
        fn changes_neither_put_off_nor_hurry_looks(waits in prop::collection::vec(0_u64..4000, 1..200), took_ms in 1_u64..2000) {
            let start = Instant::now();
            let took = Duration::from_millis(took_ms);
            let mut schedule = Schedule::new(PACE, start);
            schedule.looked(start, took, None);
            let (mut now, mut looked, mut waiting_since) = (start, start, None);
            for wait in waits {
                now += Duration::from_millis(wait);
                if schedule.due() <= now {
                    prop_assert!(schedule.due() >= looked + PACE.rest(took));
                    schedule.looked(now, took, None);
                    (looked, waiting_since) = (now, None);
                }
                schedule.changed(now);
                let since = *waiting_since.get_or_insert(now);
                prop_assert!(schedule.due() <= (since + PACE.patience).max(looked + PACE.rest(took)));
                prop_assert!(schedule.due() <= looked + PACE.interval.mul_f64(1.1));
            }
        }
    }
}
