use super::*;
use crate::{
    drift::{
        samples::{at, file, module, place, state},
        seen::{Part, Seen},
    },
    model::{
        Content, ContentStatus, FileAction, FileChange, FileReport, FileSeen, FileState, FileTime, ModuleCall,
        ModuleFacts, ModuleSeen, PlaceSeen, PlaceSight, Selected, Setting, Subject, TargetSeen, Weight, Writing,
        samples as model_samples, text::unhex,
    },
};

const CONF: &str = "/etc/modprobe.d/a.conf";
/// The last look at 100 s, this one at 200 s after the boot.
const LAST_S: u64 = 100;
const NOW_S: u64 = 200;

/// Differences of a host that somebody watched, in which `change` was made, where so much was seen live.
fn watched(change: impl Fn(&mut HostState), seen: &Seen) -> Compared {
    compared(&state(LAST_S), &changed(change), seen, Watch::of_this_run(at(50), false, false))
}

/// The same of a host that nobody watched from 160 s to 190 s.
fn unwatched(change: impl Fn(&mut HostState), seen: &Seen) -> Compared {
    let watch = Watch { earlier_until: Some(at(160)), since: at(190), blind: false, lost: false };
    compared(&state(LAST_S), &changed(change), seen, watch)
}

fn changed(change: impl Fn(&mut HostState)) -> HostState {
    let mut now = state(NOW_S);
    change(&mut now);
    now
}

fn compared(last: &HostState, now: &HostState, seen: &Seen, watch: Watch) -> Compared {
    let part = Part { seen, after_break: watch.earlier_until.is_some(), is_past: false };
    let look_ns = (now.begun.boot_ns, now.ended.boot_ns);
    compare(&Between { last, now, notes: Notes { parts: vec![part], look_ns }, watch })
}

/// Differences from what the run before looked at and then saw live, with what this one saw after a break.
fn after_break(last: &HostState, now: &HostState, carried: &Seen, seen: &Seen) -> Compared {
    let carried = Part { seen: carried, after_break: false, is_past: true };
    let own = Part { seen, after_break: true, is_past: false };
    let notes = Notes { parts: vec![carried, own], look_ns: (now.begun.boot_ns, now.ended.boot_ns) };
    let watch = Watch { earlier_until: Some(at(160)), since: at(190), blind: false, lost: false };
    compare(&Between { last, now, notes, watch })
}

fn none() -> Seen {
    Seen::default()
}

/// What is told, in words.
fn names(compared: &Compared) -> Vec<String> {
    let name = |drift: &Drift| match &drift.what {
        Drifted::ModuleLoaded { name, before, .. } => {
            format!("loaded {name}{}", if before.is_some() { " for another" } else { "" })
        }
        Drifted::ModuleGone { name, .. } => format!("gone {name}"),
        Drifted::File { path, before, now } => match (before, now) {
            (None, _) => format!("created {path}"),
            (_, None) => format!("removed {path}"),
            _ => format!("changed {path}"),
        },
        Drifted::Place { path, .. } => format!("place {path}"),
        Drifted::Policy { setting, weight, .. } => format!("{} {weight:?}", setting.name()),
        Drifted::TaintLost { lost, .. } => format!("taint {lost:#b}"),
        Drifted::More(_) | Drifted::NoEnd | Drifted::Record(_) => unreachable!("{drift:?}"),
    };
    compared.drifts.iter().map(name).collect()
}

fn load(name: &str, boot_s: u64) -> ModuleCall {
    ModuleCall {
        module: ModuleFacts { name: Some(crate::model::Bytes::whole(name)), ..ModuleFacts::default() },
        boot_ns: at(boot_s).boot_ns,
        ..model_samples::load()
    }
}

fn of_content(digits: &str) -> FileState {
    let sha256 = unhex(&digits.repeat(32)).unwrap().try_into().unwrap();
    FileState { sha256: Some(sha256), mode: 0o100_644, ..FileState::default() }
}

/// Its hash is made of these two digits.
fn seen_file(digits: &str) -> FileSeen {
    file(&digits.repeat(32))
}

fn written(boot_s: u64, before: Option<&str>, after: &str) -> FileReport {
    FileReport {
        change: FileChange {
            action: FileAction::Written,
            boot_ns: at(boot_s).boot_ns,
            closed_boot_ns: Some(at(boot_s).boot_ns),
            path: model_samples::path(CONF),
            ..model_samples::file_change()
        },
        subject: Subject::Modprobe,
        whole_folder: false,
        left: false,
        of_host: true,
        content: Content {
            status: ContentStatus::Read,
            before: before.map(of_content),
            after: Some(of_content(after)),
            ..Content::default()
        },
    }
}

fn seen(reports: &[FileReport]) -> Seen {
    let mut seen = Seen::default();
    reports.iter().for_each(|report| assert!(seen.note_file(report)));
    seen
}

