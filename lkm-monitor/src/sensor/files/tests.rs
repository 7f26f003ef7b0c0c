use lkm_monitor_common::event::EventKind;

use super::*;
use crate::{
    model::{Bytes, FileTime, Ids},
    sensor::decode,
};

const SECOND_NS: u64 = 1_000_000_000;
const CLOCK: Clock = Clock { realtime_offset_ns: 0 };

/// An event of process 7 at `boot_ns`, without a description of the process.
fn event(operation: FileOperation, session: u64, boot_ns: u64) -> Event {
    let mut event = decode::tests::blank(EventKind::FileChanged);
    event.boot_ns = boot_ns;
    event.call_id = session;
    event.thread.pid = 7;
    event.thread.start_boot_ns = 3;
    event.change = Some(FileOperationSeen { operation, flags: 0, call_flags: 0, ret: 0 });
    event
}

fn with_file(mut event: Event, size: u64, at: u64) -> Event {
    let time = Some(FileTime { seconds: i64::try_from(at).unwrap(), nanoseconds: 5 });
    let path = crate::model::samples::path("/tmp/x.ko");
    event.file = Some(FileFacts {
        path,
        inode: 9,
        size,
        links: 1,
        accessed: time,
        modified: time,
        changed: time,
        ..FileFacts::default()
    });
    event.has_inode = true;
    event
}

fn opened(session: u64, at: u64) -> Event {
    with_file(event(FileOperation::Open, session, at * SECOND_NS), 0, at)
}

fn closed(session: u64, at: u64) -> Event {
    with_file(event(FileOperation::Close, session, at * SECOND_NS), 100, at)
}

#[test]
fn a_file_is_told_when_its_last_writer_has_closed_it() {
    let mut files = Files::default();
    assert_eq!(files.push(opened(5, 10), CLOCK), []);
    assert_eq!(files.open_files(), 1);
    let told = files.push(closed(5, 11), CLOCK);
    assert_eq!(told.len(), 1);
    let change = &told[0];
    assert_eq!((change.action, change.writing, change.told), (FileAction::Created, Writing::Closed, 0));
    assert_eq!(change.closed_boot_ns, Some(11 * SECOND_NS));
    assert_eq!(change.facts.as_ref().unwrap().size, 100);
    assert_eq!(change.facts_before.as_ref().unwrap().size, 0);
    assert_eq!(files.open_files(), 0);
}

#[test]
fn a_file_that_was_there_is_modified() {
    let mut files = Files::default();
    files.push(with_file(event(FileOperation::Open, 5, 10 * SECOND_NS), 4, 10), CLOCK);
    assert_eq!(files.push(closed(5, 11), CLOCK)[0].action, FileAction::Written);
}

#[test]
fn who_keeps_a_file_open_does_not_keep_it_secret() {
    let mut files = Files::default();
    files.push(opened(5, 10), CLOCK);
    assert_eq!(files.next_deadline_ns(), Some(20 * SECOND_NS));
    assert_eq!(files.expire(20 * SECOND_NS - 1), []);
    let early = files.expire(20 * SECOND_NS);
    assert_eq!((early.len(), early[0].writing, early[0].told), (1, Writing::Open, 0));
    assert_eq!((files.expire(99 * SECOND_NS), files.next_deadline_ns()), (Vec::new(), None));
    let late = files.push(closed(5, 40), CLOCK);
    assert_eq!((late[0].writing, late[0].told), (Writing::Closed, 1));
}

#[test]
fn several_writers_are_counted_and_told_once() {
    let mut files = Files::default();
    files.push(opened(5, 10), CLOCK);
    assert_eq!(files.push(opened(5, 10), CLOCK), []);
    assert_eq!(files.push(closed(5, 11), CLOCK)[0].writers, 2);
}

#[test]
fn what_is_not_followed_is_told_at_once() {
    let told = Files::default().push(opened(0, 10), CLOCK);
    assert_eq!((told.len(), told[0].writing), (1, Writing::Unknown));
}

#[test]
fn a_file_that_is_gone_keeps_what_was_known() {
    let mut files = Files::default();
    files.push(opened(5, 10), CLOCK);
    let mut gone = event(FileOperation::Close, 5, 11 * SECOND_NS);
    gone.change = Some(FileOperationSeen {
        operation: FileOperation::Close,
        flags: file_change_flags::GONE,
        call_flags: 0,
        ret: 0,
    });
    let told = files.push(gone, CLOCK);
    assert_eq!((told[0].writing, told[0].facts.as_ref().unwrap().size), (Writing::Closed, 0));
}

