//! Whole documents of changed files and of module tools.

use proptest::prelude::*;
use serde_json::Value;

use super::{
    CLOCK, SECOND_NS,
    arbitrary::{any_bytes, any_path, any_tree},
    parse, pretty, render, renderer, tree,
};
use crate::{
    fold::{Fold, Folded},
    model::{
        Bytes, Content, ContentStatus, Excluded, FileAction, FileChange, FileFacts, FileReport, FileState, FileTime,
        Observation, Operation, Subject, ToolEnd, ToolMatch, ToolOperation, ToolRun, Verdict, Writing,
        module_config::LineDiff,
        samples::{self, file_change, tool_run},
        text::brief,
    },
};

fn render_file(report: FileReport) -> Value {
    parse(&render(&Observation::File(Box::new(report))))
}

fn at(seconds: i64) -> Option<FileTime> {
    Some(FileTime { seconds: 1_700_000_000 + seconds, nanoseconds: 1000 })
}

fn state(byte: u8) -> FileState {
    FileState {
        sha256: Some([byte; 32]),
        inode: 77,
        size: 8192,
        mode: 0o100_644,
        accessed: at(3),
        modified: at(4),
        changed: at(5),
        created: at(2),
        ..FileState::default()
    }
}

/// A module that alice's root copied to /tmp.
fn copied() -> FileReport {
    let change = FileChange {
        boot_ns: 1000 * SECOND_NS,
        closed_boot_ns: Some(1001 * SECOND_NS),
        process: tree(),
        ..file_change()
    };
    let content = Content { status: ContentStatus::Read, after: Some(state(1)), ..Content::default() };
    FileReport { change, subject: Subject::Module, whole_folder: false, left: false, of_host: true, content }
}

/// modprobe.d, with a command.
pub(super) fn configured() -> FileReport {
    let mut report = copied();
    report.subject = Subject::Modprobe;
    report.change.action = FileAction::Renamed;
    report.change.path = samples::path("/etc/modprobe.d/blacklist.conf");
    report.change.old_path = Some(samples::path("/etc/modprobe.d/.blacklist.conf.swp"));
    report.content.before = Some(FileState { size: 10, ..state(2) });
    report.content.diff = Some(LineDiff { added: vec![b"install usb-storage /tmp/x".to_vec()], ..LineDiff::default() });
    report.content.directives_added = vec!["install usb_storage /tmp/x".to_owned()];
    report.content.dangers = vec!["an install command for usb_storage runs \"/tmp/x\"".to_owned()];
    report
}

#[test]
fn module_file_created() {
    insta::assert_snapshot!(pretty(&render_file(copied())));
}

#[test]
fn module_configuration_renamed_into_place() {
    insta::assert_snapshot!(pretty(&render_file(configured())));
}

#[test]
fn tool_run_that_loaded_a_module() {
    let loaded = ToolOperation {
        call: (1, 2),
        operation: Operation::FinitModule,
        module: Some(b"foo".to_vec()),
        succeeded: Some(true),
        errno: None,
    };
    let run = ToolRun { process: tree(), operations: vec![loaded], ..tool_run() };
    insta::assert_snapshot!(pretty(&parse(&render(&Observation::Tool(Box::new(run))))));
}

#[test]
fn burst_of_module_files() {
    let (host, accounts) = (samples::host(), samples::accounts());
    let context = crate::assess::Context { host: &host, accounts: &accounts };
    let mut fold = Fold::default();
    for number in 0..100_u64 {
        let mut report = copied();
        report.change.path = samples::path(&format!("/usr/lib/modules/6.1.0/kernel/{number}.ko"));
        report.change.boot_ns += number * SECOND_NS / 10;
        let verdict = crate::assess::assess(&Observation::File(Box::new(report.clone())), &context);
        fold.push(Box::new(report), verdict, "/usr/bin/kmod run by root (login user alice)", 1);
    }
    let folded = fold.drain();
    let [Folded::Burst(burst, verdict)] = folded.as_slice() else { panic!("{folded:?}") };
    insta::assert_snapshot!(pretty(&parse(&renderer().render_burst(burst, verdict, &accounts))));
}

#[test]
fn excluded_changes_are_counted() {
    let counts = [Excluded { path: "/run/initramfs/*".to_owned(), executable: None, count: 3 }];
    let document = parse(&renderer().render_excluded(&counts, SECOND_NS));
    assert_eq!(document["event"]["kind"], "metric");
    assert_eq!(document["lkm_monitor"]["excluded"][0]["count"], 3);
}

