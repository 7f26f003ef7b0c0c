use lkm_monitor_common::section::{CallEnd, Image, Syscall};
use proptest::prelude::*;

use super::*;
use crate::{
    model::{Bytes, CallOutcome, CallerText, Capture, Ids, ImageName, LoadStage, ModuleCall, Operation, Part, Process},
    sensor::decode::{self, CallArguments},
};

pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) fn event(kind: EventKind, call_id: u64, boot_ns: u64) -> Event {
    Event {
        wire_bytes: 1000,
        cpu: 0,
        boot_ns,
        call_id,
        thread: Process { pid: 7, tid: 7, name: b"insmod".to_vec(), ..Process::default() },
        ..decode::tests::blank(kind)
    }
}

fn enter(call_id: u64) -> Event {
    Event {
        call: Some(CallArguments { syscall: Syscall::FinitModule as u8, abi: None, flags: 0, fd: 3, image_bytes: 0 }),
        processes: vec![Process { pid: 7, tid: 7, ..Process::default() }],
        ..event(EventKind::CallEnter, call_id, call_id)
    }
}

fn exit(call_id: u64, ret: i64, parts: &[EventKind]) -> Event {
    let bits = parts.iter().fold(0, |bits, kind| bits | kind.bit());
    Event {
        end: Some(CallEnd {
            ret,
            happened: bits,
            sent: bits,
            syscall: Syscall::FinitModule as u8,
            abi: 1,
            reserved: [0; 6],
        }),
        ..event(EventKind::CallExit, call_id, call_id + 50)
    }
}

fn image(call_id: u64) -> Event {
    Event {
        image: Some(Image { size: 4711, source: Image::FROM_FILE, reserved: 0, id: 0, captured_bytes: 0 }),
        ..event(EventKind::ImageRead, call_id, call_id + 10)
    }
}

fn loaded(call_id: u64) -> Event {
    Event {
        module_name: Some(Bytes::whole(*b"dummy")),
        taints: Some(1 << 13),
        ..event(EventKind::ModuleLoaded, call_id, call_id + 20)
    }
}

const LOAD: [EventKind; 3] = [EventKind::CallEnter, EventKind::ImageRead, EventKind::ModuleLoaded];

fn whole_load(call_id: u64) -> Vec<Event> {
    vec![enter(call_id), image(call_id), loaded(call_id), exit(call_id, 0, &LOAD)]
}

fn push_all(join: &mut Join, events: Vec<Event>) -> Vec<ModuleCall> {
    let mut out = Vec::new();
    for event in events {
        join.push(event, &mut out);
    }
    calls(out)
}

fn calls(observations: Vec<Observation>) -> Vec<ModuleCall> {
    observations
        .into_iter()
        .filter_map(|observation| match observation {
            Observation::Call(call) => Some(*call),
            _ => None,
        })
        .collect()
}

#[test]
fn a_load_in_order_is_one_call() {
    let mut join = Join::default();
    let calls = push_all(&mut join, whole_load(100));
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(call.operation, Operation::FinitModule);
    assert_eq!(call.stage, LoadStage::Live);
    assert_eq!(call.module.name, Some(Bytes::whole(*b"dummy")));
    assert_eq!(call.module.taints, Some(1 << 13));
    assert_eq!(call.image_bytes, Some(4711));
    assert_eq!(call.outcome, Some(CallOutcome { ret: 0, boot_ns: 150 }));
    assert_eq!((&call.missing[..], call.told), (&[][..], 0));
    assert_eq!(join.depth(), 0);
}

#[test]
fn a_failed_init_is_told_from_a_refusal() {
    let mut join = Join::default();
    let failed = push_all(&mut join, vec![enter(1), image(1), loaded(1), exit(1, -19, &LOAD)]);
    assert_eq!(failed[0].stage, LoadStage::InitFailed);
    assert_eq!(failed[0].errno(), Some(19));
    let refused = push_all(&mut join, vec![enter(2), exit(2, -1, &LOAD[..1])]);
    assert_eq!(refused[0].stage, LoadStage::Refused);
}

#[test]
fn success_without_a_load_of_its_own_is_shared() {
    let mut join = Join::default();
    let calls = push_all(&mut join, vec![enter(1), exit(1, 0, &LOAD[..1])]);
    assert_eq!(calls[0].stage, LoadStage::Shared);
}

#[test]
fn a_call_whose_enter_was_lost_says_so_at_once() {
    let mut join = Join::default();
    let mut end = exit(1, 0, &LOAD);
    end.end.as_mut().unwrap().sent &= !EventKind::CallEnter.bit();
    let calls = push_all(&mut join, vec![image(1), loaded(1), end]);
    assert_eq!(calls[0].missing, vec![Part::Enter]);
    assert_eq!(calls[0].stage, LoadStage::Live);
    assert_eq!(calls[0].process.as_ref().unwrap().caller.name, b"insmod");
}

