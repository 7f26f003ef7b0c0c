//! What modules came and went.

use super::*;

#[test]
fn a_module_that_came_or_went_is_told_with_when_that_can_have_been_and_why_nobody_saw_it() {
    let change = |now: &mut HostState| {
        let modules = now.modules.as_mut().unwrap();
        modules.insert("rootkit".to_owned(), module(1));
        modules.remove("b");
        modules.insert("a".to_owned(), module(11));
    };
    let found = unwatched(change, &none());
    assert_eq!(names(&found), ["loaded a for another", "gone b", "loaded rootkit"]);
    let window = Window { not_before: Some(at(160)), not_after: at(190) };
    assert!(found.drifts.iter().all(|drift| (drift.window, drift.unseen) == (window, Unseen::NotRunning)), "{found:?}");

    let found = watched(change, &none());
    let window = Window { not_before: Some(at(LAST_S)), not_after: at(NOW_S + 1) };
    assert!(found.drifts.iter().all(|drift| (drift.window, drift.unseen) == (window, Unseen::Unknown)), "{found:?}");
    for (blind, lost, unseen) in [(true, true, Unseen::Blind), (false, true, Unseen::LostEvents)] {
        let found = compared(&state(LAST_S), &changed(change), &none(), Watch::of_this_run(at(50), blind, lost));
        assert_eq!(found.drifts[0].unseen, unseen);
    }
}

#[test]
fn live_calls_explain_modules_unless_they_came_after_the_look() {
    let change = |now: &mut HostState| {
        let modules = now.modules.as_mut().unwrap();
        modules.insert("new".to_owned(), module(1));
        modules.insert("a".to_owned(), module(11));
        modules.remove("b");
    };
    let calls = |boot_s| {
        let mut seen = none();
        let unload = ModuleCall { operation: crate::model::Operation::DeleteModule, freed: true, ..load("b", boot_s) };
        for call in [load("new", boot_s), load("a", boot_s), unload] {
            assert!(seen.note_call(&call));
        }
        seen
    };
    let found = watched(change, &calls(150));
    assert_eq!((names(&found), found.explained), (vec![], 3));
    assert_eq!(names(&watched(change, &calls(250))).len(), 3, "they came after the look");
    let mut failed = none();
    assert!(!failed.note_call(&ModuleCall { stage: crate::model::LoadStage::Refused, ..load("new", 150) }));
    assert_eq!(names(&watched(change, &failed)).len(), 3, "a load that was refused explains nothing");
}

#[test]
fn a_list_that_could_not_be_read_says_nothing() {
    assert_eq!(watched(|now| now.modules = None, &none()), Compared::default());
    let kept = settled(Some(&state(LAST_S)), changed(|now| now.modules = None));
    assert_eq!(kept.modules, state(LAST_S).modules, "it is compared with the last one that could");
}

#[test]
fn another_boot_has_modules_of_its_own_and_only_what_never_was_there_is_told() {
    let other = |now: &mut HostState| {
        // The clock since boot began anew.
        (now.boot_id, now.begun.boot_ns, now.ended.boot_ns) = ("c".to_owned(), 5_000_000_000, 6_000_000_000);
        now.modules_of_boot.clear();
        let modules = now.modules.as_mut().unwrap();
        modules.remove("b");
        modules.insert("a".to_owned(), module(99));
        modules.insert("new".to_owned(), module(1));
        modules.insert("was-there-once".to_owned(), module(1));
        now.taints = Some(0);
    };
    let mut last = state(LAST_S);
    last.modules_of_boot.insert("was-there-once".to_owned());
    let watch = Watch { earlier_until: Some(at(160)), since: at(4), blind: false, lost: false };
    let found = compared(&last, &changed(other), &none(), watch);
    assert_eq!(names(&found), ["loaded new"]);
    assert_eq!(found.drifts[0].unseen, Unseen::BeforeStart);
    let window = found.drifts[0].window;
    assert_eq!((window.not_before.unwrap().boot_ns, window.not_after), (0, at(4)));
    let kept = settled(Some(&last), changed(other));
    assert!(!kept.modules_of_boot.contains("b"), "{kept:?}");
}

