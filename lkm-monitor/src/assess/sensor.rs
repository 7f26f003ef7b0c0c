//! What happens to the sensor itself.

use super::attack;
use crate::model::{Finding, NotStarted, Rule, SensorChange, SensorState, Severity, Verdict};

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

pub(super) static HOOK_LOST: Rule = Rule {
    code: 208,
    id: "sensor-hook-lost",
    name: "Kernel module sensor's hook lost",
    description: "A link that holds one of the sensor's programs at its hook was closed or replaced, and not by the sensor. Nothing does \
                  that but somebody who controls its process or the kernel.",
    version: 1,
    severity: Severity::Critical,
    techniques: attack::GUARD_UNLOADING,
};

pub(super) static NOT_STARTED: Rule = Rule {
    code: 210,
    id: "sensor-not-started",
    name: "Kernel module sensor cannot start",
    description: "The sensor ended before it watched anything: the kernel's type information is not there, the kernel refuses its \
                  programs, or its settings are wrong. A new kernel or an edited file does that, and whoever wants to hide something.",
    version: 1,
    severity: Severity::High,
    techniques: attack::GUARD_UNLOADING,
};

/// The alert of a daemon that ends before it watches anything.
pub fn assess_not_started(not_started: &NotStarted) -> Verdict {
    let reason = not_started.reason.clone();
    let finding = Finding { rule: &NOT_STARTED, severity: NOT_STARTED.severity, reason };
    Verdict { findings: vec![finding], ..Verdict::default() }
}

pub(super) static TAMPERED_WITH: Rule = Rule {
    code: 211,
    id: "sensor-tampered-with",
    name: "Kernel module sensor's rings or tables tampered with",
    description: "What the sensor keeps in the kernel is not what it put there: a ring that its events come through, or a table of what is \
                  watched. Nothing but an attack on the sensor does that.",
    version: 1,
    severity: Severity::Critical,
    techniques: attack::GUARD_UNLOADING,
};

/// The alert of a sensor that is attacked; nothing of one that starts or stops.
pub fn assess_sensor(state: &SensorState) -> Verdict {
    let change = match state.change {
        SensorChange::Blinded => Some((&BLINDED, blinded(state))),
        SensorChange::Detached => Some((&HOOK_LOST, lost(state))),
        _ => None,
    };
    // Perhaps not before it stops: whoever ends the daemon may have had something to hide.
    let tampering = (!state.tampering.is_empty()).then(|| (&TAMPERED_WITH, state.tampering.join("; ")));
    let found = change.into_iter().chain(tampering);
    let findings = found.map(|(rule, reason)| Finding { rule, severity: rule.severity, reason });
    Verdict { findings: findings.collect(), ..Verdict::default() }
}

/// `kernel.ftrace_enabled is 0: 2 hooks are silent; not seen: arguments`
fn blinded(state: &SensorState) -> String {
    let silent: Vec<_> = state
        .probes
        .iter()
        .filter(|probe| probe.attached)
        .filter_map(|probe| Some((probe.error.as_deref()?, probe.hook.as_str())))
        .collect();
    let mut causes: Vec<_> = silent.iter().map(|(cause, _)| *cause).collect();
    causes.dedup();
    format!("{}: {} hooks are silent; not seen: {}", causes.join(", "), silent.len(), state.blind.join("; "))
}

/// `2 links were lost up to 5000 ms ago; attached again: module_load (the kernel's word on a load)`
fn lost(state: &SensorState) -> String {
    const NAMED: usize = 4;
    let of = |again: bool| {
        let hooks: Vec<_> = state.lost_hooks.iter().filter(|lost| lost.error.is_none() == again).collect();
        let mut named: Vec<_> =
            hooks.iter().take(NAMED).map(|lost| format!("{} ({})", lost.hook, lost.not_seen)).collect();
        if hooks.len() > NAMED {
            named.push(format!("and {} more", hooks.len() - NAMED));
        }
        named.join(", ")
    };
    let since = state.lost_hooks.iter().map(|lost| lost.seen_boot_ns).min().unwrap_or(state.boot_ns);
    let unseen = state.boot_ns.saturating_sub(since) / 1_000_000;
    let parts = [("attached again", of(true)), ("still detached", of(false))];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(_, hooks)| !hooks.is_empty())
        .map(|(word, hooks)| format!("{word}: {hooks}"))
        .collect();
    format!("{} links were lost up to {unseen} ms ago; {}", state.lost_hooks.len(), parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Coverage, LostHook, ProbeState, SyscallHooks};

    fn lost_hook(hook: &str, error: Option<&str>) -> LostHook {
        LostHook {
            hook: hook.to_owned(),
            probe: hook.to_owned(),
            not_seen: "loads".to_owned(),
            seen_boot_ns: 2_000_000,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn a_start_that_failed_alerts_with_what_hindered_it() {
        let verdict = assess_not_started(&NotStarted { boot_ns: 7, reason: "no type information".to_owned() });
        assert_eq!((verdict.findings[0].rule.code, verdict.findings[0].reason.as_str()), (210, "no type information"));
    }

    #[test]
    fn only_an_attacked_sensor_alerts() {
        let silent = ProbeState {
            hook: "__x64_sys_init_module".to_owned(),
            attached: true,
            error: Some("kernel.ftrace_enabled is 0".to_owned()),
            ..ProbeState::default()
        };
        let state = |change| SensorState {
            change,
            boot_ns: 7_000_000,
            coverage: Coverage::Partial,
            syscall_hooks: SyscallHooks::Fentry,
            probes: vec![silent.clone(), silent.clone()],
            blind: vec!["arguments".to_owned()],
            blind_hooks: Vec::new(),
            lost_hooks: vec![lost_hook("module_load", None), lost_hook("d_move", Some("refused"))],
            tampering: Vec::new(),
            counters: Vec::new(),
        };
        let verdict = assess_sensor(&state(SensorChange::Blinded));
        assert_eq!(verdict.findings[0].reason, "kernel.ftrace_enabled is 0: 2 hooks are silent; not seen: arguments");
        let verdict = assess_sensor(&state(SensorChange::Detached));
        let reason =
            "2 links were lost up to 5 ms ago; attached again: module_load (loads); still detached: d_move (loads)";
        assert_eq!((verdict.findings[0].rule.code, verdict.findings[0].reason.as_str()), (208, reason));
        for change in [SensorChange::TamperedWith, SensorChange::Stopped] {
            let tampering = vec!["ring FILES: moved".to_owned(), "map WATCHED_NAMES: changed".to_owned()];
            let verdict = assess_sensor(&SensorState { tampering, ..state(change) });
            let reason = "ring FILES: moved; map WATCHED_NAMES: changed";
            assert_eq!((verdict.findings[0].rule.code, verdict.findings[0].reason.as_str()), (211, reason));
        }
        for change in [SensorChange::Started, SensorChange::Stopped, SensorChange::Restored] {
            assert!(assess_sensor(&state(change)).findings.is_empty());
        }
    }
}
