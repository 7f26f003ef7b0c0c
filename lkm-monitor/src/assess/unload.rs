//! Modules that leave the kernel.

use super::{Context, Detection, Match, attack, phrase::sentence};
use crate::model::{ModuleCall, Operation, Rule, Severity, taint};

pub(super) static DETECTIONS: &[Detection] = &[
    Detection {
        rule: Rule {
            code: 120,
            id: "unload",
            name: "Kernel module unloaded",
            description: "A module was removed from the kernel. That is rare on a running system; it may cover tracks.",
            version: 1,
            severity: Severity::Low,
            techniques: attack::UNLOADING,
        },
        matches: unloaded,
    },
    Detection {
        rule: Rule {
            code: 121,
            id: "forced-unload",
            name: "Kernel module unloaded by force",
            description: "The kernel was told to remove a module although it is in use or cannot be removed safely.",
            version: 1,
            severity: Severity::High,
            techniques: attack::UNLOADING,
        },
        matches: forced,
    },
    Detection {
        rule: Rule {
            code: 123,
            id: "security-module-unload",
            name: "Security kernel module unloaded",
            description: "A module of a security product was removed, or was to be removed, so that the product no longer sees \
                          or prevents what happens.",
            version: 1,
            severity: Severity::High,
            techniques: attack::GUARD_UNLOADING,
        },
        matches: security_module,
    },
];

/// Modules of security products: how their names begin.
const SECURITY_MODULES: [&str; 22] = [
    "falco",        // Falco
    "scap",         // Falco, sysdig
    "sysdig_probe", // sysdig
    "falcon_",      // CrowdStrike: falcon_lsm_*, falcon_kal, falcon_nf_netcontain
    "lkrg",         // Linux Kernel Runtime Guard
    "p_lkrg",       // its older name
    "tirdad",       // Kicksecure
    "bmhook",       // Trend Micro
    "tmhook",       // Trend Micro
    "bmnetfilter",  // Trend Micro
    "dsa_filter",   // Trend Micro Deep Security
    "gsch",         // Trend Micro Deep Security
    "mfe_",         // Trellix: mfe_aac_*, mfe_fileaccess_*
    "symev",        // Symantec
    "symap",        // Symantec
    "sisevt",       // Symantec Data Center Security
    "sisfim",       // Symantec Data Center Security
    "talpa_",       // Sophos
    "eset_",        // ESET: eset_rtp, eset_wap
    "cbsensor",     // Carbon Black
    "hids_driver",  // Elkeid
    "AliSec",       // Alibaba Cloud: AliSecGuard, AliSecProcFilter64
];

/// Whether a module of this name belongs to a security product.
pub(super) fn is_of_security(name: &[u8]) -> bool {
    SECURITY_MODULES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

fn unloaded(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let failed = call.succeeded() == Some(false);
    (!failed).then(|| Match { severity: Severity::Low, reason: sentence(call, context, "") })
}

fn forced(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    // delete_module(2): O_TRUNC means force.
    let flag = call.operation == Operation::DeleteModule && call.flags.unwrap_or_default() & libc::O_TRUNC as u32 != 0;
    let matches = flag || call.module.is_tainted(taint::FORCED_UNLOAD);
    matches.then(|| Match { severity: Severity::High, reason: sentence(call, context, " by force") })
}

fn security_module(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let (name, _) = call.best_name()?;
    let guards = is_of_security(&name);
    let was_there = call.errno() != Some(libc::ENOENT);
    (guards && was_there).then(|| Match { severity: Severity::High, reason: sentence(call, context, "") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::samples::{finding, findings, refused, unload},
        model::{Bytes, ModuleFacts},
    };

    fn of(name: &str) -> ModuleCall {
        ModuleCall { requested_name: Some(Bytes::whole(name)), module: ModuleFacts::default(), ..unload() }
    }

    #[test]
    fn unload_matches() {
        let (severity, reason) = finding(&unload(), 120).unwrap();
        assert_eq!(severity, Severity::Low);
        assert_eq!(reason, "module foo was unloaded by /usr/bin/kmod run by root (login user alice)");
        let unseen = ModuleCall { outcome: None, freed: false, ..unload() };
        assert!(finding(&unseen, 120).unwrap().1.ends_with("; how that ended was not seen"));
    }

    #[test]
    fn failed_unload_is_telemetry() {
        assert_eq!(findings(&refused(unload(), libc::EAGAIN)), []);
    }

    #[test]
    fn force_matches_even_when_refused() {
        let flags = Some((libc::O_TRUNC | libc::O_NONBLOCK) as u32);
        assert_eq!(finding(&ModuleCall { flags, ..unload() }, 121).unwrap().0, Severity::High);
        assert!(finding(&refused(ModuleCall { flags, ..unload() }, libc::EAGAIN), 121).is_some());
        let module = ModuleFacts { taints: Some(taint::FORCED_UNLOAD), ..ModuleFacts::default() };
        assert!(finding(&ModuleCall { module, ..unload() }, 121).is_some());
        assert!(finding(&ModuleCall { flags: Some(libc::O_NONBLOCK as u32), ..unload() }, 121).is_none());
    }

    #[test]
    fn security_modules_match_by_name() {
        for name in ["falcon_lsm_serviceable", "falco", "lkrg", "mfe_aac_100712"] {
            assert_eq!(finding(&of(name), 123).unwrap().0, Severity::High, "{name}");
        }
        assert!(finding(&refused(of("falco"), libc::EWOULDBLOCK), 123).is_some());
        assert!(finding(&refused(of("falco"), libc::ENOENT), 123).is_none());
        assert!(finding(&of("dummy"), 123).is_none());
    }
}