fn holds(digits: &str) -> impl Fn(&mut HostState) {
    let digits = digits.to_owned();
    move |now| drop(now.files.insert(CONF.to_owned(), seen_file(&digits)))
}

fn last_held(digits: &str) -> HostState {
    let mut last = state(LAST_S);
    holds(digits)(&mut last);
    last
}

#[test]
fn the_same_host_is_no_difference() {
    assert_eq!(watched(|_| {}, &none()), Compared::default());
    assert_eq!(unwatched(|_| {}, &none()), Compared::default());
}

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
fn files_that_were_created_changed_and_removed_are_told() {
    let change = |now: &mut HostState| {
        now.files.clear();
        now.files.insert("/etc/modprobe.d/b.conf".to_owned(), file("bb"));
    };
    assert_eq!(
        names(&unwatched(change, &none())),
        ["removed /etc/modprobe.d/a.conf", "created /etc/modprobe.d/b.conf"]
    );
    assert_eq!(names(&unwatched(holds("bb"), &none())), ["changed /etc/modprobe.d/a.conf"]);
}

#[test]
fn attributes_and_what_a_link_leads_to_count_and_times_alone_do_not() {
    let differs = |change: fn(&mut FileSeen)| {
        let found = watched(|now| change(now.files.get_mut(CONF).unwrap()), &none());
        names(&found).len()
    };
    assert_eq!(differs(|file| file.mode = 0o100_666), 1);
    assert_eq!(differs(|file| file.uid = 1000), 1);
    assert_eq!(differs(|file| (file.modified_ns, file.changed_ns, file.inode) = (Some(9), Some(9), 9)), 0);
    let link = |sha256: &str| FileSeen {
        target: Some(TargetSeen { says: "../x".to_owned(), sha256: Some(sha256.to_owned()), unread: None }),
        sha256: None,
        mode: 0o120_777,
        ..file("")
    };
    let mut last = state(LAST_S);
    last.files.insert(CONF.to_owned(), link("aa"));
    let now = |sha256| changed(move |now| drop(now.files.insert(CONF.to_owned(), link(sha256))));
    let found = |sha256| names(&compared(&last, &now(sha256), &none(), Watch::default()));
    assert_eq!((found("aa").len(), found("bb").len()), (0, 1));
}

#[test]
fn of_what_was_not_read_the_inode_tells() {
    let unread = |changed_ns| FileSeen {
        sha256: None,
        unread: Some("too-large".to_owned()),
        changed_ns: Some(changed_ns),
        ..file("aa")
    };
    let mut last = state(LAST_S);
    last.files.insert(CONF.to_owned(), unread(1));
    let found = |changed_ns| {
        let now = changed(|now| drop(now.files.insert(CONF.to_owned(), unread(changed_ns))));
        names(&compared(&last, &now, &none(), Watch::default())).len()
    };
    assert_eq!((found(1), found(2)), (0, 1));
}

#[test]
fn a_live_change_explains_what_it_left_behind_and_nothing_else() {
    let explained = |reports: &[FileReport]| {
        let found =
            compared(&last_held("aa"), &changed(holds("cc")), &seen(reports), Watch::of_this_run(at(50), false, false));
        found.drifts.is_empty()
    };
    assert!(explained(&[written(150, Some("aa"), "cc")]));
    assert!(explained(&[written(150, Some("aa"), "bb"), written(160, Some("bb"), "cc")]));
    assert!(!explained(&[written(150, Some("aa"), "bb")]), "another content");
    assert!(!explained(&[written(250, Some("aa"), "cc")]), "after the look");
    assert!(!explained(&[written(150, Some("aa"), "cc"), written(160, Some("cc"), "dd")]), "it was changed once more");
    let during = [written(150, Some("aa"), "cc"), written(NOW_S, Some("cc"), "dd")];
    assert!(explained(&during), "the look came before the second one");
    let unread = FileReport {
        content: Content { status: ContentStatus::ChangedSince, ..written(1, Some("aa"), "dd").content },
        ..written(150, None, "dd")
    };
    assert!(explained(&[unread]), "what it left is not known");
    let of_another_mode = FileReport {
        content: Content {
            after: Some(FileState { mode: 0o100_600, ..of_content("cc") }),
            ..written(1, Some("aa"), "cc").content
        },
        ..written(150, None, "cc")
    };
    assert!(!explained(&[of_another_mode]));
}

#[test]
fn a_change_after_the_start_does_not_explain_one_before_it() {
    let explained = |report: FileReport| {
        let watch = Watch { earlier_until: Some(at(160)), since: at(190), blind: false, lost: false };
        compared(&last_held("aa"), &changed(holds("cc")), &seen(&[report]), watch).drifts.is_empty()
    };
    assert!(explained(written(195, Some("aa"), "cc")));
    assert!(!explained(written(195, Some("bb"), "cc")), "somebody had made bb of aa");
    assert!(!explained(written(195, None, "cc")), "what was there before is not known");
}

