//! What the kernel demands of modules' signatures.

use std::{path::Path, sync::Arc};

use crate::{
    inspect::regular,
    model::{KernelConfig, KernelPolicy},
};

/// `module.sig_enforce` (kernel/module/signing.c).
const SIG_ENFORCE: &str = "/sys/module/module/parameters/sig_enforce";
/// What is in force stands in brackets: `none [integrity] confidentiality` (security/lockdown/lockdown.c).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const MAX_BYTES: u64 = 256;

/// As it is now: it can be made stricter while the kernel runs.
pub(super) fn read(config: Option<Arc<KernelConfig>>) -> KernelPolicy {
    let text = |path: &str| regular::read(Path::new(path), MAX_BYTES).ok();
    KernelPolicy {
        enforces_signatures: text(SIG_ENFORCE).as_deref().and_then(enforces),
        lockdown: text(LOCKDOWN).as_deref().and_then(lockdown),
        config,
    }
}

fn enforces(text: &[u8]) -> Option<bool> {
    match text.trim_ascii() {
        b"Y" | b"1" => Some(true),
        b"N" | b"0" => Some(false),
        _ => None,
    }
}

fn lockdown(text: &[u8]) -> Option<&'static str> {
    let text = str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once('[')?;
    let (current, _) = rest.split_once(']')?;
    ["none", "integrity", "confidentiality"].into_iter().find(|name| *name == current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_read() {
        assert_eq!([&b"Y\n"[..], b"N\n", b"?"].map(enforces), [Some(true), Some(false), None]);
        assert_eq!(lockdown(b"none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(lockdown(b"[none] integrity confidentiality\n"), Some("none"));
        assert_eq!(lockdown(b"[else]"), None);
    }
}
