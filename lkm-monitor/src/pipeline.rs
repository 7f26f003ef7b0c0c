//! The stages, wired. Read this first.
//!
//! A **probe** on a kernel hook writes a fixed-layout **event** to the ring buffer; the **sensor** decodes and joins
//! events; **select** keeps the changes of files that are watched; **inspect** adds facts from file, process and host;
//! **assess** weighs them with rules, and with how **prevalence** says that they stand, into a **verdict**; **fold** makes one alert of
//! a burst; **alert** renders ECS; the **output** delivers it.
//!
//! Nothing is dropped without a counter, and every counter that grows becomes a document.

mod looks;
mod order;
mod standings;

use std::{path::Path, time::Instant};

use lkm_monitor_common::event::EventKind;

pub use self::standings::Counting;
use self::{
    looks::Looks,
    order::{Order, Ticket},
    standings::{Next, Standings, Weighable},
};
use crate::{
    alert::{Document, Renderer},
    assess::{self, Context},
    fold::{Fold, Folded},
    inspect::{self, AccountFiles, HostError, RunningProcesses, contents::Contents},
    ledger::Ledger,
    model::{
        Agent, Clock, ClockStep, Content, FileChange, FileReport, Host, LossReason, Observation, SensorState, Verdict,
    },
    output::{Output, Priority, Sent},
    prevalence::Answered,
    select::{Exclusions, WatchList},
    sensor::{decode, files::Files, join::Join, losses::Totals, rings::Rings, tools::Tools},
};

/// How often it is told how much exclusions have kept back, at the most, in nanoseconds.
const EXCLUDED_EVERY_NS: u64 = 60_000_000_000;

/// A change of the wall clock that is more than slewing and the time between two looks.
const CLOCK_STEP_NS: u64 = 1_000_000_000;

/// An observation under way.
#[derive(Debug)]
struct Pending {
    observation: Observation,
    /// Of a call, among others.
    ticket: Option<Ticket>,
}

impl Pending {
    const fn of(observation: Observation) -> Self {
        Self { observation, ticket: None }
    }
}

/// What a stage waited for.
#[derive(Debug)]
pub enum StageAnswer {
    /// What was found where a file changed.
    Content(u64, Box<Content>),
    /// How often, and where, things like an event happened.
    Standing(Answered),
}