#[test]
fn what_the_earlier_run_saw_is_explained() {
    let record = seen(&[written(150, None, "cc")]);
    let found = after_break(&last_held("aa"), &changed(holds("cc")), &record, &none());
    assert_eq!((found.drifts.len(), found.explained), (0, 1));
}

#[test]
fn what_was_seen_and_undone_while_nobody_watched_is_told() {
    let undone = |last: &HostState, now: &HostState, report: FileReport| {
        let found = after_break(last, now, &seen(&[report]), &none());
        (names(&found), found.explained)
    };
    let removed = changed(|now| now.files.clear());
    let mut none_before = state(LAST_S);
    none_before.files.clear();
    let created = FileReport {
        change: FileChange { action: FileAction::Created, ..written(150, None, "cc").change },
        ..written(150, None, "cc")
    };
    assert_eq!(undone(&none_before, &removed, created), (vec![format!("removed {CONF}")], 0));
    assert_eq!(
        undone(&last_held("aa"), &changed(holds("aa")), written(150, Some("aa"), "cc")),
        (vec![format!("changed {CONF}")], 0)
    );
    let gone = FileReport {
        change: FileChange { action: FileAction::Removed, ..written(150, None, "aa").change },
        ..written(150, None, "aa")
    };
    assert_eq!(undone(&last_held("aa"), &changed(holds("aa")), gone), (vec![format!("created {CONF}")], 0));
    let found = after_break(&last_held("aa"), &changed(holds("aa")), &seen(&[written(150, Some("aa"), "cc")]), &none());
    let Drifted::File { before: Some(before), .. } = &found.drifts[0].what else { panic!("{found:?}") };
    assert_eq!(before.sha256.as_deref(), Some("cc".repeat(32).as_str()), "as it was seen");
}

#[test]
fn what_an_event_left_unknown_does_not_explain_what_happened_while_nobody_watched() {
    let unread = FileReport {
        content: Content { status: ContentStatus::ChangedSince, ..written(1, Some("aa"), "dd").content },
        ..written(150, None, "dd")
    };
    let carried = seen(std::slice::from_ref(&unread));
    assert!(carried.is_unclear() && !seen(&[written(150, None, "cc")]).is_unclear());
    let found = after_break(&last_held("aa"), &changed(holds("cc")), &carried, &none());
    assert_eq!((names(&found), found.drifts[0].perhaps_seen), (vec![format!("changed {CONF}")], true));
    let found = after_break(&last_held("aa"), &changed(holds("aa")), &carried, &none());
    assert_eq!(found, Compared::default(), "it is what it was at the last look");
    let mut folder = unread;
    (folder.change.action, folder.whole_folder) = (FileAction::MountedOver, true);
    folder.change.path = model_samples::path("/etc/modprobe.d");
    let found = after_break(&last_held("aa"), &changed(holds("cc")), &seen(&[folder]), &none());
    assert_eq!((found.drifts.len(), found.drifts[0].perhaps_seen), (1, true));
    let mut not_read = state(NOW_S);
    not_read.files.insert(CONF.to_owned(), FileSeen { sha256: None, changed_ns: Some(2), ..seen_file("cc") });
    let found = after_break(&last_held("aa"), &not_read, &seen(&[written(150, Some("aa"), "cc")]), &none());
    assert!(found.drifts[0].perhaps_seen, "nobody read what is there: {found:?}");
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
fn an_opening_that_changed_nothing_is_not_noted() {
    let mut opened = written(150, Some("aa"), "aa");
    opened.change.facts_before.clone_from(&opened.change.facts);
    let facts = opened.change.facts.as_mut().unwrap();
    facts.changed = Some(FileTime { seconds: 1, nanoseconds: 0 });
    opened.change.facts_before = opened.change.facts.clone();
    opened.change.writing = Writing::Closed;
    assert!(opened.is_without_effect());
    assert!(!none().note_file(&opened));
    let in_container = FileReport { of_host: false, ..written(150, Some("aa"), "cc") };
    assert!(!none().note_file(&in_container), "it is another file");
}

#[test]
fn when_more_was_seen_than_is_kept_nothing_is_explained_and_that_is_said() {
    let mut seen = seen(&[written(150, Some("aa"), "cc")]);
    for number in 0..5000 {
        seen.note_call(&load(&format!("m{number}"), 150));
    }
    let found = compared(&last_held("aa"), &changed(holds("cc")), &seen, Watch::of_this_run(at(50), false, false));
    assert_eq!(found.drifts.len(), 1);
    assert!(found.drifts[0].perhaps_seen);
    seen.leave_since(at(199).boot_ns);
    let found = compared(&last_held("aa"), &changed(holds("cc")), &seen, Watch::default());
    assert!(!found.drifts[0].perhaps_seen, "that was before the last look");
}

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
