//! When the host is looked at, what was seen live until then, and what is told of it.
//!
//! `idle`, `looking`, `looked`, `comparing`, `telling`, and `idle` again. A look is compared when all that happened before it has come out of
//! the stages; it is settled, so that the next one is compared with it, when all of it was taken by the output.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Pipeline;
use crate::{
    assess,
    drift::{Found, Question, Seen, Service, Subjects, Watch},
    lifecycle::background::jittered,
    model::{
        Drift, Drifted, Metric, Moment, Observation, Selected, SensorState, StateReport, Succession, Unseen, Verdict,
        Window,
    },
    select::{Exclusions, WatchList},
};

/// A host on which always something is under way is compared after that: a call waits ten seconds for its parts, a file half a minute for
/// who looks at it.
const PATIENCE: Duration = Duration::from_secs(45);
/// So long the first comparison waits for what is known of the run before.
const SUCCESSION: Duration = Duration::from_secs(60);
/// What was seen live is put on record so often, if there was something.
const KEEP: Duration = Duration::from_secs(10);
/// So long the last record may take at the end.
const LAST_RECORD: Duration = Duration::from_secs(2);
/// A look that takes longer is told of. It reads for a minute, and asks packages for a minute.
const OVERDUE: Duration = Duration::from_secs(600);
/// So long after an event that left something unknown there is a look, so that it is known again.
const SOON: Duration = Duration::from_secs(300);
/// Differences of one look that are told one by one.
const MAX_TOLD: usize = 256;

/// What the stage is made of.
#[derive(Debug)]
pub struct StateWatch {
    pub service: Service,
    pub interval: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Drifting {
    watch: StateWatch,
    subjects: Subjects,
    stage: Stage,
    /// When there is the next look.
    next: Instant,
    /// One more was asked for while there was one.
    again: bool,
    seen: Seen,
    /// Something in it is not on record, and when it was written last.
    unkept: bool,
    kept: Instant,
    began: Instant,
    since: Moment,
    /// Hooks do not report; they did not at some time since the last look.
    blind: bool,
    was_blind: bool,
    /// Losses that were known when the last look was settled.
    losses: u64,
    succession: Option<Box<Succession>>,
    looks: u64,
    drifts: u64,
    overdue: Overdue,
}

/// A look that comes to no end.
#[derive(Debug)]
struct Overdue {
    /// When the thread was told to look, or to compare.
    ordered: Instant,
    after: Duration,
    is_counted: bool,
    is_untold: bool,
    count: u64,
}

#[derive(Debug)]
enum Stage {
    Idle,
    Looking,
    Looked { ended: Moment, at: Instant },
    Comparing,
    Telling(Box<Telling>),
}

#[derive(Debug)]
struct Telling {
    report: StateReport,
    /// With their numbers.
    drifts: VecDeque<(u32, Drift, Verdict)>,
    told_state: bool,
}

impl Drifting {
    /// Everything that happens from now on is seen: the probes report.
    fn new(watch: StateWatch, subjects: Subjects, since: Moment) -> Self {
        let now = Instant::now();
        Self {
            watch,
            subjects,
            stage: Stage::Idle,
            next: now,
            again: false,
            seen: Seen::default(),
            unkept: false,
            kept: now,
            began: now,
            since,
            blind: false,
            was_blind: false,
            losses: 0,
            succession: None,
            looks: 0,
            drifts: 0,
            overdue: Overdue { ordered: now, after: OVERDUE, is_counted: false, is_untold: false, count: 0 },
        }
    }

    /// Notes what explains a difference that the next look finds.
    pub(super) fn note(&mut self, observation: &Observation) {
        self.unkept |= match observation {
            Observation::File(report) => self.seen.note_file(report),
            Observation::Call(call) => self.seen.note_call(call),
            Observation::Request(_) | Observation::Tool(_) | Observation::Object(_) => false,
        };
    }

    pub(super) fn note_sight(&mut self, state: &SensorState) {
        self.blind = !state.blind_hooks.is_empty();
        // Those that were lost and are there again did not report for a while.
        self.was_blind |= self.blind || !state.lost_hooks.is_empty();
    }

