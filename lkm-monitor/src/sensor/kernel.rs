//! What the host's kernel offers a sensor, as far as files tell.

use std::path::Path;

use serde::Serialize;

/// Facts for `doctor` and for the explanation when nothing can be attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelSupport {
    /// `uname -r`
    pub release: String,
    /// The kernel shows its type information.
    pub btf: bool,
    /// Modules can be loaded at all (CONFIG_MODULES).
    pub modules: bool,
    /// `kernel.modules_disabled`: no further module can be loaded until the next boot.
    pub modules_disabled: bool,
    /// `none`, `integrity` or `confidentiality`; absent on kernels without the lockdown module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockdown: Option<String>,
    /// The trace file system is there (needed by the syscall tracepoints).
    pub tracefs: bool,
    /// Running with the capabilities that tracing programs need, whoever the user is.
    pub privileged: bool,
}

impl KernelSupport {
    /// Looks at the host.
    pub fn read() -> Self {
        let uname = rustix::system::uname();
        Self {
            release: uname.release().to_string_lossy().into_owned(),
            btf: Path::new(super::btf::VMLINUX).exists(),
            modules: Path::new("/proc/modules").exists(),
            modules_disabled: read("/proc/sys/kernel/modules_disabled").is_some_and(|text| text.trim() == "1"),
            lockdown: read("/sys/kernel/security/lockdown").as_deref().and_then(active_lockdown),
            tracefs: ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"]
                .iter()
                .any(|path| Path::new(path).exists()),
            privileged: read("/proc/self/status").as_deref().and_then(effective_capabilities).is_some_and(may_trace),
        }
    }

    /// What to do about what is not as it should be, a sentence each.
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let mut add = |wanted: bool, text: &str| {
            if wanted {
                advice.push(text.to_owned());
            }
        };
        add(
            !self.privileged,
            "Run as root: loading tracing programs needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN before Linux 5.8.",
        );
        add(
            !self.btf,
            "This kernel shows no type information (/sys/kernel/btf/vmlinux). Use one built with CONFIG_DEBUG_INFO_BTF=y, Linux 5.10 or later.",
        );
        add(
            self.lockdown.as_deref() == Some("confidentiality"),
            "The kernel is locked down for confidentiality, which forbids programs that read kernel memory. Use lockdown=integrity to be watched.",
        );
        add(!self.modules, "This kernel was built without loadable modules: there is nothing to watch.");
        add(!self.tracefs, "Mount tracefs on /sys/kernel/tracing: the syscall tracepoints need it.");
        advice
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// `CapEff:` of a status file, a mask in hexadecimal.
fn effective_capabilities(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// include/uapi/linux/capability.h: CAP_SYS_ADMIN, or CAP_BPF and CAP_PERFMON.
const fn may_trace(capabilities: u64) -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    const BPF_AND_PERFMON: u64 = 1 << 39 | 1 << 38;
    capabilities & SYS_ADMIN != 0 || capabilities & BPF_AND_PERFMON == BPF_AND_PERFMON
}

/// The word in brackets: `none [integrity] confidentiality`.
fn active_lockdown(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_lockdown_is_in_brackets() {
        assert_eq!(active_lockdown("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(active_lockdown("garbage"), None);
    }

    #[test]
    fn capabilities_count_and_not_the_user() {
        let may = |mask: &str| effective_capabilities(&format!("Name:\tx\nCapEff:\t{mask}\n")).is_some_and(may_trace);
        assert!(may("000001ffffffffff") && may("0000000000200000") && may("000000c000000000"));
        assert!(!may("0000008000000000") && !may("0000000000000000") && !may("garbage"));
    }

    #[test]
    fn a_kernel_without_btf_gets_advice() {
        let support = KernelSupport {
            release: "4.19".to_owned(),
            btf: false,
            modules: true,
            modules_disabled: false,
            lockdown: None,
            tracefs: true,
            privileged: true,
        };
        assert_eq!(support.advice().len(), 1);
        assert!(support.advice()[0].contains("CONFIG_DEBUG_INFO_BTF"));
    }

    #[test]
    fn the_documentation_explains_each_advice() {
        let page = include_str!("../../../docs/troubleshooting.md");
        let quoted: Vec<_> = page.split('"').skip(1).step_by(2).collect();
        let worst = KernelSupport {
            release: "4.19".to_owned(),
            btf: false,
            modules: false,
            modules_disabled: true,
            lockdown: Some("confidentiality".to_owned()),
            tracefs: false,
            privileged: false,
        };
        let advice = worst.advice();
        assert_eq!(advice.len(), 5);
        for sentence in advice {
            assert!(quoted.iter().any(|start| sentence.starts_with(start)), "docs/troubleshooting.md: {sentence}");
        }
    }
}
