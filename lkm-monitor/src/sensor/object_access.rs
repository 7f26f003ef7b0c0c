//! Folds what one process does to the sensor's objects: `bpftool prog show` opens each of them.
//!
//! Time is the events' own, as in [`super::join`]. Pure: no clock, no file.

use std::collections::HashMap;

use lkm_monitor_common::{
    objects::{self, PIDFD_GETFD, USE_MAP, command},
    section,
    section::object_access_flags::OUTCOME_UNKNOWN,
};

use super::{assemble, decode::Event};
use crate::model::{AccessOutcome, ObjectAccess, ObjectKind, ObjectOperation, OwnObject};

/// How long further calls of a kind by one process are waited for, in nanoseconds.
const WINDOW_NS: u64 = 1_000_000_000;
/// Folds at one time; beyond, the oldest is told.
const MAX_OPEN: usize = 64;
/// Objects that are named.
const MAX_NAMED: usize = 16;

/// Names of the sensor's objects, by kind and number.
pub type Names = HashMap<(ObjectKind, u32), String>;

/// One call on one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessSeen {
    pub operation: ObjectOperation,
    pub kind: ObjectKind,
    pub id: u32,
    pub outcome: AccessOutcome,
}

/// What the probes sent, in the model's terms; `None` where it is no call that they send.
pub fn seen(raw: &section::ObjectAccess) -> Option<AccessSeen> {
    Some(AccessSeen { operation: operation(raw.operation)?, kind: kind(raw.kind)?, id: raw.id, outcome: outcome(raw) })
}

/// Accesses that may go on.
#[derive(Debug, Default)]
pub struct Accesses {
    names: Names,
    suspicious: bool,
    /// Oldest first.
    open: Vec<ObjectAccess>,
}

impl Accesses {
    /// Knows objects by these names, too.
    pub fn know(&mut self, names: Names) {
        self.names.extend(names);
    }

    /// Whether somebody did what may have changed the sensor, since this was asked last.
    pub fn take_suspicion(&mut self) -> bool {
        std::mem::take(&mut self.suspicious)
    }

    /// Takes in a call. Gives accesses that had to make room.
    pub fn push(&mut self, event: &Event) -> Option<ObjectAccess> {
        let AccessSeen { operation, kind, id, outcome } = event.access?;
        self.suspicious |= operation.is_change() || operation == ObjectOperation::TakeDescriptor;
        let object = OwnObject { kind, id, name: self.names.get(&(kind, id)).cloned() };
        let process = (event.thread.pid, event.thread.start_boot_ns);
        let same = |open: &&mut ObjectAccess| {
            let caller = &open.process.caller;
            open.operation == operation
                && (caller.pid, caller.start_boot_ns) == process
                && event.boot_ns < open.boot_ns.saturating_add(WINDOW_NS)
        };
        if let Some(open) = self.open.iter_mut().find(same) {
            add(open, object, outcome, event.boot_ns);
            return None;
        }
        let displaced = (self.open.len() >= MAX_OPEN).then(|| self.open.remove(0));
        self.open.push(ObjectAccess {
            boot_ns: event.boot_ns,
            last_boot_ns: event.boot_ns,
            cpu: event.cpu,
            operation,
            count: 1,
            objects: vec![object],
            outcome,
            process: assemble::tree(event),
        });
        displaced
    }

    /// Accesses whose window has passed at this time.
    pub fn expire(&mut self, read_to_ns: u64) -> Vec<ObjectAccess> {
        self.open.extract_if(.., |open| open.boot_ns.saturating_add(WINDOW_NS) <= read_to_ns).collect()
    }

    /// When [`Self::expire`] will have something, in nanoseconds since boot.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.open.iter().map(|open| open.boot_ns.saturating_add(WINDOW_NS)).min()
    }

    /// All accesses.
    pub fn drain(&mut self) -> Vec<ObjectAccess> {
        std::mem::take(&mut self.open)
    }
}

fn add(open: &mut ObjectAccess, object: OwnObject, outcome: AccessOutcome, boot_ns: u64) {
    open.count = open.count.saturating_add(1);
    open.last_boot_ns = open.last_boot_ns.max(boot_ns);
    open.outcome = open.outcome.max(outcome);
    if open.objects.len() < MAX_NAMED && !open.objects.contains(&object) {
        open.objects.push(object);
    }
}

fn outcome(raw: &section::ObjectAccess) -> AccessOutcome {
    if raw.flags & OUTCOME_UNKNOWN != 0 {
        AccessOutcome::Unknown
    } else if raw.ret >= 0 {
        AccessOutcome::Succeeded
    } else {
        AccessOutcome::Refused(i32::try_from(raw.ret.unsigned_abs()).unwrap_or(i32::MAX))
    }
}

