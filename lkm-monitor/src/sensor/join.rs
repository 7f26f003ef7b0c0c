//! Joins the parts of a call, in whatever order they arrive, into one.
//!
//! The key is the thread and the enter time, which every part of a call carries. The exit event says which parts
//! happened and which of them were sent, so a call is complete as soon as those are here. What stays away is waited
//! for a bounded time; then the call is passed on with what is missing named.
//!
//! Time is the events' own: the caller says up to which moment the rings have been read ([`Join::expire`]). However far
//! behind the daemon is, a part that still lies in a ring is not missing. Pure: there is no clock in here.

mod loose;
mod requests;

use std::collections::{HashMap, VecDeque};

use lkm_monitor_common::{event::EventKind, section::Image};

use self::{loose::Loose, requests::Requests};
use super::{assemble, decode::Event};
use crate::model::Observation;

/// Bounds of the join.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls waited for at one time. One more pushes out another, which is counted.
    pub pending: usize,
    /// Bytes of their events. More push out others, as well.
    pub pending_bytes: usize,
    /// Calls that were passed on before they returned, kept whole for their return.
    pub unfinished: usize,
    /// Calls that were passed on before they returned, of which only the name is kept.
    pub told: usize,
    /// Parts of unknown calls that are held.
    pub loose: usize,
    /// Requests remembered for the loads that answer them.
    pub requests: usize,
    /// How long a call may run before it is passed on unfinished, in nanoseconds.
    pub call_window_ns: u64,
    /// How long a module's init function may run before its load is passed on unfinished, in nanoseconds. Short: the
    /// module's code may be ending us.
    pub init_window_ns: u64,
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
            pending_bytes: 16 * 1024 * 1024,
            unfinished: 256,
            told: 4096,
            loose: 4096,
            requests: 2048,
            call_window_ns: 10_000_000_000,
            init_window_ns: 500_000_000,
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
    /// The same image before the kernel unpacked it.
    pub packed: Option<Event>,
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
            EventKind::ModuleRequested
            | EventKind::FileChanged
            | EventKind::ToolStarted
            | EventKind::ToolEnded
            | EventKind::ObjectAccessed => return None,
        })
    }

    /// Takes a part in. Of two alike the later one counts: newer kernels report a compressed image as they read it and
    /// again unpacked.
    fn put(&mut self, event: Event) {
        let is_packed = |image: &Event| image.image.is_some_and(|image| image.source == Image::FROM_COMPRESSED_FILE);
        if is_packed(&event) {
            self.packed = Some(event.clone());
        }
        if let Some(slot) = self.slot(event.kind)
            && slot.as_ref().is_none_or(|other| other.boot_ns <= event.boot_ns)
        {
            *slot = Some(event);
        }
    }

    /// All parts that are here, in the order in which a call makes them.
    pub fn present(&self) -> impl Iterator<Item = &Event> {
        [&self.enter, &self.image, &self.parameters, &self.loaded, &self.freed, &self.exit].into_iter().flatten()
    }

    /// Bytes of their events.
    fn bytes(&self) -> usize {
        self.present().chain(&self.packed).map(|event| event.wire_bytes).sum()
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
    /// How often it was passed on before.
    told: u32,
    /// Something arrived since.
    news: bool,
}

/// The state of the join.
#[derive(Debug, Default)]
pub struct Join {
    limits: Limits,
    pending: HashMap<Key, Pending>,
    /// Keys in order of arrival, for the bound; a key may be gone from `pending` already.
    arrivals: VecDeque<Key>,
    /// Keys of `pending` that were passed on unfinished, oldest first.
    unfinished: VecDeque<Key>,
    /// Calls that were passed on and forgotten before they returned, oldest first.
    told: VecDeque<Key>,
    /// Bytes of the events in `pending`.
    pending_bytes: usize,
    loose: Loose,
    requests: Requests,
    evicted: u64,
}

impl Join {
    /// A join with other bounds than the default ones.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A join of events that are seen from this time on, in nanoseconds since boot.
    pub fn since(boot_ns: u64) -> Self {
        let mut join = Self::default();
        join.requests.since_ns = boot_ns;
        join
    }

    /// Takes an event in and passes on what it completes.
    pub fn push(&mut self, event: Event, out: &mut Vec<Observation>) {
        if event.kind == EventKind::ModuleRequested {
            let request = assemble::request(event);
            self.requests.remember(request.clone(), self.limits.requests);
            out.push(Observation::Request(Box::new(request)));
            return;
        }
        if event.call_id == 0 {
            self.loose.push(event);
            while self.loose.len() > self.limits.loose {
                let parts = self.loose.take_oldest();
                self.evicted += parts.len() as u64;
                parts.iter().for_each(|parts| self.observe(parts, 0, out));
            }
            return;
        }
        let key = (event.thread.tid, event.call_id);
        if !self.pending.contains_key(&key) {
            self.make_room(out);
            self.arrivals.push_back(key);
        }
        let limits = self.limits;
        let told = &self.told;
        let pending = self.pending.entry(key).or_insert_with(|| Pending {
            parts: Parts::default(),
            deadline_ns: event.boot_ns.saturating_add(limits.call_window_ns),
            told: u32::from(told.contains(&key)),
            news: false,
        });
        let within = |window| event.boot_ns.saturating_add(window);
        match event.kind {
            EventKind::CallExit => pending.deadline_ns = within(limits.part_window_ns),
            _ if pending.parts.exit.is_some() => {}
            EventKind::ModuleLoaded => pending.deadline_ns = pending.deadline_ns.min(within(limits.init_window_ns)),
            _ if pending.told > 0 => pending.deadline_ns = within(limits.part_window_ns),
            _ => {}
        }
        self.pending_bytes -= pending.parts.bytes();
        pending.parts.put(event);
        self.pending_bytes += pending.parts.bytes();
        pending.news = true;
        if pending.parts.complete() {
            self.pass_on(key, out);
        }
    }

