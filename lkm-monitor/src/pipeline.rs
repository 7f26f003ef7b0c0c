//! The stages, wired. Read this first.
//!
//! A **probe** on a kernel hook writes a fixed-layout **event** to the ring buffer; the **sensor** decodes and joins events; **select**
//! keeps the changes of files that are watched; **inspect** adds facts from file, process and host; **assess** weighs them with rules, and
//! with how **prevalence** says that they stand, into a **verdict**; **fold** makes one alert of a burst; **alert** renders ECS; the
//! **spool** makes it durable; **sinks** deliver it to the SIEM and acknowledge.
//!
//! Nothing is dropped without a counter, and every counter that grows becomes a document.

mod account;
mod drift;
mod evidence;
mod firsts;
mod images;
mod looks;
mod order;
mod passage;
mod standings;
mod teller;

use std::{path::Path, time::Instant};

use lkm_monitor_common::event::EventKind;

use self::{
    drift::Drifting,
    firsts::Firsts,
    images::Images,
    looks::Looks,
    order::{Order, Ticket},
    standings::Standings,
    teller::Teller,
};
pub use self::{drift::StateWatch, evidence::Evidence, images::Examining, standings::Counting, teller::Delivery};
use crate::{
    fold::Fold,
    inspect::{self, AccountFiles, HostError, RunningProcesses, contents::Contents},
    model::{Agent, Content, ExaminedImage, Host, LossReason, NameFilter, Observation, SystemMount, Verdict},
    output::Output,
    prevalence::{Answered, Thresholds},
    select::{Exclusions, WatchList},
    sensor::{
        decode,
        files::Files,
        join::Join,
        object_access::{Accesses, Names},
        rings::Rings,
        tools::Tools,
    },
};

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

/// What can become another while the stages are at work.
#[derive(Debug)]
pub struct Selection {
    pub watch: WatchList,
    pub exclusions: Exclusions,
    /// Their keys do not count: the store holds what groups are made of.
    pub thresholds: Thresholds,
    /// The mounts that hold what is watched.
    pub mounts: Vec<SystemMount>,
}

/// What a stage waited for.
#[derive(Debug)]
pub enum StageAnswer {
    /// What was found where a file changed.
    Content(u64, Box<Content>),
    /// What was loaded.
    Image(u64, Box<ExaminedImage>),
    /// How often, and where, things like an event happened.
    Standing(Answered),
}

/// The state of all stages between the rings and the output.
#[derive(Debug)]
pub struct Pipeline {
    join: Join,
    files: Files,
    tools: Tools,
    accesses: Accesses,
    looks: Looks,
    images: Images,
    standings: Standings,
    order: Order<(Observation, Verdict)>,
    firsts: Firsts<(Observation, Verdict)>,
    fold: Fold,
    running: RunningProcesses,
    accounts: AccountFiles,
    host: Host,
    teller: Teller,
    /// Where the host is looked at from time to time.
    drifting: Option<Drifting>,
    /// Up to this time since boot all events were taken out of the rings.
    read_to_ns: u64,
    observations: Vec<Observation>,
}

impl Pipeline {
    /// Makes the stages ready.
    pub fn new(
        delivery: Delivery,
        watch: WatchList,
        exclusions: Exclusions,
        (contents, examining): (Contents, Option<Examining>),
        (host, agent): (Host, Agent),
        counting: Option<Counting>,
    ) -> Result<Self, HostError> {
        Ok(Self {
            join: Join::since(boot_ns()),
            files: Files::default(),
            tools: Tools::default(),
            accesses: Accesses::default(),
            looks: Looks::new(watch, exclusions, inspect::mounts::of_host(), contents),
            images: Images::new(examining),
            standings: Standings::new(counting),
            order: Order::default(),
            firsts: Firsts::default(),
            fold: Fold::default(),
            running: RunningProcesses::collect(Path::new("/proc")).map_err(HostError::Processes)?,
            accounts: AccountFiles::new(Path::new("/etc")),
            teller: Teller::new(delivery, host.clone(), agent, inspect::read_clock()),
            host,
            drifting: None,
            read_to_ns: 0,
            observations: Vec::new(),
        })
    }

    /// Knows the sensor's own objects by these names.
    pub fn know_objects(&mut self, names: Names) {
        self.accesses.know(names);
    }

    /// Takes a batch of events out of the rings and lets time pass for the calls that wait. Whether the rings may hold
    /// more.
    pub fn read(&mut self, rings: &mut Rings) -> bool {
        // Before the rings are looked at: what happens from now on may or may not be in the batch.
        let now_ns = boot_ns();
        let read_to_ns = rings.read(|event| self.take(event));
        let read_to_ns_or_now = read_to_ns.unwrap_or(now_ns);
        self.read_to_ns = read_to_ns_or_now;
        self.join.expire(read_to_ns_or_now, &mut self.observations);
        self.pass_on();
        self.expire(read_to_ns_or_now);
        read_to_ns.is_some()
    }

    /// Takes a recorded event, as if it came out of a ring.
    pub fn replay(&mut self, event: &[u8]) {
        self.take(event);
    }

