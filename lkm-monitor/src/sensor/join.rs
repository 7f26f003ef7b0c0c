//! Joins the parts of a call, in whatever order they arrive, into one.
//!
//! The key is the thread and the enter time, which every part of a call carries. The exit event says which parts
//! happened and which of them were sent, so a call is complete as soon as those are here. What stays away is waited
//! for a bounded time; then the call is passed on with what is missing named. Pure: time comes in as an argument.

use std::collections::{HashMap, VecDeque};

use lkm_monitor_common::event::EventKind;

use super::{assemble, decode::Event};
use crate::model::{ModuleCall, ModuleRequest, Observation};

/// Bounds of the join.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls waited for at one time. One more pushes out the oldest.
    pub pending: usize,
    /// Calls that were passed on before they returned and whose return is still welcome.
    pub unfinished: usize,
    /// Requests remembered for the loads that answer them.
    pub requests: usize,
    /// How long a call may run before it is passed on unfinished, in nanoseconds.
    pub call_window_ns: u64,
    /// How long parts that were sent may stay away once the exit is here, and how long parts without a known call are
    /// held together, in nanoseconds.
    pub part_window_ns: u64,
    /// How long a request may wait for its load, in nanoseconds.
    pub request_window_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending: 4096,
            unfinished: 256,
            requests: 256,
            call_window_ns: 10_000_000_000,
            part_window_ns: 1_000_000_000,
            request_window_ns: 60_000_000_000,
        }
    }
}

/// A call's name: its thread and its enter time.
type Key = (u32, u64);

/// The parts of one call that have arrived.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    pub enter: Option<Event>,
    pub image: Option<Event>,
    pub parameters: Option<Event>,
    pub loaded: Option<Event>,
    pub freed: Option<Event>,
    pub exit: Option<Event>,
}

impl Parts {
    /// The place of a part; `None` for events that belong to no call.
    fn slot(&mut self, kind: EventKind) -> Option<&mut Option<Event>> {
        Some(match kind {
            EventKind::CallEnter => &mut self.enter,
            EventKind::ImageRead => &mut self.image,
            EventKind::Parameters => &mut self.parameters,
            EventKind::ModuleLoaded => &mut self.loaded,
            EventKind::ModuleFreed => &mut self.freed,
            EventKind::CallExit => &mut self.exit,
            EventKind::ModuleRequested => return None,
        })
    }

    /// All parts that are here, in the order in which a call makes them.
    pub fn present(&self) -> impl Iterator<Item = &Event> {
        [&self.enter, &self.image, &self.parameters, &self.loaded, &self.freed, &self.exit].into_iter().flatten()
    }

    /// [`EventKind::bit`]s of the parts that are here.
    pub fn bits(&self) -> u32 {
        self.present().fold(0, |bits, event| bits | event.kind.bit())
    }

    /// Whether the exit is here and everything that it says was sent.
    fn complete(&self) -> bool {
        self.exit.as_ref().and_then(|exit| exit.end).is_some_and(|end| end.sent & !self.bits() == 0)
    }
}

#[derive(Debug)]
struct Pending {
    parts: Parts,
    /// When it is passed on as it is.
    deadline_ns: u64,
    /// It was passed on before; this is what the return completes.
    passed_on: bool,
}

/// The state of the join.
#[derive(Debug, Default)]
pub struct Join {
    limits: Limits,
    pending: HashMap<Key, Pending>,
    /// Keys in order of arrival, for the bound; a key may be gone from `pending` already.
    arrivals: VecDeque<Key>,
    /// Keys that were passed on unfinished, oldest first.
    unfinished: VecDeque<Key>,
    requests: VecDeque<ModuleRequest>,
}

impl Join {
    /// A join with other bounds than the default ones.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes an event in and passes on what it completes.
    pub fn push(&mut self, event: Event, now_ns: u64, out: &mut Vec<Observation>) {
        if event.kind == EventKind::ModuleRequested {
            self.request(event, now_ns, out);
            return;
        }
        let key = (event.thread.tid, event.call_id);
        // Parts without a known call are held together by their thread alone; a part that is there already begins another call.
        let repeated = self
            .pending
            .get_mut(&key)
            .is_some_and(|pending| pending.parts.slot(event.kind).is_some_and(|slot| slot.is_some()));
        if repeated {
            self.pass_on(key, now_ns, out);
            self.pending.remove(&key);
        }
        if !self.pending.contains_key(&key) {
            self.make_room(now_ns, out);
            self.arrivals.push_back(key);
        }
        let limits = self.limits;
        let pending = self.pending.entry(key).or_insert_with(|| Pending {
            parts: Parts::default(),
            deadline_ns: now_ns.saturating_add(limits.call_window_ns),
            passed_on: false,
        });
        // A load that tells who did it, because its enter never reached a ring, will hardly see its exit reach one.
        let enter_lost = event.kind == EventKind::ModuleLoaded && !event.processes.is_empty();
        if event.call_id == 0 || enter_lost || event.kind == EventKind::CallExit {
            pending.deadline_ns = now_ns.saturating_add(limits.part_window_ns);
        }
        if let Some(slot) = pending.parts.slot(event.kind) {
            *slot = Some(event);
        }
        if pending.parts.complete() {
            self.pass_on(key, now_ns, out);
        }
    }