#[test]
fn what_failed_says_so() {
    let mut report = copied();
    report.change.action = FileAction::Linked;
    report.change.ret = Some(-i64::from(libc::EEXIST));
    let document = render_file(report);
    assert_eq!(document["event"]["outcome"], "failure");
    assert_eq!(document["message"], "Kernel module file not linked into place: EEXIST");
    assert_eq!(document["event"]["kind"], "event", "no alert");
}

#[test]
fn a_file_that_was_replaced_since_is_not_taken_for_it() {
    let mut report = copied();
    report.content.status = ContentStatus::Replaced;
    let document = render_file(report);
    assert_eq!(document["file"].get("hash"), None);
    assert_eq!(document["lkm_monitor"]["change"]["content"], "replaced");
}

#[test]
fn times_are_those_of_the_file() {
    let document = render_file(copied());
    for (field, second) in [("accessed", 23), ("mtime", 24), ("ctime", 25), ("created", 22)] {
        assert_eq!(document["file"][field], format!("2023-11-14T22:13:{second}.000001Z"), "{field}");
    }
    assert_eq!(CLOCK.realtime_offset_ns, 1_700_000_000_000_000_000);
}

fn any_report() -> impl Strategy<Value = FileReport> {
    let action = prop_oneof![
        Just(FileAction::Created),
        Just(FileAction::Written),
        Just(FileAction::Renamed),
        Just(FileAction::Symlinked),
        Just(FileAction::Removed),
        Just(FileAction::ModeChanged),
        Just(FileAction::MountedOver),
    ];
    let subject = proptest::sample::select(Subject::ALL.map(|(subject, ..)| subject).to_vec());
    let lines = proptest::collection::vec(any_bytes(), 0..40);
    (any_tree(), [any_path(), any_path()], action, subject, lines, any::<u64>(), any::<[bool; 4]>()).prop_map(
        |(process, [path, old_path], action, subject, lines, number, [known, failed, folder, left])| {
            let time = Some(FileTime { seconds: number as i64, nanoseconds: number as u32 });
            let facts = FileFacts {
                inode: number,
                size: number,
                accessed: time,
                modified: time,
                changed: time,
                created: time,
                ..FileFacts::default()
            };
            let state = FileState { inode: number, size: number, modified: time, ..state(7) };
            let texts: Vec<_> = lines.iter().map(|line| brief(line)).collect();
            FileReport {
                change: FileChange {
                    action,
                    boot_ns: number,
                    path,
                    old_path: Some(old_path),
                    link_target: lines.first().map(|line| Bytes::whole(line.clone())),
                    facts: known.then(|| facts.clone()),
                    facts_before: Some(facts),
                    ret: failed.then_some(number as i64),
                    writing: if known { Writing::Open } else { Writing::Closed },
                    closed_boot_ns: Some(number),
                    call_flags: number as u32,
                    process,
                    ..file_change()
                },
                subject,
                whole_folder: folder,
                left,
                of_host: known,
                content: Content {
                    status: ContentStatus::Read,
                    resolved_path: lines.last().cloned(),
                    after: Some(state.clone()),
                    before: Some(state),
                    diff: Some(LineDiff { added: lines.clone(), removed: lines.clone(), ..LineDiff::default() }),
                    directives_added: texts.clone(),
                    directives_removed: texts.clone(),
                    dangers: texts,
                    value_before: lines.first().cloned(),
                    value: lines.last().cloned(),
                },
            }
        },
    )
}

fn any_run() -> impl Strategy<Value = ToolRun> {
    (any_tree(), any_bytes(), any::<u32>(), 0_usize..40).prop_map(|(process, name, number, operations)| ToolRun {
        process,
        argument_count: number,
        matches: vec![ToolMatch::Build, ToolMatch::Applet],
        operations: vec![
            ToolOperation {
                call: (1, 2),
                operation: Operation::InitModule,
                module: Some(name),
                succeeded: None,
                errno: Some(1),
            };
            operations
        ],
        more_operations: number,
        end: Some(ToolEnd::Killed(9)),
        ..tool_run()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_change_gives_a_sound_document(report in any_report()) {
        parse(&renderer().render_observation(
            &Observation::File(Box::new(report.clone())),
            &Verdict::default(),
            &samples::accounts(),
        ));
        render_file(report);
    }

    #[test]
    fn any_run_gives_a_sound_document(run in any_run()) {
        parse(&render(&Observation::Tool(Box::new(run))));
    }
}
