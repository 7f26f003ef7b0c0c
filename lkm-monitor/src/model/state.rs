//! What the sensor is able to see.

use super::Clock;

/// The sensor when it starts or stops, and when what it sees changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorState {
    pub change: SensorChange,
    /// Nanoseconds since boot.
    pub boot_ns: u64,
    pub coverage: Coverage,
    pub syscall_hooks: SyscallHooks,
    pub probes: Vec<ProbeState>,
    /// What is not seen: one sentence each.
    pub blind: Vec<String>,
    /// The hooks that do not report, among those that should.
    pub blind_hooks: Vec<BlindHook>,
    /// Hooks whose links were lost, and that may have been attached again.
    pub lost_hooks: Vec<LostHook>,
    /// What somebody did to what the sensor keeps in the kernel, and not by a call of bpf(2): one sentence each.
    pub tampering: Vec<String>,
    /// Totals since the start, by name; empty when the sensor starts.
    pub counters: Vec<(&'static str, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SensorChange {
    Started,
    Stopped,
    /// Something turned hooks off that were attached.
    Blinded,
    /// They are on again.
    Restored,
    /// Links were closed or replaced behind the daemon's back.
    Detached,
    /// What the sensor keeps in the kernel was changed behind the daemon's back.
    TamperedWith,
}

impl SensorChange {
    /// `event.action`.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Started => "sensor-started",
            Self::Stopped => "sensor-stopped",
            Self::Blinded => "sensor-blinded",
            Self::Restored => "sensor-restored",
            Self::Detached => "sensor-hooks-lost",
            Self::TamperedWith => "sensor-tampered-with",
        }
    }
}

/// A hook that does not report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlindHook {
    /// The function or event.
    pub hook: String,
    /// The program's name.
    pub probe: String,
    /// What is not seen without it.
    pub not_seen: String,
    /// Why.
    pub cause: String,
    /// Nanoseconds since boot from which on it is known to be so.
    pub since_boot_ns: u64,
}

/// A hook whose link was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostHook {
    pub hook: String,
    pub probe: String,
    pub not_seen: String,
    /// Nanoseconds since boot at which it was there the last time.
    pub seen_boot_ns: u64,
    /// Why it could not be attached again; `None` when it is.
    pub error: Option<String>,
}

/// The daemon ends before it watches anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotStarted {
    /// Nanoseconds since boot.
    pub boot_ns: u64,
    /// What hinders it, in one sentence.
    pub reason: String,
}

/// A step of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    pub before: Clock,
    pub after: Clock,
    /// Nanoseconds since boot at which it was noticed.
    pub boot_ns: u64,
}

/// Whether everything that the daemon can see is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    Full,
    Partial,
}

impl Coverage {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
        }
    }
}

/// How module system calls are hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyscallHooks {
    /// Trampolines on the system call functions: no cost to other calls.
    Fentry,
    /// The `syscalls:*` tracepoints: 32-bit callers are not seen.
    Tracepoint,
    None,
}

impl SyscallHooks {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
            Self::None => "none",
        }
    }
}

/// One probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeState {
    /// The program's name.
    pub name: String,
    /// The function or tracepoint that it hangs on.
    pub hook: String,
    /// `fentry`, `fexit`, `tp_btf`, `tracepoint`, ...
    pub kind: String,
    pub attached: bool,
    /// Why it is not attached.
    pub error: Option<String>,
}