/// The state of all stages between the rings and the output.
#[derive(Debug)]
pub struct Pipeline {
    join: Join,
    files: Files,
    tools: Tools,
    looks: Looks,
    standings: Standings,
    order: Order<(Observation, Verdict)>,
    fold: Fold,
    /// Changes that exclusions had kept back when that was last told, and when it was.
    excluded_told: (u64, u64),
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
    /// Makes the stages ready.
    pub fn new(
        output: Output,
        with_events: bool,
        watch: WatchList,
        exclusions: Exclusions,
        contents: Contents,
        (host, agent): (Host, Agent),
        counting: Option<Counting>,
    ) -> Result<Self, HostError> {
        let clock = inspect::read_clock();
        Ok(Self {
            join: Join::since(boot_ns()),
            files: Files::default(),
            tools: Tools::default(),
            looks: Looks::new(watch, exclusions, inspect::mounts::of_host(), contents),
            standings: Standings::new(counting),
            order: Order::default(),
            fold: Fold::default(),
            excluded_told: (0, 0),
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
        let read_to_ns_or_now = read_to_ns.unwrap_or(now_ns);
        self.join.expire(read_to_ns_or_now, &mut self.observations);
        self.pass_on();
        self.expire(read_to_ns_or_now);
        read_to_ns.is_some()
    }

    /// Lets time pass for files, tools and bursts.
    fn expire(&mut self, read_to_ns: u64) {
        for change in self.files.expire(read_to_ns) {
            self.changed(change);
        }
        for looked_at in self.looks.expire(boot_ns()) {
            self.weighed_alone(looked_at);
        }
        for run in self.tools.expire(read_to_ns) {
            self.observed(Observation::Tool(Box::new(run)));
        }
        for weighable in self.standings.expire(boot_ns()) {
            self.weighed(weighable);
        }
        let folded = self.fold.expire(boot_ns());
        self.told(folded);
    }

    /// The next answer that something waits for. `None` when those who answer have ended.
    pub async fn answer(&mut self) -> Option<StageAnswer> {
        let Self { looks, standings, .. } = self;
        tokio::select! {
            biased;
            standing = standings.answer() => standing.map(StageAnswer::Standing),
            content = looks.answer() => content.map(|(id, content)| StageAnswer::Content(id, Box::new(content))),
        }
    }

    /// Takes an answer in.
    pub fn take_answer(&mut self, answer: StageAnswer) {
        match answer {
            StageAnswer::Content(id, content) => {
                if let Some(looked_at) = self.looks.take(id, *content) {
                    self.weighed_alone(looked_at);
                }
            }
            StageAnswer::Standing(answered) => {
                if let Some(weighable) = self.standings.take(answered, boot_ns()) {
                    self.weighed(weighable);
                }
            }
        }
    }

    /// Watched files that are being written: somebody has to look when they are closed.
    pub fn open_files(&self) -> usize {
        self.files.open_files()
    }

    /// Takes one event; the time at which it happened.
    fn take(&mut self, bytes: &[u8]) -> u64 {
        let happened_ns = match decode::decode(bytes) {
            Ok(event) => {
                let happened_ns = event.boot_ns;
                match event.kind {
                    EventKind::FileChanged => {
                        let changes = self.files.push(event, self.clock);
                        changes.into_iter().for_each(|change| self.changed(change));
                    }
                    EventKind::ToolStarted | EventKind::ToolEnded => {
                        if let Some(run) = self.tools.push(&event) {
                            self.observed(Observation::Tool(Box::new(run)));
                        }
                    }
                    _ => self.join.push(event, &mut self.observations),
                }
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

    /// When [`Self::read`] will have something to pass on, in nanoseconds since boot, whatever the rings hold then.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let deadlines = [
            self.join.next_deadline_ns(),
            self.files.next_deadline_ns(),
            self.tools.next_deadline_ns(),
            self.looks.next_deadline_ns(),
            self.standings.next_deadline_ns(),
            self.fold.next_deadline_ns(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Follows the wall clock and tells losses. `totals` are the probes' counters.
    pub fn tick(&mut self, totals: Option<Totals>) {
        self.follow_clock(inspect::read_clock());
        if let Some(totals) = totals {
            self.ledger.observe(totals, self.join.evicted() + self.tools.evicted());
        }
        self.ledger.set(LossReason::NotLookedAt, self.looks.not_looked_at());
        self.ledger.set(LossReason::NotCounted, self.standings.not_counted());
        self.tell_losses();
        self.tell_excluded(EXCLUDED_EVERY_NS);
    }

    /// Tells how much exclusions have kept back, if that grew and was not told for `every_ns`.
    fn tell_excluded(&mut self, every_ns: u64) {
        let (told, told_ns) = self.excluded_told;
        let counts = self.looks.excluded();
        let total: u64 = counts.iter().map(|excluded| excluded.count).sum();
        if total == told || boot_ns().saturating_sub(told_ns) < every_ns {
            return;
        }
        let document = self.renderer.render_excluded(&counts, boot_ns());
        if self.send(document, Priority::Ordinary, 0) {
            self.excluded_told = (total, boot_ns());
        }
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
        for change in self.files.drain() {
            self.changed(change);
        }
        let deadline = self.closing_before.unwrap_or_else(Instant::now);
        while let Some((id, content)) = self.looks.answer_before(deadline) {
            self.take_answer(StageAnswer::Content(id, Box::new(content)));
        }
        for looked_at in self.looks.expire(u64::MAX) {
            self.weighed_alone(looked_at);
        }
        for run in self.tools.drain() {
            self.observed(Observation::Tool(Box::new(run)));
        }
        while let Some(answered) = self.standings.answer_before(deadline) {
            self.take_answer(StageAnswer::Standing(answered));
        }
        for weighable in self.standings.expire(u64::MAX) {
            self.weighed(weighable);
        }
        let folded = self.fold.drain();
        self.told(folded);
        self.tell_excluded(0);
    }

    /// Whether there is a loss that no document tells of.
    pub fn owes_losses(&self) -> bool {
        !self.ledger.grown(boot_ns()).is_empty()
    }

    /// Whether nobody can take documents any more.
    pub const fn output_is_closed(&self) -> bool {
        self.output_closed
    }

    /// What the daemon itself counted since the start, by name.
    pub fn counters(&self) -> [(&'static str, u64); 4] {
        let excluded = self.looks.excluded().iter().map(|excluded| excluded.count).sum();
        let groups_evicted = ("groups_evicted", self.standings.evicted());
        [("documents", self.documents), ("folded", self.fold.folded()), ("excluded", excluded), groups_evicted]
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
        for observation in std::mem::take(&mut self.observations) {
            if let Observation::Call(call) = &observation {
                self.tools.note(call);
            }
            self.observed(observation);
        }
    }

    /// Passes on a change of a file, at once or when somebody has looked at the file.
    fn changed(&mut self, change: FileChange) {
        if let Some(report) = self.looks.select(change, &self.host, boot_ns()) {
            self.reported(report);
        }
    }

    fn reported(&mut self, report: FileReport) {
        self.weighed_alone(Pending::of(Observation::File(Box::new(report))));
    }

    /// Takes an observation in. A load waits for a look at its file.
    fn observed(&mut self, observation: Observation) {
        match observation {
            Observation::Call(call) => {
                let ticket = self.order.place();
                if let Some(pending) = self.looks.look_at_load(call, ticket, &self.host, boot_ns()) {
                    self.weighed_alone(pending);
                }
            }
            observation => self.weighed_alone(Pending::of(observation)),
        }
    }

    /// Weighs an observation by itself, and asks how it stands.
    fn weighed_alone(&mut self, mut pending: Pending) {
        let process = match &mut pending.observation {
            Observation::Call(call) => call.process.as_mut(),
            Observation::Request(request) => Some(&mut request.process),
            Observation::File(report) => Some(&mut report.change.process),
            Observation::Tool(run) => Some(&mut run.process),
        };
        if let Some(process) = process {
            inspect::complete_arguments(process, &self.running);
        }
        let accounts = self.accounts.refresh();
        let context = Context { host: &self.host, accounts };
        let verdict = assess::assess(&pending.observation, &context);
        match self.standings.ask(pending, verdict, boot_ns()) {
            Next::Uncounted(pending, verdict) => self.fold_or_tell(pending, verdict),
            Next::Weighable(weighable) => self.weighed(*weighable),
            Next::Waits => {}
        }
    }

    /// Weighs an observation by how it stands.
    fn weighed(&mut self, weighable: Weighable) {
        let Weighable { pending, verdict, rarity, threshold } = weighable;
        let accounts = self.accounts.refresh();
        let context = Context { host: &self.host, accounts };
        let verdict = assess::weigh_rarity(verdict, &pending.observation, rarity, &threshold, &context);
        self.fold_or_tell(pending, verdict);
    }

    fn fold_or_tell(&mut self, Pending { observation, ticket }: Pending, verdict: Verdict) {
        match observation {
            Observation::File(report) if !verdict.findings.is_empty() => {
                let accounts = self.accounts.refresh();
                let context = Context { host: &self.host, accounts };
                let by = assess::process_phrase(&report.change.process.caller, &context);
                let folded = self.fold.push(report, verdict, &by, boot_ns());
                self.told(folded);
            }
            Observation::Call(_) => {
                for (observation, verdict) in self.order.come(ticket, (observation, verdict)) {
                    self.tell(&observation, &verdict);
                }
            }
            observation => self.tell(&observation, &verdict),
        }
    }

    fn told(&mut self, folded: Vec<Folded>) {
        for folded in folded {
            match folded {
                Folded::Alert(report, verdict) => self.tell(&Observation::File(report), &verdict),
                Folded::Event(report) => self.tell(&Observation::File(report), &Verdict::default()),
                Folded::Burst(burst, verdict) => {
                    let accounts = self.accounts.refresh();
                    let document = self.renderer.render_burst(&burst, &verdict, accounts);
                    self.send(document, Priority::Reserved, 0);
                }
            }
        }
    }

    fn tell(&mut self, observation: &Observation, verdict: &Verdict) {
        if verdict.findings.is_empty() && !self.with_events {
            return;
        }
        let accounts = self.accounts.refresh();
        let document = self.renderer.render_observation(observation, verdict, accounts);
        let (priority, calls) = match observation {
            Observation::Call(call) if call.is_confirmed() => (Priority::Reserved, 1),
            Observation::Call(_) => (Priority::Ordinary, 1),
            // What everybody can do to files of their own is no reason to lose what only root can.
            Observation::File(report) if report.change.process.caller.ids.is_some_and(|ids| ids.euid == 0) => {
                let priority = if verdict.findings.is_empty() { Priority::Ordinary } else { Priority::Reserved };
                (priority, 0)
            }
            _ => (Priority::Ordinary, 0),
        };
        self.send(document, priority, calls);
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
