//! `lkm-monitor inventory files`

use serde_json::{Value, json};

use super::{Column, Inventory, found};
use crate::{
    alert::Renderer,
    inventory::{Gaps, Survey, files},
    model::{Accounts, FileEntry},
    select::WatchList,
};

pub(super) const TABLE: [Column; 9] = [
    ("File", "/path"),
    ("Kind", "/kind"),
    ("Owner", "/owner"),
    ("Mode", "/mode"),
    ("Size", "/size"),
    ("Modified", "/mtime"),
    ("Package", "/package/name"),
    ("Digest", "/package/digest"),
    ("Says", "/meaning"),
];

pub(super) const CSV: [Column; 25] = [
    ("path", "/path"),
    ("name", "/name"),
    ("kind", "/kind"),
    ("owner", "/owner"),
    ("group", "/group"),
    ("uid", "/uid"),
    ("gid", "/gid"),
    ("mode", "/mode"),
    ("size", "/size"),
    ("atime", "/atime"),
    ("mtime", "/mtime"),
    ("ctime", "/ctime"),
    ("btime", "/btime"),
    ("content", "/content"),
    ("sha256", "/sha256"),
    ("link", "/link"),
    ("leads_to", "/leads_to"),
    ("package.manager", "/package/manager"),
    ("package.name", "/package/name"),
    ("package.version", "/package/version"),
    ("package.digest", "/package/digest"),
    ("meaning", "/meaning"),
    ("more_meaning", "/more_meaning"),
    ("dangers", "/dangers"),
    ("ignored", "/ignored"),
];

pub(super) fn list(watch_list: &WatchList, survey: &mut Survey, gaps: Gaps) -> Inventory<FileEntry> {
    let (entries, found) = files::list(watch_list, survey);
    Inventory {
        subject: "files",
        entries,
        gaps: [gaps.into_vec(), found].concat(),
        object,
        table: &TABLE,
        csv: &CSV,
        document: Renderer::render_file_entry,
    }
}

pub(super) fn object(entry: &FileEntry, accounts: &Accounts) -> Value {
    let mut object = found::object(&entry.file, accounts);
    let own = json!({
        "kind": entry.subject.name(),
        "meaning": entry.meaning,
        "more_meaning": entry.more_meaning,
        "dangers": entry.dangers,
        "ignored": entry.ignored,
    });
    if let (Value::Object(object), Value::Object(own)) = (&mut object, own) {
        object.extend(own);
    }
    object
}
