//! Observations on their way: kept until it is known how often, and where, things like them happened.

mod counted;

use std::{collections::BTreeMap, time::Instant};

use self::counted::Counted;

use super::Pending;
use crate::{
    assess::judge,
    model::{Answer, Rarity, Threshold, Verdict},
    prevalence::{Answered, Grouped, Question, Service, Thresholds, group_of, groups::argument_count},
};

/// Observations that wait at one time: they hold their whole descriptions.
const MAX_WAITING: usize = 2048;

/// How long one waits for the host's own store, in nanoseconds. A disk may be slow.
const HOST_PATIENCE_NS: u64 = 500_000_000;

/// How observations are counted.
#[derive(Debug)]
pub struct Counting {
    /// `None` where it cannot be counted: all is told as rare then.
    pub service: Option<Service>,
    pub thresholds: Thresholds,
    pub window_days: u32,
    /// How long an observation waits for the fleet's store, in nanoseconds.
    pub fleet_patience_ns: u64,
}

#[derive(Debug)]
struct Waiting {
    /// Of the question.
    id: u64,
    pending: Pending,
    verdict: Verdict,
    grouped: Grouped,
    /// The best there is so far.
    answer: Answer,
    deadline_ns: u64,
}

/// What is known of how an observation stands.
#[derive(Debug)]
pub(super) struct Weighable {
    pub(super) pending: Pending,
    pub(super) verdict: Verdict,
    pub(super) rarity: Rarity,
    pub(super) threshold: Threshold,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Standings {
    counting: Option<Counting>,
    /// By the number of the question.
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
    not_counted: u64,
    /// Calls and runs that were counted before they were told in full.
    counted: Counted,
}

/// Where an observation goes on.
pub(super) enum Next {
    /// It is not counted.
    Uncounted(Pending, Verdict),
    /// Nobody can say how it stands.
    Weighable(Box<Weighable>),
    Waits,
}

impl Standings {
    pub(super) fn new(counting: Option<Counting>) -> Self {
        Self { counting, waiting: BTreeMap::new(), last: 0, not_counted: 0, counted: Counted::new() }
    }

    /// Asks how an observation stands.
    pub(super) fn ask(&mut self, pending: Pending, verdict: Verdict, now_ns: u64) -> Next {
        let Some(counting) = &self.counting else { return Next::Uncounted(pending, verdict) };
        let Some(grouped) = group_of(&pending.observation, &counting.thresholds) else {
            return Next::Uncounted(pending, verdict);
        };
        if self.counted.is_again(&pending.observation) {
            return Next::Uncounted(pending, verdict);
        }
        self.last += 1;
        let question = Question { id: self.last, name: grouped.name.clone(), privileged: grouped.privileged };
        let deadline_ns = now_ns.saturating_add(HOST_PATIENCE_NS);
        let asked =
            self.waiting.len() < MAX_WAITING && counting.service.as_ref().is_some_and(|service| service.ask(question));
        let id = self.last;
        let waiting = Waiting { id, pending, verdict, grouped, answer: Answer::Unknown, deadline_ns };
        if asked {
            self.waiting.insert(self.last, waiting);
            return Next::Waits;
        }
        self.not_counted += 1;
        Next::Weighable(Box::new(weighable(counting, waiting)))
    }

    /// The next answer. Without a service it never comes.
    pub(super) async fn answer(&mut self) -> Answered {
        match self.service() {
            Some(service) => service.answer().await,
            None => std::future::pending().await,
        }
    }

    /// The next answer as long as there is something to wait for.
    pub(super) fn answer_before(&mut self, deadline: Instant) -> Option<Answered> {
        if self.waiting.is_empty() { None } else { self.service()?.answer_before(deadline) }
    }

    fn service(&mut self) -> Option<&mut Service> {
        self.counting.as_mut()?.service.as_mut()
    }

    /// From now on this is rare. What groups are made of stays as it is: the store holds them.
    pub(super) fn follow(&mut self, thresholds: Thresholds) {
        let Some(counting) = &mut self.counting else { return };
        let Thresholds { files, tools, modules } = thresholds;
        for (ours, threshold) in [
            (&mut counting.thresholds.files, files),
            (&mut counting.thresholds.tools, tools),
            (&mut counting.thresholds.modules, modules),
        ] {
            let keys = std::mem::take(&mut ours.keys);
            *ours = Threshold { keys, ..threshold };
        }
    }

    /// Says that a first event was told, or was no cause to; or that it could not be.
    pub(super) fn settle(&self, id: u64, told: bool) {
        if let Some(service) = self.counting.as_ref().and_then(|counting| counting.service.as_ref()) {
            service.settle(id, told);
        }
    }

    /// Groups that the host's store has given up though they were within the window.
    pub(super) fn evicted(&self) -> u64 {
        let service = self.counting.as_ref().and_then(|counting| counting.service.as_ref());
        service.map_or(0, Service::evicted)
    }

    /// What waited for this answer, unless a better one may follow soon.
    pub(super) fn take(&mut self, answered: Answered, now_ns: u64) -> Option<Weighable> {
        let counting = self.counting.as_ref()?;
        let waiting = self.waiting.get_mut(&answered.id)?;
        waiting.answer = answered.answer;
        if answered.more {
            waiting.deadline_ns = now_ns.saturating_add(counting.fleet_patience_ns);
            return None;
        }
        self.not_counted += u64::from(answered.answer == Answer::Unknown);
        let waiting = self.waiting.remove(&answered.id)?;
        Some(weighable(counting, waiting))
    }

    /// What has waited long enough.
    pub(super) fn expire(&mut self, now_ns: u64) -> Vec<Weighable> {
        let Some(counting) = &self.counting else { return Vec::new() };
        let due = self.waiting.iter().filter(|(_, waiting)| waiting.deadline_ns <= now_ns).map(|(id, _)| *id);
        let due: Vec<_> = due.collect();
        let due: Vec<_> = due.into_iter().filter_map(|id| self.waiting.remove(&id)).collect();
        self.not_counted += due.iter().filter(|waiting| waiting.answer == Answer::Unknown).count() as u64;
        due.into_iter().map(|waiting| weighable(counting, waiting)).collect()
    }

    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        self.waiting.values().map(|waiting| waiting.deadline_ns).min()
    }

    /// Observations of which nobody could say in time how they stand.
    pub(super) const fn not_counted(&self) -> u64 {
        self.not_counted
    }
}

/// Whether who counts waits for the event to be told.
const fn is_first(answer: Answer) -> bool {
    match answer {
        Answer::Known(standing) | Answer::FleetSilent(standing) => !standing.seen_before,
        // It may have been counted all the same.
        Answer::Unknown => true,
    }
}

fn weighable(counting: &Counting, waiting: Waiting) -> Weighable {
    let Waiting { id, pending, verdict, grouped, answer, .. } = waiting;
    let threshold = counting.thresholds.of(grouped.kind).clone();
    let rare = judge(answer, &threshold, argument_count(&pending.observation), grouped.not_all_known);
    let rarity = Rarity {
        rare,
        answer,
        window_days: counting.window_days,
        not_all_known: grouped.not_all_known,
        settles: is_first(answer).then_some(id),
    };
    Weighable { pending, verdict, rarity, threshold }
}

#[cfg(test)]
mod tests;
