//! The sentences of findings.

use std::collections::HashMap;

use super::Context;
use crate::model::{
    FileAction, FileReport, LoadStage, ModuleCall, Process, Writing, errno_name,
    text::{brief, text},
};

/// `module foo was loaded<detail> by /usr/bin/kmod run by root (login user alice)`, and how it ended where that is not
/// success. `detail` brings its own leading blank or comma.
pub(super) fn sentence(call: &ModuleCall, context: &Context<'_>, detail: &str) -> String {
    let (verb, ending) = if call.operation.is_load() { load(call) } else { unload(call) };
    format!("{} {verb}{detail} by {}{ending}", module(call), agent(call, context))
}

fn load(call: &ModuleCall) -> (&'static str, String) {
    let errno = || call.errno().map_or_else(String::new, |errno| format!(" with {}", errno_name(errno)));
    match call.stage {
        LoadStage::Live => ("was loaded", String::new()),
        LoadStage::InitFailed => ("was loaded", format!("; its init function ran and failed{}", errno())),
        LoadStage::InitRunning => {
            ("is being loaded", "; its init function had not returned, or its return was not seen".to_owned())
        }
        LoadStage::Refused => ("was to be loaded", format!("; the kernel refused it{}", errno())),
        LoadStage::Shared => ("was to be loaded", "; the kernel answered it with a simultaneous load".to_owned()),
        LoadStage::Unknown => ("was to be loaded", "; how that ended was not seen".to_owned()),
    }
}

fn unload(call: &ModuleCall) -> (&'static str, String) {
    match (call.succeeded(), call.errno()) {
        (Some(true), _) => ("was unloaded", String::new()),
        (_, Some(errno)) => ("was to be unloaded", format!("; the kernel refused it with {}", errno_name(errno))),
        _ if call.freed => ("was unloaded", String::new()),
        _ => ("was to be unloaded", "; how that ended was not seen".to_owned()),
    }
}

fn module(call: &ModuleCall) -> String {
    call.best_name().map_or_else(|| "a module".to_owned(), |(name, _)| format!("module {}", brief(&name)))
}

fn agent(call: &ModuleCall, context: &Context<'_>) -> String {
    call.process
        .as_ref()
        .map_or_else(|| "a process that was not seen".to_owned(), |tree| process(&tree.caller, context))
}

/// `kernel module file /tmp/x.ko was created by /usr/bin/cp run by root (login user alice)`.
pub(super) fn file_sentence(report: &FileReport, context: &Context<'_>) -> String {
    let change = &report.change;
    let shown = if report.of_host { &change.path.absolute } else { &change.path.seen };
    let path = report.content.resolved_path.as_deref().unwrap_or(shown);
    let old =
        || change.old_path.as_ref().map_or_else(|| "a name that is not known".to_owned(), |path| brief(&path.seen));
    let done = match change.action {
        FileAction::Created => "was created".to_owned(),
        FileAction::Written if change.has_same_times() && report.content.is_same() != Some(false) => {
            "was opened for writing and perhaps modified".to_owned()
        }
        FileAction::Written => "was modified".to_owned(),
        FileAction::Renamed => format!("was renamed from {}", old()),
        FileAction::Exchanged => format!("was exchanged with {}", old()),
        FileAction::Linked => format!("was linked to {}", old()),
        FileAction::Symlinked => {
            let target =
                change.link_target.as_ref().map_or_else(String::new, |target| format!(" to {}", brief(&target.bytes)));
            format!("became a symbolic link{target}")
        }
        FileAction::Removed => "was removed".to_owned(),
        FileAction::ModeChanged => format!("was given the mode {:04o}", change.call_flags & 0o7777),
        FileAction::OwnerChanged => "was given another owner".to_owned(),
        FileAction::TimesChanged => "was given other times".to_owned(),
        FileAction::Truncated => "was truncated".to_owned(),
        FileAction::MountedOver => "was mounted over".to_owned(),
    };
    // It was renamed while it was written.
    let opened_by =
        change.old_path.as_ref().filter(|_| matches!(change.action, FileAction::Created | FileAction::Written));
    let opened_by = opened_by.map_or_else(String::new, |path| format!(" under the name {}", brief(&path.seen)));
    let ending = match change.writing {
        Writing::Open => " and is still open for writing",
        Writing::Unknown => " and may still be open for writing",
        Writing::None | Writing::Closed => "",
    };
    let folder = if report.whole_folder { " folder" } else { "" };
    let by = process(&change.process.caller, context);
    format!("{}{folder} {} {done}{opened_by} by {by}{ending}", report.subject.phrase(), brief(path))
}

/// `/usr/bin/kmod run by root (login user alice)`.
pub fn process(process: &Process, context: &Context<'_>) -> String {
    let users = &context.accounts.users;
    let program = process.executable.as_ref().map_or_else(|| brief(&process.name), |path| brief(&path.seen));
    let user = process.ids.map_or_else(String::new, |ids| format!(" run by {}", account(users, ids.euid)));
    let own = process.ids.map(|ids| ids.euid);
    let login = process.login_uid.filter(|&login| Some(login) != own);
    let login = login.map_or_else(String::new, |uid| format!(" (login user {})", account(users, uid)));
    format!("{program}{user}{login}")
}

fn account(users: &HashMap<u32, Vec<u8>>, uid: u32) -> String {
    users.get(&uid).map_or_else(|| format!("user {uid}"), |name| text(name))
}
