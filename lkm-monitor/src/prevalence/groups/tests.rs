use super::*;
use crate::model::{
    Bytes, Content, ContentStatus, ExaminedImage, FileAction, FileChange, FileState, Ids, ImageExtent, LoadStage,
    ToolOperation, samples,
};

fn content(status: ContentStatus) -> Content {
    Content {
        status,
        after: Some(FileState { sha256: Some([0xab; 32]), ..FileState::default() }),
        ..Content::default()
    }
}

/// A file that the host has by this name.
fn report() -> FileReport {
    FileReport {
        change: FileChange {
            action: FileAction::Created,
            path: samples::path("/usr/lib/modules/6.1.0/kernel/x.ko.xz"),
            facts: Some(crate::model::FileFacts::default()),
            ..samples::file_change()
        },
        subject: Subject::Module,
        whole_folder: false,
        left: false,
        of_host: true,
        content: content(ContentStatus::Read),
    }
}

fn file(report: FileReport) -> Option<Grouped> {
    group_of(&Observation::File(Box::new(report)), &Thresholds::default())
}

fn load(call: ModuleCall) -> Option<Grouped> {
    group_of(&Observation::Call(Box::new(call)), &Thresholds::default())
}

fn tool(run: ToolRun) -> Option<Grouped> {
    group_of(&Observation::Tool(Box::new(run)), &Thresholds::default())
}

fn asked(errno: Option<i32>) -> ToolRun {
    let operation = ToolOperation {
        call: (1, 2),
        operation: crate::model::Operation::FinitModule,
        module: None,
        succeeded: Some(errno.is_none()),
        errno,
    };
    ToolRun { operations: vec![operation], ..samples::tool_run() }
}

#[test]
fn a_file_is_known_by_path_program_and_content() {
    let grouped = file(report()).unwrap();
    assert_eq!(grouped.name.parts(), ["/usr/lib/modules/*/kernel/x.ko.xz", "/usr/bin/kmod", &"ab".repeat(32)]);
    assert!(grouped.privileged && !grouped.not_all_known);
    let mut elsewhere = report();
    elsewhere.change.path = samples::path("/usr/lib/modules/9.9.9/kernel/x.ko.xz");
    assert_eq!(file(elsewhere).unwrap().name, grouped.name, "an upgrade");
}

#[test]
fn what_may_hold_something_else_by_now_is_not_known() {
    for status in [ContentStatus::ChangedSince, ContentStatus::Replaced, ContentStatus::Gone, ContentStatus::TimedOut] {
        let grouped = file(FileReport { content: content(status), ..report() }).unwrap();
        assert!(grouped.not_all_known, "{status:?}");
    }
}

#[test]
fn only_files_that_appear_count() {
    let with = |change: &dyn Fn(&mut FileReport)| {
        let mut report = report();
        change(&mut report);
        file(report).is_some()
    };
    assert!(with(&|report| report.change.action = FileAction::Renamed));
    assert!(!with(&|report| report.change.action = FileAction::Written));
    assert!(!with(&|report| report.change.action = FileAction::Removed));
    assert!(!with(&|report| report.change.ret = Some(-13)));
    assert!(!with(&|report| report.left = true));
    assert!(!with(&|report| report.subject = Subject::Modprobe));
    // It was told while it was written: it counts when its content is known.
    assert!(with(&|report| report.change.told = 1));
    assert!(!with(&|report| (report.change.told, report.content) = (1, Content::default())));
}

#[test]
fn a_module_is_known_by_name_and_content() {
    let call = ModuleCall { content: content(ContentStatus::Read), ..samples::load() };
    let grouped = load(call.clone()).unwrap();
    assert_eq!(grouped.name.parts(), ["foo", &"ab".repeat(32)]);
    let late = ModuleCall { told: 1, ..call.clone() };
    assert!(load(late).is_some(), "nobody knew before that its code ran");
    for stage in [LoadStage::Refused, LoadStage::Unknown, LoadStage::Shared] {
        assert!(load(ModuleCall { stage, ..call.clone() }).is_none(), "{stage:?}");
    }
    assert!(load(ModuleCall { stage: LoadStage::InitFailed, ..call.clone() }).is_some(), "its code ran");
    assert!(load(samples::unload()).is_none());
    assert!(load(ModuleCall { content: Content::default(), ..call }).unwrap().not_all_known);
}

/// A load of an image with this hash, from a file that was read afterwards.
fn load_of(extent: ImageExtent, sha256: Option<[u8; 32]>, status: ContentStatus) -> Grouped {
    let image = Some(Box::new(ExaminedImage { extent, sha256, ..ExaminedImage::default() }));
    load(ModuleCall { image, content: content(status), ..samples::load() }).unwrap()
}

