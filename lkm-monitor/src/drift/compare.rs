//! What is another than at the last look, without what live events explain. Pure.

mod files;
mod modules;
mod policy;
#[cfg(test)]
mod tests;

use super::seen::Notes;
use crate::model::{Drift, Drifted, HostState, Moment, Unseen, Window};

/// Two looks, and what is known of the time between them.
pub(super) struct Between<'a> {
    pub(super) last: &'a HostState,
    pub(super) now: &'a HostState,
    pub(super) notes: Notes<'a>,
    pub(super) watch: Watch,
}

/// Who watched meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// The last look was one of an earlier run, which watched until then. `None`: of this one.
    pub(super) earlier_until: Option<Moment>,
    /// This run watches from then on.
    pub(super) since: Moment,
    /// Hooks did not report at some time since the last look of this run.
    pub(super) blind: bool,
    /// Events were lost since then.
    pub(super) lost: bool,
}

impl Watch {
    /// Of a run that watches since then.
    pub const fn of_this_run(since: Moment, blind: bool, lost: bool) -> Self {
        Self { earlier_until: None, since, blind, lost }
    }
}

/// What came of a comparison.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Compared {
    pub(super) drifts: Vec<Drift>,
    /// Differences that were seen live.
    pub(super) explained: u64,
}

/// Compares the looks: policy and taints first, then modules, then files.
pub(super) fn compare(between: &Between<'_>) -> Compared {
    let mut compared = Compared::default();
    let same_boot = between.last.is_of_boot_of(between.now);
    policy::compare(between, same_boot, &mut compared);
    modules::compare(between, same_boot, &mut compared);
    files::compare(between, same_boot, &mut compared);
    compared
}

impl Between<'_> {
    /// A difference of what stays as it is while the host runs or is started again.
    fn drift(&self, what: Drifted) -> Drift {
        let Watch { earlier_until, since, blind, lost } = self.watch;
        let (unseen, window) = match earlier_until {
            Some(until) => (Unseen::NotRunning, Window { not_before: Some(until), not_after: since }),
            None => {
                let unseen = match () {
                    () if blind => Unseen::Blind,
                    () if lost => Unseen::LostEvents,
                    () => Unseen::Unknown,
                };
                (unseen, Window { not_before: Some(self.last.begun), not_after: self.now.ended })
            }
        };
        Drift { what, window, unseen, perhaps_seen: self.notes.are_cut(), provenance: None }
    }

    /// A difference between two boots of what each of them has anew.
    fn drift_of_boot(&self, what: Drifted) -> Drift {
        let now = self.now.begun;
        let up_ms = i64::try_from(now.boot_ns / 1_000_000).unwrap_or(i64::MAX);
        let boot = Moment { boot_ns: 0, unix_ms: now.unix_ms.saturating_sub(up_ms) };
        let window = Window { not_before: Some(boot), not_after: self.watch.since };
        Drift { window, unseen: Unseen::BeforeStart, ..self.drift(what) }
    }
}

/// What the next look is compared with: this look, and what only earlier ones know.
pub(super) fn settled(last: Option<&HostState>, mut now: HostState) -> HostState {
    now.modules_of_boot.extend(now.modules.iter().flatten().map(|(name, _)| name.clone()));
    let Some(last) = last else { return now };
    let same_boot = last.is_of_boot_of(&now);
    policy::settle(last, same_boot, &mut now);
    if same_boot {
        now.modules_of_boot.extend(last.modules_of_boot.iter().cloned());
        let lost = last.taints.unwrap_or_default() & !now.taints.unwrap_or(u64::MAX);
        // A bit that was lost and is there again is there.
        now.taints_lost = (last.taints_lost | lost) & !now.taints.unwrap_or_default();
        now.taints = now.taints.or(last.taints);
        if !now.lists_all_modules()
            && let Some(known) = &last.modules
        {
            let modules = now.modules.get_or_insert_default();
            for (name, module) in known {
                modules.entry(name.clone()).or_insert_with(|| module.clone());
            }
        }
    } else if now.modules.is_none() {
        now.modules_of_boot.clone_from(&last.modules_of_boot);
    }
    files::settle(last, &mut now);
    now
}
