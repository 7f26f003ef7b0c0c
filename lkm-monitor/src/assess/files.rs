//! Files of kernel modules.

use super::{Context, Detection, Match, attack, origin::nonstandard_path, phrase::file_sentence};
use crate::model::{FileAction, FileReport, Rule, Severity, Subject};

/// The rule on files that appear.
pub(super) const CREATED: u16 = 301;

pub(super) static DETECTIONS: &[Detection<FileReport>] = &[
    Detection {
        rule: Rule {
            code: CREATED,
            id: "module-file-created",
            name: "Kernel module file created",
            description: "A file with the name of a kernel module appeared: it was created, renamed or linked. Packages and kernel \
                          builds do this in the module tree; elsewhere it is rare.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::INSTALLING,
        },
        matches: created,
    },
    Detection {
        rule: Rule {
            code: 302,
            id: "module-file-modified",
            name: "Kernel module file modified in place",
            description: "A kernel module file was written where it lies. Packages replace files by renaming new ones, so that the \
                          old name never shows half of the new content.",
            version: 1,
            severity: Severity::High,
            techniques: attack::INSTALLING,
        },
        matches: modified,
    },
    Detection {
        rule: Rule {
            code: 303,
            id: "module-file-removed",
            name: "Kernel module file removed",
            description: "A kernel module file was removed, or lost its name. Packages do this when a kernel goes; others do it \
                          to cover tracks.",
            version: 1,
            severity: Severity::Low,
            techniques: attack::UNLOADING,
        },
        matches: removed,
    },
];

fn created(report: &FileReport, context: &Context<'_>) -> Option<Match> {
    let place = place(report, context, report.change.action.makes_name() && !report.left)?;
    let severity = match () {
        () if place.is_some() => Severity::Medium,
        // No package does that.
        () if report.change.action == FileAction::MountedOver => Severity::High,
        () => Severity::Low,
    };
    Some(Match { severity, reason: sentence(report, context, place) })
}

fn modified(report: &FileReport, context: &Context<'_>) -> Option<Match> {
    let in_place = matches!(report.change.action, FileAction::Written | FileAction::Truncated);
    let place = place(report, context, in_place)?;
    let severity = if place.is_some() { Severity::Medium } else { Severity::High };
    Some(Match { severity, reason: sentence(report, context, place) })
}

fn removed(report: &FileReport, context: &Context<'_>) -> Option<Match> {
    let place = place(report, context, report.has_left() || report.change.action == FileAction::Removed)?;
    Some(Match { severity: Severity::Low, reason: sentence(report, context, place) })
}

/// What is not standard about the place of a module's file, of changes that `applies` is true for and that came to something.
#[expect(clippy::option_option, reason = "outside: whether the rule applies; inside: whether the place is unusual")]
fn place(report: &FileReport, context: &Context<'_>, applies: bool) -> Option<Option<String>> {
    if report.subject != Subject::Module || report.is_without_effect() || !applies {
        return None;
    }
    let change = &report.change;
    let facts = change.facts.as_ref().or(change.facts_before.as_ref());
    let device = facts.map_or((0, 0), |facts| (facts.device_major, facts.device_minor));
    let resolved = report.content.resolved_path.as_deref();
    if change.path.mount_unknown {
        // The mounts of the host hold it there; which one the caller came through does not matter.
        let path = resolved.unwrap_or(&change.path.seen);
        return Some((!super::origin::in_module_tree(path)).then(|| "outside /lib/modules".to_owned()));
    }
    Some(nonstandard_path(&change.path, device, Some(&change.process.caller), context))
}

fn sentence(report: &FileReport, context: &Context<'_>, place: Option<String>) -> String {
    let sentence = file_sentence(report, context);
    match place {
        Some(place) if place.starts_with("which ") => format!("{sentence}, {place}"),
        Some(place) => format!("{sentence}; it lies {place}"),
        None => sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::samples::{file_findings, path, report},
        model::{FileChange, FileFacts, FileTime, Writing, samples::file_change},
    };

    fn change(at: &str, action: FileAction) -> FileChange {
        FileChange { action, path: path(at), ..file_change() }
    }

    fn found(change: FileChange) -> Vec<(u16, Severity)> {
        let findings = file_findings(&report(Subject::Module, change));
        findings.into_iter().map(|(code, severity, _)| (code, severity)).collect()
    }

    const IN_TREE: &str = "/usr/lib/modules/6.1.0/kernel/foo.ko";

    #[test]
    fn new_files_alert_more_outside_the_tree() {
        for action in [FileAction::Created, FileAction::Renamed, FileAction::Linked, FileAction::Symlinked] {
            assert_eq!(found(change("/tmp/x.ko", action)), [(301, Severity::Medium)], "{action:?}");
            assert_eq!(found(change(IN_TREE, action)), [(301, Severity::Low)], "{action:?}");
        }
        assert_eq!(found(change(IN_TREE, FileAction::MountedOver)), [(301, Severity::High)]);
        let findings = file_findings(&report(Subject::Module, change("/tmp/x.ko", FileAction::Created)));
        assert_eq!(
            findings[0].2,
            "kernel module file /tmp/x.ko was created by /usr/bin/kmod run by root (login user alice); it lies outside \
             /lib/modules"
        );
    }

    #[test]
    fn writing_in_place_alerts_more_in_the_tree() {
        assert_eq!(found(change(IN_TREE, FileAction::Written)), [(302, Severity::High)]);
        assert_eq!(found(change("/tmp/x.ko", FileAction::Truncated)), [(302, Severity::Medium)]);
    }

    #[test]
    fn opening_without_writing_is_nothing() {
        let facts = FileFacts { changed: Some(FileTime { seconds: 1, nanoseconds: 1 }), ..FileFacts::default() };
        let untouched = FileChange {
            facts: Some(facts.clone()),
            facts_before: Some(facts),
            writing: Writing::Closed,
            ..change(IN_TREE, FileAction::Written)
        };
        assert_eq!(found(untouched), []);
    }

    #[test]
    fn what_was_renamed_while_it_was_written_has_both_names() {
        let report = report(
            Subject::Module,
            FileChange { old_path: Some(path("/run/a.ko")), ..change("/tmp/x.ko", FileAction::Created) },
        );
        let reason = file_findings(&report).remove(0).2;
        assert!(
            reason.starts_with("kernel module file /tmp/x.ko was created under the name /run/a.ko by "),
            "{reason}"
        );
    }

    #[test]
    fn removal_is_said() {
        assert_eq!(found(change(IN_TREE, FileAction::Removed)), [(303, Severity::Low)]);
        let mut away = report(Subject::Module, change("/tmp/x", FileAction::Renamed));
        away.left = true;
        assert_eq!(file_findings(&away)[0].0, 303);
    }

    #[test]
    fn what_failed_is_telemetry() {
        assert_eq!(found(FileChange { ret: Some(-13), ..change(IN_TREE, FileAction::Renamed) }), []);
        assert_eq!(found(FileChange { ret: None, ..change("/tmp/x.ko", FileAction::Created) }).len(), 1, "not known");
    }

    #[test]
    fn attributes_are_telemetry() {
        for action in [FileAction::ModeChanged, FileAction::OwnerChanged, FileAction::TimesChanged] {
            assert_eq!(found(change(IN_TREE, action)), [], "{action:?}");
        }
    }
}
