//! What decides which modules are loaded, and how: configuration, indexes, settings of the kernel; and PAM.

use super::{Context, Detection, Match, attack, phrase::file_sentence, system::doubt};
use crate::model::{FileAction, FileReport, Rule, Severity, Subject, text::brief};

pub(super) static DETECTIONS: &[Detection<FileReport>] = &[
    Detection {
        rule: Rule {
            code: 401,
            id: "module-configuration-changed",
            name: "Kernel module configuration changed",
            description: "A file changed that tells which kernel modules are loaded at boot, with which options, or which \
                          commands run in their place.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::INSTALLING,
        },
        matches: configuration,
    },
    Detection {
        rule: Rule {
            code: 402,
            id: "module-index-changed",
            name: "Kernel module index changed by another program than depmod",
            description: "modules.dep or another index that modprobe reads was changed by a program that does not make it. So \
                          modprobe can be made to load another file.",
            version: 1,
            severity: Severity::High,
            techniques: attack::INSTALLING,
        },
        matches: index,
    },
    Detection {
        rule: Rule {
            code: 403,
            id: "kernel-module-setting-changed",
            name: "Kernel module setting changed",
            description: "kernel.modprobe, the program that the kernel runs as root when it wants a module, kernel.modules_disabled, or \
                          kernel.ftrace_enabled, by which most hooks of the sensor are turned off, was written.",
            version: 2,
            severity: Severity::High,
            techniques: attack::GUARD_SETTINGS,
        },
        matches: setting,
    },
    Detection {
        rule: Rule {
            code: 404,
            id: "pam-module-changed",
            name: "PAM module changed",
            description: "A file changed among the modules that decide who may log in.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::PAM_MODULE,
        },
        matches: pam,
    },
    Detection {
        rule: Rule {
            code: 405,
            id: "watched-folder-replaced",
            name: "Folder of module configuration replaced",
            description: "A folder of module configuration has another name, was exchanged, or has something mounted over it: all \
                          that is in it is another at once.",
            version: 1,
            severity: Severity::High,
            techniques: attack::INSTALLING,
        },
        matches: folder,
    },
    Detection {
        rule: Rule {
            code: 406,
            id: "sensor-file-changed",
            name: "Kernel module sensor's own files changed",
            description: "The program, the settings or the unit of lkm-monitor changed on disk. The next start uses what lies there now.",
            version: 1,
            severity: Severity::High,
            techniques: attack::GUARD_UNLOADING,
        },
        matches: sensor_file,
    },
];

fn configuration(report: &FileReport, context: &Context<'_>) -> Option<Match> {
    let watched =
        matches!(report.subject, Subject::Modprobe | Subject::ModulesLoad | Subject::Depmod | Subject::Initramfs);
    if !watched || report.whole_folder || report.is_without_effect() {
        return None;
    }
    let mut reason = file_sentence(report, context);
    let content = &report.content;
    if report.was_restored() {
        reason = format!("{reason}{}", restored(report));
    } else if let Some((first, others)) = content.dangers.split_first() {
        reason = format!("{reason}: {first}");
        if !others.is_empty() {
            reason = format!("{reason} (and {} more of concern)", others.len());
        }
    } else if let Some(diff) = &content.diff {
        let added = diff.added.len();
        reason = format!("{reason}: {} and {} removed", lines(added, "added"), diff.removed.len());
    }
    let elsewhere = elsewhere(report, context);
    let attributes = is_of_attributes(report);
    let severity = match () {
        () if elsewhere.is_some() || attributes || report.was_restored() => Severity::Low,
        () if !content.dangers.is_empty() => Severity::High,
        () => Severity::Medium,
    };
    Some(Match { severity, reason: with_place(reason, elsewhere) })
}

fn lines(count: usize, done: &str) -> String {
    if count == 1 { format!("1 line {done}") } else { format!("{count} lines {done}") }
}

/// Mode, owner or times are another, and the content is not, as far as is known.
fn is_of_attributes(report: &FileReport) -> bool {
    !report.change.action.changes_content() && report.content.is_same() != Some(false)
}

