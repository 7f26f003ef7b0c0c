//! The last stage: makes documents, sends them, and keeps the book of those that could not be sent.

use std::time::Instant;

use super::boot_ns;
use crate::{
    alert::{Document, Renderer},
    assess,
    ledger::Ledger,
    model::{
        Accounts, Agent, Clock, ClockStep, Excluded, FileBurst, Heartbeat, Host, LossReason, Observation, ProcessTree,
        Reload, SensorState, SpoolChange, Succession, Verdict,
    },
    output::{Output, Priority, Sent},
    sensor::losses::Totals,
};

/// How often it is told how much exclusions have kept back, at the most, in nanoseconds.
pub(super) const EXCLUDED_EVERY_NS: u64 = 60_000_000_000;

/// A change of the wall clock that is more than slewing and the time between two looks.
const CLOCK_STEP_NS: u64 = 1_000_000_000;

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

    /// Whether that was possible.
    pub(super) fn tell_spool(&mut self, change: &SpoolChange) -> bool {
        let document = self.renderer.render_spool(change, &assess::assess_spool(change));
        self.send(document, Priority::Reserved, 0)
    }

    /// Whether that was possible.
    pub(super) fn tell_state(&mut self, state: &SensorState) -> bool {
        let document = self.renderer.render_state(state, &assess::assess_sensor(state));
        self.send(document, Priority::Reserved, 0)
    }

    /// Whether that was possible.
    pub(super) fn tell_reload(&mut self, reload: &Reload) -> bool {
        let document = self.renderer.render_reload(reload);
        self.send(document, Priority::Reserved, 0)
    }

    /// Whether that was possible.
    pub(super) fn tell_succession(&mut self, succession: &Succession) -> bool {
        let document = self.renderer.render_succession(succession, &assess::assess_succession(succession));
        self.send(document, Priority::Reserved, 0)
    }

    /// Whether that was possible.
    pub(super) fn tell_heartbeat(&mut self, heartbeat: &Heartbeat) -> bool {
        let document = self.renderer.render_heartbeat(heartbeat);
        self.send(document, Priority::Reserved, 0)
    }

    /// Tells how much exclusions have kept back, if that grew and was not told for `every_ns`.
    pub(super) fn tell_excluded(&mut self, counts: &[Excluded], every_ns: u64) {
        let (told, told_ns) = self.excluded_told;
        let total: u64 = counts.iter().map(|excluded| excluded.count).sum();
        if total == told || boot_ns().saturating_sub(told_ns) < every_ns {
            return;
        }
        let document = self.renderer.render_excluded(counts, boot_ns());
        if self.send(document, Priority::Ordinary, 0) {
            self.excluded_told = (total, boot_ns());
        }
    }

    /// Uses the wall clock as it is now, and tells when it jumped: documents seem to be from another time then.
    pub(super) fn follow_clock(&mut self, clock: Clock) {
        let step = ClockStep { before: self.clock, after: clock, boot_ns: boot_ns() };
        self.clock = clock;
        self.renderer.set_clock(clock);
        if step.before.realtime_offset_ns.abs_diff(clock.realtime_offset_ns) >= CLOCK_STEP_NS {
            let document = self.renderer.render_clock_step(&step);
            self.send(document, Priority::Reserved, 0);
        }
    }

    /// Enters the probes' counters in the book.
    pub(super) fn observe(&mut self, totals: Totals, evicted: u64) {
        self.ledger.observe(totals, evicted);
    }

    /// Whether there is a loss that no document tells of.
    pub(super) fn owes_losses(&self) -> bool {
        !self.ledger.grown(boot_ns()).is_empty()
    }

    /// Sends a document for every loss that grew; one that cannot be sent is tried again at the next tick.
    pub(super) fn tell_losses(&mut self) {
        for loss in self.ledger.grown(boot_ns()) {
            let document = self.renderer.render_loss(&loss);
            match self.queue(document, Priority::Reserved) {
                Sent::Queued => {
                    tracing::error!(
                        reason = loss.reason.name(),
                        count = loss.count,
                        total = loss.total,
                        "events were lost"
                    );
                    self.documents += 1;
                    self.ledger.told(&loss);
                }
                Sent::Full => {}
                Sent::Closed => self.output_closed = true,
            }
        }
    }

    /// Sends one document, which tells of so many calls. One that cannot be sent is counted.
    fn send(&mut self, document: Document, priority: Priority, calls: u64) -> bool {
        match self.queue(document, priority) {
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
mod tests {
    use super::*;
    use crate::model::{Finding, Ids, Severity, samples};

    #[test]
    fn what_only_root_can_do_has_room() {
        let rule = assess::rules().next().unwrap();
        let finding = Finding { rule, severity: Severity::Low, reason: String::new() };
        let alert = Verdict { findings: vec![finding], ..Verdict::default() };
        let run = |euid: u32| {
            let mut run = samples::tool_run();
            run.process.caller.ids = Some(Ids { euid, ..Ids::default() });
            Observation::Tool(Box::new(run))
        };
        assert_eq!(priority(&run(0), &alert), Priority::Reserved);
        assert_eq!(priority(&run(0), &Verdict::default()), Priority::Ordinary);
        assert_eq!(priority(&run(1000), &alert), Priority::Ordinary);
        let load = Observation::Call(Box::new(samples::load()));
        assert_eq!(priority(&load, &Verdict::default()), Priority::Reserved);
    }
}
