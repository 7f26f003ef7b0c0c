//! Requests of the kernel for modules, and the loads that answer them.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
};

use crate::model::{ModuleCall, ModuleRequest, Part};

/// Arguments of the asking process that are kept.
const KEPT_ARGUMENTS: usize = 32;

/// Requests of the last while, oldest first.
#[derive(Debug, Default)]
pub(super) struct Requests {
    recent: VecDeque<ModuleRequest>,
    /// Nanoseconds since boot from which on requests are seen.
    pub(super) since_ns: u64,
}

impl Requests {
    /// Remembers a request; beyond `limit`, the oldest of the user who asked most is forgotten: nobody can push out what
    /// others asked for.
    pub(super) fn remember(&mut self, mut request: ModuleRequest, limit: usize) {
        // Its own document tells more; what is kept here many times over is what the load's document shows.
        request.process.ancestors = Vec::new();
        let caller = &mut request.process.caller;
        caller.working_directory = None;
        caller.cut_arguments(KEPT_ARGUMENTS);
        self.recent.push_back(request);
        if self.recent.len() <= limit {
            return;
        }
        let mut counts: HashMap<Option<u32>, u32> = HashMap::new();
        self.recent.iter().for_each(|request| *counts.entry(asker(request)).or_default() += 1);
        let most = counts.into_iter().max_by_key(|&(_, count)| count).map(|(user, _)| user);
        let oldest = self.recent.iter().position(|request| Some(asker(request)) == most);
        self.recent.remove(oldest.unwrap_or(0));
    }

    /// Forgets what was asked for before the window.
    pub(super) fn expire(&mut self, read_to_ns: u64, window_ns: u64) {
        while self.recent.front().is_some_and(|request| request.boot_ns.saturating_add(window_ns) < read_to_ns) {
            self.recent.pop_front();
        }
    }

    /// Links a load by the kernel's own modprobe to the request that it answers (`call_modprobe` in kernel/kmod.c runs
    /// `modprobe -q -- NAME` as a child of a kernel thread).
    ///
    /// Nothing says which of several requests for one name it was. Then the load is shown with that of an unprivileged
    /// process rather than root's, and with the number of them: nobody can hide behind a second request.
    pub(super) fn link(&self, call: &mut ModuleCall) {
        let Some(process) = call.process.as_ref().filter(|_| call.operation.is_load()) else {
            return;
        };
        let by_kernel = process.ancestors.first().is_some_and(|parent| parent.kernel_thread);
        let arguments = &process.caller.arguments;
        let asked = by_kernel && arguments.iter().any(|argument| argument.bytes == b"--");
        let Some(name) = arguments.last().filter(|_| asked) else {
            return;
        };
        let began_ns = if process.caller.start_boot_ns > 0 { process.caller.start_boot_ns } else { call.boot_ns };
        let candidates: Vec<_> = self
            .recent
            .iter()
            .filter(|request| request.name.bytes == name.bytes && request.boot_ns <= began_ns)
            .collect();
        call.request_candidates = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let by_root = |request: &ModuleRequest| request.process.caller.ids.is_none_or(|ids| ids.euid == 0);
        call.request =
            candidates.into_iter().min_by_key(|request| (by_root(request), Reverse(request.boot_ns))).cloned();
        if call.request.is_none() && began_ns >= self.since_ns {
            call.missing.push(Part::Request);
        }
    }

    /// Requests remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.recent.len()
    }
}

/// The effective user who asked, as far as known.
fn asker(request: &ModuleRequest) -> Option<u32> {
    request.process.caller.ids.map(|ids| ids.euid)
}