/// What is said of a file that held the same again, as the end of a sentence.
fn restored(report: &FileReport) -> &'static str {
    match report.change.told {
        _ if !report.was_restored() => "",
        0 => "; when it was looked at, it held what it had held before",
        _ => "; when it was looked at, it held what was told of it before",
    }
}

/// Where depmod is the program, the change is what it is for.
fn index(report: &FileReport, context: &Context<'_>) -> Option<Match> {
    if report.subject != Subject::Index || report.is_without_effect() || !report.change.action.changes_content() {
        return None;
    }
    let caller = &report.change.process.caller;
    let by_kmod = caller.executable.as_ref().is_some_and(|path| {
        KMODS.contains(&path.seen.as_slice())
            && !caller.executable_unlinked
            && doubt(path, caller.executable_device, Some(caller), context).is_none()
    });
    if by_kmod {
        return None;
    }
    let elsewhere = elsewhere(report, context);
    let severity = if elsewhere.is_some() || report.was_restored() { Severity::Low } else { Severity::High };
    let reason = format!("{}{}", file_sentence(report, context), restored(report));
    Some(Match { severity, reason: with_place(reason, elsewhere) })
}

/// The program behind depmod.
const KMODS: [&[u8]; 4] = [b"/usr/bin/kmod", b"/bin/kmod", b"/usr/sbin/depmod", b"/sbin/depmod"];

fn setting(report: &FileReport, context: &Context<'_>) -> Option<Match> {
    if report.subject != Subject::Setting || report.change.succeeded() == Some(false) {
        return None;
    }
    let content = &report.content;
    let same = content.is_same() == Some(true);
    let change = match (&content.value_before, &content.value) {
        (_, Some(value)) if same => format!("{}: {}", restored(report), quoted(value)),
        (Some(before), Some(value)) => format!(": it was {} and is {} now", quoted(before), quoted(value)),
        (None, Some(value)) => format!(": it is {} now", quoted(value)),
        _ => String::new(),
    };
    let silences = report.change.path.absolute.ends_with(b"/kernel/ftrace_enabled");
    let meanwhile = if silences { "; while it is 0 most hooks of the sensor are silent" } else { "" };
    // The kernel may have used another value until it had this one again. Of what was done while hooks were silent there is no other word.
    let severity = if same && !silences { Severity::Medium } else { Severity::High };
    Some(Match { severity, reason: format!("{}{change}{meanwhile}", file_sentence(report, context)) })
}

fn quoted(value: &[u8]) -> String {
    format!("\"{}\"", brief(value))
}

fn pam(report: &FileReport, context: &Context<'_>) -> Option<Match> {
    if report.subject != Subject::Pam || report.whole_folder || report.is_without_effect() {
        return None;
    }
    let elsewhere = elsewhere(report, context);
    let attributes = is_of_attributes(report);
    let low = elsewhere.is_some() || attributes || report.was_restored();
    let severity = if low { Severity::Low } else { Severity::Medium };
    let reason = format!("{}{}", file_sentence(report, context), restored(report));
    Some(Match { severity, reason: with_place(reason, elsewhere) })
}

fn sensor_file(report: &FileReport, context: &Context<'_>) -> Option<Match> {
    if report.subject != Subject::Sensor || report.whole_folder || report.is_without_effect() {
        return None;
    }
    let elsewhere = elsewhere(report, context);
    let low = elsewhere.is_some() || is_of_attributes(report) || report.was_restored();
    let severity = if low { Severity::Low } else { Severity::High };
    let reason = format!("{}{}", file_sentence(report, context), restored(report));
    Some(Match { severity, reason: with_place(reason, elsewhere) })
}

fn folder(report: &FileReport, context: &Context<'_>) -> Option<Match> {
    if !report.whole_folder || report.change.succeeded() == Some(false) {
        return None;
    }
    let replaced = report.left || report.change.action.makes_name() || report.change.action == FileAction::Removed;
    if !replaced {
        return None;
    }
    let elsewhere = elsewhere(report, context);
    let severity = if elsewhere.is_some() { Severity::Low } else { Severity::High };
    Some(Match { severity, reason: with_place(file_sentence(report, context), elsewhere) })
}

