//! Changes of watched files.

use super::{
    file,
    json::{Value, digits, json, long, merge},
    process,
    scene::{Scene, microseconds},
};
use crate::model::{
    ContentStatus, FileAction, FileFacts, FileReport, FileState, FileTime, Subject, Writing, errno_name,
    module_config::LineDiff,
    text::{hex, readable},
};

/// The telemetry document of a change.
pub(super) fn render<'a>(report: &'a FileReport, scene: &Scene<'a>) -> Value<'a> {
    let change = &report.change;
    let configuration = report.subject != Subject::Module;
    let verb = if report.has_left() { "removed" } else { change.action.participle() };
    let mut document = json!({
        "message": message(report),
        "event": {
            "kind": "event",
            "category": if configuration { vec!["configuration", "file"] } else { vec!["file"] },
            "type": [event_type(report)],
            "action": format!("{verb}-{}", object(report)),
            "outcome": match change.succeeded() {
                Some(true) => "success",
                Some(false) => "failure",
                None => "unknown",
            },
            "duration": change.closed_boot_ns.and_then(|closed| closed.checked_sub(change.boot_ns)).map(long),
            "provider": "kernel",
        },
        "lkm_monitor": {
            "change": details(report, scene),
            "truncated": truncated(report),
            "late": (change.told > 0).then_some(true),
        },
    });
    merge(&mut document, file_fields(report, scene));
    merge(&mut document, process::render(&change.process, scene));
    document
}

/// Stable for one kind of file and change.
fn message(report: &FileReport) -> String {
    let done = if report.has_left() { "moved away" } else { words(report.change.action) };
    let phrase = report.subject.phrase();
    let subject = phrase
        .chars()
        .next()
        .map_or(String::new(), |first| first.to_uppercase().to_string() + &phrase[first.len_utf8()..]);
    let folder = if report.whole_folder { " folder" } else { "" };
    match (report.change.succeeded(), report.change.errno()) {
        (_, Some(errno)) => format!("{subject}{folder} not {done}: {}", errno_name(errno)),
        _ if report.is_untouched() => format!("{subject}{folder} opened for writing and not changed"),
        _ => format!("{subject}{folder} {done}"),
    }
}

/// The change in words.
const fn words(action: FileAction) -> &'static str {
    match action {
        FileAction::Created => "created",
        FileAction::Written => "modified",
        FileAction::Renamed => "renamed into place",
        FileAction::Exchanged => "exchanged",
        FileAction::Linked => "linked into place",
        FileAction::Symlinked => "made a symbolic link",
        FileAction::Removed => "removed",
        FileAction::ModeChanged => "given another mode",
        FileAction::OwnerChanged => "given another owner",
        FileAction::TimesChanged => "given other times",
        FileAction::Truncated => "truncated",
        FileAction::MountedOver => "mounted over",
    }
}

const fn object(report: &FileReport) -> &'static str {
    match report.subject {
        Subject::Module => "kernel-module-file",
        Subject::Modprobe | Subject::ModulesLoad | Subject::Depmod | Subject::Initramfs => "module-configuration",
        Subject::Pam => "pam-module",
        Subject::Index => "module-index",
        Subject::Setting => "kernel-setting",
        Subject::Sensor => "sensor-file",
    }
}

fn event_type(report: &FileReport) -> &'static str {
    match report.change.action {
        _ if report.has_left() => "deletion",
        FileAction::Removed => "deletion",
        action if action.makes_name() => "creation",
        _ => "change",
    }
}

/// What the writer left behind counts, as it was found; else what the kernel knew of the inode.
fn file_fields<'a>(report: &'a FileReport, scene: &Scene<'a>) -> Value<'a> {
    let change = &report.change;
    let known = change.facts.clone().or_else(|| change.facts_before.clone());
    let found = report.content.after.as_ref().filter(|_| report.content.status != ContentStatus::Replaced);
    let mut facts = FileFacts { path: change.path.clone(), ..known.clone().unwrap_or_default() };
    if let Some(resolved) = report.content.resolved_path.as_ref().filter(|_| change.path.mount_unknown) {
        facts.path.seen.clone_from(resolved);
        facts.path.absolute.clone_from(resolved);
        facts.path.mount_unknown = false;
    }
    if let Some(found) = found {
        facts = FileFacts {
            inode: found.inode,
            size: found.size,
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
            accessed: found.accessed.or(facts.accessed),
            modified: found.modified,
            changed: found.changed,
            created: found.created,
            ..facts
        };
    }
    let rendered =
        if known.is_some() || found.is_some() { file::render(&facts, scene) } else { file::render_name(&facts.path) };
    let mut document = rendered.into_owned();
    let target = change.link_target.as_ref().map(|target| readable(&target.bytes));
    merge(
        &mut document,
        json!({ "file": {
            "hash": { "sha256": found.and_then(|found| found.sha256).map(|hash| hex(&hash)) },
            "mtime": time(facts.modified),
            "ctime": time(facts.changed),
            "accessed": time(facts.accessed),
            "created": time(facts.created),
            "target_path": target,
        } }),
    );
    document
}

