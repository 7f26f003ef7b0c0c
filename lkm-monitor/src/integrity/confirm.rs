//! What was found twice is told once.

use std::time::Duration;

use crate::model::{HiddenModule, KernelFinding, KernelLook, ModuleState, View};

/// Between the two looks that must have found the same.
pub const SOON: Duration = Duration::from_secs(2);
/// The same for what may be on its way: a module that comes, goes or is set up is in some views and not in others, and the history learns of
/// an unload late.
pub const LATER: Duration = Duration::from_secs(30);

/// Remembers what was found.
#[derive(Clone, Debug, Default)]
pub struct Confirm {
    /// Found in each look since, at this time since boot, and not told yet.
    pending: Vec<(KernelFinding, u64)>,
    told: Vec<KernelFinding>,
}

impl Confirm {
    /// Takes in a look, and gives what is certain now and was not told. What a look does not find any more is forgotten: it is told again when
    /// it comes back, and so is what has changed.
    pub fn settle(&mut self, look: &KernelLook) -> Vec<KernelFinding> {
        let is_found = |known: &KernelFinding| look.findings.iter().any(|finding| finding.is_about_the_same(known));
        // A look that saw less is no word that something is gone.
        if look.sees_memory() {
            self.told.retain(is_found);
        }
        self.pending.retain(|(known, _)| is_found(known));
        let mut certain = Vec::new();
        for finding in &look.findings {
            if self.told.iter().any(|told| told.is_same(finding)) {
                continue;
            }
            let pending = self.pending.iter().position(|(known, _)| known.is_about_the_same(finding));
            let Some(pending) = pending else {
                self.pending.push((finding.clone(), look.boot_ns));
                continue;
            };
            let since = self.pending.get(pending).map_or(look.boot_ns, |(_, since)| *since);
            if Duration::from_nanos(look.boot_ns.saturating_sub(since)) >= needed(finding) {
                self.pending.swap_remove(pending);
                self.told.retain(|told| !told.is_about_the_same(finding));
                self.told.push(finding.clone());
                certain.push(finding.clone());
            }
        }
        certain
    }

    /// How long after the last look, which was at `boot_ns`, another one can make something certain.
    pub fn next_look(&self, boot_ns: u64) -> Option<Duration> {
        let left = |(finding, since): &(KernelFinding, u64)| {
            needed(finding).saturating_sub(Duration::from_nanos(boot_ns.saturating_sub(*since)))
        };
        self.pending.iter().map(left).min()
    }
}

/// For how long this must be found.
fn needed(finding: &KernelFinding) -> Duration {
    match finding {
        KernelFinding::Hidden(module) if may_be_on_its_way(module) => LATER,
        _ => SOON,
    }
}

fn may_be_on_its_way(module: &HiddenModule) -> bool {
    module.state.is_some_and(|state| state != ModuleState::Live) || module.seen_in == [View::History]
}

impl KernelFinding {
    /// Whether this is the same finding and nothing of it has changed that matters.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hidden(one), Self::Hidden(other)) => {
                is_one_module(one, other) && one.seen_in == other.seen_in && one.missing_from == other.missing_from
            }
            (Self::TaintCleared(one), Self::TaintCleared(other)) => one.bits == other.bits,
            (one, other) => one.is_about_the_same(other),
        }
    }

    /// Whether this is about the same thing in the kernel, which may have changed meanwhile.
    fn is_about_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hidden(one), Self::Hidden(other)) => is_one_module(one, other),
            (Self::TaintCleared(_), Self::TaintCleared(_)) => true,
            (Self::Hook(one), Self::Hook(other)) => {
                one.kind == other.kind && one.record == other.record && one.target == other.target
            }
            (one, other) => one == other,
        }
    }
}

/// One that was loaded again is another one, as far as that can be known.
fn is_one_module(one: &HiddenModule, other: &HiddenModule) -> bool {
    let who = |module: &HiddenModule| (module.address, module.loaded_boot_ns);
    one.name == other.name && one.memory.first() == other.memory.first() && who(one) == who(other)
}
