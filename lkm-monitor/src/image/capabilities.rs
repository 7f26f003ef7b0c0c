//! What symbols of the kernel let their user do.
//!
//! Chosen against the 4,209 modules of four kernels of a distribution (5.10, 6.1, 6.12 and 7.x, built for clouds): of a capability that
//! `is_rare`, none of them imports a symbol, and none mentions one.

use crate::model::{Capability, SymbolOfInterest};

/// Handlers of single system calls, which `x64_sys_call` calls and a function hook names.
pub(super) const SYSCALL_PREFIXES: [(&[u8], SymbolOfInterest); 2] = [
    (b"__x64_sys_", SymbolOfInterest { symbol: "__x64_sys_*", capability: Capability::SyscallTable }),
    (b"__ia32_sys_", SymbolOfInterest { symbol: "__ia32_sys_*", capability: Capability::SyscallTable }),
];

pub(super) const SYMBOLS: &[(Capability, &[&str])] = &[
    (
        Capability::SymbolLookup,
        &[
            "kallsyms_lookup_name",
            "kallsyms_on_each_symbol",
            "kallsyms_on_each_match_symbol",
            "module_kallsyms_lookup_name",
            "module_kallsyms_on_each_symbol",
        ],
    ),
    (
        Capability::FunctionHook,
        &[
            "register_ftrace_function",
            "ftrace_set_filter",
            "ftrace_set_filter_ip",
            "ftrace_set_filter_ips",
            "register_ftrace_direct",
            "modify_ftrace_direct",
            "register_fprobe",
            "register_fprobe_ips",
            "register_fprobe_syms",
        ],
    ),
    (
        Capability::KernelProbe,
        &["register_kprobe", "register_kprobes", "register_kretprobe", "register_kretprobes", "register_jprobe"],
    ),
    (Capability::SyscallTracepoint, &["__tracepoint_sys_enter", "__tracepoint_sys_exit", "for_each_kernel_tracepoint"]),
    (
        Capability::SyscallTable,
        &["sys_call_table", "ia32_sys_call_table", "x32_sys_call_table", "x64_sys_call", "ia32_sys_call"],
    ),
    (
        Capability::PageProtection,
        &[
            "set_memory_rw",
            "set_memory_ro",
            "set_memory_x",
            "set_memory_nx",
            "set_memory_rox",
            "native_write_cr0",
            "native_write_cr4",
            "lookup_address",
            "text_poke",
            "text_poke_bp",
            "text_poke_kgdb",
            "change_page_attr_set_clr",
            "vmalloc_exec",
            "module_alloc",
            "execmem_alloc",
        ],
    ),
    (Capability::CredentialChange, &["commit_creds"]),
    (
        Capability::ModuleHiding,
        &[
            "module_mutex",
            "find_module",
            "kernfs_remove",
            "kernfs_remove_by_name",
            "kernfs_remove_by_name_ns",
            "module_kset",
        ],
    ),
    (
        Capability::ListingFilter,
        &[
            "filldir64",
            "compat_filldir",
            "tcp4_seq_show",
            "tcp6_seq_show",
            "udp4_seq_show",
            "udp6_seq_show",
            "packet_rcv",
            "tpacket_rcv",
        ],
    ),
    (Capability::ProcessMemory, &["access_process_vm", "access_remote_vm"]),
    (
        Capability::SecurityHook,
        &["security_add_hooks", "security_hook_heads", "register_security", "reset_security_ops"],
    ),
    (Capability::CredentialUse, &["prepare_kernel_cred", "prepare_creds", "override_creds"]),
    (Capability::KobjectRemoval, &["kobject_del"]),
    (Capability::UserProgram, &["call_usermodehelper", "call_usermodehelper_setup", "call_usermodehelper_exec"]),
    (
        Capability::PacketHook,
        &["nf_register_net_hook", "nf_register_net_hooks", "nf_register_hook", "nf_register_hooks"],
    ),
    (Capability::KeyboardCapture, &["register_keyboard_notifier"]),
];

/// The table, one by one.
pub(super) fn all() -> impl Iterator<Item = SymbolOfInterest> {
    let symbols = SYMBOLS.iter().flat_map(|(capability, symbols)| {
        symbols.iter().map(|symbol| SymbolOfInterest { symbol, capability: *capability })
    });
    symbols.chain(SYSCALL_PREFIXES.map(|(_, handlers)| handlers))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_symbol_is_there_twice() {
        let mut seen = HashSet::new();
        assert!(all().all(|found| seen.insert(found.symbol)));
    }
}
