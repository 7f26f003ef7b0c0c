mod files;
mod modules;
mod places;
mod policy;

use super::*;
use crate::{
    drift::{
        samples::{at, file, module, place, state},
        seen::{Part, Seen},
    },
    model::{
        Content, ContentStatus, FileAction, FileChange, FileReport, FileSeen, FileState, FileTime, ModuleCall,
        ModuleFacts, ModuleSeen, PlaceSeen, PlaceSight, Selected, Setting, Subject, TargetSeen, Weight, Writing,
        samples as model_samples, text::unhex,
    },
};

const CONF: &str = "/etc/modprobe.d/a.conf";
/// The last look at 100 s, this one at 200 s after the boot.
const LAST_S: u64 = 100;
const NOW_S: u64 = 200;

/// Differences of a host that somebody watched, in which `change` was made, where so much was seen live.
fn watched(change: impl Fn(&mut HostState), seen: &Seen) -> Compared {
    compared(&state(LAST_S), &changed(change), seen, Watch::of_this_run(at(50), false, false))
}

/// The same of a host that nobody watched from 160 s to 190 s.
fn unwatched(change: impl Fn(&mut HostState), seen: &Seen) -> Compared {
    let watch = Watch { earlier_until: Some(at(160)), since: at(190), blind: false, lost: false };
    compared(&state(LAST_S), &changed(change), seen, watch)
}

fn changed(change: impl Fn(&mut HostState)) -> HostState {
    let mut now = state(NOW_S);
    change(&mut now);
    now
}

fn compared(last: &HostState, now: &HostState, seen: &Seen, watch: Watch) -> Compared {
    let part = Part { seen, after_break: watch.earlier_until.is_some(), is_past: false };
    let look_ns = (now.begun.boot_ns, now.ended.boot_ns);
    compare(&Between { last, now, notes: Notes { parts: vec![part], look_ns }, watch })
}

/// Differences from what the run before looked at and then saw live, with what this one saw after a break.
fn after_break(last: &HostState, now: &HostState, carried: &Seen, seen: &Seen) -> Compared {
    let carried = Part { seen: carried, after_break: false, is_past: true };
    let own = Part { seen, after_break: true, is_past: false };
    let notes = Notes { parts: vec![carried, own], look_ns: (now.begun.boot_ns, now.ended.boot_ns) };
    let watch = Watch { earlier_until: Some(at(160)), since: at(190), blind: false, lost: false };
    compare(&Between { last, now, notes, watch })
}

fn none() -> Seen {
    Seen::default()
}

/// What is told, in words.
fn names(compared: &Compared) -> Vec<String> {
    let name = |drift: &Drift| match &drift.what {
        Drifted::ModuleLoaded { name, before, .. } => {
            format!("loaded {name}{}", if before.is_some() { " for another" } else { "" })
        }
        Drifted::ModuleGone { name, .. } => format!("gone {name}"),
        Drifted::File { path, before, now } => match (before, now) {
            (None, _) => format!("created {path}"),
            (_, None) => format!("removed {path}"),
            _ => format!("changed {path}"),
        },
        Drifted::Place { path, .. } => format!("place {path}"),
        Drifted::Policy { setting, weight, .. } => format!("{} {weight:?}", setting.name()),
        Drifted::TaintLost { lost, .. } => format!("taint {lost:#b}"),
        Drifted::More(_) | Drifted::NoEnd | Drifted::Record(_) => unreachable!("{drift:?}"),
    };
    compared.drifts.iter().map(name).collect()
}

fn load(name: &str, boot_s: u64) -> ModuleCall {
    ModuleCall {
        module: ModuleFacts { name: Some(crate::model::Bytes::whole(name)), ..ModuleFacts::default() },
        boot_ns: at(boot_s).boot_ns,
        ..model_samples::load()
    }
}

fn of_content(digits: &str) -> FileState {
    let sha256 = unhex(&digits.repeat(32)).unwrap().try_into().unwrap();
    FileState { sha256: Some(sha256), mode: 0o100_644, ..FileState::default() }
}

/// Its hash is made of these two digits.
fn seen_file(digits: &str) -> FileSeen {
    file(&digits.repeat(32))
}

fn written(boot_s: u64, before: Option<&str>, after: &str) -> FileReport {
    FileReport {
        change: FileChange {
            action: FileAction::Written,
            boot_ns: at(boot_s).boot_ns,
            closed_boot_ns: Some(at(boot_s).boot_ns),
            path: model_samples::path(CONF),
            ..model_samples::file_change()
        },
        subject: Subject::Modprobe,
        whole_folder: false,
        left: false,
        of_host: true,
        content: Content {
            status: ContentStatus::Read,
            before: before.map(of_content),
            after: Some(of_content(after)),
            ..Content::default()
        },
    }
}

fn seen(reports: &[FileReport]) -> Seen {
    let mut seen = Seen::default();
    reports.iter().for_each(|report| assert!(seen.note_file(report)));
    seen
}

fn holds(digits: &str) -> impl Fn(&mut HostState) {
    let digits = digits.to_owned();
    move |now| drop(now.files.insert(CONF.to_owned(), seen_file(&digits)))
}

fn last_held(digits: &str) -> HostState {
    let mut last = state(LAST_S);
    holds(digits)(&mut last);
    last
}

#[test]
fn the_same_host_is_no_difference() {
    assert_eq!(watched(|_| {}, &none()), Compared::default());
    assert_eq!(unwatched(|_| {}, &none()), Compared::default());
}