fn kind(raw: u32) -> Option<ObjectKind> {
    Some(match objects::ObjectKind::from_raw(raw)? {
        objects::ObjectKind::Map => ObjectKind::Map,
        objects::ObjectKind::Program => ObjectKind::Program,
        objects::ObjectKind::Link => ObjectKind::Link,
        objects::ObjectKind::PerfEvent => ObjectKind::PerfEvent,
    })
}

fn operation(raw: u32) -> Option<ObjectOperation> {
    Some(match raw {
        command::PROG_GET_FD_BY_ID | command::MAP_GET_FD_BY_ID | command::LINK_GET_FD_BY_ID | command::OBJ_GET => {
            ObjectOperation::Open
        }
        command::OBJ_PIN => ObjectOperation::Pin,
        command::MAP_UPDATE_ELEM | command::MAP_UPDATE_BATCH => ObjectOperation::UpdateMap,
        command::MAP_DELETE_ELEM
        | command::MAP_DELETE_BATCH
        | command::MAP_LOOKUP_AND_DELETE_ELEM
        | command::MAP_LOOKUP_AND_DELETE_BATCH => ObjectOperation::DeleteFromMap,
        command::MAP_FREEZE => ObjectOperation::FreezeMap,
        command::PROG_TEST_RUN => ObjectOperation::RunProgram,
        command::PROG_LOAD => ObjectOperation::ExtendProgram,
        command::PROG_DETACH => ObjectOperation::DetachProgram,
        command::LINK_UPDATE => ObjectOperation::UpdateLink,
        command::LINK_DETACH => ObjectOperation::DetachLink,
        command::PROG_BIND_MAP | USE_MAP => ObjectOperation::UseMap,
        PIDFD_GETFD => ObjectOperation::TakeDescriptor,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use lkm_monitor_common::event::EventKind;
    use proptest::prelude::*;

    use super::*;
    use crate::sensor::decode::tests::blank;

    fn event(pid: u32, boot_ns: u64, access: section::ObjectAccess) -> Event {
        let mut event = blank(EventKind::ObjectAccessed);
        (event.thread.pid, event.boot_ns, event.access) = (pid, boot_ns, seen(&access));
        event
    }

    fn opened(id: u32, ret: i64) -> section::ObjectAccess {
        section::ObjectAccess { operation: command::PROG_GET_FD_BY_ID, kind: 2, id, flags: 0, ret }
    }

    #[test]
    fn what_one_process_opens_is_one_access() {
        let mut accesses = Accesses::default();
        accesses.know(HashMap::from([((ObjectKind::Program, 7), "module_load".to_owned())]));
        for (pid, at, id) in [(1, 0, 7), (1, 10, 8), (2, 20, 7), (1, 30, 7)] {
            assert_eq!(accesses.push(&event(pid, at, opened(id, 3))), None);
        }
        assert_eq!(accesses.next_deadline_ns(), Some(WINDOW_NS));
        assert_eq!(accesses.expire(WINDOW_NS - 1), []);
        let told = accesses.expire(WINDOW_NS);
        assert_eq!((told.len(), told[0].count, told[0].last_boot_ns), (1, 3, 30));
        let named: Vec<_> = told[0].objects.iter().map(|object| (object.id, object.name.as_deref())).collect();
        assert_eq!(named, [(7, Some("module_load")), (8, None)]);
        assert_eq!(accesses.drain().len(), 1);
    }

    #[test]
    fn one_success_among_failures_is_a_success() {
        let mut accesses = Accesses::default();
        for (ret, outcome) in
            [(-1, AccessOutcome::Refused(1)), (5, AccessOutcome::Succeeded), (-1, AccessOutcome::Succeeded)]
        {
            accesses.push(&event(1, 0, opened(7, ret)));
            assert_eq!(accesses.open[0].outcome, outcome);
        }
    }

    #[test]
    fn what_makes_room_is_told() {
        let mut accesses = Accesses::default();
        let displaced = (0..=MAX_OPEN as u32).filter_map(|pid| accesses.push(&event(pid, 0, opened(7, 3)))).count();
        assert_eq!((displaced, accesses.open.len()), (1, MAX_OPEN));
    }

    proptest! {
        #[test]
        fn any_access_is_folded_or_passed_over(raw in any::<(u32, u32, u32, u32, i64)>(), bpf in 0..40_u32, kind in 0..6_u32) {
            let (operation, wild, id, flags, ret) = raw;
            let mut accesses = Accesses::default();
            for (operation, kind) in [(operation, wild), (bpf, kind), (PIDFD_GETFD, kind)] {
                accesses.push(&event(1, 0, section::ObjectAccess { operation, kind, id, flags, ret }));
            }
            prop_assert!(accesses.drain().iter().all(|open| open.count > 0 && !open.objects.is_empty()));
        }
    }
}