    pub(super) fn know(&mut self, succession: &Succession) {
        self.succession = Some(Box::new(succession.clone()));
    }

    /// From now on these are watched: they are looked at soon, so that it is known what was there before.
    fn follow(&mut self, subjects: Subjects) {
        self.subjects = subjects;
        self.ask();
    }

    /// Wants a look soon. While there is one, there will be one more, however often it was asked for.
    fn ask(&mut self) {
        match self.stage {
            Stage::Idle => self.next = Instant::now(),
            _ => self.again = true,
        }
    }

    pub(super) fn metrics(&self) -> [Metric; 4] {
        let counted = [
            ("state_looks", self.looks),
            ("state_drifts", self.drifts),
            ("state_record_failed", self.watch.service.failed()),
            ("state_overdue", self.overdue.count),
        ];
        counted.map(|(name, value)| Metric { name, labels: Vec::new(), value })
    }

    /// Ends the thread, when what was seen is on record.
    pub(super) fn stop(self, deadline: Instant) {
        // A look may be under way, which is given up: documents have their part of the time, too.
        if !self.watch.service.stop(self.seen, deadline.min(Instant::now() + LAST_RECORD)) {
            tracing::warn!("what was seen since the last look is not on record: the next run may tell it once more");
        }
    }

    /// One step, if it is time for one. `is_quiet` says whether everything up to a time since boot has come out of the stages.
    fn step(&mut self, is_quiet: impl Fn(u64) -> bool, losses: u64) {
        let service = &self.watch.service;
        if matches!(self.stage, Stage::Looking | Stage::Comparing) {
            self.overdue.check();
        }
        match &self.stage {
            Stage::Idle if Instant::now() >= self.next => {
                if service.look(self.subjects.clone()) {
                    self.overdue.order();
                    self.stage = Stage::Looking;
                }
            }
            Stage::Idle => {
                if self.unkept && self.looks > 0 && self.kept.elapsed() >= KEEP && service.keep(self.seen.clone()) {
                    (self.unkept, self.kept) = (false, Instant::now());
                    self.know_again_soon();
                }
            }
            Stage::Looking => {
                if let Some(Found::Looked { ended }) = service.found() {
                    self.stage = Stage::Looked { ended, at: Instant::now() };
                }
            }
            Stage::Looked { ended, at } => {
                let knows_predecessor =
                    self.looks > 0 || self.succession.is_some() || self.began.elapsed() >= SUCCESSION;
                if knows_predecessor && (is_quiet(ended.boot_ns) || at.elapsed() >= PATIENCE) {
                    let watch = Watch::of_this_run(self.since, self.was_blind, losses > self.losses);
                    let question = Question { seen: self.seen.clone(), watch, succession: self.succession.clone() };
                    if service.compare(question) {
                        self.overdue.order();
                        self.stage = Stage::Comparing;
                    }
                }
            }
            Stage::Comparing => {
                if let Some(Found::Compared(report)) = service.found() {
                    self.losses = losses;
                    self.drifts += report.drifts.len() as u64;
                    self.stage = Stage::Telling(Box::new(Telling::of(*report)));
                }
            }
            Stage::Telling(_) => {}
        }
    }

    /// After an event that left something unknown there is a look soon.
    fn know_again_soon(&mut self) {
        if self.seen.is_unclear() {
            self.next = self.next.min(Instant::now() + jittered(SOON));
        }
    }

    fn no_end(&self) -> Drift {
        let window = Window { not_before: Some(self.since), not_after: crate::inspect::now() };
        Drift { what: Drifted::NoEnd, window, unseen: Unseen::Unknown, perhaps_seen: false, provenance: None }
    }

    /// The look is told.
    fn settle(&mut self) {
        let Stage::Telling(telling) = &self.stage else { return };
        let mut left = self.seen.clone();
        left.leave_since(telling.report.state.begun.boot_ns);
        if !self.watch.service.settle(left.clone()) {
            return;
        }
        self.seen = left;
        self.looks += 1;
        self.was_blind = self.blind;
        (self.unkept, self.kept) = (false, Instant::now());
        let pause = if std::mem::take(&mut self.again) { Duration::ZERO } else { jittered(self.watch.interval) };
        self.next = Instant::now() + pause;
        self.know_again_soon();
        self.stage = Stage::Idle;
    }
}

impl Overdue {
    fn order(&mut self) {
        (self.ordered, self.is_counted) = (Instant::now(), false);
    }