    /// Passes on what has waited too long. Everything that happened until `read_to_ns` has been pushed.
    pub fn expire(&mut self, read_to_ns: u64, out: &mut Vec<Observation>) {
        let mut due: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.news && pending.deadline_ns <= read_to_ns)
            .map(|(&key, pending)| (pending.deadline_ns, key))
            .collect();
        due.sort_unstable();
        for (_, key) in due {
            self.pass_on(key, out);
        }
        for parts in self.loose.take_due(read_to_ns, self.limits.part_window_ns) {
            self.observe(&parts, 0, out);
        }
        self.requests.expire(read_to_ns, self.limits.request_window_ns);
    }

    /// When [`Self::expire`] will next have something to pass on.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let pending = self.pending.values().filter(|pending| pending.news).map(|pending| pending.deadline_ns);
        pending.chain(self.loose.next_deadline_ns(self.limits.part_window_ns)).min()
    }

    /// Passes on everything, at the end.
    pub fn drain(&mut self, out: &mut Vec<Observation>) {
        let mut keys: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.news)
            .map(|(&(tid, call_id), _)| (call_id, tid))
            .collect();
        keys.sort_unstable();
        for (call_id, tid) in keys {
            self.pass_on((tid, call_id), out);
        }
        for parts in self.loose.take_due(u64::MAX, 0) {
            self.observe(&parts, 0, out);
        }
    }

    /// Calls waited for, those passed on unfinished included, and parts of unknown calls.
    pub fn depth(&self) -> usize {
        self.pending.len() + self.loose.len()
    }

    /// Calls that had to be passed on early, because there were too many, since the start.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Keeps the number of calls below the limit.
    fn make_room(&mut self, out: &mut Vec<Observation>) {
        while self.pending.len() >= self.limits.pending || self.pending_bytes >= self.limits.pending_bytes {
            let Some(key) = self.expendable() else {
                return;
            };
            if self.pending.get(&key).is_some_and(|pending| pending.news) {
                self.evicted += 1;
            }
            self.pass_on(key, out);
            self.forget(key);
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

    /// The call whose early end costs least: one that was passed on already, then one that the kernel has confirmed
    /// nothing of, then the oldest.
    fn expendable(&self) -> Option<Key> {
        let unconfirmed = |key: &&Key| {
            self.pending
                .get(*key)
                .is_some_and(|pending| pending.parts.loaded.is_none() && pending.parts.freed.is_none())
        };
        let arrivals = || self.arrivals.iter().filter(|key| self.pending.contains_key(key));
        self.unfinished.front().or_else(|| arrivals().find(unconfirmed)).or_else(|| arrivals().next()).copied()
    }

    /// Makes the observation of a call. A finished one is forgotten; an unfinished one stays for its return.
    fn pass_on(&mut self, key: Key, out: &mut Vec<Observation>) {
        let Some(pending) = self.pending.get_mut(&key).filter(|pending| pending.news) else {
            return;
        };
        let told = pending.told;
        if pending.parts.exit.is_some() {
            let parts = std::mem::take(&mut pending.parts);
            self.pending_bytes -= parts.bytes();
            self.pending.remove(&key);
            self.unfinished.retain(|other| *other != key);
            self.told.retain(|other| *other != key);
            if !parts.complete() {
                self.remember_told(key);
            }
            self.observe(&parts, told, out);
            return;
        }
        pending.told += 1;
        pending.news = false;
        let parts = pending.parts.clone();
        if !self.unfinished.contains(&key) {
            self.unfinished.push_back(key);
        }
        self.observe(&parts, told, out);
        if self.unfinished.len() > self.limits.unfinished
            && let Some(&oldest) = self.unfinished.front()
        {
            self.pass_on(oldest, out);
            self.forget(oldest);
        }
    }

    /// Forgets a call that was passed on unfinished, but for its name: what is heard of it later is late.
    fn forget(&mut self, key: Key) {
        let unfinished = self.pending.remove(&key);
        self.pending_bytes -= unfinished.as_ref().map_or(0, |pending| pending.parts.bytes());
        self.unfinished.retain(|other| *other != key);
        if unfinished.is_some() {
            self.remember_told(key);
        }
    }

    /// Parts of this call that come later belong to a document that there is already.
    fn remember_told(&mut self, key: Key) {
        if !self.told.contains(&key) {
            self.told.push_back(key);
        }
        if self.told.len() > self.limits.told {
            self.told.pop_front();
        }
    }

    fn observe(&self, parts: &Parts, told: u32, out: &mut Vec<Observation>) {
        let mut call = assemble::call(parts);
        call.told = told;
        self.requests.link(&mut call);
        out.push(Observation::Call(Box::new(call)));
    }
}

#[cfg(test)]
mod tests;