/// Why the path is not the host's own file of that name.
fn elsewhere(report: &FileReport, context: &Context<'_>) -> Option<String> {
    let change = &report.change;
    if report.of_host {
        return None;
    }
    let caller = &change.process.caller;
    let own = !caller.namespaces.differing(&context.host.initial_namespaces).contains(&"mount");
    if change.path.in_chroot() {
        return Some(format!("in a chroot, where it stands for {}", brief(&change.path.absolute)));
    }
    (!own).then(|| "in a mount namespace of its own".to_owned())
}

fn with_place(reason: String, elsewhere: Option<String>) -> String {
    match elsewhere {
        Some(elsewhere) => format!("{reason}; it lies {elsewhere}"),
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::samples::{file_findings, path, report},
        model::{Content, ContentStatus, FileChange, FileState, module_config::LineDiff, samples::file_change},
    };

    fn changed(subject: Subject, at: &str) -> FileReport {
        report(subject, FileChange { action: FileAction::Written, path: path(at), ..file_change() })
    }

    fn found(report: &FileReport) -> Vec<(u16, Severity)> {
        file_findings(report).into_iter().map(|(code, severity, _)| (code, severity)).collect()
    }

    #[test]
    fn configuration_is_told_with_its_meaning() {
        let mut report = changed(Subject::Modprobe, "/etc/modprobe.d/x.conf");
        assert_eq!(found(&report), [(401, Severity::Medium)]);
        report.content.diff = Some(LineDiff { added: vec![b"options foo x=1".to_vec()], ..LineDiff::default() });
        assert!(file_findings(&report)[0].2.ends_with(": 1 line added and 0 removed"), "{:?}", file_findings(&report));
        report.content.dangers = vec!["an install command runs x".to_owned(), "y".to_owned()];
        assert_eq!(found(&report), [(401, Severity::High)]);
        assert!(file_findings(&report)[0].2.ends_with(": an install command runs x (and 1 more of concern)"));
    }

    /// The content before and after, by what stands for its hash.
    fn content(before: u8, after: u8) -> Content {
        let state = |hash| Some(FileState { sha256: Some([hash; 32]), ..FileState::default() });
        Content { status: ContentStatus::Read, before: state(before), after: state(after), ..Content::default() }
    }

    #[test]
    fn what_was_written_and_restored_is_told() {
        for (subject, at, code) in [
            (Subject::ModulesLoad, "/etc/modules", 401),
            (Subject::Pam, "/usr/lib/security/x.so", 404),
            (Subject::Index, "/usr/lib/modules/6.1.0/modules.dep", 402),
            (Subject::Sensor, "/etc/lkm-monitor/config.toml", 406),
        ] {
            let mut report = changed(subject, at);
            report.change.process.caller.executable = Some(path("/usr/bin/python3"));
            report.content = content(1, 2);
            assert_ne!(found(&report)[0].1, Severity::Low, "{at}");
            report.content = content(1, 1);
            assert_eq!(found(&report), [(code, Severity::Low)], "{at}");
            let reason = file_findings(&report).remove(0).2;
            assert!(reason.ends_with("; when it was looked at, it held what it had held before"), "{reason}");
            report.change.told = 1;
            let reason = file_findings(&report).remove(0).2;
            assert!(reason.ends_with("; when it was looked at, it held what was told of it before"), "{reason}");
        }
    }

    #[test]
    fn attributes_count_less_than_what_is_found_with_them() {
        for (subject, at, code) in
            [(Subject::Modprobe, "/etc/modprobe.d/x.conf", 401), (Subject::Pam, "/usr/lib/security/x.so", 404)]
        {
            let mut report = changed(subject, at);
            report.change.action = FileAction::ModeChanged;
            assert_eq!(found(&report), [(code, Severity::Low)], "{at}");
            report.content = content(1, 1);
            assert_eq!(found(&report), [(code, Severity::Low)], "{at}");
            report.content = content(1, 2);
            assert_eq!(found(&report), [(code, Severity::Medium)], "{at}");
        }
    }

    #[test]
    fn where_times_do_not_tell_the_content_does() {
        let mut report = changed(Subject::ModulesLoad, "/etc/modules");
        report.change.facts_before = report.change.facts.clone();
        assert_eq!(found(&report), [], "the times tell that nothing was written");
        report.change.just_changed = true;
        assert_eq!(found(&report), [(401, Severity::Medium)], "nothing is known");
        assert!(file_findings(&report)[0].2.contains(" was opened for writing and perhaps modified by "));
        report.content = content(1, 2);
        assert_eq!(found(&report), [(401, Severity::Medium)]);
        assert!(file_findings(&report)[0].2.contains(" was modified by "));
        report.content = content(1, 1);
        assert_eq!(found(&report), []);
        report.change.told = 1;
        assert_eq!(found(&report), [(401, Severity::Low)], "what was told before is not what it was at first");
    }

    #[test]
    fn a_chroot_is_not_the_host() {
        let mut report = changed(Subject::Modprobe, "/etc/modprobe.d/x.conf");
        report.change.path.absolute = b"/srv/root/etc/modprobe.d/x.conf".to_vec();
        report.of_host = false;
        report.content.dangers = vec!["x".to_owned()];
        assert_eq!(found(&report), [(401, Severity::Low)]);
        let mut report = changed(Subject::Pam, "/usr/lib/security/x.so");
        report.change.process.caller.namespaces.mount += 1;
        assert_eq!(
            found(&report),
            [(404, Severity::Medium)],
            "the host's file, from a mount namespace with the same mounts"
        );
        report.of_host = false;
        assert_eq!(found(&report), [(404, Severity::Low)]);
    }

    #[test]
    fn depmod_makes_indexes() {
        let mut report = changed(Subject::Index, "/usr/lib/modules/6.1.0/modules.dep");
        assert_eq!(found(&report), [], "the program is kmod");
        report.change.process.caller.executable = Some(path("/usr/bin/python3"));
        assert_eq!(found(&report), [(402, Severity::High)]);
    }

    #[test]
    fn settings_count_by_their_value() {
        let mut report = changed(Subject::Setting, "/proc/sys/kernel/modprobe");
        report.content.value_before = Some(b"/sbin/modprobe".to_vec());
        report.content.value = Some(b"/sbin/modprobe".to_vec());
        report.content.status = ContentStatus::Read;
        // procfs keeps no times of what is written.
        report.change.facts_before = report.change.facts.clone();
        report.change.just_changed = true;
        let (code, severity, reason) = file_findings(&report).remove(0);
        assert_eq!((code, severity), (403, Severity::Medium), "it may have been another one meanwhile");
        assert!(reason.ends_with("it held what it had held before: \"/sbin/modprobe\""), "{reason}");
        report.content.value = Some(b"/tmp/x".to_vec());
        let (code, severity, reason) = file_findings(&report).remove(0);
        assert_eq!((code, severity), (403, Severity::High));
        assert!(reason.ends_with(": it was \"/sbin/modprobe\" and is \"/tmp/x\" now"), "{reason}");
    }

    #[test]
    fn hooks_that_were_silent_for_a_moment_count_as_silenced() {
        let mut report = changed(Subject::Setting, "/proc/sys/kernel/ftrace_enabled");
        (report.content.value_before, report.content.value) = (Some(b"1".to_vec()), Some(b"1".to_vec()));
        report.content.status = ContentStatus::Read;
        report.change.facts_before = report.change.facts.clone();
        report.change.just_changed = true;
        let (code, severity, reason) = file_findings(&report).remove(0);
        assert_eq!((code, severity), (403, Severity::High));
        assert!(reason.ends_with("\"1\"; while it is 0 most hooks of the sensor are silent"), "{reason}");
    }

    #[test]
    fn folders_that_are_replaced_alert() {
        let mut report = changed(Subject::Modprobe, "/etc/modprobe.d");
        report.whole_folder = true;
        assert_eq!(found(&report), [], "a folder is not written");
        report.change.action = FileAction::MountedOver;
        assert_eq!(found(&report), [(405, Severity::High)]);
    }
}
