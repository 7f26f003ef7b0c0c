//! A file as JSON: what all inventories have in common.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::{
    Accounts, DigestCheck, FileTime, FoundFile, Provenance,
    text::{hex, text},
};

/// All that is known of a file. What is not known is null.
pub(super) fn object(found: &FoundFile, accounts: &Accounts) -> Value {
    let state = &found.state;
    let name = found.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    json!({
        "path": text(&found.path),
        "name": text(name),
        "content": found.status.name(),
        "sha256": state.sha256.map(|hash| hex(&hash)),
        "size": state.size,
        "mode": format!("{:04o}", state.mode & 0o7777),
        "uid": state.uid,
        "gid": state.gid,
        "owner": accounts.users.get(&state.uid).map(|name| text(name)),
        "group": accounts.groups.get(&state.gid).map(|name| text(name)),
        "inode": state.inode,
        "atime": time(state.accessed),
        "mtime": time(state.modified),
        "ctime": time(state.changed),
        "btime": time(state.created),
        "link": state.link_target.as_deref().map(text),
        "leads_to": found.leads_to.as_deref().map(text),
        "package": found.provenance.as_ref().map(package),
    })
}

/// RFC 3339 in UTC, with nanoseconds, as stat(1) has them.
fn time(time: Option<FileTime>) -> Option<String> {
    let time = Timestamp::from_nanosecond(time?.realtime_ns()).ok()?;
    Some(format!("{time:.9}"))
}

fn package(provenance: &Provenance) -> Value {
    let known = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(text);
    json!({
        "manager": provenance.manager.name(),
        "name": known(&provenance.package),
        "version": known(&provenance.version),
        "architecture": known(&provenance.architecture),
        "digest": match provenance.digest {
            DigestCheck::Matches => Some("matches"),
            DigestCheck::Differs => Some("differs"),
            DigestCheck::NotRecorded => None,
        },
    })
}
