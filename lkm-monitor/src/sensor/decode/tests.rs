use lkm_monitor_common::{event::EventHeader, section};
use proptest::prelude::*;
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::*;
use crate::model::{AccessOutcome, ObjectKind, ObjectOperation};

fn header(kind: EventKind) -> EventHeader {
    EventHeader {
        kind: kind as u16,
        version: WIRE_VERSION,
        cpu: 1,
        boot_ns: 1000,
        call_id: 900,
        process_start_boot_ns: 5,
        tid: 43,
        tgid: 42,
        uid: 1000,
        gid: 1001,
        euid: 0,
        egid: 0,
        suid: 0,
        sgid: 0,
        flags: 0,
        reserved: 0,
        comm: *b"insmod\0\0\0\0\0\0\0\0\0\0",
    }
}

/// An event of which nothing but its kind is known.
pub(crate) fn blank(kind: EventKind) -> Event {
    empty(kind, &EventHeader::new_zeroed())
}

fn section(tag: Tag, flags: u16, content: &[u8]) -> Vec<u8> {
    let head = SectionHeader { tag: tag as u16, flags, len: content.len() as u32 };
    let mut bytes = head.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn event_bytes(kind: EventKind, sections: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = header(kind).as_bytes().to_vec();
    bytes.extend(sections.iter().flatten());
    bytes
}

fn raw_process() -> section::Process {
    let mut raw = section::Process::read_from_bytes(&[0; size_of::<section::Process>()]).unwrap();
    raw.pid = 42;
    raw.exe_inode = 7;
    raw.exe_device = (8 << 20) | 1;
    raw.loginuid = u32::MAX;
    raw.comm = *b"insmod\0garbage!!";
    raw
}

fn exec_record(args: &[u8], truncated: u16) -> section::ExecRecord {
    let mut record = section::ExecRecord::read_from_bytes(&[0; size_of::<section::ExecRecord>()]).unwrap();
    record.exe_inode = 7;
    record.exe_device = (8 << 20) | 1;
    record.args[..args.len()].copy_from_slice(args);
    record.len = args.len() as u16;
    record.flags = if truncated != 0 { section::exec_flags::TRUNCATED } else { 0 };
    record.start_boot_ns = raw_process().start_boot_ns;
    record
}

fn process_of(sections: &[Vec<u8>]) -> Process {
    let mut all = vec![section(Tag::Process, 0, raw_process().as_bytes())];
    all.extend_from_slice(sections);
    decode(&event_bytes(EventKind::CallEnter, &all)).unwrap().processes.remove(0)
}

fn arguments(process: &Process) -> Vec<&[u8]> {
    process.arguments.iter().map(|argument| &argument.bytes[..]).collect()
}

#[test]
fn the_head_says_who() {
    let event = decode(&event_bytes(EventKind::CallExit, &[])).unwrap();
    assert_eq!((event.kind, event.boot_ns, event.call_id, event.cpu), (EventKind::CallExit, 1000, 900, 1));
    assert_eq!((event.thread.pid, event.thread.tid), (42, 43));
    assert_eq!(event.thread.name, b"insmod");
    let ids = event.thread.ids.unwrap();
    assert_eq!((ids.uid, ids.gid, ids.euid), (1000, 1001, 0));
}

#[test]
fn a_call_is_decoded() {
    let call = section::Call {
        syscall: section::Syscall::FinitModule as u8,
        abi: section::Abi::Compat as u8,
        reserved: 0,
        flags: 3,
        fd: 9,
        reserved2: 0,
        image_bytes: 0,
    };
    let event = decode(&event_bytes(
        EventKind::CallEnter,
        &[section(Tag::Call, 0, call.as_bytes()), section(Tag::Parameters, 0, b"numdummies=1")],
    ))
    .unwrap();
    let call = event.call.unwrap();
    assert_eq!((call.abi, call.flags, call.fd), (Some(Abi::I386), 3, 9));
    assert_eq!(event.parameters, Some(Some(Bytes::whole(*b"numdummies=1"))));
}

#[test]
fn an_access_to_an_object_is_decoded() {
    let access = section::ObjectAccess { operation: 34, kind: 3, id: 7, flags: 0, ret: -95 };
    let bytes = event_bytes(EventKind::ObjectAccessed, &[section(Tag::ObjectAccess, 0, access.as_bytes())]);
    let seen = AccessSeen {
        operation: ObjectOperation::DetachLink,
        kind: ObjectKind::Link,
        id: 7,
        outcome: AccessOutcome::Refused(95),
    };
    assert_eq!(decode(&bytes).unwrap().access, Some(seen));
    let other = section::ObjectAccess { operation: 999, ..access };
    let other = event_bytes(EventKind::ObjectAccessed, &[section(Tag::ObjectAccess, 0, other.as_bytes())]);
    assert_eq!(decode(&other), Err(DecodeError::Section { tag: Tag::ObjectAccess as u16, len: 24 }));
    let cut = event_bytes(EventKind::ObjectAccessed, &[section(Tag::ObjectAccess, 0, &access.as_bytes()[..16])]);
    assert_eq!(decode(&cut), Err(DecodeError::Section { tag: Tag::ObjectAccess as u16, len: 16 }));
}

#[test]
fn unreadable_parameters_are_not_empty_ones() {
    let event = decode(&event_bytes(EventKind::CallEnter, &[section(Tag::Parameters, flags::UNREADABLE, b"")]));
    assert_eq!(event.unwrap().parameters, Some(None));
}

#[test]
fn a_process_is_decoded() {
    let process = process_of(&[section(Tag::Arguments, 0, b"insmod\0/tmp/x.ko\0")]);
    assert_eq!(process.name, b"insmod");
    assert_eq!(process.executable_device, (8, 1));
    assert_eq!(process.login_uid, None);
    assert_eq!(arguments(&process), [&b"insmod"[..], b"/tmp/x.ko"]);
    assert_eq!(process.arguments_source, ArgumentsSource::Memory);
}

#[test]
fn a_command_line_as_it_was_executed_is_left_alone() {
    let process = process_of(&[
        section(Tag::Arguments, 0, b"a\0b\0"),
        section(Tag::ExecArguments, 0, exec_record(b"a\0b\0", 0).as_bytes()),
    ]);
    assert!(!process.arguments_rewritten && !process.executable_replaced);
    assert_eq!(process.arguments_source, ArgumentsSource::Memory);
}

#[test]
fn a_long_command_line_is_compared_as_far_as_it_is_remembered() {
    let process = process_of(&[
        section(Tag::Arguments, 0, b"a\0bcdef\0g\0"),
        section(Tag::ExecArguments, 0, exec_record(b"a\0bcd", 1).as_bytes()),
    ]);
    assert!(!process.arguments_rewritten);
    assert_eq!(arguments(&process).len(), 3);
}

#[test]
fn a_rewritten_command_line_is_undone_and_said() {
    let process = process_of(&[
        section(Tag::Arguments, 0, b"[kworker]\0\0\0"),
        section(Tag::ExecArguments, 0, exec_record(b"insmod\0/tmp/rootkit.ko\0", 0).as_bytes()),
    ]);
    assert!(process.arguments_rewritten);
    assert_eq!(process.arguments_source, ArgumentsSource::Exec);
    assert_eq!(arguments(&process), [&b"insmod"[..], b"/tmp/rootkit.ko"]);
}

#[test]
fn an_exchanged_executable_is_noticed() {
    let mut record = exec_record(b"x\0", 0);
    record.exe_inode = 8;
    assert!(process_of(&[section(Tag::ExecArguments, 0, record.as_bytes())]).executable_replaced);
}

#[test]
fn empty_arguments_in_the_middle_survive() {
    let process = process_of(&[section(Tag::Arguments, 0, b"a\0\0b\0")]);
    assert_eq!(arguments(&process), [&b"a"[..], b"", b"b"]);
}

#[test]
fn what_is_no_event_is_refused_with_its_reason() {
    assert_eq!(decode(b"short"), Err(DecodeError::Short(5)));
    let mut wrong = event_bytes(EventKind::CallExit, &[]);
    wrong[2] = 99;
    assert_eq!(decode(&wrong), Err(DecodeError::Version(99)));
    let mut wrong = event_bytes(EventKind::CallExit, &[]);
    wrong[0] = 77;
    assert_eq!(decode(&wrong), Err(DecodeError::Kind(77)));
    let cut = event_bytes(EventKind::CallEnter, &[section(Tag::Call, 0, b"not a call")]);
    assert_eq!(decode(&cut), Err(DecodeError::Section { tag: Tag::Call as u16, len: 10 }));
}

#[test]
fn sections_of_a_later_version_are_passed_over() {
    let mut unknown = section(Tag::Call, 0, b"12345678");
    unknown[0] = 200;
    let event = decode(&event_bytes(EventKind::ModuleFreed, &[unknown, section(Tag::ModuleName, 0, b"dummy")]));
    assert_eq!(event.unwrap().module_name, Some(Bytes::whole(*b"dummy")));
}

fn any_section() -> impl Strategy<Value = Vec<u8>> {
    (0..26u16, any::<u16>(), proptest::collection::vec(any::<u8>(), 0..700)).prop_map(|(tag, flags, content)| {
        let mut bytes = section(Tag::Call, flags, &content);
        bytes[..2].copy_from_slice(&tag.to_le_bytes());
        bytes
    })
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn any_sections_behind_a_good_head_are_an_event_or_an_error(
        kind in 1..12u16,
        sections in proptest::collection::vec(any_section(), 0..12),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = event_bytes(EventKind::from_raw(kind).unwrap(), &sections);
        let _ = decode(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = decode(&bytes);
    }

    #[test]
    fn memory_follows_the_input(sections in proptest::collection::vec(any_section(), 0..12)) {
        if let Ok(event) = decode(&event_bytes(EventKind::CallEnter, &sections)) {
            prop_assert!(event.processes.len() <= sections.len());
        }
    }
}
