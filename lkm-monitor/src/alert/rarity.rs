//! How often, and where, things like an event happened.

use super::json::{Value, json, long};
use crate::model::{Answer, Rarity};

/// `lkm_monitor.rarity`.
pub(super) fn render(rarity: &Rarity) -> Value<'_> {
    let (standing, silent) = match rarity.answer {
        Answer::Known(standing) => (Some(standing), false),
        Answer::FleetSilent(standing) => (Some(standing), true),
        Answer::Unknown => (None, false),
    };
    let time = |seconds: u64| {
        let seconds = i64::try_from(seconds).ok()?;
        jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
    };
    json!({
        "rare": rarity.rare,
        "count": standing.map(|standing| long(standing.count)),
        "agents": standing.map(|standing| long(standing.agents)),
        "window_days": rarity.window_days,
        "scope": standing.map(|standing| standing.scope.name()),
        "first_seen": standing.and_then(|standing| time(standing.first_s)),
        "seen_before": standing.map(|standing| standing.seen_before),
        "baseline": standing.is_some_and(|standing| standing.in_baseline).then_some(true),
        "not_all_known": rarity.not_all_known.then_some(true),
        "fleet_unreachable": silent.then_some(true),
        "unknown": standing.is_none().then_some(true),
    })
}