    /// Once of each order.
    fn check(&mut self) {
        if !self.is_counted && self.ordered.elapsed() >= self.after {
            self.is_counted = true;
            self.is_untold = true;
            self.count += 1;
            tracing::error!("the look at the host comes to no end: what changed while nobody watched is not known");
        }
    }
}

impl Telling {
    /// The most severe first: those that are not told one by one are the others.
    fn of(mut report: StateReport) -> Self {
        let weighed = std::mem::take(&mut report.drifts).into_iter().map(|drift| {
            let verdict = assess::assess_drift(&drift);
            (drift, verdict)
        });
        let mut weighed: Vec<_> = weighed.collect();
        weighed.sort_by_key(|(_, verdict)| std::cmp::Reverse(verdict.lead().map(|finding| finding.severity)));
        let more = weighed.split_off(MAX_TOLD.min(weighed.len()));
        if let Some((first, _)) = more.first() {
            let drift = Drift { what: Drifted::More(more.len() as u64), provenance: None, ..first.clone() };
            weighed.push((drift.clone(), assess::assess_drift(&drift)));
        }
        let numbered = (0..).zip(weighed).map(|(number, (drift, verdict))| (number, drift, verdict));
        Self { report, drifts: numbered.collect(), told_state: false }
    }
}

/// What is looked at: what is watched, and not excluded whoever changes it.
fn subjects((watch, exclusions): (&WatchList, &Exclusions)) -> Subjects {
    let (folders, files) = watch.places();
    let selected = Selected { watched: watch.spelled(), excluded: exclusions.patterns_of_all_programs() };
    let (watch, excluded) = (watch.clone(), exclusions.of_all_programs());
    let subject = move |path: &[u8]| watch.subject_of(path).filter(|_| !excluded(path));
    Subjects { folders, files, subject: Arc::new(subject), selected }
}

impl Pipeline {
    /// Begins to look at the host from time to time. What happens from now on is seen.
    pub fn watch_state(&mut self, watch: StateWatch, since: Moment) {
        self.drifting = Some(Drifting::new(watch, subjects(self.looks.selection()), since));
    }

    /// Other files are watched.
    pub(super) fn follow_watched(&mut self) {
        if let Some(drifting) = &mut self.drifting {
            drifting.follow(subjects(self.looks.selection()));
        }
    }

    /// Looks at the host when it is time, and tells what nobody saw becoming so.
    pub(super) fn follow_drift(&mut self) {
        let nothing_waits = self.join.depth() == 0
            && self.files.open_files() == 0
            && self.looks.next_deadline_ns().is_none()
            && self.images.next_deadline_ns().is_none();
        let read_to_ns = self.read_to_ns;
        let losses = self.teller.ledger.totals().filter(|(reason, _)| reason.hides_events());
        let losses = losses.map(|(_, total)| total).sum();
        let Some(drifting) = &mut self.drifting else { return };
        if drifting.watch.service.has_died() {
            tracing::error!("who looks at the host has died: what changes while nobody watches is not seen. Report it");
            self.drifting = None;
            return;
        }
        drifting.step(|until_ns| nothing_waits && read_to_ns > until_ns, losses);
        if drifting.overdue.is_untold && self.teller.tell_owed() {
            drifting.overdue.is_untold = false;
            let drift = drifting.no_end();
            self.teller.tell_drift(&drift, 0, drift.window.not_after.boot_ns, &assess::assess_drift(&drift));
        }
        let Stage::Telling(telling) = &mut drifting.stage else { return };
        // One at a time, each when the one before it was taken.
        while self.teller.tell_owed() {
            if let Some((number, drift, verdict)) = telling.drifts.pop_front() {
                self.teller.tell_drift(&drift, number, telling.report.state.ended.boot_ns, &verdict);
            } else if !std::mem::replace(&mut telling.told_state, true) {
                self.teller.tell_host_state(&telling.report);
            } else {
                drifting.settle();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