fn details<'a>(report: &'a FileReport, scene: &Scene<'a>) -> Value<'a> {
    let (change, content) = (&report.change, &report.content);
    let lines = |lines: &'a [String]| lines.iter().map(|line| readable(line.as_bytes())).collect::<Vec<_>>();
    let value = |value: &'a Option<Vec<u8>>| value.as_ref().map(|value| readable(value));
    json!({
        "subject": report.subject.name(),
        "operation": change.action.participle(),
        "old_path": change.old_path.as_ref().map(|path| readable(&path.seen)),
        "old_absolute_path": change.old_path.as_ref().filter(|path| path.absolute != path.seen).map(|path| readable(&path.absolute)),
        "errno": change.errno().map(errno_name),
        "folder": report.whole_folder.then_some(true),
        "left": report.left.then_some(true),
        "untouched": report.is_untouched().then_some(true),
        "still_open": (change.writing == Writing::Open).then_some(true),
        "not_followed": (change.writing == Writing::Unknown).then_some(true),
        "writers": (change.writers > 1).then_some(change.writers),
        "size_before": change.facts_before.as_ref().map(|facts| long(facts.size)),
        "content": content.status.name(),
        "mode_given": (change.action == FileAction::ModeChanged).then(|| format!("{:04o}", change.call_flags & 0o7777)),
        "before": content.before.as_ref().map(|state| file_state(state, scene)),
        "after": content.after.as_ref().filter(|_| content.before.is_some()).map(|state| file_state(state, scene)),
        "diff": content.diff.as_ref().map(diff),
        "directives": {
            "added": lines(&content.directives_added),
            "removed": lines(&content.directives_removed),
        },
        "dangers": lines(&content.dangers),
        "value_before": value(&content.value_before),
        "value": value(&content.value),
    })
}

fn file_state<'a>(state: &'a FileState, scene: &Scene<'a>) -> Value<'a> {
    json!({
        "sha256": state.sha256.as_ref().map(|hash| hex(hash)),
        "size": long(state.size),
        "mode": format!("{:04o}", state.mode & 0o7777),
        "uid": digits(state.uid),
        "gid": digits(state.gid),
        "owner": scene.user_name(state.uid),
        "group": scene.group_name(state.gid),
        "inode": digits(state.inode),
        "modified_at": time(state.modified),
        "changed_at": time(state.changed),
        "created_at": time(state.created),
        "target_path": state.link_target.as_ref().map(|target| readable(target)),
    })
}

fn diff<'a>(diff: &'a LineDiff) -> Value<'a> {
    let lines = |lines: &'a [Vec<u8>]| lines.iter().map(|line| readable(line)).collect::<Vec<_>>();
    json!({
        "added": lines(&diff.added),
        "removed": lines(&diff.removed),
        "reordered": diff.reordered.then_some(true),
        "more_lines": (diff.more > 0).then_some(diff.more),
    })
}

fn truncated(report: &FileReport) -> Vec<&'static str> {
    let tree = &report.change.process;
    [
        ("file.path", report.change.path.truncated),
        ("lkm_monitor.ancestors", tree.more_ancestors),
        ("lkm_monitor.change.diff", report.content.diff.as_ref().is_some_and(|diff| diff.truncated || diff.more > 0)),
        ("lkm_monitor.process.cgroup.path", tree.caller.control_group_truncated),
        ("process.args", tree.caller.arguments_truncated),
    ]
    .into_iter()
    .filter_map(|(field, cut)| cut.then_some(field))
    .collect()
}

/// RFC 3339 in UTC, with microseconds.
pub(super) fn time(time: Option<FileTime>) -> Option<String> {
    jiff::Timestamp::from_nanosecond(time?.realtime_ns()).ok().map(microseconds)
}
