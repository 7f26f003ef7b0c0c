use proptest::prelude::*;

use super::*;
use crate::model::{Bytes, CallOutcome, Content, FileChange, ModuleFacts, samples};

fn report(path: &str, action: FileAction) -> FileReport {
    FileReport {
        change: FileChange { action, path: samples::path(path), ..samples::file_change() },
        subject: Subject::Modprobe,
        whole_folder: false,
        left: false,
        of_host: true,
        content: Content::default(),
    }
}

#[test]
fn a_name_that_a_file_left_is_free() {
    let mut seen = Seen::default();
    let mut renamed = report("/etc/modprobe.d/b.conf", FileAction::Renamed);
    renamed.change.old_path = Some(samples::path("/etc/modprobe.d/a.conf"));
    assert!(seen.note_file(&renamed));
    let of = |seen: &Seen| -> Vec<_> {
        let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        let notes = seen.files.iter().flat_map(|(path, notes)| notes.iter().map(move |note| (path, note)));
        notes.map(|(path, note)| (name(path), note.after.clone())).collect()
    };
    assert_eq!(of(&seen), [("a.conf".to_owned(), Version::Absent), ("b.conf".to_owned(), Version::Unknown)]);
    let left = FileReport { left: true, ..renamed };
    let mut seen = Seen::default();
    assert!(seen.note_file(&left));
    assert_eq!(of(&seen), [("a.conf".to_owned(), Version::Absent)], "nobody watches where it went");
    let mut seen = Seen::default();
    assert!(seen.note_file(&report("/etc/modprobe.d/a.conf", FileAction::Removed)));
    assert_eq!(of(&seen), [("a.conf".to_owned(), Version::Absent)]);
    assert_eq!(seen.files["/etc/modprobe.d/a.conf"][0].before, Version::Unknown);
    seen.note_file(&report("/etc/modprobe.d/a.conf", FileAction::Created));
    assert_eq!(seen.files["/etc/modprobe.d/a.conf"][1].before, Version::Absent);
}

#[test]
fn many_changes_of_one_file_take_little_room() {
    let mut seen = Seen::default();
    for boot_ns in 0..10_000 {
        let mut written = report("/etc/modprobe.d/a.conf", FileAction::Written);
        (written.change.boot_ns, written.change.closed_boot_ns) = (boot_ns, None);
        seen.note_file(&written);
    }
    let notes = &seen.files["/etc/modprobe.d/a.conf"];
    assert_eq!((notes.len(), seen.held.notes, seen.overflowed_ns), (MAX_OF_ONE, MAX_OF_ONE, 0));
    let first = notes.first().unwrap();
    assert_eq!((first.begun_ns, first.ended_ns), (0, 10_000 - MAX_OF_ONE as u64));
}

#[test]
fn the_last_change_counts_whichever_is_told_last() {
    let mut seen = Seen::default();
    let mut at = |action, boot_ns| {
        let mut report = report("/etc/modprobe.d/a.conf", action);
        (report.change.boot_ns, report.change.closed_boot_ns) = (boot_ns, None);
        seen.note_file(&report);
    };
    at(FileAction::Removed, 20);
    at(FileAction::Created, 10);
    let last = seen.files["/etc/modprobe.d/a.conf"].last().unwrap();
    assert_eq!((last.ended_ns, &last.after), (20, &Version::Absent));
    assert!(!seen.is_unclear());
}

#[test]
fn a_srcversion_that_is_not_whole_says_nothing() {
    assert_eq!(srcversion(b"ABC\n"), Some("ABC".to_owned()));
    assert_eq!((srcversion(b"\n"), srcversion(&[b'A'; 65])), (None, None));
    let of = |truncated| {
        let srcversion = Some(Bytes { bytes: b"ABC".to_vec(), truncated });
        let module = ModuleFacts { name: Some(Bytes::whole("x")), srcversion, ..ModuleFacts::default() };
        let mut seen = Seen::default();
        seen.note_call(&ModuleCall { module, ..samples::load() });
        seen.modules["x"][0].loaded.clone().unwrap().srcversion
    };
    assert_eq!((of(false), of(true)), (Some("ABC".to_owned()), None));
}

#[test]
fn a_call_that_is_told_twice_is_one_note() {
    let mut seen = Seen::default();
    let call = ModuleCall {
        module: ModuleFacts { name: Some(Bytes::whole("x")), ..ModuleFacts::default() },
        outcome: None,
        ..samples::load()
    };
    seen.note_call(&call);
    let outcome = Some(CallOutcome { ret: 0, boot_ns: 9 });
    seen.note_call(&ModuleCall { told: 1, outcome, ..call });
    let notes = &seen.modules["x"];
    assert_eq!((notes.len(), notes[0].ended_ns), (1, Some(9)));
    assert!(!seen.is_empty());
}

#[test]
fn what_is_held_is_counted_when_notes_become_one_and_when_they_are_left() {
    let mut seen = Seen::default();
    for boot_ns in 0..100 {
        let call = ModuleCall {
            module: ModuleFacts {
                name: Some(Bytes::whole("x")),
                srcversion: Some(Bytes::whole("s".repeat(boot_ns as usize % 7))),
                taints: Some(1 << (boot_ns % 3)),
                ..ModuleFacts::default()
            },
            boot_ns,
            ..samples::load()
        };
        seen.note_call(&call);
        seen.note_file(&report("/etc/modprobe.d/a.conf", FileAction::Created));
    }
    assert_eq!(seen.modules["x"].iter().fold(0, |taints, note| taints | note.taints), 0b111);
    let held = seen.held;
    seen.leave_since(0);
    assert_eq!((seen.held, held.notes), (held, 2 * MAX_OF_ONE));
    seen.leave_since(u64::MAX);
    assert_eq!((seen.held, seen.is_empty()), (Held::default(), true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn bounds_hold_whatever_comes(names in proptest::collection::vec("[a-z/]{1,400}", 0..300), repeat in 1_u32..10) {
        let mut seen = Seen::default();
        for number in 0..repeat {
            for name in &names {
                seen.note_file(&report(&format!("/{number}/{name}"), FileAction::Written));
            }
        }
        let notes: Vec<_> =
            seen.files.iter().flat_map(|(path, notes)| notes.iter().map(|note| note.bytes(path))).collect();
        let held = Held { notes: notes.len(), bytes: notes.iter().sum() };
        prop_assert_eq!(held, seen.held);
        prop_assert!(held.notes <= MAX_NOTES && held.bytes <= MAX_BYTES);
        let json = serde_json::to_vec(&seen).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Seen>(&json).unwrap(), seen);
    }
}