#[test]
fn a_part_that_was_sent_is_waited_for_and_then_missed() {
    let mut join = Join::default();
    let mut out = Vec::new();
    join.push(enter(1), &mut out);
    join.push(exit(1, 0, &LOAD), &mut out);
    // The exit was at 51.
    assert_eq!(join.next_deadline_ns(), Some(SECOND + 51));
    join.expire(SECOND + 50, &mut out);
    assert!(out.is_empty());
    join.expire(SECOND + 51, &mut out);
    assert_eq!(join.next_deadline_ns(), None);
    assert_eq!(calls(out)[0].missing, vec![Part::Image, Part::Loaded]);
}

#[test]
fn a_text_of_the_caller_that_was_not_in_memory_is_said() {
    let mut join = Join::default();
    let mut entered = enter(1);
    entered.parameters = Some(None);
    let refused = push_all(&mut join, vec![entered.clone(), exit(1, -1, &LOAD[..1])]);
    assert_eq!(refused[0].unreadable, vec![CallerText::Parameters]);
    // The kernel's own copy makes up for it.
    let mut kernel = event(EventKind::Parameters, 1, 15);
    kernel.parameters = Some(Some(Bytes::whole(*b"a=1")));
    let live = push_all(&mut join, vec![entered, kernel, exit(1, -8, &LOAD[..1])]);
    assert!(live[0].unreadable.is_empty());
    assert_eq!(live[0].parameters, Some(Bytes::whole(*b"a=1")));
    assert!(!live[0].parameters_rewritten);
}

#[test]
fn an_init_that_does_not_return_is_passed_on_at_once_and_completed_later() {
    let mut join = Join::default();
    let mut out = Vec::new();
    for part in [enter(1), image(1), loaded(1)] {
        join.push(part, &mut out);
    }
    assert_eq!(join.next_deadline_ns(), Some(SECOND / 2 + 21));
    join.expire(SECOND / 2 + 21, &mut out);
    join.expire(20 * SECOND, &mut out);
    let first = calls(std::mem::take(&mut out));
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].stage, first[0].told), (LoadStage::InitRunning, 0));
    assert_eq!(first[0].missing, vec![Part::Exit]);
    join.push(exit(1, 0, &LOAD), &mut out);
    let second = calls(out);
    assert_eq!((second[0].stage, second[0].told), (LoadStage::Live, 1));
    assert_eq!(second[0].module.name, Some(Bytes::whole(*b"dummy")));
    assert_eq!(join.depth(), 0);
}

#[test]
fn a_call_that_hangs_before_it_is_decided_is_passed_on_with_what_comes_later() {
    let mut join = Join::default();
    let mut out = Vec::new();
    join.push(enter(1), &mut out);
    join.expire(10 * SECOND, &mut out);
    assert!(out.is_empty());
    join.expire(10 * SECOND + 1, &mut out);
    let mut late = loaded(1);
    late.boot_ns = 30 * SECOND;
    join.push(late, &mut out);
    join.expire(31 * SECOND, &mut out);
    let told: Vec<_> = calls(std::mem::take(&mut out)).iter().map(|call| (call.told, call.stage)).collect();
    assert_eq!(told, [(0, LoadStage::Unknown), (1, LoadStage::InitRunning)]);
    join.push(exit(1, 0, &LOAD[..1]), &mut out);
    assert_eq!(calls(out)[0].told, 2);
}

#[test]
fn an_image_that_is_read_packed_and_unpacked_is_one() {
    // Pieces are there of the first reading only, by its name.
    let packed = Image { size: 99, source: Image::FROM_COMPRESSED_FILE, reserved: 0, id: 5, captured_bytes: 98 };
    let unpacked = Image { size: 4711, source: Image::FROM_FILE, reserved: 0, id: 11, captured_bytes: 0 };
    let read = |image: Image| Event { image: Some(image), boot_ns: image.id, ..event(EventKind::ImageRead, 1, 0) };
    for order in [[packed, unpacked], [unpacked, packed]] {
        let mut join = Join::default();
        let [first, second] = order.map(read);
        let calls = push_all(&mut join, vec![enter(1), first, second, loaded(1), exit(1, 0, &LOAD)]);
        let [call] = &calls[..] else { panic!("{calls:?}") };
        assert_eq!(call.image_bytes, Some(4711), "the kernel's own, unpacked");
        let captured = Capture { name: ImageName { id: 5, tid: 7 }, image_bytes: 99, captured_bytes: 98 };
        assert_eq!(call.capture, Some(captured), "what was in the file");
        assert!(call.missing.is_empty());
    }
}

