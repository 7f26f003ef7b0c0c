//! The techniques of MITRE ATT&CK that the rules name, in the version that [`ATTACK_VERSION`] states.
//!
//! [`ATTACK_VERSION`]: crate::model::verdict::ATTACK_VERSION

use crate::model::{AttackEntry, Technique};

macro_rules! tactic {
    ($id:literal, $name:literal) => {
        AttackEntry { id: $id, name: $name, reference: concat!("https://attack.mitre.org/tactics/", $id, "/") }
    };
}

macro_rules! technique {
    ($id:literal, $name:literal) => {
        AttackEntry { id: $id, name: $name, reference: concat!("https://attack.mitre.org/techniques/", $id, "/") }
    };
    ($id:literal . $part:literal, $name:literal) => {
        AttackEntry {
            id: concat!($id, ".", $part),
            name: $name,
            reference: concat!("https://attack.mitre.org/techniques/", $id, "/", $part, "/"),
        }
    };
}

const PERSISTENCE_TACTIC: AttackEntry = tactic!("TA0003", "Persistence");
const ESCALATION_TACTIC: AttackEntry = tactic!("TA0004", "Privilege Escalation");
const STEALTH_TACTIC: AttackEntry = tactic!("TA0005", "Stealth");
const IMPAIRMENT_TACTIC: AttackEntry = tactic!("TA0112", "Defense Impairment");

const fn kernel_modules(tactic: AttackEntry) -> Technique {
    Technique {
        tactic,
        technique: technique!("T1547", "Boot or Logon Autostart Execution"),
        subtechnique: Some(technique!("T1547"."006", "Kernel Modules and Extensions")),
    }
}

const PERSISTENCE: Technique = kernel_modules(PERSISTENCE_TACTIC);
const ESCALATION: Technique = kernel_modules(ESCALATION_TACTIC);

const ROOTKIT: Technique =
    Technique { tactic: STEALTH_TACTIC, technique: technique!("T1014", "Rootkit"), subtechnique: None };

const REFLECTIVE_LOADING: Technique =
    Technique { tactic: STEALTH_TACTIC, technique: technique!("T1620", "Reflective Code Loading"), subtechnique: None };

const PTRACE: Technique = Technique {
    tactic: STEALTH_TACTIC,
    technique: technique!("T1055", "Process Injection"),
    subtechnique: Some(technique!("T1055"."008", "Ptrace System Calls")),
};

const ESCAPE_TO_HOST: Technique =
    Technique { tactic: ESCALATION_TACTIC, technique: technique!("T1611", "Escape to Host"), subtechnique: None };

const RENAMED_UTILITY: Technique = Technique {
    tactic: STEALTH_TACTIC,
    technique: technique!("T1036", "Masquerading"),
    subtechnique: Some(technique!("T1036"."003", "Rename Legitimate Utilities")),
};

const PAM: Technique = Technique {
    tactic: PERSISTENCE_TACTIC,
    technique: technique!("T1556", "Modify Authentication Process"),
    subtechnique: Some(technique!("T1556"."003", "Pluggable Authentication Modules")),
};

const DISABLE_TOOLS: Technique = Technique {
    tactic: IMPAIRMENT_TACTIC,
    technique: technique!("T1685", "Disable or Modify Tools"),
    subtechnique: None,
};

/// A module comes into the kernel.
pub(super) const LOADING: &[Technique] = &[PERSISTENCE, ESCALATION];
/// It does so in a way that hides it or what it is.
pub(super) const HIDDEN_LOADING: &[Technique] = &[PERSISTENCE, ESCALATION, ROOTKIT];
/// It does so without a file.
pub(super) const FILELESS_LOADING: &[Technique] = &[PERSISTENCE, ESCALATION, ROOTKIT, REFLECTIVE_LOADING];
/// It does so by the hand of another process.
pub(super) const INJECTED_LOADING: &[Technique] = &[PERSISTENCE, ESCALATION, PTRACE];
/// It does so from a container.
pub(super) const CONTAINER_LOADING: &[Technique] = &[PERSISTENCE, ESCALATION, ESCAPE_TO_HOST];
/// A module leaves the kernel, perhaps to cover tracks.
pub(super) const UNLOADING: &[Technique] = &[ROOTKIT];
/// A module that guards the host leaves the kernel.
pub(super) const GUARD_UNLOADING: &[Technique] = &[DISABLE_TOOLS];
/// A module's file, or what says which modules are loaded.
pub(super) const INSTALLING: &[Technique] = &[PERSISTENCE];
/// A tool under another name.
pub(super) const DISGUISED_TOOL: &[Technique] = &[RENAMED_UTILITY];
/// What decides who may log in.
pub(super) const PAM_MODULE: &[Technique] = &[PAM];
/// What keeps modules that guard the host from being loaded.
pub(super) const GUARD_SETTINGS: &[Technique] = &[PERSISTENCE, DISABLE_TOOLS];
/// A module hides, or something hides by changing the kernel.
pub(super) const HIDING: &[Technique] = &[ROOTKIT, PERSISTENCE, ESCALATION];
/// What says that the kernel was changed is taken back.
pub(super) const TRACES_REMOVED: &[Technique] = &[ROOTKIT, DISABLE_TOOLS];
