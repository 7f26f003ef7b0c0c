//! The stages, wired. Read this first.
//!
//! A **probe** on a kernel hook writes a fixed-layout **event** to the ring buffer; the **sensor** decodes and joins
//! events; **inspect** adds facts from file, process and host; **assess** weighs them with rules into a **verdict**;
//! **alert** renders ECS; the **output** delivers it.
//!
//! Nothing is dropped without a counter, and every counter that grows becomes a document.

use std::{path::Path, time::Instant};

use crate::{
    alert::{Document, Renderer},
    assess::{self, Context},
    inspect::{self, AccountFiles, HostError, RunningProcesses},
    ledger::Ledger,
    model::{Clock, ClockStep, Host, LossReason, Observation, SensorState},
    output::{Output, Priority, Sent},
    sensor::{decode, join::Join, losses::Totals, rings::Rings},
};

/// A change of the wall clock that is more than slewing and the time between two looks.
const CLOCK_STEP_NS: u64 = 1_000_000_000;

/// The state of all stages between the rings and the output.
#[derive(Debug)]
pub struct Pipeline {
    join: Join,
    running: RunningProcesses,
    accounts: AccountFiles,
    host: Host,
    renderer: Renderer,
    clock: Clock,
    output: Output,
    ledger: Ledger,
    /// Telemetry is wanted beside alerts.
    with_events: bool,
    documents: u64,
    output_closed: bool,
    /// The end: documents wait for room in the output until then.
    closing_before: Option<Instant>,
    observations: Vec<Observation>,
}

impl Pipeline {
    /// Reads the host's facts and makes the stages ready.
    pub fn new(output: Output, with_events: bool) -> Result<Self, HostError> {
        let host = inspect::read_host()?;
        let clock = inspect::read_clock();
        let agent = inspect::identify_agent(&host, std::process::id(), boot_ns());
        Ok(Self {
            join: Join::since(boot_ns()),
            running: RunningProcesses::collect(Path::new("/proc")).map_err(HostError::Processes)?,
            accounts: AccountFiles::new(Path::new("/etc")),
            renderer: Renderer::new(host.clone(), agent, clock),
            clock,
            host,
            output,
            ledger: Ledger::default(),
            with_events,
            documents: 0,
            output_closed: false,
            closing_before: None,
            observations: Vec::new(),
        })
    }

    /// Takes a batch of events out of the rings and lets time pass for the calls that wait. Whether the rings may hold
    /// more.
    pub fn read(&mut self, rings: &mut Rings) -> bool {
        // Before the rings are looked at: what happens from now on may or may not be in the batch.
        let now_ns = boot_ns();
        let read_to_ns = rings.read(|event| self.take(event));
        self.join.expire(read_to_ns.unwrap_or(now_ns), &mut self.observations);
        self.pass_on();
        read_to_ns.is_some()
    }

    /// Takes one event; the time at which it happened.
    fn take(&mut self, bytes: &[u8]) -> u64 {
        let happened_ns = match decode::decode(bytes) {
            Ok(event) => {
                let happened_ns = event.boot_ns;
                self.join.push(event, &mut self.observations);
                happened_ns
            }
            Err(error) => {
                tracing::warn!(%error, bytes = bytes.len(), "event cannot be decoded");
                self.ledger.add(LossReason::DecodeError, 1, None);
                0
            }
        };
        self.pass_on();
        happened_ns
    }

    /// When [`Self::read`] will have a call to pass on, in nanoseconds since boot, whatever the rings hold then.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.join.next_deadline_ns()
    }

    /// Follows the wall clock and tells losses. `totals` are the probes' counters.
    pub fn tick(&mut self, totals: Option<Totals>) {
        self.follow_clock(inspect::read_clock());
        if let Some(totals) = totals {
            self.ledger.observe(totals, self.join.evicted());
        }
        self.tell_losses();
    }

    /// Sends what the sensor can see. Whether that was possible.
    pub fn tell_state(&mut self, state: &SensorState) -> bool {
        let document = self.renderer.render_state(state, &assess::assess_sensor(state));
        self.send(document, Priority::Reserved, 0)
    }

    /// From now on nothing more comes in, and the output gets until `deadline` to take what there is.
    pub const fn close_before(&mut self, deadline: Instant) {
        self.closing_before = Some(deadline);
    }

    /// Passes on every call that is still waited for. The rings are empty.
    pub fn drain(&mut self) {
        self.join.drain(&mut self.observations);
        self.pass_on();
    }

    /// Whether there is a loss that no document tells of.
    pub fn owes_losses(&self) -> bool {
        !self.ledger.grown(boot_ns()).is_empty()
    }

    /// Whether nobody can take documents any more.
    pub const fn output_is_closed(&self) -> bool {
        self.output_closed
    }

    /// Documents sent so far.
    pub const fn documents(&self) -> u64 {
        self.documents
    }

    /// Gives the output back, to be finished.
    pub fn into_output(self) -> Output {
        self.output
    }

    /// Uses the wall clock as it is now, and tells when it jumped: documents seem to be from another time then.
    fn follow_clock(&mut self, clock: Clock) {
        let step = ClockStep { before: self.clock, after: clock, boot_ns: boot_ns() };
        self.clock = clock;
        self.renderer.set_clock(clock);
        if step.before.realtime_offset_ns.abs_diff(clock.realtime_offset_ns) >= CLOCK_STEP_NS {
            let document = self.renderer.render_clock_step(&step);
            self.send(document, Priority::Reserved, 0);
        }
    }

    fn pass_on(&mut self) {
        for mut observation in std::mem::take(&mut self.observations) {
            let (process, calls) = match &mut observation {
                Observation::Call(call) => (call.process.as_mut(), 1),
                Observation::Request(request) => (Some(&mut request.process), 0),
            };
            if let Some(process) = process {
                inspect::complete_arguments(process, &self.running);
            }
            let accounts = self.accounts.refresh();
            let verdict = assess::assess(&observation, &Context { host: &self.host, accounts });
            if verdict.findings.is_empty() && !self.with_events {
                continue;
            }
            let document = self.renderer.render_observation(&observation, &verdict, accounts);
            let confirmed = matches!(&observation, Observation::Call(call) if call.is_confirmed());
            self.send(document, if confirmed { Priority::Reserved } else { Priority::Ordinary }, calls);
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
            None => self.output.send(document.line, priority),
            Some(deadline) => self.output.send_before(deadline, document.line),
        }
    }

    /// Sends a document for every loss that grew; one that cannot be sent is tried again at the next tick.
    fn tell_losses(&mut self) {
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
}

/// CLOCK_BOOTTIME in nanoseconds, the clock that the probes use.
pub fn boot_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}
