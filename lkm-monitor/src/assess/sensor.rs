//! What happens to the sensor itself.

use super::attack;
use crate::model::{Finding, Rule, SensorChange, SensorState, Severity, Verdict};

pub(super) static BLINDED: Rule = Rule {
    code: 201,
    id: "sensor-blinded",
    name: "Kernel module sensor blinded",
    description: "Hooks that the sensor had attached were turned off for the whole kernel, by a switch that only root can turn \
                  and that nothing but kernel debugging needs.",
    version: 1,
    severity: Severity::Critical,
    techniques: attack::GUARD_UNLOADING,
};

/// The alert of a sensor that is made blind; nothing of one that starts or stops.
pub fn assess_sensor(state: &SensorState) -> Verdict {
    if state.change != SensorChange::Blinded {
        return Verdict::default();
    }
    let silent: Vec<_> = state
        .probes
        .iter()
        .filter(|probe| probe.attached)
        .filter_map(|probe| Some((probe.error.as_deref()?, probe.hook.as_str())))
        .collect();
    let mut causes: Vec<_> = silent.iter().map(|(cause, _)| *cause).collect();
    causes.dedup();
    let reason =
        format!("{}: {} hooks are silent; not seen: {}", causes.join(", "), silent.len(), state.blind.join("; "));
    let finding = Finding { rule: &BLINDED, severity: BLINDED.severity, reason };
    Verdict { findings: vec![finding], ..Verdict::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Coverage, ProbeState, SyscallHooks};

    #[test]
    fn only_a_blinded_sensor_alerts() {
        let silent = ProbeState {
            hook: "__x64_sys_init_module".to_owned(),
            attached: true,
            error: Some("kernel.ftrace_enabled is 0".to_owned()),
            ..ProbeState::default()
        };
        let state = |change| SensorState {
            change,
            boot_ns: 1,
            coverage: Coverage::Partial,
            syscall_hooks: SyscallHooks::Fentry,
            probes: vec![silent.clone(), silent.clone()],
            blind: vec!["arguments".to_owned()],
            counters: Vec::new(),
        };
        let verdict = assess_sensor(&state(SensorChange::Blinded));
        assert_eq!(verdict.findings[0].reason, "kernel.ftrace_enabled is 0: 2 hooks are silent; not seen: arguments");
        for change in [SensorChange::Started, SensorChange::Stopped, SensorChange::Restored] {
            assert!(assess_sensor(&state(change)).findings.is_empty());
        }
    }
}
