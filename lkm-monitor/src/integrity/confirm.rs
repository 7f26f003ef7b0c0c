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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{KernelHook, Place, Sight, TaintCleared};

    fn module(address: u64, state: ModuleState) -> HiddenModule {
        HiddenModule {
            name: "rootkit".to_owned(),
            address: Some(address),
            memory: Vec::new(),
            state: Some(state),
            taints: Some(0),
            loaded_boot_ns: None,
            seen_in: vec![View::Memory],
            missing_from: vec![View::List],
        }
    }

    fn hidden(address: u64) -> KernelFinding {
        KernelFinding::Hidden(module(address, ModuleState::Live))
    }

    fn look_at(seconds: u64, findings: &[KernelFinding]) -> KernelLook {
        KernelLook {
            boot_ns: seconds * 1_000_000_000,
            cpu_ns: 0,
            elapsed_ns: 0,
            views: vec![(View::List, Sight::Whole { count: 0 })],
            checks: Vec::new(),
            findings: findings.to_vec(),
            more_findings: 0,
        }
    }

    #[test]
    fn what_was_found_twice_is_told_once_until_it_goes() {
        let mut confirm = Confirm::default();
        let found = [hidden(64)];
        assert_eq!(confirm.settle(&look_at(10, &found)), []);
        assert_eq!(confirm.next_look(10_000_000_000), Some(SOON));
        assert_eq!(confirm.settle(&look_at(11, &found)), [], "too soon");
        assert_eq!(confirm.next_look(11_000_000_000), Some(SOON / 2));
        assert_eq!(confirm.settle(&look_at(12, &found)), found);
        assert_eq!(confirm.next_look(12_000_000_000), None);
        assert_eq!(confirm.settle(&look_at(600, &found)), []);
        assert_eq!(confirm.settle(&look_at(1200, &[])), []);
        assert_eq!(confirm.settle(&look_at(1800, &found)), []);
        assert_eq!(confirm.settle(&look_at(1802, &found)), found, "it is back");
    }

    #[test]
    fn a_race_is_not_told() {
        let mut confirm = Confirm::default();
        assert_eq!(confirm.settle(&look_at(10, &[hidden(64)])), []);
        assert_eq!(confirm.settle(&look_at(12, &[hidden(128)])), [], "another one");
        assert_eq!(confirm.settle(&look_at(14, &[])), []);
        assert_eq!(confirm.settle(&look_at(16, &[hidden(128)])), [], "it was gone meanwhile");
    }

    /// Or else who keeps changing would never be told.
    #[test]
    fn a_module_that_hides_another_way_is_the_same_module_and_is_told_again() {
        let mut confirm = Confirm::default();
        let other = |missing: View| {
            KernelFinding::Hidden(HiddenModule { missing_from: vec![missing], ..module(64, ModuleState::Live) })
        };
        assert_eq!(confirm.settle(&look_at(10, &[other(View::List)])), []);
        assert_eq!(confirm.settle(&look_at(12, &[other(View::Kset)])), [other(View::Kset)]);
        assert_eq!(confirm.settle(&look_at(14, &[other(View::List)])), []);
        assert_eq!(confirm.settle(&look_at(16, &[other(View::List)])), [other(View::List)]);
        assert_eq!(confirm.settle(&look_at(18, &[other(View::List)])), []);
    }

    #[test]
    fn what_may_be_on_its_way_takes_longer() {
        let of_history = HiddenModule { seen_in: vec![View::History], state: None, ..module(64, ModuleState::Live) };
        for slow in [module(64, ModuleState::Coming), module(64, ModuleState::Unformed), of_history] {
            let mut confirm = Confirm::default();
            let found = [KernelFinding::Hidden(slow)];
            for seconds in [10, 12, 39] {
                assert_eq!(confirm.settle(&look_at(seconds, &found)), []);
            }
            assert_eq!(confirm.settle(&look_at(40, &found)), found);
        }
    }

    #[test]
    fn a_look_that_sees_less_forgets_nothing() {
        let mut confirm = Confirm::default();
        let found = [hidden(64)];
        confirm.settle(&look_at(10, &found));
        confirm.settle(&look_at(12, &found));
        let blind = Sight::Unavailable { why: "forbidden".to_owned() };
        assert_eq!(confirm.settle(&KernelLook { views: vec![(View::List, blind)], ..look_at(14, &[]) }), []);
        assert_eq!(confirm.settle(&look_at(16, &found)), []);
        assert_eq!(confirm.settle(&look_at(18, &found)), []);
    }

    fn any_finding() -> impl Strategy<Value = KernelFinding> {
        let target = Place { address: 1, module: None, hidden: false };
        let hook = move |record| KernelHook {
            kind: crate::model::HookKind::Ftrace,
            record: Some(record),
            site: None,
            target: target.clone(),
        };
        let cleared = |bits| TaintCleared { bits, mask: 0, modules: Vec::new(), had: bits };
        prop_oneof![
            (0..3_u64).prop_map(hidden),
            (0..3_u64).prop_map(move |record| KernelFinding::Hook(hook(record))),
            (1..3_u64).prop_map(move |bits| KernelFinding::TaintCleared(cleared(bits))),
        ]
    }

    proptest! {
        /// What is told was in this look and in an earlier one, and was not told since it came.
        #[test]
        fn nothing_is_told_that_was_not_found_before(
            looks in proptest::collection::vec((proptest::collection::vec(any_finding(), 0..4), 0..5_u64), 0..30),
        ) {
            let mut confirm = Confirm::default();
            let (mut before, mut told, mut seconds): (Vec<KernelFinding>, Vec<KernelFinding>, _) = (Vec::new(), Vec::new(), 0);
            for (mut findings, wait) in looks {
                findings.dedup_by(|one, other| one.is_about_the_same(other));
                let mut single: Vec<KernelFinding> = Vec::new();
                for finding in findings {
                    if !single.iter().any(|known| known.is_about_the_same(&finding)) {
                        single.push(finding);
                    }
                }
                seconds += wait;
                told.retain(|told| single.iter().any(|finding| finding.is_about_the_same(told)));
                for certain in confirm.settle(&look_at(seconds, &single)) {
                    prop_assert!(before.iter().any(|earlier| earlier.is_about_the_same(&certain)));
                    prop_assert!(!told.iter().any(|told| told.is_same(&certain)));
                    told.retain(|told| !told.is_about_the_same(&certain));
                    told.push(certain);
                }
                before = single;
            }
        }
    }
}
