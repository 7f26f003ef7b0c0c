//! The book of losses: what was lost, where, and how much of it has been told.

use crate::{
    model::{Loss, LossReason},
    sensor::losses::Totals,
};

const REASONS: [LossReason; 21] = [
    LossReason::RingFull,
    LossReason::RingOverwritten,
    LossReason::ScratchExhausted,
    LossReason::InFlightFull,
    LossReason::ProbeSkipped,
    LossReason::WriterNotFollowed,
    LossReason::LinkNotFollowed,
    LossReason::ToolNotFollowed,
    LossReason::ImageCut,
    LossReason::ImageNotExamined,
    LossReason::EvidenceLost,
    LossReason::DecodeError,
    LossReason::JoinEvicted,
    LossReason::NotLookedAt,
    LossReason::NotCounted,
    LossReason::GroupEvicted,
    LossReason::OutputFull,
    LossReason::SpoolEvicted,
    LossReason::SpoolError,
    LossReason::TornRecord,
    LossReason::Refused,
];

/// Running totals by reason.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: [Entry; REASONS.len()],
    /// The probes' counters when they were last looked at.
    seen: Totals,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    total: u64,
    told: u64,
    /// Calls of which nothing was seen or nothing could be told.
    calls: Option<u64>,
    calls_told: u64,
}

impl Ledger {
    /// Adds a loss of the daemon's own.
    pub fn add(&mut self, reason: LossReason, count: u64, calls: Option<u64>) {
        let entry = self.entry(reason);
        entry.total += count;
        if let Some(calls) = calls {
            *entry.calls.get_or_insert_default() += calls;
        }
    }

    /// Sets the total of a loss that is counted elsewhere.
    pub fn set(&mut self, reason: LossReason, total: u64) {
        self.entry(reason).total = total;
    }

    /// Takes in the counters of the probes and of the join, which are totals.
    pub fn observe(&mut self, totals: Totals, evicted: u64) {
        self.entry(LossReason::RingFull).total = totals.ring_full;
        self.entry(LossReason::ScratchExhausted).total = totals.scratch_exhausted;
        self.entry(LossReason::InFlightFull).total = totals.in_flight_full;
        self.entry(LossReason::ProbeSkipped).total = totals.probe_skipped;
        self.entry(LossReason::WriterNotFollowed).total = totals.writers_unfollowed;
        self.entry(LossReason::LinkNotFollowed).total = totals.name_changes_full;
        self.entry(LossReason::ToolNotFollowed).total = totals.tool_runs_full;
        self.entry(LossReason::ImageCut).total = totals.images_cut;
        // A call goes unseen because both its events found no room: no buffer, or else in the ring, as a rule.
        let no_buffer =
            totals.scratch_exhausted > self.seen.scratch_exhausted && totals.ring_full == self.seen.ring_full;
        let reason = if no_buffer { LossReason::ScratchExhausted } else { LossReason::RingFull };
        *self.entry(reason).calls.get_or_insert_default() += totals.calls_unseen.saturating_sub(self.seen.calls_unseen);
        self.entry(LossReason::JoinEvicted).total = evicted;
        self.seen = totals;
    }

    /// All totals since the start.
    pub fn totals(&self) -> impl Iterator<Item = (LossReason, u64)> {
        REASONS.into_iter().zip(self.entries.iter().map(|entry| entry.total))
    }

    /// The losses that grew since they were last told.
    pub fn grown(&self, boot_ns: u64) -> Vec<Loss> {
        REASONS
            .into_iter()
            .zip(&self.entries)
            .filter(|(_, entry)| entry.total > entry.told || entry.calls.unwrap_or(0) > entry.calls_told)
            .map(|(reason, entry)| Loss {
                reason,
                count: entry.total.saturating_sub(entry.told),
                total: entry.total,
                calls_unseen: entry.calls.map(|calls| calls.saturating_sub(entry.calls_told)),
                boot_ns,
            })
            .collect()
    }

    /// Notes that a loss was told.
    pub fn told(&mut self, loss: &Loss) {
        let entry = self.entry(loss.reason);
        entry.told = loss.total;
        entry.calls_told += loss.calls_unseen.unwrap_or(0);
    }

    fn entry(&mut self, reason: LossReason) -> &mut Entry {
        // The entries follow the order of the reasons, which derive `Ord` by declaration.
        &mut self.entries[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_declaration() {
        for (index, reason) in REASONS.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn the_documentation_says_what_to_do_about_each_loss() {
        let page = include_str!("../../docs/operations.md");
        for reason in REASONS {
            let names = |line: &'static str| line.strip_prefix("| ")?.split_once(" | ").map(|(names, _)| names);
            let mut named = page.lines().filter_map(names).flat_map(|names| names.split(", "));
            assert!(named.any(|name| name == reason.name()), "docs/operations.md: {}", reason.name());
        }
    }

    #[test]
    fn a_loss_is_told_once_and_again_when_it_grows() {
        let mut ledger = Ledger::default();
        let totals = Totals { ring_full: 5, calls_unseen: 2, ..Totals::default() };
        ledger.observe(totals, 0);
        let grown = ledger.grown(1);
        assert_eq!(grown.len(), 1);
        assert_eq!((grown[0].count, grown[0].total, grown[0].calls_unseen), (5, 5, Some(2)));
        ledger.told(&grown[0]);
        ledger.observe(totals, 0);
        assert!(ledger.grown(2).is_empty());
        ledger.observe(Totals { ring_full: 8, calls_unseen: 3, ..totals }, 0);
        let grown = ledger.grown(3);
        assert_eq!((grown[0].count, grown[0].total, grown[0].calls_unseen), (3, 8, Some(1)));
    }

    #[test]
    fn an_unseen_call_is_told_under_one_reason_only() {
        let mut ledger = Ledger::default();
        let no_buffer = Totals { scratch_exhausted: 2, calls_unseen: 1, ..Totals::default() };
        ledger.observe(no_buffer, 0);
        for loss in ledger.grown(1) {
            ledger.told(&loss);
        }
        ledger.observe(Totals { ring_full: 2, calls_unseen: 2, ..no_buffer }, 0);
        let grown = ledger.grown(2);
        assert_eq!(grown.len(), 1, "{grown:?}");
        assert_eq!((grown[0].reason, grown[0].calls_unseen), (LossReason::RingFull, Some(1)));
    }

    #[test]
    fn calls_pushed_out_of_the_join_are_told() {
        let mut ledger = Ledger::default();
        ledger.observe(Totals::default(), 7);
        let grown = ledger.grown(1);
        assert_eq!((grown[0].reason, grown[0].count, grown.len()), (LossReason::JoinEvicted, 7, 1));
    }

    #[test]
    fn what_could_not_be_told_stays_in_the_book() {
        let mut ledger = Ledger::default();
        ledger.add(LossReason::OutputFull, 1, Some(1));
        ledger.grown(1);
        ledger.add(LossReason::OutputFull, 1, Some(0));
        let grown = ledger.grown(2);
        assert_eq!((grown[0].count, grown[0].calls_unseen), (2, Some(1)));
    }
}