    /// Passes on what has waited too long.
    pub fn expire(&mut self, now_ns: u64, out: &mut Vec<Observation>) {
        let mut due: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, pending)| !(pending.passed_on && pending.parts.exit.is_none()))
            .filter(|(_, pending)| pending.deadline_ns <= now_ns)
            .map(|(&key, pending)| (pending.deadline_ns, key))
            .collect();
        due.sort_unstable();
        for (_, key) in due {
            self.pass_on(key, now_ns, out);
        }
        while self
            .requests
            .front()
            .is_some_and(|request| request.boot_ns.saturating_add(self.limits.request_window_ns) < now_ns)
        {
            self.requests.pop_front();
        }
    }

    /// Passes on everything, at the end.
    pub fn drain(&mut self, now_ns: u64, out: &mut Vec<Observation>) {
        let mut keys: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, pending)| !(pending.passed_on && pending.parts.exit.is_none()))
            .map(|(&key, _)| key)
            .collect();
        keys.sort_unstable_by_key(|&(tid, call_id)| (call_id, tid));
        for key in keys {
            self.pass_on(key, now_ns, out);
        }
    }

    /// Calls waited for, those passed on unfinished included.
    pub fn depth(&self) -> usize {
        self.pending.len()
    }

    fn request(&mut self, event: Event, now_ns: u64, out: &mut Vec<Observation>) {
        let request = assemble::request(event);
        while self.requests.len() >= self.limits.requests {
            self.requests.pop_front();
        }
        self.requests.push_back(request.clone());
        self.expire(now_ns, out);
        out.push(Observation::Request(Box::new(request)));
    }

    /// Keeps the number of calls below the limit: the oldest goes, with what is known of it.
    fn make_room(&mut self, now_ns: u64, out: &mut Vec<Observation>) {
        while self.pending.len() >= self.limits.pending {
            let Some(key) = self.arrivals.pop_front() else {
                return;
            };
            self.pass_on(key, now_ns, out);
            self.pending.remove(&key);
        }
        // Keys of calls that are gone pile up at the front only.
        while self.arrivals.front().is_some_and(|key| !self.pending.contains_key(key)) {
            self.arrivals.pop_front();
        }
        if self.arrivals.len() > 2 * self.limits.pending {
            let pending = &self.pending;
            self.arrivals.retain(|key| pending.contains_key(key));
        }
    }

    /// Makes the observation of a call. A finished one is forgotten; an unfinished one stays for its return.
    fn pass_on(&mut self, key: Key, now_ns: u64, out: &mut Vec<Observation>) {
        let Some(pending) = self.pending.get_mut(&key) else {
            return;
        };
        let finished = pending.parts.exit.is_some() || key.1 == 0;
        if pending.passed_on && !finished {
            return;
        }
        let mut call = assemble::call(&pending.parts);
        call.late = pending.passed_on;
        if finished {
            self.pending.remove(&key);
            self.unfinished.retain(|other| *other != key);
        } else {
            pending.passed_on = true;
            pending.deadline_ns = now_ns;
            self.unfinished.push_back(key);
            if self.unfinished.len() > self.limits.unfinished
                && let Some(oldest) = self.unfinished.pop_front()
            {
                self.pending.remove(&oldest);
            }
        }
        call.request = self.answered_request(&call);
        out.push(Observation::Call(Box::new(call)));
    }

    /// The latest request that a load by the kernel's own modprobe answers (`call_modprobe` in kernel/kmod.c runs
    /// `modprobe -q -- NAME` as a child of a kernel thread).
    fn answered_request(&self, call: &ModuleCall) -> Option<ModuleRequest> {
        let process = call.process.as_ref().filter(|_| call.operation.is_load())?;
        let by_kernel = process.ancestors.first().is_some_and(|parent| parent.kernel_thread);
        let arguments = &process.caller.arguments;
        let name = arguments.last().filter(|_| by_kernel && arguments.iter().any(|a| a.bytes == b"--"))?;
        self.requests
            .iter()
            .rev()
            .find(|request| request.name.bytes == name.bytes && request.boot_ns <= call.boot_ns)
            .cloned()
    }
}

#[cfg(test)]
mod tests;
