//! What is another than at the last look, and nobody saw becoming so.
//!
//! How severe that is follows from what is certain. That the sensor did not run is a reason for not having seen it; that it ran, and no
//! event told of it, is none.

mod phrases;

use super::{attack, unload};
use crate::model::{
    DigestCheck, Drift, Drifted, FileSeen, Finding, Manager, ModuleSeen, Provenance, RecordLoss, Rule, Setting,
    Severity, Subject, Unseen, Verdict, Weight,
};

pub(super) static LOADED: Rule = Rule {
    code: 166,
    id: "module-loaded-unseen",
    name: "Kernel module loaded while nobody watched",
    description: "A module is in the kernel that was not there at the last look, and no load of it was seen: it was loaded while the \
                  sensor did not run, before it was started, or unnoticed.",
    version: 1,
    severity: Severity::Medium,
    techniques: attack::LOADING,
};

pub(super) static FILE: Rule = Rule {
    code: 167,
    id: "watched-file-changed-unseen",
    name: "Watched file changed while nobody watched",
    description: "A file that decides which modules are loaded, or who may log in, or one of the sensor's own, is another than at the last \
                  look, or its place cannot be looked at any more, and no change of it was seen.",
    version: 1,
    severity: Severity::Medium,
    techniques: attack::INSTALLING,
};

pub(super) static POLICY: Rule = Rule {
    code: 168,
    id: "module-policy-weakened",
    name: "Kernel's policy on modules weakened",
    description: "The kernel demands less of modules than at the last look, loads others, or starts another program to get them: its \
                  command line, lockdown, module.sig_enforce, kernel.modules_disabled or kernel.modprobe is another.",
    version: 1,
    severity: Severity::Medium,
    techniques: attack::GUARD_SETTINGS,
};

pub(super) static GONE: Rule = Rule {
    code: 169,
    id: "module-gone-unseen",
    name: "Kernel module gone without an unload",
    description: "A module that was in the kernel at the last look is not in the list any more, in the same boot, and no unload of it was \
                  seen.",
    version: 1,
    severity: Severity::Low,
    techniques: attack::UNLOADING,
};

pub(super) static TAINT: Rule = Rule {
    code: 170,
    id: "kernel-taint-lost",
    name: "Kernel's taint mask lost a bit",
    description: "The kernel never clears a bit of its taint mask while it runs. One that was set is not set any more: somebody wrote to \
                  the kernel's memory, or shows us another mask.",
    version: 1,
    severity: Severity::High,
    techniques: attack::UNLOADING,
};

pub(super) static RECORD: Rule = Rule {
    code: 212,
    id: "state-record-lost",
    name: "Record of the host's state lost",
    description: "The record of the last look is gone, damaged, or another host's. What changed since then while nobody watched is not \
                  known.",
    version: 1,
    severity: Severity::Medium,
    techniques: attack::GUARD_UNLOADING,
};

/// What is alarming in a difference.
pub fn assess_drift(drift: &Drift) -> Verdict {
    let (rule, severity) = match &drift.what {
        Drifted::ModuleLoaded { now, .. } => (&LOADED, of_load(drift, now)),
        Drifted::ModuleGone { name, .. } => (&GONE, of_unload(drift, name)),
        Drifted::File { before, now, .. } => (&FILE, of_file(drift, before.as_deref(), now.as_deref())),
        Drifted::Place { .. } | Drifted::More(_) | Drifted::NoEnd => (&FILE, Severity::Medium),
        Drifted::Policy { setting, now, weight, .. } => (&POLICY, of_policy(*setting, now, *weight)),
        Drifted::TaintLost { .. } => (&TAINT, Severity::High),
        Drifted::Record(loss) => (&RECORD, of_record(loss)),
    };
    let finding = Finding { rule, severity, reason: phrases::reason(drift) };
    Verdict { findings: vec![finding], ..Verdict::default() }
}

/// Of the file that modprobe would have loaded: which one was loaded nobody saw. A module of the kernel's own tree that is marked as being
/// of none is not that file.
fn of_load(drift: &Drift, module: &ModuleSeen) -> Severity {
    let is_marked = module.taints.contains(['O', 'E', 'F']);
    let by_package = has_own_bytes(drift.provenance.as_ref());
    let is_packaged = by_package && (!is_marked || manager(drift) == Some(Manager::Dkms));
    match drift.unseen {
        _ if drift.perhaps_seen && is_packaged => Severity::Low,
        // An event told of any load, unsigned ones among them: that excuses none of those.
        _ if drift.perhaps_seen && !is_marked => Severity::Medium,
        Unseen::Unknown if is_packaged => Severity::Medium,
        Unseen::Unknown => Severity::High,
        _ if is_packaged => Severity::Low,
        _ if is_marked && !by_package => Severity::High,
        _ => Severity::Medium,
    }
}

fn of_unload(drift: &Drift, name: &str) -> Severity {
    match drift.unseen {
        _ if unload::is_of_security(name.as_bytes()) => Severity::High,
        _ if drift.perhaps_seen => Severity::Low,
        Unseen::Unknown => Severity::High,
        Unseen::Blind | Unseen::LostEvents => Severity::Medium,
        Unseen::NotRunning | Unseen::BeforeStart => Severity::Low,
    }
}

fn of_file(drift: &Drift, before: Option<&FileSeen>, now: Option<&FileSeen>) -> Severity {
    let subject = before.or(now).map_or("", |file| file.subject.as_str());
    let is_subject = |known: Subject| known.name() == subject;
    match drift.unseen {
        _ if has_own_bytes(drift.provenance.as_ref()) => Severity::Low,
        _ if is_subject(Subject::Pam) => Severity::High,
        _ if drift.perhaps_seen && !is_subject(Subject::Sensor) => Severity::Low,
        // Who changes the sensor's settings may stop it first.
        Unseen::NotRunning | Unseen::BeforeStart => Severity::Medium,
        _ if is_subject(Subject::Sensor) => Severity::High,
        _ => Severity::Medium,
    }
}

fn of_policy(setting: Setting, now: &str, weight: Weight) -> Severity {
    const MODPROBE: [&str; 4] = ["/sbin/modprobe", "/usr/sbin/modprobe", "/bin/modprobe", "/usr/bin/modprobe"];
    match weight {
        Weight::Impossible => Severity::High,
        _ if setting == Setting::Modprobe && MODPROBE.contains(&now) => Severity::Low,
        // With an empty name the kernel starts nothing.
        _ if setting == Setting::Modprobe && !now.is_empty() => Severity::High,
        Weight::Weaker => Severity::Medium,
        Weight::Other => Severity::Low,
    }
}

const fn of_record(loss: &RecordLoss) -> Severity {
    match loss {
        RecordLoss::Gone { kept_one: true } | RecordLoss::Damaged(_) => Severity::Medium,
        // One that kept no record, or a disk that was copied.
        RecordLoss::Gone { kept_one: false } | RecordLoss::OtherHost(_) => Severity::Low,
    }
}

/// Whether the file holds what a package has brought there.
fn has_own_bytes(provenance: Option<&Provenance>) -> bool {
    provenance.is_some_and(|provenance| provenance.digest == DigestCheck::Matches)
}

fn manager(drift: &Drift) -> Option<Manager> {
    drift.provenance.as_ref().map(|provenance| provenance.manager)
}

#[cfg(test)]
mod tests;
