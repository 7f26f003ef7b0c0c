//! What is told of looks at the kernel.

use serde_json::Value;

use super::fields::{Fields, MAX_TEXT_BYTES};
use crate::model::text::shorten;

/// Of a document on a look, or on what one has found; empty ones of others. Where entries and hooks lead is in the reason.
pub(super) fn rows(fields: &Fields<'_>) -> [(&'static str, String); 4] {
    [
        ("seen in", fields.list("/lkm_monitor/kernel/seen_in", ", ")),
        ("not in", fields.list("/lkm_monitor/kernel/missing_from", ", ")),
        ("memory", memory(fields)),
        ("unseen", unseen(fields)),
    ]
}

fn memory(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("", "/lkm_monitor/kernel/module/memory/0/address"),
        ("bytes ", "/lkm_monitor/kernel/module/memory/0/bytes"),
        ("state ", "/lkm_monitor/kernel/module/state"),
        ("loaded ", "/lkm_monitor/kernel/module/loaded"),
    ])
}

/// Views and checks that were not whole, and why.
fn unseen(fields: &Fields<'_>) -> String {
    let rows = ["/lkm_monitor/kernel/views", "/lkm_monitor/kernel/checks"];
    let rows = rows.into_iter().filter_map(|pointer| fields.value(pointer)?.as_array()).flatten();
    let unseen = rows.filter_map(|row: &Value| {
        let row = Fields(row);
        Some(format!("{} {}: {}", row.text("/name")?, row.text("/status")?, row.text("/reason")?))
    });
    shorten(&unseen.collect::<Vec<_>>().join("; "), MAX_TEXT_BYTES)
}
