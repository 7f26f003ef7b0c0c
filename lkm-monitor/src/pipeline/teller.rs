//! The last stage: makes documents, sends them, and keeps the book of those that could not be sent.

use std::{collections::VecDeque, time::Instant};

use super::boot_ns;
use crate::{
    alert::{Document, Renderer},
    assess,
    ledger::Ledger,
    model::{
        Accounts, Agent, Clock, ClockStep, Drift, Excluded, FileBurst, Heartbeat, Host, KernelAlert, KernelLook, Loss,
        LossReason, Observation, ProcessTree, Reload, SensorState, SpoolChange, StateReport, Succession, Verdict,
    },
    output::{Output, Priority, Sent},
    sensor::losses::Totals,
};

/// How often it is told how much exclusions have kept back, at the most, in nanoseconds.
pub(super) const EXCLUDED_EVERY_NS: u64 = 60_000_000_000;

/// A change of the wall clock that is more than slewing and the time between two looks.
const CLOCK_STEP_NS: u64 = 1_000_000_000;

/// Documents of the daemon's own that may wait for room in the output, 16 KiB each at the most. They are rare: this many are days of them.
const MAX_OWED: usize = 64;

/// Where documents go, and what is told of.
#[derive(Debug)]
pub struct Delivery {
    pub output: Output,
    /// Telemetry is wanted beside alerts.
    pub with_events: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Teller {
    renderer: Renderer,
    clock: Clock,
    delivery: Delivery,
    pub(super) ledger: Ledger,
    documents: u64,
    /// What the daemon has to say of itself, once, and the output had no room for. In order, and before everything that comes later: their
    /// sequence numbers are given.
    owed: VecDeque<Document>,
    /// Changes that exclusions had kept back when that was last told, and when it was.
    excluded_told: (u64, u64),
    output_closed: bool,
    /// The end: documents wait for room in the output until then.
    closing_before: Option<Instant>,
}

impl Teller {
    pub(super) fn new(delivery: Delivery, host: Host, agent: Agent, clock: Clock) -> Self {
        Self {
            renderer: Renderer::new(host, agent, clock),
            clock,
            delivery,
            ledger: Ledger::default(),
            documents: 0,
            owed: VecDeque::new(),
            excluded_told: (0, 0),
            output_closed: false,
            closing_before: None,
        }
    }

    pub(super) const fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) const fn documents(&self) -> u64 {
        self.documents
    }

    pub(super) const fn output_is_closed(&self) -> bool {
        self.output_closed
    }

    pub(super) const fn closing_before(&self) -> Option<Instant> {
        self.closing_before
    }

    pub(super) const fn close_before(&mut self, deadline: Instant) {
        self.closing_before = Some(deadline);
    }

    pub(super) fn documents_waiting(&self) -> usize {
        self.delivery.output.waiting()
    }

    pub(super) fn into_output(self) -> Output {
        self.delivery.output
    }

    /// Tells of an observation, if there is somebody who wants to know. False where it is lost.
    pub(super) fn tell(&mut self, observation: &Observation, verdict: &Verdict, accounts: &Accounts) -> bool {
        if verdict.findings.is_empty() && !self.delivery.with_events {
            return true;
        }
        let document = self.renderer.render_observation(observation, verdict, accounts);
        self.send(document, priority(observation, verdict), u64::from(matches!(observation, Observation::Call(_))))
    }

    /// False where it is lost.
    pub(super) fn tell_burst(&mut self, burst: &FileBurst, verdict: &Verdict, accounts: &Accounts) -> bool {
        let document = self.renderer.render_burst(burst, verdict, accounts);
        self.send(document, Priority::Reserved, 0)
    }

    pub(super) const fn want_events(&mut self, wanted: bool) {
        self.delivery.with_events = wanted;
    }

    pub(super) fn tell_spool(&mut self, change: &SpoolChange) {
        let document = self.renderer.render_spool(change, &assess::assess_spool(change));
        self.insist(document);
    }

    pub(super) fn tell_state(&mut self, state: &SensorState) {
        let document = self.renderer.render_state(state, &assess::assess_sensor(state));
        self.insist(document);
    }

    pub(super) fn tell_reload(&mut self, reload: &Reload) {
        let document = self.renderer.render_reload(reload);
        self.insist(document);
    }

    pub(super) fn tell_kernel(&mut self, alert: &KernelAlert) {
        let document = self.renderer.render_kernel(alert, &assess::assess_kernel(alert));
        self.insist(document);
    }

    pub(super) fn tell_look(&mut self, look: &KernelLook) {
        let document = self.renderer.render_look(look);
        self.insist(document);
    }

    pub(super) fn tell_succession(&mut self, succession: &Succession) {
        let document = self.renderer.render_succession(succession, &assess::assess_succession(succession));
        self.insist(document);
    }

    /// One difference of those that a look found, which ended at this time since boot.
    pub(super) fn tell_drift(&mut self, drift: &Drift, number: u32, boot_ns: u64, verdict: &Verdict) {
        let document = self.renderer.render_drift(drift, number, boot_ns, verdict);
        self.insist(document);
    }

