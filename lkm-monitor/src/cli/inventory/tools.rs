//! `lkm-monitor inventory tools`

use serde_json::{Value, json};

use super::{Column, Inventory, found};
use crate::{
    alert::{Renderer, tool_kind},
    inventory::{Gaps, Survey, tools},
    model::{Accounts, ToolEntry, text::text},
};

pub(super) const TABLE: [Column; 7] = [
    ("Program", "/path"),
    ("Kind", "/kind"),
    ("Names", "/names"),
    ("Kernel's", "/kernels"),
    ("SHA-256", "/sha256"),
    ("Package", "/package/name"),
    ("Digest", "/package/digest"),
];

pub(super) const CSV: [Column; 17] = [
    ("path", "/path"),
    ("kind", "/kind"),
    ("names", "/names"),
    ("kernels", "/kernels"),
    ("owner", "/owner"),
    ("group", "/group"),
    ("mode", "/mode"),
    ("size", "/size"),
    ("mtime", "/mtime"),
    ("ctime", "/ctime"),
    ("btime", "/btime"),
    ("content", "/content"),
    ("sha256", "/sha256"),
    ("package.manager", "/package/manager"),
    ("package.name", "/package/name"),
    ("package.version", "/package/version"),
    ("package.digest", "/package/digest"),
];

pub(super) fn list(survey: &mut Survey, gaps: Gaps) -> Inventory<ToolEntry> {
    let (entries, found) = tools::list(survey);
    Inventory {
        subject: "tools",
        entries,
        gaps: [gaps.into_vec(), found].concat(),
        object,
        table: &TABLE,
        csv: &CSV,
        document: Renderer::render_tool_entry,
    }
}

pub(super) fn object(entry: &ToolEntry, accounts: &Accounts) -> Value {
    let mut object = found::object(&entry.file, accounts);
    let own = json!({
        "kind": tool_kind(entry.kind),
        "names": entry.names.iter().map(|name| text(name)).collect::<Vec<_>>(),
        "kernels": entry.is_kernels,
    });
    if let (Value::Object(object), Value::Object(own)) = (&mut object, own) {
        object.extend(own);
    }
    object
}