#[test]
fn a_close_of_what_was_not_seen_opened_is_nothing() {
    assert_eq!(Files::default().push(closed(5, 11), CLOCK), []);
}

#[test]
fn a_renamed_file_that_is_still_written_is_told_again_when_closed() {
    let mut files = Files::default();
    let mut renamed = with_file(event(FileOperation::Rename, 5, 10 * SECOND_NS), 4, 10);
    renamed.old_path = Some(crate::model::samples::path("/tmp/x"));
    assert_eq!(files.push(renamed, CLOCK)[0].action, FileAction::Renamed);
    let written = files.push(closed(5, 11), CLOCK);
    assert_eq!((written[0].action, written[0].old_path.is_none()), (FileAction::Written, true));
}

fn renamed(session: u64, from: &str, to: &str, links: u32) -> Event {
    let mut event = named(FileOperation::Rename, session, to, links);
    event.old_path = Some(crate::model::samples::path(from));
    event
}

fn named(operation: FileOperation, session: u64, name: &str, links: u32) -> Event {
    let mut event = with_file(event(operation, session, 10 * SECOND_NS), 4, 10);
    let file = event.file.as_mut().unwrap();
    (file.path, file.links) = (crate::model::samples::path(name), links);
    event
}

/// Name and other name of each change.
fn names(changes: &[FileChange]) -> Vec<(&[u8], Option<&[u8]>)> {
    changes
        .iter()
        .map(|change| {
            let old = change.old_path.as_ref().map(|path| path.absolute.as_slice());
            (change.path.absolute.as_slice(), old)
        })
        .collect()
}

#[test]
fn a_file_that_is_renamed_while_it_is_written_is_told_by_its_last_name() {
    let mut files = Files::default();
    files.push(opened(5, 10), CLOCK);
    files.push(renamed(5, "/tmp/x.ko", "/tmp/y.ko", 1), CLOCK);
    // Through another mount.
    files.push(renamed(5, "/mnt/y.ko", "/mnt/z.ko", 1), CLOCK);
    let told = files.push(closed(5, 11), CLOCK);
    assert_eq!(names(&told), [(&b"/mnt/z.ko"[..], Some(&b"/tmp/x.ko"[..]))]);
    assert_eq!((told[0].action, told[0].facts.as_ref().unwrap().size), (FileAction::Created, 100));
    assert_eq!(told[0].facts.as_ref().unwrap().path.absolute, b"/mnt/z.ko");
}

#[test]
fn a_file_that_gets_another_name_while_it_is_written_is_told_by_both() {
    let mut files = Files::default();
    files.push(opened(5, 10), CLOCK);
    files.push(named(FileOperation::Link, 5, "/tmp/y.ko", 2), CLOCK);
    files.push(renamed(5, "/tmp/y.ko", "/tmp/z.ko", 2), CLOCK);
    for number in 0..10 {
        files.push(named(FileOperation::Link, 5, &format!("/tmp/{number}.ko"), 3), CLOCK);
    }
    let told = files.push(closed(5, 11), CLOCK);
    assert_eq!(names(&told)[..2], [(&b"/tmp/x.ko"[..], None), (b"/tmp/z.ko", Some(&b"/tmp/y.ko"[..]))]);
    assert_eq!((told.len(), files.open_files()), (MAX_WRITINGS, 0));
}

#[test]
fn an_exchange_changes_two_names() {
    let mut exchange = with_file(event(FileOperation::Rename, 0, 10 * SECOND_NS), 4, 10);
    exchange.old_path = Some(crate::model::samples::path("/tmp/y.ko"));
    exchange.change.as_mut().unwrap().call_flags = 1;
    let told = Files::default().push(exchange, CLOCK);
    let paths: Vec<_> = told.iter().map(|change| (change.action, change.path.absolute.as_slice())).collect();
    assert_eq!(paths, [(FileAction::Exchanged, &b"/tmp/x.ko"[..]), (FileAction::Exchanged, b"/tmp/y.ko")]);
    assert_ne!(told[0].boot_ns, told[1].boot_ns);
}

