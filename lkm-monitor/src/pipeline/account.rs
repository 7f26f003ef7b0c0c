//! What the pipeline has to say of itself: losses, states, counters.

use super::{Evidence, Pipeline, drift::Drifting, teller::EXCLUDED_EVERY_NS};
use crate::{
    inspect,
    metrics::Waiting,
    model::{Heartbeat, LossReason, Metric, Reload, SensorState, SpoolChange, Succession},
    sensor::losses::Totals,
};

impl Pipeline {
    /// Sends what became of new settings, now or when there is room.
    pub fn tell_reload(&mut self, reload: &Reload) {
        self.teller.tell_reload(reload);
    }

    /// Follows the wall clock and tells losses. `totals` are the probes' counters.
    pub fn tick(&mut self, totals: Option<Totals>) {
        self.teller.follow_clock(inspect::read_clock());
        if let Some(totals) = totals {
            self.teller.observe(totals, self.join.evicted() + self.tools.evicted());
        }
        self.teller.ledger.set(LossReason::NotLookedAt, self.looks.not_looked_at());
        self.teller.ledger.set(LossReason::ImageNotExamined, self.images.not_examined());
        self.teller.ledger.set(LossReason::EvidenceLost, self.images.evidence_lost());
        self.teller.ledger.set(LossReason::NotCounted, self.standings.not_counted());
        self.teller.ledger.set(LossReason::GroupEvicted, self.standings.evicted());
        self.teller.tell_losses();
        self.teller.tell_excluded(&self.looks.excluded(), EXCLUDED_EVERY_NS);
        self.follow_drift();
        self.tell_waiting();
    }

    /// Enters losses of those who carry documents in the book: totals since the start.
    pub fn note_losses(&mut self, losses: &[(LossReason, u64)]) {
        for (reason, total) in losses {
            self.teller.ledger.set(*reason, *total);
        }
    }

    /// Sends whether documents are durable, now or when there is room.
    pub fn tell_spool(&mut self, change: &SpoolChange) {
        self.teller.tell_spool(change);
    }

    /// From now on telemetry is wanted beside alerts, or not.
    pub const fn want_events(&mut self, wanted: bool) {
        self.teller.want_events(wanted);
    }

    /// Sends what the sensor can see, now or when there is room.
    pub fn tell_state(&mut self, state: &SensorState) {
        if let Some(drifting) = &mut self.drifting {
            drifting.note_sight(state);
        }
        self.teller.tell_state(state);
    }

    /// Sends what was found of the run before, now or when there is room.
    pub fn tell_succession(&mut self, succession: &Succession) {
        if let Some(drifting) = &mut self.drifting {
            drifting.know(succession);
        }
        self.teller.tell_succession(succession);
    }

    /// Sends a sign of life.
    pub fn tell_heartbeat(&mut self, heartbeat: &Heartbeat) {
        self.teller.tell_heartbeat(heartbeat);
    }

    /// What is under way.
    pub fn waiting(&self) -> Waiting {
        Waiting { calls: self.join.depth(), open_files: self.open_files(), documents: self.teller.documents_waiting() }
    }

    /// All counters of the daemon, totals since the start.
    pub fn metrics(&self) -> Vec<Metric> {
        let lost = self.teller.ledger.totals().map(|(reason, value)| {
            let labels = vec![("stage", reason.stage().to_owned()), ("reason", reason.name().to_owned())];
            Metric { name: "lost", labels, value }
        });
        let own = self.counters().map(|(name, value)| Metric { name, labels: Vec::new(), value });
        let kept = self.images.evidence().map(Evidence::metrics).unwrap_or_default();
        let of_state = self.drifting.iter().flat_map(Drifting::metrics);
        lost.chain(own).chain(kept).chain(of_state).chain(self.kernel.metrics()).collect()
    }

    /// Whether there is something that no document tells of.
    pub fn owes(&self) -> bool {
        self.teller.owes() || self.kernel.has_waiting()
    }

    /// Whether nobody can take documents any more.
    pub const fn output_is_closed(&self) -> bool {
        self.teller.output_is_closed()
    }

    /// What the daemon itself counted since the start, by name.
    pub fn counters(&self) -> [(&'static str, u64); 3] {
        let excluded = self.looks.excluded().iter().map(|excluded| excluded.count).sum();
        [("documents", self.teller.documents()), ("folded", self.fold.folded()), ("excluded", excluded)]
    }

    /// Documents sent so far.
    pub const fn documents(&self) -> u64 {
        self.teller.documents()
    }
}
