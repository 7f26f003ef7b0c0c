//! What is counted of one group, in buckets of a day.

use serde::{Deserialize, Serialize};

/// Seconds of a day.
pub const DAY_S: u64 = 86_400;

/// The day of a time, counted from 1970.
pub fn day_of(seconds: u64) -> u32 {
    u32::try_from(seconds / DAY_S).unwrap_or(u32::MAX)
}

/// The days that count, this one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub days: u32,
}

impl Window {
    /// The first day that counts on `today`.
    pub const fn first(self, today: u32) -> u32 {
        (today + 1).saturating_sub(self.days)
    }
}

/// The events of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub day: u32,
    pub count: u64,
    /// Of these, what the fleet's store has confirmed.
    pub sent: u64,
}

/// One group, on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Seconds since 1970 of the first event and of the last one.
    pub first_s: u64,
    pub last_s: u64,
    /// Events of each day that has any, the earliest day first. Never more days than a window has.
    pub days: Vec<Bucket>,
    /// A privileged process caused an event of it.
    pub privileged: bool,
    /// The first event within the window was told, or was no cause to; and the first one of a privileged process.
    pub settled: bool,
    pub settled_for_root: bool,
    /// The day on which a baseline said that it is normal.
    pub baseline_day: Option<u32>,
}

impl Tally {
    /// Counts an event. The clock may have been set back, or forward and back: each event goes to the day that the clock says, and
    /// days of the future are days like others.
    pub fn add(&mut self, now_s: u64, privileged: bool, window: Window) {
        let today = day_of(now_s);
        if self.count(today, window) == 0 {
            self.first_s = now_s;
            self.last_s = now_s;
            self.settled = false;
            self.settled_for_root = false;
        }
        self.first_s = self.first_s.min(now_s);
        self.last_s = self.last_s.max(now_s);
        self.privileged |= privileged;
        match self.days.binary_search_by_key(&today, |bucket| bucket.day) {
            Ok(at) => self.days[at].count += 1,
            Err(at) => self.days.insert(at, Bucket { day: today, count: 1, sent: 0 }),
        }
        if self.days.len() > window.days as usize {
            // The earliest, but not the one at hand.
            let at = usize::from(self.days[0].day == today && self.days.len() > 1);
            self.days.remove(at);
        }
    }

    /// Whether an event like it has been told. What others did makes it no less of an event when root does it.
    pub const fn is_settled(&self, privileged: bool) -> bool {
        if privileged { self.settled_for_root } else { self.settled || self.settled_for_root }
    }

    /// Notes that one was.
    pub const fn settle(&mut self, privileged: bool) {
        if privileged {
            self.settled_for_root = true;
        } else {
            self.settled = true;
        }
    }

    /// Events within the window.
    pub fn count(&self, today: u32, window: Window) -> u64 {
        self.days.iter().filter(|bucket| bucket.day >= window.first(today)).map(|bucket| bucket.count).sum()
    }

    /// Whether a baseline of the window names the group.
    pub fn in_baseline(&self, today: u32, window: Window) -> bool {
        self.baseline_day.is_some_and(|day| day >= window.first(today))
    }

    /// Whether nothing of it is within the window.
    pub fn is_over(&self, today: u32, window: Window) -> bool {
        self.count(today, window) == 0 && !self.in_baseline(today, window)
    }

    /// The days of which the fleet's store has not confirmed all.
    pub fn unsent(&self) -> impl Iterator<Item = Bucket> {
        self.days.iter().copied().filter(|bucket| bucket.count > bucket.sent)
    }

    /// Notes what the fleet's store has confirmed.
    pub fn confirm(&mut self, confirmed: &[Bucket]) {
        for bucket in &mut self.days {
            let told = confirmed.iter().find(|told| told.day == bucket.day);
            bucket.sent = bucket.sent.max(told.map_or(0, |told| told.count));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Window = Window { days: 30 };

    #[test]
    fn days_beyond_the_window_do_not_count() {
        let mut tally = Tally::default();
        for day in [100, 100, 129, 130] {
            tally.add(day * DAY_S, true, WINDOW);
        }
        assert_eq!((tally.count(129, WINDOW), tally.count(130, WINDOW), tally.count(160, WINDOW)), (4, 2, 0));
        assert!(!tally.is_over(159, WINDOW) && tally.is_over(160, WINDOW));
    }

    #[test]
    fn a_group_that_is_seen_again_after_the_window_begins_anew() {
        let mut tally = Tally::default();
        tally.add(100 * DAY_S, true, WINDOW);
        tally.add(200 * DAY_S + 5, true, WINDOW);
        assert_eq!((tally.first_s, tally.last_s), (200 * DAY_S + 5, 200 * DAY_S + 5));
    }

    #[test]
    fn a_clock_that_jumps_forward_and_back_loses_nothing() {
        let mut tally = Tally::default();
        tally.add(100 * DAY_S, true, WINDOW);
        tally.add(40_000 * DAY_S, true, WINDOW);
        assert_eq!(tally.count(40_000, WINDOW), 1);
        tally.add(101 * DAY_S, true, WINDOW);
        assert_eq!(tally.count(101, WINDOW), 3);
    }

    #[test]
    fn what_the_fleet_confirmed_is_not_sent_again() {
        let bucket = |day, count, sent| Bucket { day, count, sent };
        let mut tally = Tally { days: vec![bucket(1, 5, 0), bucket(2, 3, 0)], ..Tally::default() };
        tally.confirm(&[bucket(1, 5, 0), bucket(2, 2, 0), bucket(9, 9, 0)]);
        assert_eq!(tally.unsent().collect::<Vec<_>>(), [bucket(2, 3, 2)]);
        tally.confirm(&[bucket(2, 1, 0)]);
        assert_eq!(tally.unsent().collect::<Vec<_>>(), [bucket(2, 3, 2)]);
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_events(times in proptest::collection::vec(90_u64..170, 1..80), days in 1_u32..40) {
            let window = Window { days };
            let mut tally = Tally::default();
            // In order, as clocks go: nothing that is within the window is ever dropped.
            let mut sorted = times.clone();
            sorted.sort_unstable();
            for (number, &day) in sorted.iter().enumerate() {
                tally.add(day * DAY_S + number as u64, number % 2 == 0, window);
                let today = day as u32;
                let expected = sorted[..=number].iter().filter(|&&other| other as u32 + days > today).count() as u64;
                prop_assert_eq!(tally.count(today, window), expected);
                prop_assert!(tally.days.len() <= days as usize);
                prop_assert!(tally.days.is_sorted_by_key(|bucket| bucket.day));
            }
            // In any order: never more than happened.
            let mut tally = Tally::default();
            for &day in &times {
                tally.add(day * DAY_S, false, window);
                prop_assert!(tally.days.len() <= days as usize && tally.days.is_sorted_by_key(|bucket| bucket.day));
            }
            prop_assert!(tally.count(0, window) <= times.len() as u64);
            let stored = postcard::to_allocvec(&tally).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Tally>(&stored).unwrap(), tally);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = postcard::from_bytes::<Tally>(&bytes);
        }
    }
}