#[test]
fn a_load_by_the_kernels_modprobe_answers_the_request() {
    let mut join = Join::default();
    let mut out = Vec::new();
    let mut request = event(EventKind::ModuleRequested, 0, 1);
    request.module_name = Some(Bytes::whole(*b"net-pf-40"));
    join.push(request, &mut out);
    let mut load = whole_load(100);
    let modprobe = &mut load[0].processes;
    modprobe[0].arguments = ["/sbin/modprobe", "-q", "--", "net-pf-40"].map(Bytes::whole).into_iter().collect();
    modprobe.push(Process { pid: 2, kernel_thread: true, ..Process::default() });
    let answered = push_all(&mut join, load.clone());
    assert_eq!(answered[0].request.as_ref().unwrap().name, Bytes::whole(*b"net-pf-40"));

    // The same command line by a person is no answer.
    load[0].processes[1].kernel_thread = false;
    assert_eq!(push_all(&mut join, load)[0].request, None);
}

#[test]
fn large_calls_make_room_before_there_are_many() {
    let mut join = Join::with_limits(Limits { pending_bytes: 2500, ..Limits::default() });
    let mut out = Vec::new();
    for part in [enter(1), image(1), enter(2), enter(3), enter(4)] {
        join.push(part, &mut out);
    }
    let told: Vec<_> = calls(out).iter().map(|call| call.call_id).collect();
    assert_eq!((told, join.pending_bytes), (vec![1], 3000));
}

#[test]
fn nobody_hides_behind_a_second_request() {
    let asked = |pid: u32, euid: u32, boot_ns: u64| {
        let mut request = event(EventKind::ModuleRequested, 0, boot_ns);
        request.module_name = Some(Bytes::whole(*b"net-pf-40"));
        let ids = Some(Ids { euid, ..Ids::default() });
        request.processes = vec![Process { pid, ids, ..Process::default() }];
        request
    };
    let mut join = Join::default();
    let mut out = Vec::new();
    for request in [asked(10, 1000, 1), asked(11, 0, 2), asked(12, 1000, 90)] {
        join.push(request, &mut out);
    }
    let mut load = whole_load(100);
    let modprobe = &mut load[0].processes;
    modprobe[0].start_boot_ns = 50;
    modprobe[0].arguments = ["/sbin/modprobe", "-q", "--", "net-pf-40"].map(Bytes::whole).into_iter().collect();
    modprobe.push(Process { pid: 2, kernel_thread: true, ..Process::default() });
    let answer = &push_all(&mut join, load.clone())[0];
    assert_eq!(
        answer.request.as_ref().unwrap().process.caller.pid,
        10,
        "not root's, and none made after modprobe began"
    );
    assert_eq!(answer.request_candidates, 2);

    // A load for the kernel whose request is unknown says so.
    let answer = &push_all(&mut Join::default(), load)[0];
    assert_eq!((&answer.request, &answer.missing[..]), (&None, &[Part::Request][..]));
}

#[test]
fn a_user_who_asks_for_much_pushes_out_nobody_elses_request() {
    let mut join = Join::with_limits(Limits { requests: 3, ..Limits::default() });
    let mut out = Vec::new();
    for (euid, name) in [(0, "wanted"), (1000, "a"), (1000, "b"), (1000, "c"), (1000, "d")] {
        let mut request = event(EventKind::ModuleRequested, 0, 1);
        request.module_name = Some(Bytes::whole(name));
        let ids = Some(Ids { euid, ..Ids::default() });
        request.processes = vec![Process { ids, ..Process::default() }];
        join.push(request, &mut out);
    }
    assert_eq!((out.len(), join.requests.len()), (5, 3));
    let mut load = whole_load(100);
    let modprobe = &mut load[0].processes;
    modprobe[0].arguments = ["modprobe", "-q", "--", "wanted"].map(Bytes::whole).into_iter().collect();
    modprobe.push(Process { pid: 2, kernel_thread: true, ..Process::default() });
    assert!(push_all(&mut join, load)[0].request.is_some());
}

