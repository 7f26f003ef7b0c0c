//! Settings and taints.

use super::*;

#[test]
fn policy_that_demands_less_is_told_and_what_the_kernel_never_allows_is_called_so() {
    let weaker = |now: &mut HostState| {
        now.policy.command_line = Some(vec!["modules_load=x".to_owned()]);
        now.policy.lockdown = Some("none".to_owned());
        now.policy.sig_enforce = Some(false);
        now.policy.modules_disabled = Some(false);
        now.policy.modprobe = Some("/tmp/x".to_owned());
    };
    let named = |weights: [Weight; 5]| {
        let settings = [
            Setting::CommandLine,
            Setting::Lockdown,
            Setting::SignatureEnforcement,
            Setting::ModulesDisabled,
            Setting::Modprobe,
        ];
        settings
            .into_iter()
            .zip(weights)
            .map(|(setting, weight)| format!("{} {weight:?}", setting.name()))
            .collect::<Vec<_>>()
    };
    use Weight::{Impossible, Other, Weaker};
    assert_eq!(names(&watched(weaker, &none())), named([Impossible, Impossible, Impossible, Impossible, Weaker]));
    let other_boot = |now: &mut HostState| {
        weaker(now);
        (now.boot_id, now.begun, now.ended) = ("c".to_owned(), at(5), at(6));
    };
    let of_boot = named([Weaker, Weaker, Weaker, Other, Weaker]);
    let but_disabled: Vec<_> = of_boot.iter().filter(|name| !name.contains("modules_disabled")).cloned().collect();
    assert_eq!(names(&unwatched(other_boot, &none())), but_disabled);
    let stronger = |now: &mut HostState| now.policy.lockdown = Some("confidentiality".to_owned());
    assert_eq!(watched(stronger, &none()), Compared::default());
    let more_demands = |now: &mut HostState| {
        now.policy.command_line.as_mut().unwrap().push("module_blacklist=a".to_owned());
        (now.boot_id, now.begun, now.ended) = ("c".to_owned(), at(5), at(6));
    };
    assert_eq!(names(&unwatched(more_demands, &none())), ["command-line Other"]);
}

#[test]
fn what_each_boot_begins_without_is_told_when_it_is_not_set_at_the_second_look() {
    let first = changed(|now| {
        (now.boot_id, now.begun, now.ended) = ("c".to_owned(), at(5), at(6));
        now.policy.modules_disabled = Some(false);
    });
    let kept = settled(Some(&state(LAST_S)), first.clone());
    assert!(kept.modules_disabled_due);
    let look = |modules_disabled| {
        let mut now = HostState { begun: at(50), ended: at(51), ..first.clone() };
        now.policy.modules_disabled = Some(modules_disabled);
        let watch = Watch::of_this_run(at(4), false, false);
        (names(&compared(&kept, &now, &none(), watch)), settled(Some(&kept), now).modules_disabled_due)
    };
    assert_eq!(look(true), (vec![], false));
    assert_eq!(look(false), (vec!["kernel.modules_disabled Other".to_owned()], false));
}

#[test]
fn a_setting_that_cannot_be_read_is_told_once_and_compared_with_what_it_was() {
    let hidden = |now: &mut HostState| now.policy = crate::model::KernelSettings::default();
    let settings = ["command-line", "lockdown", "module.sig_enforce", "kernel.modules_disabled", "kernel.modprobe"];
    assert_eq!(names(&watched(hidden, &none())), settings.map(|name| format!("{name} Other")));
    let kept = settled(Some(&state(LAST_S)), changed(hidden));
    assert_eq!((&kept.policy, kept.policy_unread.len()), (&state(LAST_S).policy, 5));
    let look = |change: &dyn Fn(&mut HostState)| {
        let mut now = state(300);
        change(&mut now);
        names(&compared(&kept, &now, &none(), Watch::default()))
    };
    assert_eq!(look(&hidden), [""; 0], "it was told");
    assert_eq!(look(&|now| now.policy.sig_enforce = Some(false)), ["module.sig_enforce Impossible"]);
    assert_eq!(settled(Some(&kept), state(300)).policy_unread.len(), 0);
}

#[test]
fn a_setting_that_was_changed_live_is_explained_by_its_value() {
    let set = |value: &str| {
        let mut report = written(150, None, "aa");
        report.change.path = model_samples::path("/proc/sys/kernel/modprobe");
        report.subject = Subject::Setting;
        report.content.value_before = Some(b"/sbin/modprobe".to_vec());
        report.content.value = Some(value.as_bytes().to_vec());
        seen(&[report])
    };
    let change = |now: &mut HostState| now.policy.modprobe = Some("/tmp/x".to_owned());
    assert_eq!(watched(change, &set("/tmp/x")).explained, 1);
    assert_eq!(names(&watched(change, &set("/tmp/y"))), ["kernel.modprobe Weaker"]);
}

#[test]
fn a_taint_that_was_cleared_is_told_until_it_is_settled_and_then_remembered() {
    let cleared = |now: &mut HostState| now.taints = Some(0b01);
    assert_eq!(names(&watched(cleared, &none())), ["taint 0b10"]);
    let kept = settled(Some(&state(LAST_S)), changed(cleared));
    assert_eq!((kept.taints, kept.taints_lost), (Some(0b01), 0b10));
    let later = settled(Some(&kept), state(300));
    assert_eq!((later.taints, later.taints_lost), (Some(0b11), 0), "it is there again");
    let unreadable = settled(Some(&state(LAST_S)), changed(|now| now.taints = None));
    assert_eq!(unreadable.taints, Some(0b11), "it is compared with the last one that could be read");
}

#[test]
fn a_taint_that_a_module_brought_live_and_that_is_not_there_was_cleared() {
    let mut seen = none();
    let mut call = load("x", 150);
    call.module.taints = Some(1 << 13);
    seen.note_call(&call);
    let x = || ModuleSeen { taints: "E".to_owned(), ..module(1) };
    let with_module = |now: &mut HostState| drop(now.modules.as_mut().unwrap().insert("x".to_owned(), x()));
    assert_eq!(names(&watched(with_module, &seen)), ["taint 0b10000000000000"]);
    let mut under_way = none();
    call.outcome = Some(crate::model::CallOutcome { ret: 0, boot_ns: at(NOW_S).boot_ns + 1 });
    under_way.note_call(&call);
    assert_eq!(names(&watched(with_module, &under_way)), [""; 0], "the mask was read before the load was over");
    let tainted = |now: &mut HostState| {
        with_module(now);
        now.taints = Some(0b11 | 1 << 13);
    };
    assert_eq!(names(&watched(tainted, &seen)), Vec::<String>::new());
}
