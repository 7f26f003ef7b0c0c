//! Loads that the kernel asked for.

use super::{Context, Detection, Match, attack, phrase};
use crate::model::{ModuleCall, Process, Rule, Severity, text::brief};

pub(super) static DETECTIONS: &[Detection] = &[Detection {
    rule: Rule {
        code: 130,
        id: "autoload-by-unprivileged",
        name: "Kernel module autoloaded for an unprivileged process",
        description: "A process without privileges made the kernel load a module, for example by opening a socket of a rare \
                      protocol. Exploits reach old, unmaintained modules this way.",
        version: 1,
        severity: Severity::Low,
        techniques: attack::LOADING,
    },
    matches: for_unprivileged,
}];

/// include/uapi/linux/capability.h.
const CAP_SYS_MODULE: u64 = 1 << 16;

fn for_unprivileged(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let request = call.request.as_ref()?;
    let process = &request.process.caller;
    if !is_unprivileged(process, context) {
        return None;
    }
    let asking = phrase::process(process, context);
    let among = match call.request_candidates {
        0 | 1 => String::new(),
        several => format!(", as {} others did,", several - 1),
    };
    let name = brief(&request.name.bytes);
    let detail = format!(" for {asking}, which asked for {name}{among} and may not load modules itself,");
    let reason = phrase::sentence(call, context, &detail);
    Some(Match { severity: Severity::Low, reason })
}

/// Capabilities count in the initial user namespace only: anybody may have all of them in a namespace of their own.
fn is_unprivileged(process: &Process, context: &Context<'_>) -> bool {
    let namespace = context.host.initial_namespaces.user;
    let capable =
        process.capabilities & CAP_SYS_MODULE != 0 && (namespace == 0 || process.namespaces.user == namespace);
    process.ids.is_some_and(|ids| ids.euid != 0) && !capable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::samples::{finding, load, path, tree},
        model::{Bytes, Ids, ModuleRequest, ProcessTree},
    };

    fn asked_for_by(change: impl FnOnce(&mut Process)) -> ModuleCall {
        let mut process = tree();
        process.caller.executable = Some(path("/home/alice/exploit"));
        process.caller.ids = Some(Ids { uid: 1000, euid: 1000, ..Ids::default() });
        process.caller.capabilities = 0;
        change(&mut process.caller);
        let request = ModuleRequest { name: Bytes::whole("net-pf-21"), wait: true, boot_ns: 1, cpu: 0, process };
        let kernel_modprobe = ProcessTree { caller: Process { login_uid: None, ..tree().caller }, ..tree() };
        ModuleCall { request: Some(request), process: Some(kernel_modprobe), ..load() }
    }

    #[test]
    fn unprivileged_request_matches() {
        let (severity, reason) = finding(&asked_for_by(|_| ()), 130).unwrap();
        assert_eq!(severity, Severity::Low);
        assert_eq!(
            reason,
            "module foo was loaded for /home/alice/exploit run by alice, which asked for net-pf-21 and may not load modules \
             itself, by /usr/bin/kmod run by root"
        );
    }

    #[test]
    fn capabilities_in_a_namespace_of_ones_own_are_no_privilege() {
        let asked = asked_for_by(|process| {
            process.capabilities = u64::MAX;
            process.namespaces.user = 4_026_532_999;
        });
        assert!(finding(&asked, 130).is_some());
    }

    #[test]
    fn privileged_or_unknown_requests_do_not_match() {
        assert!(finding(&asked_for_by(|process| process.ids = Some(Ids::default())), 130).is_none());
        assert!(finding(&asked_for_by(|process| process.capabilities = CAP_SYS_MODULE), 130).is_none());
        assert!(finding(&asked_for_by(|process| process.ids = None), 130).is_none());
        assert!(finding(&load(), 130).is_none());
    }
}