#[test]
fn what_was_told_makes_room_first_then_what_the_kernel_has_not_confirmed() {
    let mut join = Join::with_limits(Limits { pending: 3, ..Limits::default() });
    let mut out = Vec::new();
    for part in [enter(1), loaded(1), enter(2), enter(3), enter(4)] {
        join.push(part, &mut out);
    }
    let pushed_out: Vec<_> = calls(std::mem::take(&mut out)).iter().map(|call| call.call_id).collect();
    assert_eq!((pushed_out, join.evicted()), (vec![2], 1));
    // The load is told because its init does not return; then it goes first, and costs nothing.
    join.expire(SECOND, &mut out);
    join.push(enter(5), &mut out);
    assert_eq!(calls(std::mem::take(&mut out)).len(), 1);
    assert_eq!((join.depth(), join.evicted()), (3, 1));
    // What is heard of them later is no second call.
    for (call_id, parts) in [(2, &LOAD[..1]), (1, &LOAD[..])] {
        join.push(exit(call_id, 0, parts), &mut out);
        join.expire(2 * SECOND, &mut out);
        let late = calls(std::mem::take(&mut out));
        assert!(late.iter().any(|call| (call.call_id, call.told) == (call_id, 1)), "{late:?}");
        assert!(!late.iter().any(|call| (call.call_id, call.told) == (call_id, 0)), "{late:?}");
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    (1..8u16, 0..6u64, 0..4u32, -40..2i64, any::<u32>(), any::<u32>()).prop_map(
        |(kind, call_id, tid, ret, happened, sent)| {
            let kind = EventKind::from_raw(kind).unwrap();
            let mut event = event(kind, call_id, call_id + u64::from(tid));
            event.thread.tid = tid;
            if kind == EventKind::CallExit {
                event.end = Some(CallEnd { ret, happened, sent, syscall: 2, abi: 1, reserved: [0; 6] });
            }
            event
        },
    )
}

proptest! {
    #[test]
    fn a_load_in_any_order_is_the_same_call(order in Just(whole_load(100)).prop_shuffle()) {
        let expected = push_all(&mut Join::default(), whole_load(100));
        let mut join = Join::default();
        let got = push_all(&mut join, order);
        prop_assert_eq!(got, expected);
        prop_assert_eq!(join.depth(), 0);
    }

    #[test]
    fn any_events_leave_a_bounded_state(events in proptest::collection::vec((any_event(), 0..5u64), 0..300)) {
        let limits = Limits { pending: 8, unfinished: 4, told: 6, loose: 10, requests: 4, ..Limits::default() };
        let mut join = Join::with_limits(limits);
        let mut out = Vec::new();
        let mut now = 0;
        for (mut event, seconds) in events {
            now += seconds * SECOND;
            event.boot_ns += now;
            join.push(event, &mut out);
            join.expire(now, &mut out);
            prop_assert!(join.depth() <= limits.pending + limits.loose);
            prop_assert!(join.arrivals.len() <= 2 * limits.pending + 1);
            prop_assert!(join.unfinished.len() <= limits.unfinished);
            prop_assert!(join.told.len() <= limits.told);
            prop_assert!(join.requests.len() <= limits.requests);
        }
        join.drain(&mut out);
        prop_assert_eq!(join.next_deadline_ns(), None);
        prop_assert!(join.depth() <= limits.unfinished);
    }

    /// Whatever arrives is in some document: nothing is forgotten in silence.
    #[test]
    fn every_confirmation_is_told(events in proptest::collection::vec(any_event(), 0..100)) {
        let limits = Limits { pending: 4, unfinished: 2, told: 2, loose: 6, ..Limits::default() };
        let mut join = Join::with_limits(limits);
        let mut out = Vec::new();
        let mut linked = Vec::new();
        for (number, mut event) in events.into_iter().enumerate() {
            if event.kind == EventKind::ModuleLoaded {
                // A call links one module: of two, the later would stand for both.
                let key = (event.thread.tid, event.call_id);
                if event.call_id != 0 && linked.iter().any(|(other, _)| *other == Some(key)) {
                    continue;
                }
                let name = format!("module{number}").into_bytes();
                linked.push(((event.call_id != 0).then_some(key), name.clone()));
                event.module_name = Some(Bytes::whole(name));
            } else {
                event.module_name = None;
            }
            event.boot_ns += number as u64;
            join.push(event, &mut out);
        }
        join.drain(&mut out);
        let told: Vec<_> = calls(out).into_iter().filter_map(|call| call.module.name).map(|name| name.bytes).collect();
        for (_, name) in linked {
            prop_assert!(told.contains(&name), "{} was forgotten", String::from_utf8_lossy(&name));
        }
    }

    #[test]
    fn interleaved_calls_each_come_out_once(order in Just((1..=6).flat_map(whole_load).collect::<Vec<_>>()).prop_shuffle()) {
        let mut join = Join::default();
        let mut ids: Vec<_> = push_all(&mut join, order).iter().map(|call| call.call_id).collect();
        ids.sort_unstable();
        prop_assert_eq!(ids, vec![1, 2, 3, 4, 5, 6]);
    }
}