#[test]
fn a_forged_boot_id_makes_no_other_boot() {
    let forged = |now: &mut HostState| {
        now.boot_id = "forged".to_owned();
        now.taints = Some(0b01);
        now.modules.as_mut().unwrap().remove("a");
    };
    assert_eq!(names(&watched(forged, &none())), ["taint 0b10", "gone a"]);
}

#[test]
fn a_module_is_explained_by_the_last_note_of_it() {
    let unload = |name: &str, boot_s| ModuleCall {
        operation: crate::model::Operation::DeleteModule,
        freed: true,
        ..load(name, boot_s)
    };
    let noted = |calls: &[ModuleCall]| {
        let mut seen = none();
        calls.iter().for_each(|call| assert!(seen.note_call(call)));
        seen
    };
    let with_new = |taints: &str| {
        let new = ModuleSeen { taints: taints.to_owned(), ..module(1) };
        changed(move |now| drop(now.modules.as_mut().unwrap().insert("new".to_owned(), new.clone())))
    };
    let told = |now: &HostState, calls: &[ModuleCall]| {
        let found = after_break(&state(LAST_S), now, &noted(calls), &none());
        (names(&found), found.explained)
    };
    let both = [load("new", 120), unload("new", 130)];
    assert_eq!(told(&with_new(""), &both), (vec!["loaded new".to_owned()], 0), "it came and went, and another came");
    assert_eq!(told(&with_new(""), &[load("new", 120)]), (vec![], 1));
    assert_eq!(told(&state(NOW_S), &both), (vec![], 0));
    assert_eq!(told(&state(NOW_S), &[load("new", 120)]), (vec!["gone new".to_owned()], 0));
    let mut tainted = load("new", 120);
    tainted.module.taints = Some(1 << 12);
    let now = |taints| HostState { taints: Some(0b11 | 1 << 12), ..with_new(taints) };
    assert_eq!(told(&now("OE"), std::slice::from_ref(&tainted)), (vec![], 1), "the kernel may mark it as more");
    assert_eq!(told(&now(""), std::slice::from_ref(&tainted)).0, ["loaded new for another"]);
    let again = [unload("b", 120), load("b", 130)];
    assert_eq!(told(&state(NOW_S), &again), (vec![], 0));
    assert_eq!(told(&state(NOW_S), &again[..1]).0, ["loaded b"], "it went, and nobody saw it come back");
}

#[test]
fn a_module_that_was_loaded_again_is_another_inode() {
    let of = |inode| ModuleSeen { inode: Some(inode), ..module(20) };
    let with = |inode| {
        let mut state = state(NOW_S);
        state.modules.as_mut().unwrap().insert("b".to_owned(), of(inode));
        state
    };
    let last = HostState { begun: at(LAST_S), ended: at(LAST_S + 1), ..with(7) };
    let found = |inode| names(&after_break(&last, &with(inode), &none(), &none()));
    assert_eq!((found(7), found(8)), (vec![], vec!["loaded b for another".to_owned()]));
}

#[test]
fn a_list_of_modules_that_cannot_be_read_whole_is_told_and_what_is_new_in_it_too() {
    let list = |sight| {
        let mut state = state(LAST_S);
        state.places.insert(HostState::MODULES.to_owned(), place(sight));
        state
    };
    let found = |now: &HostState| {
        names(&compared(&list(PlaceSight::Whole), now, &none(), Watch::of_this_run(at(50), false, false)))
    };
    let now = |sight, modules: &[(&str, u64)]| {
        let modules = modules.iter().map(|(name, size)| ((*name).to_owned(), module(*size))).collect();
        HostState { begun: at(NOW_S), ended: at(NOW_S + 1), modules: Some(modules), ..list(sight) }
    };
    let strange = now(PlaceSight::Strange, &[("a", 10), ("new", 1)]);
    assert_eq!(found(&strange), ["loaded new", "place /proc/modules"]);
    let kept = settled(Some(&list(PlaceSight::Whole)), strange);
    assert_eq!(kept.modules.unwrap().into_keys().collect::<Vec<_>>(), ["a", "b", "new"]);
    for sight in [PlaceSight::Failed, PlaceSight::Gone] {
        let unread = HostState { modules: None, ..now(sight, &[]) };
        assert_eq!(found(&unread), ["place /proc/modules"], "{sight:?}");
    }
    assert_eq!(found(&now(PlaceSight::Whole, &[("a", 10)])), ["gone b"]);
}
