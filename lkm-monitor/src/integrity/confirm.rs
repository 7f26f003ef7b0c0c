//! What was found twice is told once.

mod identity;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::{KernelFinding, KernelLook};

/// Between the two looks that must have found the same.
pub const SOON: Duration = Duration::from_secs(2);
/// The same for what may be on its way, and for looks under which modules came and went all the time: whoever forges the number by which the
/// kernel counts that wins half a minute.
pub const LATER: Duration = Duration::from_secs(30);
/// A module that hides on and off is told no more often, unless another view misses it. What cannot be looked at any more waits so long.
const AGAIN: Duration = Duration::from_mins(10);
/// What is pending and what was told is remembered in so many cases each, the last ones.
const MOST_REMEMBERED: usize = 4096;

/// Remembers what was found.
#[derive(Clone, Debug, Default)]
pub struct Confirm {
    pending: Vec<Pending>,
    told: Vec<Told>,
}

/// Found, and not told yet.
#[derive(Clone, Debug)]
struct Pending {
    finding: KernelFinding,
    /// Times of looks since boot, in nanoseconds: the first that found it, the first of those since which nothing spoke for a race, and the last
    /// at which it was news.
    since_ns: u64,
    sure_since_ns: Option<u64>,
    last_ns: u64,
}

impl Pending {
    /// When another look makes this certain.
    fn due_ns(&self) -> u64 {
        let after = |start_ns: u64, wait: Duration| start_ns.saturating_add(nanoseconds(wait));
        let late = after(self.since_ns, LATER);
        self.sure_since_ns.map_or(late, |since_ns| late.min(after(since_ns, SOON)))
    }
}

#[derive(Clone, Debug)]
struct Told {
    /// With all that was ever told of it.
    finding: KernelFinding,
    at_ns: u64,
    /// The last look found it.
    is_there: bool,
}

impl Told {
    /// Whether this was told of what `finding` is about.
    fn is_of(&self, finding: &KernelFinding) -> bool {
        finding.is_about_the_same(&self.finding)
            && !finding.is_a_later_load(&self.finding)
            && (self.is_there || finding.may_be_back(&self.finding))
    }

    /// Whether this says all that `finding` would.
    fn says(&self, finding: &KernelFinding) -> bool {
        self.is_of(finding) && finding.is_within(&self.finding)
    }
}

impl Confirm {
    /// Takes in a look, and gives what is certain now and was not told. What a look would have found and has not is forgotten: it is told again
    /// when it comes back, and so is what is missing from another view.
    pub fn settle(&mut self, look: &KernelLook) -> Vec<KernelFinding> {
        let now_ns = look.boot_ns;
        let is_recent = |then_ns: u64| now_ns.saturating_sub(then_ns) < nanoseconds(AGAIN);
        let is_found = |known: &KernelFinding| look.findings.iter().any(|finding| finding.is_about_the_same(known));
        self.pending.retain(|pending| {
            is_recent(pending.last_ns) && (is_found(&pending.finding) || !pending.finding.would_be_in(look))
        });
        let mut certain = Vec::new();
        for finding in &look.findings {
            if !self.told.iter().any(|told| told.says(finding)) && self.is_due(finding, look) {
                certain.push(finding.clone());
            }
        }
        self.pending.retain(|pending| !certain.iter().any(|finding| finding.is_about_the_same(&pending.finding)));
        certain.iter().for_each(|finding| self.remember(finding, now_ns));
        self.told.retain_mut(|told| {
            told.is_there = look.findings.iter().any(|finding| told.is_of(finding));
            let is_module = matches!(told.finding, KernelFinding::Hidden(_));
            told.is_there || !told.finding.would_be_in(look) || is_module && is_recent(told.at_ns)
        });
        forget_oldest(&mut self.told);
        forget_oldest(&mut self.pending);
        certain
    }

    /// Whether what this look has found was found long enough.
    fn is_due(&mut self, finding: &KernelFinding, look: &KernelLook) -> bool {
        let is_sure = !look.moved && !finding.may_be_on_its_way();
        let sure_since_ns = is_sure.then_some(look.boot_ns);
        let known = self.pending.iter_mut().find(|pending| finding.is_about_the_same(&pending.finding));
        let Some(pending) = known else {
            let (finding, since_ns) = (finding.clone(), look.boot_ns);
            self.pending.push(Pending { finding, since_ns, sure_since_ns, last_ns: since_ns });
            return false;
        };
        pending.finding.clone_from(finding);
        pending.last_ns = look.boot_ns;
        pending.sure_since_ns = sure_since_ns.map(|now_ns| pending.sure_since_ns.unwrap_or(now_ns));
        pending.due_ns() <= look.boot_ns
    }

    fn remember(&mut self, finding: &KernelFinding, at_ns: u64) {
        let mut all = finding.clone();
        // Of an entry or a hook each target is remembered by itself.
        let has_one = matches!(finding, KernelFinding::Hidden(_) | KernelFinding::TaintCleared(_));
        self.told.retain(|told| {
            let is_replaced = finding.is_about_the_same(&told.finding) && (has_one || finding.is_within(&told.finding));
            if is_replaced && told.is_of(finding) {
                all.add(&told.finding);
            }
            !is_replaced
        });
        self.told.push(Told { finding: all, at_ns, is_there: true });
    }

    /// How long after the last look, which was at `boot_ns`, another one can make something certain that was found then.
    pub fn next_look(&self, boot_ns: u64) -> Option<Duration> {
        let found = self.pending.iter().filter(|pending| pending.last_ns == boot_ns);
        found.map(|pending| Duration::from_nanos(pending.due_ns().saturating_sub(boot_ns))).min()
    }
}

fn forget_oldest<T>(all: &mut Vec<T>) {
    all.drain(..all.len().saturating_sub(MOST_REMEMBERED));
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
