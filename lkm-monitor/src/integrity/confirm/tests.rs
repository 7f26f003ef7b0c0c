use proptest::prelude::*;

use super::*;
use crate::model::{Check, Extent, HiddenModule, KernelHook, ModuleState, Place, Sight, TaintCleared, View};

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
        moved: false,
        others_code: None,
        views: View::ALL.map(|view| (view, Sight::Whole { count: 0 })).into(),
        checks: Check::ALL.map(|check| (check, Sight::Whole { count: 0 })).into(),
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

fn missing(view: View) -> KernelFinding {
    KernelFinding::Hidden(HiddenModule { missing_from: vec![view], ..module(64, ModuleState::Live) })
}

/// Or else who keeps changing would never be told, or all the time.
#[test]
fn a_module_that_hides_another_way_is_the_same_module_and_each_way_is_told_once() {
    let mut confirm = Confirm::default();
    assert_eq!(confirm.settle(&look_at(10, &[missing(View::List)])), []);
    assert_eq!(confirm.settle(&look_at(12, &[missing(View::Kset)])), [missing(View::Kset)]);
    assert_eq!(confirm.settle(&look_at(14, &[missing(View::List)])), []);
    assert_eq!(confirm.settle(&look_at(16, &[missing(View::List)])), [missing(View::List)]);
    for (seconds, view) in (18..40).zip([View::List, View::Kset].into_iter().cycle()) {
        assert_eq!(confirm.settle(&look_at(seconds, &[missing(view)])), []);
    }
}

/// Its name, its extents and what is known of its load are all its own to change.
#[test]
fn a_module_that_keeps_renaming_itself_is_told_once() {
    let mut confirm = Confirm::default();
    let renamed = |seconds: u64| {
        let memory = vec![Extent { address: seconds * 4096, bytes: 4096 }];
        let (name, loaded_boot_ns) = (format!("kit{seconds}"), seconds.is_multiple_of(4).then_some(seconds));
        KernelFinding::Hidden(HiddenModule { name, memory, loaded_boot_ns, ..module(64, ModuleState::Live) })
    };
    assert_eq!(confirm.settle(&look_at(10, &[renamed(10)])), []);
    assert_eq!(confirm.settle(&look_at(12, &[renamed(12)])), [renamed(12)]);
    for seconds in 13..40 {
        assert_eq!(confirm.settle(&look_at(seconds, &[renamed(seconds)])), []);
    }
}

#[test]
fn a_module_that_comes_back_within_ten_minutes_is_told_again_if_it_is_another_load() {
    let mut confirm = Confirm::default();
    let load = |boot_ns| {
        let module = module(64, ModuleState::Live);
        [KernelFinding::Hidden(HiddenModule { loaded_boot_ns: Some(boot_ns), ..module })]
    };
    for seconds in [10, 12] {
        confirm.settle(&look_at(seconds, &load(5)));
    }
    confirm.settle(&look_at(14, &[]));
    assert_eq!(confirm.settle(&look_at(16, &load(5))), []);
    assert_eq!(confirm.settle(&look_at(20, &load(5))), [], "it was told a moment ago");
    confirm.settle(&look_at(22, &[]));
    assert_eq!(confirm.settle(&look_at(24, &load(23))), []);
    assert_eq!(confirm.settle(&look_at(26, &load(23))), load(23), "it was loaded again");
    assert_eq!(confirm.settle(&look_at(28, &load(27))), []);
    assert_eq!(confirm.settle(&look_at(30, &load(27))), load(27), "and no look was in between");
}

#[test]
fn under_modules_that_come_and_go_it_takes_longer_until_a_quiet_moment() {
    let found = [hidden(64)];
    let moved = |seconds| KernelLook { moved: true, ..look_at(seconds, &found) };
    let mut confirm = Confirm::default();
    for seconds in [10, 15, 39] {
        assert_eq!(confirm.settle(&moved(seconds)), []);
    }
    assert_eq!(confirm.settle(&moved(40)), found);
    let mut confirm = Confirm::default();
    for look in [moved(10), look_at(12, &found), look_at(13, &found)] {
        assert_eq!(confirm.settle(&look), []);
    }
    assert_eq!(confirm.next_look(13_000_000_000), Some(SOON / 2));
    assert_eq!(confirm.settle(&look_at(14, &found)), found);
}

/// What changes its target between any two looks is told as well, and each target once.
#[test]
fn an_entry_that_changes_is_found() {
    let entry = |address| {
        let target = Place { address, module: None, hidden: false };
        let table = crate::model::SystemCallTable::X64;
        KernelFinding::SystemCall(crate::model::SystemCallEntry { table, number: 62, target })
    };
    let mut confirm = Confirm::default();
    let told: Vec<usize> = (10..30)
        .step_by(2)
        .zip([1, 2].into_iter().cycle())
        .map(|(seconds, address)| confirm.settle(&look_at(seconds, &[entry(address)])).len())
        .collect();
    assert_eq!((told.iter().sum::<usize>(), told[1]), (2, 1), "{told:?}");
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

/// Neither is who is told forgotten, nor does who was found once win time.
#[test]
fn a_look_that_sees_less_forgets_nothing() {
    let found = [hidden(64)];
    let blind = |seconds, view| {
        let mut look = look_at(seconds, &[]);
        let sight = Sight::Incomplete { count: 0, why: "torn".to_owned() };
        look.views.iter_mut().filter(|(seen, _)| *seen == view).for_each(|(_, seen)| *seen = sight.clone());
        look
    };
    for view in [View::List, View::Memory] {
        let mut confirm = Confirm::default();
        confirm.settle(&look_at(10, &found));
        assert_eq!(confirm.settle(&blind(11, view)), []);
        assert_eq!(confirm.next_look(11_000_000_000), None, "it was not found then");
        assert_eq!(confirm.settle(&look_at(12, &found)), found);
        for seconds in (600..3600).step_by(600) {
            confirm.settle(&blind(seconds, view));
            assert_eq!(confirm.settle(&look_at(seconds + 2, &found)), []);
            assert_eq!(confirm.settle(&look_at(seconds + 4, &found)), []);
        }
    }
}

#[test]
fn what_is_remembered_has_an_end() {
    let mut confirm = Confirm::default();
    for round in 0..40 {
        let found: Vec<_> = (0..256).map(|number| hidden((round * 256 + number) * 64)).collect();
        confirm.settle(&look_at(round * 10, &found));
        assert_eq!(confirm.settle(&look_at(round * 10 + 2, &found)).len(), 256);
    }
    assert_eq!(confirm.told.len(), MOST_REMEMBERED);
    let mut confirm = Confirm::default();
    for round in 0..40 {
        let found: Vec<_> = (0..256).map(|number| hidden((round * 256 + number) * 64)).collect();
        let mut torn = look_at(round, &found);
        torn.views.iter_mut().for_each(|(_, sight)| *sight = Sight::Unavailable { why: "torn".to_owned() });
        confirm.settle(&torn);
    }
    assert_eq!(confirm.pending.len(), MOST_REMEMBERED);
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
            for certain in confirm.settle(&look_at(seconds, &single)) {
                prop_assert!(before.iter().any(|earlier| earlier.is_about_the_same(&certain)));
                prop_assert!(single.contains(&certain));
                prop_assert!(!told.iter().any(|told| told.is_about_the_same(&certain) && certain.is_within(told)));
                told.push(certain);
            }
            told.retain(|told| single.iter().any(|finding| finding.is_about_the_same(told)));
            before = single;
        }
    }
}
