//! What is another than at the last look.

use std::borrow::Cow;

use super::{
    image,
    json::{Value, digits, json, long, merge},
    scene::{microseconds, unix_time},
};
use crate::model::{Drift, Drifted, FileSeen, ModuleSeen, PlaceSeen, RecordLoss, Weight, Window, taint, text::clean};

/// `event.action`.
pub(super) const fn action(what: &Drifted) -> &'static str {
    match what {
        Drifted::ModuleLoaded { .. } => "found-loaded-kernel-module",
        Drifted::ModuleGone { .. } => "missed-kernel-module",
        Drifted::File { before: None, .. } => "found-created-file",
        Drifted::File { now: None, .. } => "found-removed-file",
        Drifted::File { .. } => "found-changed-file",
        Drifted::Place { .. } => "found-changed-place",
        Drifted::More(_) => "found-more-differences",
        Drifted::NoEnd => "found-no-end",
        Drifted::Policy { .. } => "found-changed-policy",
        Drifted::TaintLost { .. } => "found-cleared-taint",
        Drifted::Record(_) => "lost-state-record",
    }
}

/// The document of a difference.
pub(super) fn render(drift: &Drift) -> Value<'_> {
    let Drift { what, window, unseen, perhaps_seen, provenance } = drift;
    let (category, kind) = match what {
        Drifted::ModuleLoaded { .. } => ("driver", "start"),
        Drifted::ModuleGone { .. } => ("driver", "end"),
        Drifted::File { before: None, .. } => ("file", "creation"),
        Drifted::File { now: None, .. } => ("file", "deletion"),
        Drifted::File { .. } | Drifted::Place { .. } => ("file", "change"),
        Drifted::Policy { .. } => ("configuration", "change"),
        Drifted::More(_) | Drifted::NoEnd | Drifted::TaintLost { .. } | Drifted::Record(_) => ("host", "info"),
    };
    let Window { not_before, not_after } = window;
    let mut document = json!({
        "message": "The host is another than at the last look",
        "event": {
            "kind": "state",
            "category": [category],
            "type": [kind],
            "action": action(what),
            "provider": "lkm-monitor",
        },
        "lkm_monitor": {
            "drift": {
                "unseen": unseen.name(),
                "perhaps_seen": perhaps_seen.then_some(true),
                "not_before": not_before.map(|moment| unix_time(moment.unix_ms)),
                "not_after": unix_time(not_after.unix_ms),
            },
        },
    });
    merge(&mut document, details(what));
    if let Some(provenance) = provenance {
        merge(&mut document, image::render_provenance(provenance));
    }
    document
}

fn details(what: &Drifted) -> Value<'_> {
    match what {
        Drifted::ModuleLoaded { name, now, before, file } => {
            let mut document = of_module(name, now);
            merge(
                &mut document,
                json!({ "lkm_monitor": { "drift": {
                "before": before.as_ref().map(module),
                "after": module(now),
                "module_file": file.as_deref().map(clean),
            } } }),
            );
            document
        }
        Drifted::ModuleGone { name, before } => {
            let mut document = of_module(name, before);
            merge(&mut document, json!({ "lkm_monitor": { "drift": { "before": module(before) } } }));
            document
        }
        Drifted::File { path, before, now } => of_file(path, before.as_deref(), now.as_deref()),
        Drifted::Place { path, before, now } => json!({
            "file": { "path": clean(path) },
            "lkm_monitor": { "drift": { "before": place(before), "after": place(now) } },
        }),
        Drifted::NoEnd => json!({}),
        Drifted::More(number) => json!({ "lkm_monitor": { "drift": { "more": long(*number) } } }),
        Drifted::Policy { setting, before, now, weight } => json!({ "lkm_monitor": { "drift": {
            "setting": setting.name(),
            "impossible": (*weight == Weight::Impossible).then_some(true),
            "before": { "value": clean(before) },
            "after": { "value": clean(now) },
        } } }),
        Drifted::TaintLost { lost, before, now } => json!({ "lkm_monitor": { "drift": {
            "taints_lost": taint::letters(*lost),
            "before": { "taints": long(*before) },
            "after": { "taints": long(*now) },
        } } }),
        Drifted::Record(loss) => record(loss),
    }
}

fn of_module<'a>(name: &'a str, module: &'a ModuleSeen) -> Value<'a> {
    json!({ "lkm_monitor": { "module": { "name": clean(name), "taint_flags": clean(&module.taints) } } })
}

fn module(module: &ModuleSeen) -> Value<'_> {
    json!({ "size": (module.size > 0).then(|| long(module.size)), "taint_flags": clean(&module.taints) })
}

fn of_file<'a>(path: &'a str, before: Option<&'a FileSeen>, now: Option<&'a FileSeen>) -> Value<'a> {
    let Some(shown) = now.or(before) else { return json!({}) };
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    json!({
        "file": {
            "path": clean(path),
            "name": clean(name),
            "directory": clean(folder),
            "size": long(shown.size),
            "mode": format!("{:04o}", shown.mode & 0o7777),
            "uid": digits(shown.uid),
            "gid": digits(shown.gid),
            "inode": digits(shown.inode),
            "mtime": shown.modified_ns.and_then(time),
            "ctime": shown.changed_ns.and_then(time),
            "hash": { "sha256": shown.sha256.as_deref().map(clean) },
            "target_path": shown.target.as_ref().map(|target| clean(&target.says)),
        },
        "lkm_monitor": {
            "drift": {
                "subject": clean(&shown.subject),
                "before": before.map(file),
                "after": now.map(file),
            },
        },
    })
}

fn file(file: &FileSeen) -> Value<'_> {
    let target = file.target.as_ref();
    json!({
        "sha256": file.sha256.as_deref().map(clean),
        "unread": file.unread.as_deref().map(clean),
        "size": long(file.size),
        "mode": format!("{:04o}", file.mode & 0o7777),
        "uid": digits(file.uid),
        "gid": digits(file.gid),
        "inode": digits(file.inode),
        "modified_at": file.modified_ns.and_then(time),
        "changed_at": file.changed_ns.and_then(time),
        "target_path": target.map(|target| clean(&target.says)),
        "target_sha256": target.and_then(|target| target.sha256.as_deref()).map(clean),
        "target_unread": target.and_then(|target| target.unread.as_deref()).map(clean),
    })
}

fn place(place: &PlaceSeen) -> Value<'_> {
    json!({
        "sight": place.sight.name(),
        "leads_to": place.leads_to.as_deref().map(clean),
        "mount_point": place.mount_point.as_deref().map(clean),
    })
}

fn record(loss: &RecordLoss) -> Value<'_> {
    let (status, agent) = match loss {
        RecordLoss::Gone { .. } => ("gone", None),
        RecordLoss::Damaged(_) => ("damaged", None),
        RecordLoss::OtherHost(agent) => ("other-host", Some(clean(agent))),
    };
    json!({ "lkm_monitor": { "drift": { "record": { "status": status, "agent_id": agent } } } })
}

fn time(ns: i64) -> Option<Cow<'static, str>> {
    jiff::Timestamp::from_nanosecond(ns.into()).ok().map(|time| microseconds(time).into())
}