    pub(super) fn tell_host_state(&mut self, report: &StateReport) {
        let document = self.renderer.render_host_state(report);
        self.insist(document);
    }

    /// The next one says what this one would have: it is not worth waiting for room.
    pub(super) fn tell_heartbeat(&mut self, heartbeat: &Heartbeat) {
        let document = self.renderer.render_heartbeat(heartbeat);
        self.send(document, Priority::Reserved, 0);
    }

    /// Tells how much exclusions have kept back, if that grew and was not told for `every_ns`.
    pub(super) fn tell_excluded(&mut self, counts: &[Excluded], every_ns: u64) {
        let (told, told_ns) = self.excluded_told;
        let total: u64 = counts.iter().map(|excluded| excluded.count).sum();
        if total == told || boot_ns().saturating_sub(told_ns) < every_ns || !self.tell_owed() {
            return;
        }
        let document = self.renderer.render_excluded(counts, boot_ns());
        self.insist(document);
        self.excluded_told = (total, boot_ns());
    }

    /// Uses the wall clock as it is now, and tells when it jumped: documents seem to be from another time then.
    pub(super) fn follow_clock(&mut self, clock: Clock) {
        let step = ClockStep { before: self.clock, after: clock, boot_ns: boot_ns() };
        self.clock = clock;
        self.renderer.set_clock(clock);
        if step.before.realtime_offset_ns.abs_diff(clock.realtime_offset_ns) >= CLOCK_STEP_NS {
            let document = self.renderer.render_clock_step(&step);
            self.insist(document);
        }
    }

    /// Enters the probes' counters in the book.
    pub(super) fn observe(&mut self, totals: Totals, evicted: u64) {
        self.ledger.observe(totals, evicted);
    }

    /// Whether there is something that no document tells of.
    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty() || !self.ledger.grown(boot_ns()).is_empty()
    }

    /// Sends a document for every loss that grew, as soon as there is room for it: until then the book adds up.
    pub(super) fn tell_losses(&mut self) {
        if !self.tell_owed() {
            return;
        }
        for loss in self.ledger.grown(boot_ns()) {
            let Loss { reason, count, total, .. } = loss;
            if reason.counts_events() {
                tracing::error!(reason = reason.name(), count, total, "events were lost");
            } else {
                tracing::error!(reason = reason.name(), parts = count, "events were lost, it is not known how many");
            }
            let document = self.renderer.render_loss(&loss);
            self.insist(document);
            self.ledger.told(&loss);
        }
    }

    /// Whether the next document is sent now, or when there is room in the output. Half of what may be owed is left to others.
    pub(super) fn has_room(&self) -> bool {
        self.owed.len() < MAX_OWED / 2
    }

    /// Counts a document of the daemon's own that there is no room for.
    pub(super) fn lose_own(&mut self) {
        self.ledger.add(LossReason::OutputFull, 1, Some(0));
    }

    /// Sends a document that nobody would tell again, now or when there is room.
    fn insist(&mut self, document: Document) {
        if self.owed.len() == MAX_OWED {
            self.lose_own();
            return;
        }
        self.owed.push_back(document);
        self.tell_owed();
    }

    /// Sends what is owed, as far as there is room. Whether that is all of it.
    pub(super) fn tell_owed(&mut self) -> bool {
        while let Some(document) = self.owed.front() {
            match self.queue(document.clone(), Priority::Reserved) {
                Sent::Queued => {
                    self.documents += 1;
                    self.owed.pop_front();
                }
                Sent::Full => return false,
                Sent::Closed => {
                    self.output_closed = true;
                    return false;
                }
            }
        }
        true
    }

    /// Sends one document, which tells of so many calls. One that cannot be sent is counted.
    fn send(&mut self, document: Document, priority: Priority, calls: u64) -> bool {
        let sent = if self.tell_owed() { self.queue(document, priority) } else { Sent::Full };
        match sent {
            Sent::Queued => {
                self.documents += 1;
                return true;
            }
            Sent::Full => {}
            Sent::Closed => self.output_closed = true,
        }
        self.ledger.add(LossReason::OutputFull, 1, Some(calls));
        false
    }

    fn queue(&self, document: Document, priority: Priority) -> Sent {
        match self.closing_before {
            None => self.delivery.output.send(document, priority),
            Some(deadline) => self.delivery.output.send_before(deadline, document),
        }
    }
}

/// What everybody can do is no reason to lose what only root can: it has no part in the room that is reserved.
fn priority(observation: &Observation, verdict: &Verdict) -> Priority {
    let is_root = |process: &ProcessTree| process.caller.ids.is_some_and(|ids| ids.euid == 0);
    let is_alert = !verdict.findings.is_empty();
    let is_reserved = match observation {
        Observation::Call(call) => call.is_confirmed(),
        Observation::File(report) => is_alert && is_root(&report.change.process),
        Observation::Tool(run) => is_alert && is_root(&run.process),
        Observation::Object(access) => is_alert && is_root(&access.process),
        Observation::Request(_) => false,
    };
    if is_reserved { Priority::Reserved } else { Priority::Ordinary }
}

#[cfg(test)]
mod tests;
