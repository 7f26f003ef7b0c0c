//! What the symbols of the kernel that a module wants let it do.

/// A symbol of the kernel that gives a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolOfInterest {
    pub symbol: &'static str,
    pub capability: Capability,
}

/// What a symbol lets its user do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// Find what the kernel does not export.
    SymbolLookup,
    /// Be called in the place of a function of the kernel.
    FunctionHook,
    /// Be called at an instruction of the kernel.
    KernelProbe,
    /// Be called at every system call, through its tracepoints.
    SyscallTracepoint,
    /// Exchange what a system call does.
    SyscallTable,
    /// Write what is read-only, or run what is data.
    PageProtection,
    /// Give a process other credentials.
    CredentialChange,
    /// Disappear from the list of modules and from sysfs.
    ModuleHiding,
    /// Leave files and connections out of what the kernel lists.
    ListingFilter,
    /// Read and write the memory of other processes.
    ProcessMemory,
    /// Have a say in what processes may do.
    SecurityHook,
    /// Act with other credentials for a while. Network file systems do.
    CredentialUse,
    /// Take objects out of sysfs. Many drivers do.
    KobjectRemoval,
    /// Run a program of user space. A few file systems and drivers do.
    UserProgram,
    /// See, change and drop packets. Firewalls and bridges do.
    PacketHook,
    /// See every key. A driver for screen readers does.
    KeyboardCapture,
}

impl Capability {
    /// The name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::SymbolLookup => "symbol-lookup",
            Self::FunctionHook => "function-hook",
            Self::KernelProbe => "kernel-probe",
            Self::SyscallTracepoint => "syscall-tracepoint",
            Self::SyscallTable => "syscall-table",
            Self::PageProtection => "page-protection",
            Self::CredentialChange => "credential-change",
            Self::ModuleHiding => "module-hiding",
            Self::ListingFilter => "listing-filter",
            Self::ProcessMemory => "process-memory",
            Self::SecurityHook => "security-hook",
            Self::CredentialUse => "credential-use",
            Self::KobjectRemoval => "kobject-removal",
            Self::UserProgram => "user-program",
            Self::PacketHook => "packet-hook",
            Self::KeyboardCapture => "keyboard-capture",
        }
    }

    /// Whether hardly a module of a distribution has it.
    pub fn is_rare(self) -> bool {
        match self {
            Self::SymbolLookup
            | Self::FunctionHook
            | Self::KernelProbe
            | Self::SyscallTracepoint
            | Self::SyscallTable
            | Self::PageProtection
            | Self::CredentialChange
            | Self::ModuleHiding
            | Self::ListingFilter
            | Self::ProcessMemory
            | Self::SecurityHook => true,
            Self::CredentialUse
            | Self::KobjectRemoval
            | Self::UserProgram
            | Self::PacketHook
            | Self::KeyboardCapture => false,
        }
    }
}
