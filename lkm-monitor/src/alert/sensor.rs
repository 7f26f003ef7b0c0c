//! The sensor itself: what it sees, and what it lost.

use super::{
    json::{Value, json, long, merge},
    scene::timestamp,
};
use crate::model::{
    BlindHook, Clock, ClockStep, Excluded, Loss, LostHook, NotStarted, ProbeState, SensorChange, SensorState,
    text::readable,
};

/// `event.action` of what tells of a loss.
pub(super) const LOST_EVENTS: &str = "lost-events";

/// The document of a loss. Numbers that are not of events are left out, so that nobody takes them for some.
pub(super) fn render_loss(loss: &Loss) -> Value<'_> {
    let of_events = |number| loss.reason.counts_events().then(|| long(number));
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
                "count": of_events(loss.count),
                "total": of_events(loss.total),
                "calls_unseen": loss.calls_unseen.map(long),
            },
        },
    })
}

/// The document of a step of the wall clock.
pub(super) fn render_clock_step(step: &ClockStep) -> Value<'_> {
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
pub(super) fn render_excluded(counts: &[Excluded]) -> Value<'_> {
    json!({
        "message": "File changes excluded",
        "event": {
            "kind": "metric",
            "category": ["host"],
            "type": ["info"],
            "action": "excluded-file-changes",
            "provider": "lkm-monitor",
        },
        "lkm_monitor": { "excluded": counts.iter().map(excluded).collect::<Vec<_>>() },
    })
}

fn excluded(excluded: &Excluded) -> Value<'_> {
    json!({
        "path": readable(excluded.path.as_bytes()),
        "executable": excluded.executable.as_ref().map(|pattern| readable(pattern.as_bytes())),
        "count": long(excluded.count),
    })
}

/// The document of a start or stop, or of a change in what is seen.
pub(super) fn render_state(state: &SensorState, clock: Clock) -> Value<'_> {
    let message = match state.change {
        SensorChange::Started => "Kernel module sensor started",
        SensorChange::Stopped => "Kernel module sensor stopped",
        SensorChange::Blinded => "Kernel module sensor blinded",
        SensorChange::Restored => "Kernel module sensor sees again",
        SensorChange::Detached => "Kernel module sensor's hooks lost",
        SensorChange::TamperedWith => "Kernel module sensor tampered with",
    };
    let mut sensor = sight(state, clock);
    merge(&mut sensor, json!({ "probes": state.probes.iter().map(probe).collect::<Vec<_>>() }));
    json!({
        "message": message,
        "event": {
            "kind": "state",
            "category": ["host"],
            "type": ["info"],
            "action": state.change.action(),
            "provider": "lkm-monitor",
        },
        "lkm_monitor": { "sensor": sensor },
    })
}

/// The document of a start that failed.
pub(super) fn render_not_started(not_started: &NotStarted) -> Value<'_> {
    json!({
        "message": "Kernel module sensor not started",
        "event": {
            "kind": "state",
            "category": ["host"],
            "type": ["info"],
            "action": "sensor-not-started",
            "provider": "lkm-monitor",
        },
        "error": { "message": readable(not_started.reason.as_bytes()) },
    })
}

/// What the sensor sees and does not see.
pub(super) fn sight(state: &SensorState, clock: Clock) -> Value<'_> {
    let counters = state.counters.iter().map(|&(name, count)| (name, long(count).into()));
    json!({
        "status": state.coverage.name(),
        "syscall_hooks": state.syscall_hooks.name(),
        "blind": state.blind.iter().map(|sentence| readable(sentence.as_bytes())).collect::<Vec<_>>(),
        "blind_hooks": state.blind_hooks.iter().map(|hook| blind_hook(hook, clock)).collect::<Vec<_>>(),
        "lost_hooks": state.lost_hooks.iter().map(|hook| lost_hook(hook, clock)).collect::<Vec<_>>(),
        "tampering": state.tampering.iter().map(|sentence| readable(sentence.as_bytes())).collect::<Vec<_>>(),
        "counters": Value::Object(counters.collect()),
    })
}

fn blind_hook(blind: &BlindHook, clock: Clock) -> Value<'_> {
    json!({
        "hook": &blind.hook,
        "probe": &blind.probe,
        "not_seen": &blind.not_seen,
        "cause": readable(blind.cause.as_bytes()),
        "since": timestamp(clock, blind.since_boot_ns),
    })
}

fn lost_hook(lost: &LostHook, clock: Clock) -> Value<'_> {
    json!({
        "hook": &lost.hook,
        "probe": &lost.probe,
        "not_seen": &lost.not_seen,
        "since": timestamp(clock, lost.seen_boot_ns),
        "attached_again": lost.error.is_none(),
        "error": lost.error.as_ref().map(|error| readable(error.as_bytes())),
    })
}

fn probe(probe: &ProbeState) -> Value<'_> {
    json!({
        "name": &probe.name,
        "hook": &probe.hook,
        "kind": &probe.kind,
        "attached": probe.attached,
        "error": probe.error.as_ref().map(|error| readable(error.as_bytes())),
    })
}