#[test]
fn a_process_is_described_once_for_many_changes() {
    let mut files = Files::default();
    let mut first = with_file(event(FileOperation::Mode, 0, SECOND_NS), 4, 10);
    first.processes = vec![Process { pid: 7, arguments: vec![Bytes::whole("dpkg")], ..Process::default() }];
    files.push(first, CLOCK);
    let mut second = with_file(event(FileOperation::Mode, 0, SECOND_NS), 4, 10);
    second.thread.ids = Some(Ids { euid: 33, ..Ids::default() });
    let told = files.push(second.clone(), CLOCK);
    let caller = &told[0].process.caller;
    assert_eq!((caller.arguments.len(), caller.ids.unwrap().euid), (1, 33), "ids are those of now");
    second.thread.start_boot_ns += 1;
    assert!(files.push(second, CLOCK)[0].process.incomplete, "another process with the same number");
}

#[test]
fn attributes_that_a_writer_gives_are_part_of_the_writing() {
    let mut files = Files::default();
    files.push(opened(5, 10), CLOCK);
    let mode = with_file(event(FileOperation::Mode, 0, 10 * SECOND_NS), 4, 10);
    assert_eq!(files.push(mode.clone(), CLOCK), []);
    let mut other = mode.clone();
    other.thread.pid += 1;
    assert_eq!(files.push(other, CLOCK).len(), 1, "another process");
    files.push(closed(5, 11), CLOCK);
    assert_eq!(files.push(mode, CLOCK).len(), 1, "afterwards");
}

fn created(boot_ns: u64) -> Event {
    let mut created = with_file(event(FileOperation::Create, 0, boot_ns), 0, 10);
    created.has_inode = false;
    created.change = created.change.map(|seen| FileOperationSeen { flags: file_change_flags::OUTCOME_UNKNOWN, ..seen });
    created
}

#[test]
fn a_file_that_is_made_and_opened_for_writing_is_told_once() {
    let mut files = Files::default();
    assert_eq!(files.push(created(10 * SECOND_NS), CLOCK), []);
    // Of an inode that does not look new: the probe knew better.
    files.push(with_file(event(FileOperation::Open, 5, 10 * SECOND_NS + 1), 4, 3), CLOCK);
    let told = files.push(closed(5, 11), CLOCK);
    assert_eq!(told.iter().map(|change| change.action).collect::<Vec<_>>(), [FileAction::Created]);
    assert_eq!(files.expire(15 * SECOND_NS), []);
}

#[test]
fn a_file_that_is_made_by_who_only_reads_is_told() {
    let mut files = Files::default();
    files.push(created(10 * SECOND_NS), CLOCK);
    let mut other = opened(5, 10);
    other.thread.tid += 1;
    files.push(other, CLOCK);
    let deadline = 10 * SECOND_NS + CREATION_WINDOW_NS;
    assert_eq!(files.next_deadline_ns(), Some(deadline));
    assert_eq!(files.expire(deadline - 1), []);
    let told = files.expire(deadline);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].action, told[0].ret, told[0].writing), (FileAction::Created, None, Writing::None));
}

#[test]
fn of_too_many_creations_the_oldest_is_told_early() {
    let mut files = Files::default();
    let told: usize = (0..=CREATIONS as u64).map(|at| files.push(created(at), CLOCK).len()).sum();
    assert_eq!((told, files.drain().len()), (1, CREATIONS));
}

#[test]
fn each_process_that_opens_a_file_is_told() {
    let mut files = Files::default();
    files.push(opened(5, 10), CLOCK);
    for _ in 0..2 {
        let mut other = opened(5, 10);
        other.thread.pid = 8;
        files.push(other, CLOCK);
    }
    let told = files.push(closed(5, 11), CLOCK);
    let told: Vec<_> = told.iter().map(|change| (change.action, change.process.caller.pid, change.writers)).collect();
    assert_eq!(told, [(FileAction::Created, 7, 3), (FileAction::Written, 8, 1)]);
}

#[test]
fn a_mount_that_only_changes_covers_nothing() {
    let mount = |flags: u64| {
        let mut mount = event(FileOperation::Mount, 0, 10 * SECOND_NS);
        mount.change.as_mut().unwrap().call_flags = u32::try_from(flags).unwrap();
        Files::default().push(mount, CLOCK).len()
    };
    for (flags, told) in [(0, 1), (libc::MS_BIND, 1), (libc::MS_REMOUNT | libc::MS_BIND, 0), (libc::MS_PRIVATE, 0)] {
        assert_eq!(mount(flags), told, "{flags:x}");
    }
}
