//! What is told of the bytes that were loaded.

use serde_json::Value;

use super::fields::{Fields, MAX_TEXT_BYTES};
use crate::model::text::shorten;

/// Of a hash, which are enough to find what is kept.
const HASH_DIGITS: usize = 16;

/// Of a document on a load; empty ones of others.
pub(super) fn rows(fields: &Fields<'_>) -> [(&'static str, String); 7] {
    [
        ("image", image(fields)),
        ("modinfo", description(fields)),
        ("signature", signature(fields)),
        ("package", package(fields)),
        ("uses", symbols(fields, "/lkm_monitor/image/uses")),
        ("mentions", symbols(fields, "/lkm_monitor/image/mentions")),
        ("evidence", evidence(fields)),
    ]
}

fn image(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("", "/lkm_monitor/image/extent"),
        ("bytes ", "/lkm_monitor/image/captured_bytes"),
        ("sha256 ", "/lkm_monitor/image/sha256"),
        ("packed with ", "/lkm_monitor/image/compression"),
        ("unpacked sha256 ", "/lkm_monitor/image/unpacked_sha256"),
        ("problem ", "/lkm_monitor/image/problem"),
    ])
}

/// What it says of itself.
fn description(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("name ", "/lkm_monitor/modinfo/name"),
        ("version ", "/lkm_monitor/modinfo/version"),
        ("license ", "/lkm_monitor/module/license"),
        ("intree ", "/lkm_monitor/module/intree"),
        ("for ", "/lkm_monitor/module/vermagic"),
    ])
}

fn signature(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("", "/file/code_signature/status"),
        ("by ", "/file/code_signature/subject_name"),
        ("trusted ", "/file/code_signature/trusted"),
        ("certificate in ", "/lkm_monitor/signature/key/path"),
        ("kernel enforces ", "/lkm_monitor/signature/kernel/enforces_signatures"),
    ])
}

fn package(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("", "/lkm_monitor/package/manager"),
        ("", "/lkm_monitor/package/owner"),
        ("", "/lkm_monitor/package/version"),
        ("has these bytes ", "/lkm_monitor/package/digest_ok"),
    ])
}

fn symbols(fields: &Fields<'_>, pointer: &str) -> String {
    let symbols = fields.value(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let symbol = |symbol: &Value| {
        let symbol = Fields(symbol);
        Some(format!("{} ({})", symbol.text("/symbol")?, symbol.text("/capability")?))
    };
    shorten(&symbols.iter().filter_map(symbol).collect::<Vec<_>>().join(", "), MAX_TEXT_BYTES)
}

/// How to get it, on the host.
fn evidence(fields: &Fields<'_>) -> String {
    let kept = fields.value("/lkm_monitor/image/kept") == Some(&Value::Bool(true));
    let hash = fields.text("/lkm_monitor/image/sha256").filter(|_| kept);
    match hash {
        Some(hash) => {
            format!("lkm-monitor evidence export {} --to FILE", hash.chars().take(HASH_DIGITS).collect::<String>())
        }
        None if kept => "kept in part: lkm-monitor evidence list".to_owned(),
        None => String::new(),
    }
}