    /// Lets time pass for files, tools and bursts.
    fn expire(&mut self, read_to_ns: u64) {
        for change in self.files.expire(read_to_ns) {
            self.changed(change);
        }
        for looked_at in self.looks.expire(boot_ns()) {
            self.looked_at(looked_at);
        }
        for examined in self.images.expire(boot_ns()) {
            self.weighed_alone(examined);
        }
        for run in self.tools.expire(read_to_ns) {
            self.observed(Observation::Tool(Box::new(run)));
        }
        for access in self.accesses.expire(read_to_ns) {
            self.observed(Observation::Object(Box::new(access)));
        }
        for weighable in self.standings.expire(boot_ns()) {
            self.weighed(weighable);
        }
        let folded = self.fold.expire(boot_ns());
        self.told(folded);
    }

    /// The next answer that something waits for. `None` when those who answer have ended.
    pub async fn answer(&mut self) -> Option<StageAnswer> {
        let Self { looks, images, standings, .. } = self;
        tokio::select! {
            biased;
            (id, image) = images.answer() => Some(StageAnswer::Image(id, image)),
            answered = standings.answer() => Some(StageAnswer::Standing(answered)),
            content = looks.answer() => content.map(|(id, content)| StageAnswer::Content(id, Box::new(content))),
        }
    }

    /// Takes an answer in.
    pub fn take_answer(&mut self, answer: StageAnswer) {
        match answer {
            StageAnswer::Content(id, content) => {
                if let Some(looked_at) = self.looks.take(id, *content) {
                    self.looked_at(looked_at);
                }
            }
            StageAnswer::Image(id, image) => {
                if let Some(examined) = self.images.take(id, image) {
                    self.weighed_alone(examined);
                }
            }
            StageAnswer::Standing(answered) => {
                if let Some(weighable) = self.standings.take(answered, boot_ns()) {
                    self.weighed(weighable);
                }
            }
        }
    }

    /// Follows other settings. What has come in so far is judged by the old ones, as far as it was judged.
    pub fn follow(&mut self, selection: Selection) {
        let Selection { watch, exclusions, thresholds, mounts } = selection;
        // What somebody has mounted since the start is not how the host had it.
        let mounts = mounts.into_iter().filter(|mount| self.looks.had(mount));
        let system_mounts = &mut self.host.system_mounts;
        system_mounts.extend(mounts);
        system_mounts.sort_by_key(|mount| mount.id);
        system_mounts.dedup();
        self.looks.follow(watch, exclusions);
        self.follow_watched();
        self.standings.follow(thresholds);
    }

    /// What the probes have to report.
    pub const fn watched_names(&self) -> &NameFilter {
        self.looks.watched_names()
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
                        let changes = self.files.push(event, self.teller.clock());
                        changes.into_iter().for_each(|change| self.changed(change));
                    }
                    EventKind::ToolStarted | EventKind::ToolEnded => {
                        if let Some(run) = self.tools.push(&event) {
                            self.observed(Observation::Tool(Box::new(run)));
                        }
                    }
                    EventKind::ObjectAccessed => {
                        if let Some(access) = self.accesses.push(&event) {
                            self.observed(Observation::Object(Box::new(access)));
                        }
                    }
                    _ => self.join.push(event, &mut self.observations),
                }
                happened_ns
            }
            Err(error) => {
                tracing::warn!(%error, bytes = bytes.len(), "event cannot be decoded");
                self.teller.ledger.add(LossReason::DecodeError, 1, None);
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
            self.accesses.next_deadline_ns(),
            self.looks.next_deadline_ns(),
            self.images.next_deadline_ns(),
            self.standings.next_deadline_ns(),
            self.fold.next_deadline_ns(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Whether somebody did what may have changed the sensor, since this was asked last.
    pub fn take_suspicion(&mut self) -> bool {
        self.accesses.take_suspicion()
    }

    /// From now on nothing more comes in, and the output gets until `deadline` to take what there is.
    pub const fn close_before(&mut self, deadline: Instant) {
        self.teller.close_before(deadline);
    }

    /// Passes on every call that is still waited for. The rings are empty.
    pub fn drain(&mut self) {
        self.join.drain(&mut self.observations);
        self.pass_on();
        for change in self.files.drain() {
            self.changed(change);
        }
        let deadline = self.teller.closing_before().unwrap_or_else(Instant::now);
        while let Some((id, content)) = self.looks.answer_before(deadline) {
            self.take_answer(StageAnswer::Content(id, Box::new(content)));
        }
        for looked_at in self.looks.expire(u64::MAX) {
            self.looked_at(looked_at);
        }
        let last = Images::last_deadline(deadline);
        while let Some((id, image)) = self.images.answer_before(last) {
            self.take_answer(StageAnswer::Image(id, image));
        }
        for examined in self.images.expire(u64::MAX) {
            self.weighed_alone(examined);
        }
        for run in self.tools.drain() {
            self.observed(Observation::Tool(Box::new(run)));
        }
        for access in self.accesses.drain() {
            self.observed(Observation::Object(Box::new(access)));
        }
        while let Some(answered) = self.standings.answer_before(deadline) {
            self.take_answer(StageAnswer::Standing(answered));
        }
        for weighable in self.standings.expire(u64::MAX) {
            self.weighed(weighable);
        }
        let folded = self.fold.drain();
        self.told(folded);
        self.images.finish(Images::last_deadline(deadline));
        if let Some(drifting) = self.drifting.take() {
            drifting.stop(deadline);
        }
        self.teller.tell_excluded(&self.looks.excluded(), 0);
    }

    /// Gives the output back, to be finished.
    pub fn into_output(self) -> Output {
        self.teller.into_output()
    }
}

/// CLOCK_BOOTTIME in nanoseconds, the clock that the probes use.
pub fn boot_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}
