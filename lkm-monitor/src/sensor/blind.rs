//! What the sensor does not see, and since when.

use super::{
    attach::{Attached, Programs, State},
    probes::Set,
};
use crate::model::BlindHook;

impl Programs {
    /// What is not seen, a sentence each; empty when everything is.
    pub fn blind_spots(&self) -> Vec<String> {
        let mut spots: Vec<String> = Vec::new();
        let mut add = |spot: String| {
            if !spots.contains(&spot) {
                spots.push(spot);
            }
        };
        if self.syscalls.is_none() {
            add("module system calls: their arguments, their results, and those that fail".to_owned());
        }
        if self.syscalls == Some(Set::Tracepoint) {
            add("calls by 32-bit programs, which the syscall tracepoints do not report".to_owned());
        }
        if self.links_unwatched {
            add("whether hooks stay attached".to_owned());
        }
        self.not_the_kernels.iter().cloned().for_each(&mut add);
        for attached in self.probes.iter().filter(|attached| self.cause(attached).is_some()) {
            add(attached.probe.lost.to_owned());
        }
        spots
    }

    /// The hooks that do not report, among those that should.
    pub fn blind_hooks(&self) -> Vec<BlindHook> {
        let hook = |attached: &Attached| {
            Some(BlindHook {
                hook: attached.hook.target(),
                probe: attached.probe.program.to_owned(),
                not_seen: attached.probe.lost.to_owned(),
                cause: self.cause(attached)?,
                since_boot_ns: self.blind_since.get(attached.probe.program).copied().unwrap_or_default(),
            })
        };
        self.probes.iter().filter_map(hook).collect()
    }

    /// Notes since when hooks do not report: those that are found silent for the first time, since `boot_ns`.
    pub fn follow_blindness(&mut self, boot_ns: u64) {
        let blind = self.probes.iter().filter(|attached| self.cause(attached).is_some());
        let since = |program| self.blind_since.get(program).copied().unwrap_or(boot_ns);
        self.blind_since = blind.map(|attached| (attached.probe.program, since(attached.probe.program))).collect();
    }

    /// Why a hook that should report does not.
    fn cause(&self, attached: &Attached) -> Option<String> {
        // What stands in for these is told by a sentence of its own.
        let has_stand_in = matches!(attached.probe.set, Set::Fentry | Set::Tracepoint);
        match &attached.state {
            State::Attached => self.switched_off.silences(attached.hook).map(str::to_owned),
            State::Failed(error) if !has_stand_in => Some(error.clone()),
            State::Lost(error) => Some(format!("its link is gone: {error}")),
            State::Failed(_) | State::Unneeded | State::Absent => None,
        }
    }
}
