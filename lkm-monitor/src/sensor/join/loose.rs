//! Parts whose call is not known: the system call has no probe (32-bit callers under the syscall tracepoints), or the
//! kernel skipped the probe at its enter.
//!
//! All that names them is their thread. So a thread's parts are held for a while and then cut into calls by what a call
//! can be made of, in the order of their times.

use std::collections::HashMap;

use lkm_monitor_common::{
    event::EventKind,
    section::{Image, Syscall},
};

use super::{super::decode::Event, Parts};

/// Parts by thread, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Loose {
    threads: HashMap<u32, Vec<Event>>,
    len: usize,
}

impl Loose {
    pub(super) fn push(&mut self, event: Event) {
        self.threads.entry(event.thread.tid).or_default().push(event);
        self.len += 1;
    }

    /// Parts held.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The calls that began a window ago or more, in order of time. A later part of the same thread stays behind if it
    /// may still be waiting for company.
    pub(super) fn take_due(&mut self, read_to_ns: u64, window_ns: u64) -> Vec<Parts> {
        let is_due = |began_ns: u64| began_ns.saturating_add(window_ns) <= read_to_ns;
        let mut due = Vec::new();
        let threads: Vec<_> = self.threads.extract_if(|_, events| is_due(first_ns(events))).collect();
        for (_, events) in threads {
            self.len -= events.len();
            let mut calls = cut(events);
            if let Some(last) = calls.pop_if(|last| !is_due(began_ns(last))) {
                last.present().cloned().for_each(|event| self.push(event));
            }
            due.append(&mut calls);
        }
        due.sort_by_key(began_ns);
        due
    }

    /// Takes out all calls of the thread that has waited longest.
    pub(super) fn take_oldest(&mut self) -> Vec<Parts> {
        let oldest = self.threads.iter().min_by_key(|(_, events)| first_ns(events)).map(|(&tid, _)| tid);
        let events = oldest.and_then(|tid| self.threads.remove(&tid)).unwrap_or_default();
        self.len -= events.len();
        cut(events)
    }

    /// When [`Self::take_due`] will next give something.
    pub(super) fn next_deadline_ns(&self, window_ns: u64) -> Option<u64> {
        self.threads.values().map(|events| first_ns(events).saturating_add(window_ns)).min()
    }
}

fn first_ns(events: &[Event]) -> u64 {
    events.iter().map(|event| event.boot_ns).min().unwrap_or(0)
}

fn began_ns(call: &Parts) -> u64 {
    call.present().map(|event| event.boot_ns).min().unwrap_or(0)
}

/// Cuts what one thread did into calls.
fn cut(mut events: Vec<Event>) -> Vec<Parts> {
    events.sort_by_key(|event| event.boot_ns);
    let mut calls = Vec::new();
    let mut call = Parts::default();
    let mut events = events.into_iter().peekable();
    while let Some(event) = events.next() {
        let load_failed = events
            .peek()
            .is_some_and(|next| next.end.is_some_and(|end| end.syscall != Syscall::DeleteModule as u8 && end.ret < 0));
        if !continues(&call, &event, load_failed) {
            calls.push(std::mem::take(&mut call));
        }
        let ends = event.kind == EventKind::CallExit;
        call.put(event);
        if ends {
            calls.push(std::mem::take(&mut call));
        }
    }
    if call.bits() != 0 {
        calls.push(call);
    }
    calls
}

/// Whether a call of which `call` is known can go on with `event`. `load_failed`: the failure of a load follows it.
fn continues(call: &Parts, event: &Event, load_failed: bool) -> bool {
    if call.bits() == 0 {
        return true;
    }
    // A kernel that reports a compressed image twice: as it was read, and unpacked.
    let unpacked = event.kind == EventKind::ImageRead
        && call.bits() & !(EventKind::CallEnter.bit() | EventKind::ImageRead.bit()) == 0
        && call
            .image
            .as_ref()
            .and_then(|image| image.image)
            .is_some_and(|image| image.source == Image::FROM_COMPRESSED_FILE);
    // A call makes its parts in one order only.
    let in_order = call.present().all(|part| place(part.kind) < place(event.kind));
    // Freed after it was linked: its init failed, and the load's return says so, or it was unloaded by another call.
    let unloaded = event.kind == EventKind::ModuleFreed && call.loaded.is_some() && !load_failed;
    (in_order || unpacked) && !unloaded && !other_syscall(call, event)
}

/// The place of a part in its call.
const fn place(kind: EventKind) -> u8 {
    match kind {
        EventKind::CallEnter
        | EventKind::ModuleRequested
        | EventKind::FileChanged
        | EventKind::ToolStarted
        | EventKind::ToolEnded
        | EventKind::ObjectAccessed => 0,
        EventKind::ImageRead => 1,
        EventKind::Parameters => 2,
        EventKind::ModuleLoaded => 3,
        EventKind::ModuleFreed => 4,
        EventKind::CallExit => 5,
    }
}

/// Whether `event` is the return of another system call than made the parts of `call`.
fn other_syscall(call: &Parts, event: &Event) -> bool {
    let Some(end) = event.end else {
        return false;
    };
    let entered = call.enter.as_ref().and_then(|enter| enter.call).map(|arguments| arguments.syscall);
    let loads = call.image.is_some() || call.parameters.is_some() || call.loaded.is_some();
    let unloads = call.freed.is_some() && call.loaded.is_none() && !loads;
    let deleted = end.syscall == Syscall::DeleteModule as u8;
    entered.is_some_and(|syscall| syscall != end.syscall) || loads && deleted || unloads && !deleted
}

#[cfg(test)]
mod tests;
