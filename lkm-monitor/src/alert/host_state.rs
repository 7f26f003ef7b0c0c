//! The host as a look found it.

use super::{
    json::{Value, json, long},
    scene::unix_time,
};
use crate::model::{HostState, PlaceSight, StateReport, taint, text::clean};

/// Places that cannot be looked at as they should, in one document.
const MAX_PLACES: usize = 32;
/// Words of the kernel's command line.
const MAX_WORDS: usize = 32;

/// The document of a look.
pub(super) fn render(report: &StateReport) -> Value<'_> {
    let StateReport { state, drifts: _, is_first, explained, cpu_ns } = report;
    let HostState { policy, files, places, .. } = state;
    let not_whole = |(_, place): &(&String, &crate::model::PlaceSeen)| !place.sight.is_known() || place.unread > 0;
    let hidden: Vec<_> = places.iter().filter(not_whole).collect();
    let words = policy.command_line.iter().flatten().take(MAX_WORDS).map(|word| clean(word));
    json!({
        "message": "State of the host recorded",
        "event": {
            "kind": "state",
            "category": ["host"],
            "type": ["info"],
            "action": "state-recorded",
            "provider": "lkm-monitor",
        },
        "lkm_monitor": {
            "state": {
                "first": is_first.then_some(true),
                "begun": unix_time(state.begun.unix_ms),
                "ended": unix_time(state.ended.unix_ms),
                "cpu_ms": long(cpu_ns / 1_000_000),
                "explained": long(*explained),
                "modules": state.modules.as_ref().map(std::collections::BTreeMap::len),
                "files": files.len(),
                "places": places.values().filter(|place| place.sight != PlaceSight::Gone).count(),
                "not_whole": hidden.len(),
                "not_looked_at": hidden.iter().take(MAX_PLACES).map(|(path, place)| json!({
                    "path": clean(path),
                    "sight": place.sight.name(),
                    "unread": (place.unread > 0).then(|| long(place.unread)),
                })).collect::<Vec<_>>(),
                "command_line": words.collect::<Vec<_>>(),
                "lockdown": policy.lockdown.as_deref().map(clean),
                "sig_enforce": policy.sig_enforce,
                "modules_disabled": policy.modules_disabled,
                "modprobe": policy.modprobe.as_deref().map(clean),
                "taints": state.taints.map(long),
                "taint_flags": state.taints.map(taint::letters),
                "taints_lost": (state.taints_lost != 0).then(|| taint::letters(state.taints_lost)),
            },
        },
    })
}
