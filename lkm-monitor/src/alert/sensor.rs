//! The sensor itself: what it sees, and what it lost.

use serde_json::{Map, Value, json};

use super::json::long;
use crate::model::{ClockStep, Excluded, Loss, ProbeState, SensorChange, SensorState, text::text};

/// `event.action` of what tells of a loss.
pub(super) const LOST_EVENTS: &str = "lost-events";

/// The document of a loss.
pub(super) fn render_loss(loss: &Loss) -> Value {
    json!({
        "message": "Kernel module events lost",
        "event": {
            "kind": "metric",
            "category": ["host"],
            "type": ["info"],
            "action": LOST_EVENTS,
            "provider": "lkm-monitor",
        },
        "lkm_monitor": {
            "loss": {
                "stage": loss.reason.stage(),
                "reason": loss.reason.name(),
                "count": long(loss.count),
                "total": long(loss.total),
                "calls_unseen": loss.calls_unseen.map(long),
            },
        },
    })
}

/// The document of a step of the wall clock.
pub(super) fn render_clock_step(step: &ClockStep) -> Value {
    let stepped_ns = step.after.realtime_offset_ns.saturating_sub(step.before.realtime_offset_ns);
    json!({
        "message": "Wall clock stepped",
        "event": {
            "kind": "state",
            "category": ["host"],
            "type": ["change"],
            "action": "clock-stepped",
            "provider": "lkm-monitor",
        },
        "lkm_monitor": { "clock": { "step_ns": stepped_ns } },
    })
}

/// How many changes each exclusion has kept back since the start.
pub(super) fn render_excluded(counts: &[Excluded]) -> Value {
    let row = |excluded: &Excluded| {
        json!({
            "path": text(excluded.path.as_bytes()),
            "executable": excluded.executable.as_ref().map(|pattern| text(pattern.as_bytes())),
            "count": long(excluded.count),
        })
    };
    json!({
        "message": "File changes excluded",
        "event": {
            "kind": "metric",
            "category": ["host"],
            "type": ["info"],
            "action": "excluded-file-changes",
            "provider": "lkm-monitor",
        },
        "lkm_monitor": { "excluded": counts.iter().map(row).collect::<Vec<_>>() },
    })
}

/// The document of a start or stop, or of a change in what is seen.
pub(super) fn render_state(state: &SensorState) -> Value {
    let message = match state.change {
        SensorChange::Started => "Kernel module sensor started",
        SensorChange::Stopped => "Kernel module sensor stopped",
        SensorChange::Blinded => "Kernel module sensor blinded",
        SensorChange::Restored => "Kernel module sensor sees again",
    };
    let counters: Map<_, _> =
        state.counters.iter().map(|&(name, count)| (name.to_owned(), long(count).into())).collect();
    json!({
        "message": message,
        "event": {
            "kind": "state",
            "category": ["host"],
            "type": ["info"],
            "action": state.change.action(),
            "provider": "lkm-monitor",
        },
        "lkm_monitor": {
            "sensor": {
                "status": state.coverage.name(),
                "syscall_hooks": state.syscall_hooks.name(),
                "probes": state.probes.iter().map(probe).collect::<Vec<_>>(),
                "blind": state.blind.iter().map(|sentence| text(sentence.as_bytes())).collect::<Vec<_>>(),
                "counters": counters,
            },
        },
    })
}

fn probe(probe: &ProbeState) -> Value {
    json!({
        "name": probe.name,
        "hook": probe.hook,
        "kind": probe.kind,
        "attached": probe.attached,
        "error": probe.error.as_ref().map(|error| text(error.as_bytes())),
    })
}
