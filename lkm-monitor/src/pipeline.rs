//! The stages, wired. Read this first.
//!
//! A **probe** on a kernel hook writes a fixed-layout **event** to the ring buffer; the **sensor** decodes and joins
//! events; **inspect** adds facts from file, process and host; **assess** weighs them with rules into a **verdict**;
//! **alert** renders ECS; the **output** delivers it.
//!
//! Nothing is dropped without a counter, and every counter that grows becomes a document.

use std::path::Path;

use crate::{
    alert::{Document, Renderer},
    assess::{self, Context},
    inspect::{self, AccountFiles, HostError, ProcFiles},
    ledger::Ledger,
    model::{Host, LossReason, Observation, SensorState},
    output::{Output, Sent},
    sensor::{decode, join::Join, losses::Totals},
};

/// The state of all stages between the rings and the output.
#[derive(Debug)]
pub struct Pipeline {
    join: Join,
    proc_files: ProcFiles,
    accounts: AccountFiles,
    host: Host,
    renderer: Renderer,
    output: Output,
    ledger: Ledger,
    /// Telemetry is wanted beside alerts.
    with_events: bool,
    documents: u64,
    output_closed: bool,
    observations: Vec<Observation>,
}

impl Pipeline {
    /// Reads the host's facts and makes the stages ready.
    pub fn new(output: Output, with_events: bool) -> Result<Self, HostError> {
        let host = inspect::read_host()?;
        let agent = inspect::identify_agent(&host, std::process::id(), boot_ns());
        Ok(Self {
            join: Join::default(),
            proc_files: ProcFiles::new(Path::new("/proc")),
            accounts: AccountFiles::new(Path::new("/etc")),
            renderer: Renderer::new(host.clone(), agent, inspect::read_clock()),
            host,
            output,
            ledger: Ledger::default(),
            with_events,
            documents: 0,
            output_closed: false,
            observations: Vec::new(),
        })
    }

    /// Takes one event from a ring.
    pub fn take(&mut self, bytes: &[u8]) {
        match decode::decode(bytes) {
            Ok(event) => self.join.push(event, boot_ns(), &mut self.observations),
            Err(error) => {
                tracing::warn!(%error, bytes = bytes.len(), "event cannot be decoded");
                self.ledger.add(LossReason::DecodeError, 1, None);
            }
        }
        self.pass_on();
    }

    /// Lets time pass: calls expire, the wall clock is followed, losses are told. `totals` are the probes' counters.
    pub fn tick(&mut self, totals: Option<Totals>) {
        self.renderer.set_clock(inspect::read_clock());
        self.join.expire(boot_ns(), &mut self.observations);
        self.pass_on();
        if let Some(totals) = totals {
            self.ledger.observe(totals);
        }
        self.tell_losses();
    }

    /// Sends what the sensor can see.
    pub fn tell_state(&mut self, state: &SensorState) {
        let document = self.renderer.render_state(state);
        self.send(document, 0);
    }

    /// Passes on every call that is still waited for. The sensor has stopped.
    pub fn drain(&mut self) {
        self.join.drain(boot_ns(), &mut self.observations);
        self.pass_on();
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

    fn pass_on(&mut self) {
        for mut observation in std::mem::take(&mut self.observations) {
            let (process, calls) = match &mut observation {
                Observation::Call(call) => (call.process.as_mut(), 1),
                Observation::Request(request) => (Some(&mut request.process), 0),
            };
            if let Some(process) = process {
                inspect::complete_arguments(process, &self.proc_files);
            }
            let accounts = self.accounts.refresh();
            let verdict = assess::assess(&observation, &Context { host: &self.host, accounts });
            if verdict.findings.is_empty() && !self.with_events {
                continue;
            }
            let document = self.renderer.render_observation(&observation, &verdict, accounts);
            self.send(document, calls);
        }
    }

    /// Sends one document, which tells of so many calls. One that cannot be sent is counted.
    fn send(&mut self, document: Document, calls: u64) -> bool {
        match self.output.send(document.line) {
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

    /// Sends a document for every loss that grew; one that cannot be sent is tried again at the next tick.
    fn tell_losses(&mut self) {
        for loss in self.ledger.grown(boot_ns()) {
            let document = self.renderer.render_loss(&loss);
            match self.output.send(document.line) {
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
