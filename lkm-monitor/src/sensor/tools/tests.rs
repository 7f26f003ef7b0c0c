use super::*;
use crate::{
    model::samples::{load, refused},
    sensor::decode,
};

const SECOND_NS: u64 = 1_000_000_000;

/// The process of `samples::load`.
const PID: u32 = 901;

fn event(kind: EventKind, tool: Tool, boot_ns: u64) -> Event {
    let mut event = decode::tests::blank(kind);
    event.boot_ns = boot_ns;
    event.call_id = 50;
    event.thread.pid = PID;
    event.tool = Some(tool);
    event
}

fn started() -> Event {
    let matches = tool_matches::INODE | tool_matches::NAME;
    let mut event = event(EventKind::ToolStarted, Tool { matches, argument_count: 3, exit_code: 0, replaced: 0 }, 50);
    event.processes = vec![crate::model::Process { pid: PID, ..crate::model::Process::default() }];
    event
}

fn ended(exit_code: u32) -> Event {
    event(EventKind::ToolEnded, Tool { matches: 0, argument_count: 0, exit_code, replaced: 0 }, SECOND_NS)
}

#[test]
fn a_run_is_told_with_what_it_asked_for() {
    let mut tools = Tools::default();
    assert_eq!(tools.push(&started()), None);
    tools.note(&load());
    tools.push(&ended(0));
    // Of this process, but its call came through another ring.
    tools.note(&refused(load(), libc::EEXIST));
    assert_eq!(tools.next_deadline_ns(), Some(SECOND_NS + CALL_WINDOW_NS));
    assert_eq!(tools.expire(SECOND_NS), []);
    let told = tools.expire(SECOND_NS + CALL_WINDOW_NS);
    assert_eq!(told.len(), 1);
    let run = &told[0];
    let operations: Vec<_> = run.operations.iter().map(|done| (done.succeeded, done.errno)).collect();
    assert_eq!(operations, [(Some(true), None), (Some(false), Some(libc::EEXIST))]);
    assert_eq!((run.end, run.argument_count), (Some(ToolEnd::Exited(0)), 3));
    assert_eq!(run.matches, [ToolMatch::Inode, ToolMatch::Name]);
    assert_eq!(tools.next_deadline_ns(), None);
}

#[test]
fn calls_of_other_processes_do_not_count() {
    let mut tools = Tools::default();
    tools.push(&started());
    let mut other = load();
    other.process.as_mut().unwrap().caller.pid += 1;
    tools.note(&other);
    let mut reborn = load();
    reborn.process.as_mut().unwrap().caller.start_boot_ns += 1;
    tools.note(&reborn);
    assert!(tools.drain()[0].operations.is_empty());
}

#[test]
fn a_call_may_be_read_before_the_run_that_it_is_of() {
    let mut tools = Tools::default();
    let call = load();
    tools.expire(call.boot_ns - 1);
    tools.note(&call);
    tools.push(&started());
    assert_eq!(tools.drain()[0].operations.len(), 1);
    tools.note(&call);
    tools.expire(call.boot_ns);
    tools.push(&started());
    assert!(tools.drain()[0].operations.is_empty(), "its run would have been read by then");
}

#[test]
fn what_a_program_asks_that_took_the_place_of_a_tool_does_not_count() {
    let mut tools = Tools::default();
    tools.push(&started());
    let replaced = Tool { matches: 0, argument_count: 0, exit_code: 0, replaced: 1 };
    tools.push(&event(EventKind::ToolEnded, replaced, SECOND_NS));
    let mut later = load();
    later.boot_ns = SECOND_NS + 1;
    tools.note(&later);
    let run = tools.drain().remove(0);
    assert_eq!((run.end, run.operations), (Some(ToolEnd::Replaced), vec![]));
}

#[test]
fn a_call_that_is_told_twice_counts_once() {
    let mut tools = Tools::default();
    tools.push(&started());
    let mut unfinished = load();
    unfinished.outcome = None;
    tools.note(&unfinished);
    // Another call of the run lies between.
    let mut other = refused(load(), libc::EEXIST);
    other.call_id += 1;
    tools.note(&other);
    let mut late = load();
    late.told = 1;
    tools.note(&late);
    let run = tools.drain().remove(0);
    assert_eq!(run.operations.iter().map(|done| done.succeeded).collect::<Vec<_>>(), [Some(true), Some(false)]);
}

#[test]
fn of_many_calls_the_number_is_kept() {
    let mut tools = Tools::default();
    tools.push(&started());
    for number in 0..MAX_OPERATIONS as u64 + 3 {
        for told in 0..2 {
            let mut call = load();
            (call.call_id, call.told) = (number, told);
            tools.note(&call);
        }
    }
    let run = tools.drain().remove(0);
    assert_eq!((run.operations.len(), run.more_operations), (MAX_OPERATIONS, 3));
}

#[test]
fn a_run_that_lasts_is_told_before_its_end() {
    let mut tools = Tools::default();
    tools.push(&started());
    let early = tools.expire(50 + RUN_WINDOW_NS);
    assert_eq!((early.len(), early[0].end, early[0].told), (1, None, 0));
    tools.push(&ended(0x100));
    let late = tools.expire(u64::MAX);
    assert_eq!((late[0].end, late[0].told), (Some(ToolEnd::Exited(1)), 1));
}

#[test]
fn ends_are_those_of_wait() {
    let end = |exit_code, replaced| end(Tool { matches: 0, argument_count: 0, exit_code, replaced });
    assert_eq!(end(0x700, 0), ToolEnd::Exited(7));
    assert_eq!(end(9, 0), ToolEnd::Killed(9));
    assert_eq!(end(0x8b, 0), ToolEnd::Killed(11), "with a core dump");
    assert_eq!(end(0, 1), ToolEnd::Replaced);
}

#[test]
fn too_many_runs_push_out_the_oldest() {
    let mut tools = Tools::default();
    for number in 0..=MAX_RUNS as u64 {
        let mut event = started();
        event.call_id = number;
        let displaced = tools.push(&event);
        assert_eq!(displaced.is_some(), number == MAX_RUNS as u64);
    }
    assert_eq!(tools.evicted(), 1);
}
