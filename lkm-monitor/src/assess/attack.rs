//! The techniques of MITRE ATT&CK that the rules name, in the version that [`ATTACK_VERSION`] states.
//!
//! [`ATTACK_VERSION`]: crate::model::verdict::ATTACK_VERSION

use crate::model::Technique;

const fn kernel_modules(tactic_id: &'static str, tactic_name: &'static str) -> Technique {
    Technique {
        tactic_id,
        tactic_name,
        id: "T1547",
        name: "Boot or Logon Autostart Execution",
        subtechnique: Some(("T1547.006", "Kernel Modules and Extensions")),
    }
}

const PERSISTENCE: Technique = kernel_modules("TA0003", "Persistence");
const ESCALATION: Technique = kernel_modules("TA0004", "Privilege Escalation");

const ROOTKIT: Technique =
    Technique { tactic_id: "TA0005", tactic_name: "Stealth", id: "T1014", name: "Rootkit", subtechnique: None };

const REFLECTIVE_LOADING: Technique = Technique {
    tactic_id: "TA0005",
    tactic_name: "Stealth",
    id: "T1620",
    name: "Reflective Code Loading",
    subtechnique: None,
};

const PTRACE: Technique = Technique {
    tactic_id: "TA0005",
    tactic_name: "Stealth",
    id: "T1055",
    name: "Process Injection",
    subtechnique: Some(("T1055.008", "Ptrace System Calls")),
};

const ESCAPE_TO_HOST: Technique = Technique {
    tactic_id: "TA0004",
    tactic_name: "Privilege Escalation",
    id: "T1611",
    name: "Escape to Host",
    subtechnique: None,
};

const RENAMED_UTILITY: Technique = Technique {
    tactic_id: "TA0005",
    tactic_name: "Stealth",
    id: "T1036",
    name: "Masquerading",
    subtechnique: Some(("T1036.003", "Rename Legitimate Utilities")),
};

const PAM: Technique = Technique {
    tactic_id: "TA0003",
    tactic_name: "Persistence",
    id: "T1556",
    name: "Modify Authentication Process",
    subtechnique: Some(("T1556.003", "Pluggable Authentication Modules")),
};

const DISABLE_TOOLS: Technique = Technique {
    tactic_id: "TA0112",
    tactic_name: "Defense Impairment",
    id: "T1685",
    name: "Disable or Modify Tools",
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
