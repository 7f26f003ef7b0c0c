//! What the sensor can see, in the model's terms.

use super::{
    attach::{Attached, Programs, State},
    losses::Totals,
    probes::Set,
    switches::SwitchedOff,
};
use crate::model::{Coverage, LostHook, ProbeState, SensorChange, SensorState, SyscallHooks};

/// The sensor as it begins to watch.
pub fn started(programs: &Programs, boot_ns: u64) -> SensorState {
    SensorState { boot_ns, ..state(programs, SensorChange::Started) }
}

/// The sensor as it ends. The caller sets the time and the counters once everything is counted.
pub fn stopped(programs: &Programs) -> SensorState {
    state(programs, SensorChange::Stopped)
}

/// The sensor after switches were turned that silence its hooks, or after they were turned back.
pub fn switched(programs: &Programs, boot_ns: u64) -> SensorState {
    let off = programs.switched_off != SwitchedOff::default();
    let change = if off { SensorChange::Blinded } else { SensorChange::Restored };
    SensorState { boot_ns, ..state(programs, change) }
}

/// The sensor after it attached what it could not attach before, or found the links that it could not find.
pub fn restored(programs: &Programs, boot_ns: u64) -> SensorState {
    SensorState { boot_ns, ..state(programs, SensorChange::Restored) }
}

/// The sensor after links of its were lost.
pub fn detached(programs: &Programs, lost_hooks: Vec<LostHook>, boot_ns: u64) -> SensorState {
    SensorState { boot_ns, lost_hooks, ..state(programs, SensorChange::Detached) }
}

/// The sensor after somebody changed what it keeps in the kernel.
pub fn tampered_with(programs: &Programs, tampering: Vec<String>, boot_ns: u64) -> SensorState {
    SensorState { boot_ns, tampering, ..state(programs, SensorChange::TamperedWith) }
}

/// The sensor as it goes on, without the list of its probes.
pub fn alive(programs: &Programs, totals: Option<&Totals>, boot_ns: u64) -> SensorState {
    let state = state(programs, SensorChange::Started);
    SensorState { boot_ns, probes: Vec::new(), counters: counters(totals), ..state }
}

/// What the sensor counted, by name; nothing where that cannot be read, since 0 is a count, too.
pub fn counters(totals: Option<&Totals>) -> Vec<(&'static str, u64)> {
    let Some(totals) = totals else { return Vec::new() };
    vec![
        ("calls_entered", totals.calls_entered),
        ("calls_unseen", totals.calls_unseen),
        ("ring_full", totals.ring_full),
        ("scratch_exhausted", totals.scratch_exhausted),
        ("in_flight_full", totals.in_flight_full),
        ("probe_skipped", totals.probe_skipped),
        ("writer_not_followed", totals.writers_unfollowed),
        ("link_not_followed", totals.name_changes_full),
        ("tool_not_followed", totals.tool_runs_full),
        ("image_cut", totals.images_cut),
        ("submitted", totals.submitted),
    ]
}

/// How module system calls are hooked.
pub fn syscall_hooks(programs: &Programs) -> SyscallHooks {
    match programs.syscalls {
        Some(Set::Tracepoint) => SyscallHooks::Tracepoint,
        Some(_) => SyscallHooks::Fentry,
        None => SyscallHooks::None,
    }
}

/// The probes that are or should be attached; those that a better one makes unneeded are left out.
pub fn probes(programs: &Programs) -> Vec<ProbeState> {
    programs
        .probes
        .iter()
        .filter(|attached| matches!(attached.state, State::Attached | State::Failed(_) | State::Lost(_)))
        .map(|attached| probe(attached, programs.switched_off))
        .collect()
}

fn probe(Attached { probe, hook, state }: &Attached, off: SwitchedOff) -> ProbeState {
    ProbeState {
        name: probe.program.to_owned(),
        hook: hook.target(),
        kind: hook.kind().to_owned(),
        attached: *state == State::Attached,
        error: match state {
            State::Failed(error) | State::Lost(error) => Some(error.clone()),
            _ => off.silences(*hook).map(str::to_owned),
        },
    }
}

fn state(programs: &Programs, change: SensorChange) -> SensorState {
    let blind = programs.blind_spots();
    SensorState {
        change,
        boot_ns: 0,
        coverage: if blind.is_empty() { Coverage::Full } else { Coverage::Partial },
        syscall_hooks: syscall_hooks(programs),
        probes: probes(programs),
        blind,
        blind_hooks: programs.blind_hooks(),
        lost_hooks: Vec::new(),
        tampering: Vec::new(),
        counters: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_cannot_be_read_are_left_out() {
        assert_eq!(counters(None), []);
        let totals = Totals { ring_full: 3, ..Totals::default() };
        let counted = counters(Some(&totals));
        assert!(counted.contains(&("ring_full", 3)) && counted.contains(&("submitted", 0)), "{counted:?}");
    }
}
