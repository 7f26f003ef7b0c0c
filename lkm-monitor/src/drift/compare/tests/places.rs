//! What can be looked at.

use super::*;

#[test]
fn a_place_that_cannot_be_looked_at_is_told_once_and_its_files_are_not_gone() {
    for sight in [
        PlaceSight::Failed,
        PlaceSight::SlowFileSystem,
        PlaceSight::Special,
        PlaceSight::Unreachable,
        PlaceSight::NotReached,
    ] {
        let hidden = |now: &mut HostState| {
            now.files.clear();
            now.places.insert("/etc/modprobe.d".to_owned(), place(sight));
        };
        assert_eq!(names(&watched(hidden, &none())), ["place /etc/modprobe.d"], "{sight:?}");
        let kept = settled(Some(&state(LAST_S)), changed(hidden));
        assert!(kept.files.contains_key(CONF), "what was known of it stays what it is compared with");
        let mut back = state(300);
        back.files.insert(CONF.to_owned(), file("bb"));
        let found = compared(&kept, &back, &none(), Watch::default());
        assert_eq!(names(&found), ["changed /etc/modprobe.d/a.conf"]);
    }
    let full = |now: &mut HostState| {
        now.files.clear();
        now.places.insert("/etc/modprobe.d".to_owned(), place(PlaceSight::TooManyFiles));
    };
    assert_eq!(names(&watched(full, &none())), ["place /etc/modprobe.d"]);
}

#[test]
fn a_link_or_a_mount_in_the_stead_of_a_place_is_told() {
    let change = |change: fn(&mut PlaceSeen)| {
        names(&watched(|now| change(now.places.get_mut("/etc/modprobe.d").unwrap()), &none()))
    };
    assert_eq!(change(|place| place.leads_to = Some("/opt/x".to_owned())), ["place /etc/modprobe.d"]);
    assert_eq!(change(|place| place.mount_point = Some("/etc/modprobe.d".to_owned())), ["place /etc/modprobe.d"]);
    let mut mounted = written(150, None, "aa");
    (mounted.change.action, mounted.whole_folder) = (FileAction::MountedOver, true);
    mounted.change.path = model_samples::path("/etc/modprobe.d");
    let hidden = |now: &mut HostState| {
        now.files.clear();
        now.places.get_mut("/etc/modprobe.d").unwrap().mount_point = Some("/etc/modprobe.d".to_owned());
    };
    let mounts = seen(&[mounted]);
    let found = watched(hidden, &mounts);
    assert_eq!((names(&found), found.explained), (vec![], 2), "the mount was seen, and what it hides");
    let found = after_break(&state(LAST_S), &changed(hidden), &mounts, &none());
    assert_eq!(names(&found), ["place /etc/modprobe.d".to_owned(), format!("removed {CONF}")]);
    assert!(found.drifts.iter().all(|drift| drift.perhaps_seen), "somebody may have mounted another one since");
}

#[test]
fn a_place_that_was_not_watched_before_has_nothing_to_be_compared_with() {
    let more = |now: &mut HostState| {
        now.places.insert("/opt/modprobe.d".to_owned(), place(PlaceSight::Whole));
        now.files.insert("/opt/modprobe.d/a.conf".to_owned(), file("aa"));
    };
    assert_eq!(watched(more, &none()), Compared::default());
    let fewer = |now: &mut HostState| {
        now.places.remove("/etc/modprobe.d");
        now.files.clear();
    };
    assert_eq!(watched(fewer, &none()), Compared::default());
}

#[test]
fn what_lies_in_run_is_made_anew_at_each_boot() {
    let mut last = state(LAST_S);
    last.files.insert("/run/modprobe.d/x.conf".to_owned(), file("aa"));
    let other = changed(|now| (now.boot_id, now.begun, now.ended) = ("c".to_owned(), at(5), at(6)));
    assert_eq!(names(&compared(&last, &state(NOW_S), &none(), Watch::default())).len(), 1);
    assert_eq!(names(&compared(&last, &other, &none(), Watch::default())), Vec::<String>::new());
}

#[test]
fn other_settings_make_no_differences_of_files() {
    let selected = |excluded: &[&str]| Selected {
        watched: vec!["/etc/modprobe.d/*".to_owned()],
        excluded: excluded.iter().map(|pattern| (*pattern).to_owned()).collect(),
    };
    let of = |excluded: &[&str], files: &[&str], boot_s| {
        let files = files.iter().map(|name| (format!("/etc/modprobe.d/{name}"), file("aa"))).collect();
        HostState { selected: selected(excluded), files, ..state(boot_s) }
    };
    let found = |last: &HostState, now: &HostState| names(&compared(last, now, &none(), Watch::default()));
    let (all, some) = (of(&[], &["a", "b"], LAST_S), of(&["/etc/modprobe.d/b"], &["a"], LAST_S));
    let later = |state: &HostState| HostState { begun: at(NOW_S), ended: at(NOW_S + 1), ..state.clone() };
    assert_eq!(found(&all, &later(&some)), [""; 0], "it is excluded now");
    assert_eq!(found(&some, &later(&all)), [""; 0], "it was excluded");
    let removed = of(&["/etc/modprobe.d/b"], &[], NOW_S);
    assert_eq!(found(&all, &removed), ["removed /etc/modprobe.d/a"]);
    let created = of(&[], &["a", "b", "c"], NOW_S);
    assert_eq!(found(&some, &created), ["created /etc/modprobe.d/c"]);
}

#[test]
fn new_files_are_told_where_it_was_known_once_that_there_were_none() {
    let hidden = |now: &mut HostState| {
        now.files.clear();
        now.places.insert("/etc/modprobe.d".to_owned(), place(PlaceSight::NotReached));
    };
    let kept = settled(Some(&state(LAST_S)), changed(hidden));
    let kept = settled(Some(&kept), changed(hidden));
    let mut back = state(300);
    back.files.insert("/etc/modprobe.d/new.conf".to_owned(), file("aa"));
    let found = names(&compared(&kept, &back, &none(), Watch::default()));
    assert_eq!(found, ["created /etc/modprobe.d/new.conf"]);
    let never = settled(None, changed(hidden));
    assert_eq!(names(&compared(&never, &back, &none(), Watch::default())), [""; 0]);

    let with_folder = |now: &mut HostState| {
        now.places.insert("/lib/x/security".to_owned(), place(PlaceSight::Whole));
        now.files.insert("/lib/x/security/a.so".to_owned(), file("aa"));
    };
    assert_eq!(watched(with_folder, &none()), Compared::default());
    let mut last = state(LAST_S);
    last.patterns.insert("/lib/*/security".to_owned());
    let found = compared(&last, &changed(with_folder), &none(), Watch::default());
    assert_eq!(names(&found), ["created /lib/x/security/a.so"], "the pattern would have shown the folder");
}

#[test]
fn what_is_kept_of_a_full_place_has_an_end() {
    let mut last = state(LAST_S);
    let name = |number| format!("/etc/modprobe.d/{number}{}", "x".repeat(1000));
    last.files.extend((0..10_000).map(|number| (name(number), file("aa"))));
    let full = changed(|now| {
        now.places.insert("/etc/modprobe.d".to_owned(), place(PlaceSight::TooManyFiles));
    });
    let kept = settled(Some(&last), full);
    assert!(kept.files.len() > 5000 && kept.files.len() < 8000, "{}", kept.files.len());
    assert!(!kept.places["/etc/modprobe.d"].was_known, "what is not kept is not new when it is seen again");
}
