//! Ids that follow from what they name.

use sha2::{Digest as _, Sha256};

use crate::model::{
    ClockStep, FileBurst, FileChange, Heartbeat, KernelAlert, KernelLook, Loss, ModuleCall, ModuleRequest, NotStarted,
    ObjectAccess, Process, Reload, SensorState, SpoolChange, Succession, ToolRun, text::hex,
};

/// What tells an event of one boot from all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventKey<'a> {
    pub(super) boot_ns: u64,
    tid: u32,
    cpu: u32,
    kind: &'a str,
    /// A call that outlives the sensor's patience has a second document, and may have more.
    told: u32,
}

impl<'a> EventKey<'a> {
    pub(super) fn of_call(call: &ModuleCall) -> Self {
        let kind = if call.operation.is_load() { "load" } else { "unload" };
        Self { boot_ns: call.boot_ns, tid: call.tid, cpu: call.cpu, kind, told: call.told }
    }

    pub(super) fn of_request(request: &ModuleRequest) -> Self {
        let ModuleRequest { boot_ns, cpu, process, .. } = request;
        Self { boot_ns: *boot_ns, tid: process.caller.tid, cpu: *cpu, kind: "request", told: 0 }
    }

    pub(super) fn of_file(change: &FileChange) -> Self {
        let FileChange { boot_ns, tid, cpu, action, told, .. } = change;
        Self { boot_ns: *boot_ns, tid: *tid, cpu: *cpu, kind: action.participle(), told: *told }
    }

    pub(super) fn of_burst(burst: &FileBurst) -> Self {
        let FileBurst { boot_ns, tid, cpu, .. } = burst;
        Self { boot_ns: *boot_ns, tid: *tid, cpu: *cpu, kind: "burst", told: u32::from(burst.continued) }
    }

    pub(super) fn of_excluded(boot_ns: u64) -> Self {
        Self { boot_ns, tid: 0, cpu: 0, kind: "excluded-file-changes", told: 0 }
    }

    pub(super) fn of_tool(run: &ToolRun) -> Self {
        Self { boot_ns: run.boot_ns, tid: run.process.caller.tid, cpu: run.cpu, kind: "tool", told: run.told }
    }

    pub(super) fn of_object(access: &ObjectAccess) -> Self {
        let tid = access.process.caller.tid;
        Self { boot_ns: access.boot_ns, tid, cpu: access.cpu, kind: access.operation.name(), told: 0 }
    }

    pub(super) fn of_loss(loss: &Loss) -> Self {
        Self { boot_ns: loss.boot_ns, tid: 0, cpu: 0, kind: loss.reason.name(), told: 0 }
    }

    pub(super) fn of_state(state: &SensorState) -> Self {
        let kind = state.change.action();
        Self { boot_ns: state.boot_ns, tid: 0, cpu: 0, kind, told: 0 }
    }

    pub(super) fn of_not_started(not_started: &NotStarted) -> Self {
        Self { boot_ns: not_started.boot_ns, tid: 0, cpu: 0, kind: "sensor-not-started", told: 0 }
    }

    pub(super) fn of_reload(reload: &Reload) -> Self {
        let kind = reload.outcome.action();
        Self { boot_ns: reload.boot_ns, tid: 0, cpu: 0, kind, told: 0 }
    }

    pub(super) fn of_succession(succession: &Succession) -> Self {
        Self { boot_ns: succession.this.began.boot_ns, tid: 0, cpu: 0, kind: "run", told: 0 }
    }

    pub(super) fn of_heartbeat(heartbeat: &Heartbeat) -> Self {
        Self { boot_ns: heartbeat.state.boot_ns, tid: 0, cpu: 0, kind: "heartbeat", told: 0 }
    }

    pub(super) const fn of_drift(kind: &'a str, number: u32, boot_ns: u64) -> Self {
        Self { boot_ns, tid: 0, cpu: 0, kind, told: number }
    }

    pub(super) const fn of_host_state(boot_ns: u64) -> Self {
        Self { boot_ns, tid: 0, cpu: 0, kind: "host-state", told: 0 }
    }

    pub(super) fn of_spool(change: &SpoolChange) -> Self {
        Self { boot_ns: change.boot_ns, tid: 0, cpu: 0, kind: "spool", told: 0 }
    }

    pub(super) fn of_kernel(alert: &KernelAlert) -> Self {
        let KernelAlert { boot_ns, number, facts, .. } = alert;
        Self { boot_ns: *boot_ns, tid: 0, cpu: 0, kind: facts.action(), told: *number }
    }

    pub(super) fn of_look(look: &KernelLook) -> Self {
        Self { boot_ns: look.boot_ns, tid: 0, cpu: 0, kind: "integrity-looked", told: 0 }
    }

    pub(super) fn of_clock_step(step: &ClockStep) -> Self {
        Self { boot_ns: step.boot_ns, tid: 0, cpu: 0, kind: "clock-stepped", told: 0 }
    }

    /// Of what an inventory lists: `kind` names the very thing.
    pub(super) const fn of_entry(boot_ns: u64, kind: &'a str) -> Self {
        Self { boot_ns, tid: 0, cpu: 0, kind, told: 0 }
    }

    /// `event.id`: 32 hexadecimal digits.
    pub(super) fn id(&self, boot_id: &str) -> String {
        let Self { boot_ns, tid, cpu, kind, told } = self;
        digest(&format!("event {boot_id} {boot_ns} {tid} {cpu} {kind} {told}"))
    }
}

/// `process.entity_id`: the same for a process in all documents, for no other process of any host.
pub(super) fn entity_id(boot_id: &str, process: &Process) -> String {
    digest(&format!("process {boot_id} {} {}", process.pid, process.start_boot_ns))
}

/// The first half of a SHA-256: 128 bits are far more than any number of events needs.
fn digest(input: &str) -> String {
    hex(&Sha256::digest(input)[..16])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_part_counts() {
        let key = EventKey { boot_ns: 1, tid: 2, cpu: 3, kind: "load", told: 0 };
        let ids = [
            key.id("boot"),
            key.id("other boot"),
            EventKey { boot_ns: 2, ..key }.id("boot"),
            EventKey { tid: 3, ..key }.id("boot"),
            EventKey { cpu: 4, ..key }.id("boot"),
            EventKey { kind: "unload", ..key }.id("boot"),
            EventKey { told: 1, ..key }.id("boot"),
        ];
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == 32));
        assert_eq!(key.id("boot"), ids[0]);
    }
}
