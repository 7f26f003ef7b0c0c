//! Whether documents are durable.

use super::json::{Value, json};
use crate::model::{SpoolChange, text::readable};

/// The document of a change: a state, unless rules make it an alert.
pub(super) fn render(change: &SpoolChange) -> Value<'_> {
    let action = if change.reason.is_some() { "spool-failed" } else { "spool-restored" };
    json!({
        "message": "Documents are durable again",
        "event": {
            "kind": "state",
            "category": ["host"],
            "type": ["info"],
            "action": action,
            "provider": "lkm-monitor",
        },
        "error": { "message": change.reason.as_ref().map(|reason| readable(reason.as_bytes())) },
    })
}
