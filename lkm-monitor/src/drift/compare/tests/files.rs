//! What files became.

use super::*;

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
