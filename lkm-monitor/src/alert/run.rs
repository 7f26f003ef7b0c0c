//! What a run finds of the one before.

use std::borrow::Cow;

use super::{
    json::{Value, json, long},
    scene::unix_time,
};
use crate::model::{Predecessor, Succession, text::readable};

/// The document of a succession: a state, unless rules make it an alert.
pub(super) fn render(succession: &Succession) -> Value<'_> {
    let this = &succession.this;
    let (status, reason, before) = match &succession.before {
        Predecessor::NotOnRecord => ("not-on-record", None, None),
        Predecessor::Unreadable(reason) => ("unreadable", Some(readable(reason.as_bytes())), None),
        Predecessor::OnRecord(before, end) => (end.name(), None, Some(before)),
    };
    json!({
        "message": "Kernel module sensor follows an earlier run",
        "event": {
            "kind": "state",
            "category": ["host"],
            "type": ["info"],
            "action": "sensor-succeeded-run",
            "provider": "lkm-monitor",
        },
        "lkm_monitor": {
            "run": {
                "binary_sha256": this.binary_sha256.as_deref(),
                "configuration_sha256": &this.configuration_sha256,
                "unwatched_s": succession.unwatched_ms().map(|ms| long(ms / 1000)),
                "before": {
                    "status": status,
                    "reason": reason,
                    "ephemeral_id": before.map(|before| readable(before.ephemeral_id.as_bytes())),
                    "boot_id": before.map(|before| readable(before.boot_id.as_bytes())),
                    "began": before.map(|before| unix_time(before.began.unix_ms)),
                    "last_seen": before.map(|before| unix_time(before.seen.unix_ms)),
                    "binary_sha256": before.and_then(|before| hash(before.binary_sha256.as_deref()?)),
                    "configuration_sha256": before.and_then(|before| hash(&before.configuration_sha256)),
                },
            },
        },
    })
}

fn hash(recorded: &str) -> Option<Cow<'_, str>> {
    (!recorded.is_empty()).then(|| readable(recorded.as_bytes()))
}