#[test]
fn a_module_is_known_by_what_was_loaded_and_not_by_what_its_file_holds_afterwards() {
    let grouped = load_of(ImageExtent::Whole, Some([0xcd; 32]), ContentStatus::Read);
    assert_eq!(grouped.name.parts(), ["foo", &"cd".repeat(32)]);
    for status in [ContentStatus::Gone, ContentStatus::Replaced, ContentStatus::ChangedSince, ContentStatus::NotWanted]
    {
        let other = load_of(ImageExtent::Whole, Some([0xcd; 32]), status);
        assert_eq!((&other.name, other.not_all_known), (&grouped.name, false), "{status:?}");
    }
}

#[test]
fn a_file_that_nobody_exchanged_keeps_its_group_when_images_are_captured() {
    let before = load(ModuleCall { content: content(ContentStatus::Read), ..samples::load() }).unwrap();
    let image = ExaminedImage {
        sha256: Some([0xab; 32]),
        // It is compressed: what was packed in it has another hash, as it always had.
        unpacked_sha256: Some([0xcd; 32]),
        ..ExaminedImage::default()
    };
    let call = ModuleCall { image: Some(Box::new(image)), content: content(ContentStatus::Read), ..samples::load() };
    assert_eq!(load(call).unwrap(), before);
}

#[test]
fn of_an_image_that_is_not_known_whole_the_file_tells() {
    for extent in [ImageExtent::FirstPart, ImageExtent::Cut, ImageExtent::NotExamined] {
        let grouped = load_of(extent, None, ContentStatus::Read);
        assert_eq!((grouped.name.parts()[1].as_str(), grouped.not_all_known), ("ab".repeat(32).as_str(), false));
        let grouped = load_of(extent, None, ContentStatus::ChangedSince);
        assert_eq!((grouped.name.parts()[1].as_str(), grouped.not_all_known), ("", true), "{extent:?}");
    }
}

#[test]
fn a_run_is_known_by_its_arguments_and_counts_if_it_asks_for_something() {
    let run = asked(None);
    let grouped = tool(run.clone()).unwrap();
    let arguments: Vec<_> = run.process.caller.arguments.iter().map(|argument| text(&argument.bytes)).collect();
    assert_eq!(grouped.name.parts(), [arguments.join("\u{1f}"), run.argument_count.to_string()]);
    assert!(tool(samples::tool_run()).is_none(), "a dry run");
    assert!(tool(ToolRun { told: 1, ..run }).is_some(), "it had asked for nothing before");
    let mut other = asked(None);
    other.process.caller.arguments = vec![Bytes::whole("modprobe -n"), Bytes::whole("foo")];
    assert_ne!(tool(other).unwrap().name, grouped.name);
}

#[test]
fn what_is_forbidden_counts_for_nobody_but_root() {
    let by = |euid: u32, capabilities: u64, errno: i32| {
        let mut run = asked(Some(errno));
        run.process.caller.ids = Some(Ids { euid, ..Ids::default() });
        run.process.caller.capabilities = capabilities;
        tool(run).map(|grouped| grouped.privileged)
    };
    assert_eq!(by(0, u64::MAX, libc::EPERM), Some(true));
    assert_eq!(by(0, !MAY_LOAD, libc::EPERM), None, "a container's root");
    assert_eq!(by(1000, 0, libc::EPERM), None);
    assert_eq!(by(1000, 0, libc::ENOEXEC), Some(false));
}

#[test]
fn other_keys_make_other_groups() {
    let keys = vec![KeyPart::User, KeyPart::Parent, KeyPart::Path];
    let files = Threshold { keys, ..Threshold::of(Kind::File) };
    let thresholds = Thresholds { files, ..Thresholds::default() };
    let grouped = group_of(&Observation::File(Box::new(report())), &thresholds).unwrap();
    assert_eq!(grouped.name.parts(), ["0", "", "/usr/lib/modules/*/kernel/x.ko.xz"]);
    assert!(!grouped.not_all_known);
}

#[test]
fn what_a_chroot_calls_by_a_name_of_the_host_is_another_file() {
    let elsewhere = file(FileReport { of_host: false, ..report() }).unwrap();
    assert_eq!(elsewhere.name.parts()[0], "elsewhere:/usr/lib/modules/6.1.0/kernel/x.ko.xz");
    assert_ne!(elsewhere.name, file(report()).unwrap().name);
}

#[test]
fn what_is_not_known_in_full_may_be_anything() {
    let mut blind = report();
    blind.change.facts = None;
    assert!(file(blind).unwrap().not_all_known, "which file was read is not known");
    let mut cut = asked(None);
    cut.process.caller.arguments_truncated = true;
    assert!(tool(cut).unwrap().not_all_known);
    let mut many = asked(None);
    many.process.caller.more_arguments = 1;
    assert!(tool(many).unwrap().not_all_known);
    assert!(!tool(asked(None)).unwrap().not_all_known);
}
