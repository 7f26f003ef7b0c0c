//! Which modules the kernel has, seen from several sides, and what in the kernel leads to code that nobody answers for.

use std::fmt;

/// A way to see which modules are loaded. Who hides a module takes it out of some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// /proc/modules, read with large reads.
    ProcModules,
    /// /proc/modules, read with many small reads: a filter that lies over the file often gives another answer.
    ProcModulesInPieces,
    /// Folders of /sys/module that are loaded modules.
    SysModule,
    /// Areas of memory in /proc/vmallocinfo, in which a module's code must lie.
    Vmallocinfo,
    /// Modules whose symbols /proc/kallsyms shows. One may have none, so only what is there is evidence.
    Kallsyms,
    /// The list `modules` in kernel memory, of which /proc/modules is made.
    List,
    /// The tree `mod_tree` in kernel memory, by which the kernel finds the module that an address belongs to.
    AddressTree,
    /// The members of `module_kset` in kernel memory, of which /sys/module is made.
    Kset,
    /// What lies in the memory that modules are loaded to, by the page tables.
    Memory,
    /// What the daemon saw loaded and not unloaded.
    History,
}

impl View {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 10] = [
        Self::ProcModules,
        Self::ProcModulesInPieces,
        Self::SysModule,
        Self::Vmallocinfo,
        Self::Kallsyms,
        Self::List,
        Self::AddressTree,
        Self::Kset,
        Self::Memory,
        Self::History,
    ];

    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProcModules => "proc-modules",
            Self::ProcModulesInPieces => "proc-modules-in-pieces",
            Self::SysModule => "sys-module",
            Self::Vmallocinfo => "vmallocinfo",
            Self::Kallsyms => "kallsyms",
            Self::List => "kernel-list",
            Self::AddressTree => "address-tree",
            Self::Kset => "kernel-kset",
            Self::Memory => "module-memory",
            Self::History => "history",
        }
    }

    /// In sentences, behind "in".
    pub const fn place(self) -> &'static str {
        match self {
            Self::ProcModules => "/proc/modules",
            Self::ProcModulesInPieces => "/proc/modules read in pieces",
            Self::SysModule => "/sys/module",
            Self::Vmallocinfo => "/proc/vmallocinfo",
            Self::Kallsyms => "/proc/kallsyms",
            Self::List => "the kernel's list of modules",
            Self::AddressTree => "the kernel's tree of module addresses",
            Self::Kset => "the kernel's set behind /sys/module",
            Self::Memory => "the memory of modules",
            Self::History => "the history of loads and unloads",
        }
    }
}

/// Something that is looked at beside the views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The tables of system calls.
    SystemCalls,
    /// What ftrace calls, by its list in kernel memory.
    Ftrace,
    /// What ftrace calls, by tracefs.
    Tracefs,
    /// What kprobes and kretprobes call.
    Kprobes,
    /// The kernel's taints beside those of its modules, and beside what they were.
    Taint,
}

impl Check {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 5] = [Self::SystemCalls, Self::Ftrace, Self::Tracefs, Self::Kprobes, Self::Taint];

    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SystemCalls => "system-calls",
            Self::Ftrace => "ftrace",
            Self::Tracefs => "tracefs",
            Self::Kprobes => "kprobes",
            Self::Taint => "taint",
        }
    }

    /// For people: what is counted.
    pub const fn place(self) -> &'static str {
        match self {
            Self::SystemCalls => "entries of the tables of system calls",
            Self::Ftrace => "hooks of ftrace",
            Self::Tracefs => "functions that tracefs shows hooked by ftrace",
            Self::Kprobes => "kprobes and kretprobes",
            Self::Taint => "modules that carry a taint, as the kernel then must",
        }
    }
}

/// How well something could be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of it: this many modules, entries or hooks.
    Whole { count: usize },
    /// All of it, and beside it something that has no place there. What that is is a clause. What is not there is evidence all the same.
    Odd { count: usize, why: String },
    /// This many and there may be more. The reason is a clause. What is not there is no evidence.
    Incomplete { count: usize, why: String },
    /// Not at all. The reason is a clause.
    Unavailable { why: String },
}

impl Sight {
    /// The name in documents.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Whole { .. } | Self::Odd { .. } => "whole",
            Self::Incomplete { .. } => "incomplete",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// What was seen, zero where nothing could be looked at.
    pub const fn count(&self) -> usize {
        match self {
            Self::Whole { count } | Self::Odd { count, .. } | Self::Incomplete { count, .. } => *count,
            Self::Unavailable { .. } => 0,
        }
    }

    /// Whether all of it was seen, so that what is not there is missing.
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Whole { .. } | Self::Odd { .. })
    }

    /// Why it is not whole, or what beside it has no place there.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Whole { .. } => None,
            Self::Odd { why, .. } | Self::Incomplete { why, .. } | Self::Unavailable { why } => Some(why),
        }
    }
}

/// `enum module_state` of include/linux/module.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModuleState {
    Live,
    /// Its init function runs.
    Coming,
    /// Its exit function runs.
    Going,
    /// It is being set up or taken down. The kernel's own files leave such a one out.
    Unformed,
}

impl ModuleState {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Coming => "coming",
            Self::Going => "going",
            Self::Unformed => "unformed",
        }
    }
}

/// A module that is in some views and not in others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenModule {
    /// As it calls itself, made [`super::text::text`]; empty where it has no name.
    pub name: String,
    /// Where its `struct module` is; `None` where no view of kernel memory has it.
    pub address: Option<u64>,
    /// Its memory, text first, as addresses with bytes; empty where that is not known.
    pub memory: Vec<Extent>,
    pub state: Option<ModuleState>,
    /// Its own taints, see [`super::taint`].
    pub taints: Option<u64>,
    /// When the daemon saw it loaded, in nanoseconds since boot.
    pub loaded_boot_ns: Option<u64>,
    pub seen_in: Vec<View>,
    /// Views that could be looked at whole, and do not have it.
    pub missing_from: Vec<View>,
}

/// A piece of kernel memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    pub address: u64,
    pub bytes: u64,
}

impl Extent {
    /// Whether `address` is in it. Extents come from kernel memory and may claim to go beyond its end.
    pub const fn contains(&self, address: u64) -> bool {
        address >= self.address && address - self.address < self.bytes
    }
}

/// Where something in the kernel leads: neither to the kernel's text nor to a module that all views have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub address: u64,
    /// The module whose memory it is in, if it is in that of any.
    pub module: Option<String>,
    /// Whether this module is missing from a view.
    pub hidden: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.module, self.hidden) {
            (Some(module), true) => write!(f, "{:#x} in the hidden module `{module}`", self.address),
            (Some(module), false) => write!(f, "{:#x} in the module `{module}`", self.address),
            (None, _) => write!(f, "{:#x}, which is neither the kernel's nor any module's", self.address),
        }
    }
}

/// A table of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SystemCallTable {
    /// `sys_call_table`: 64-bit programs.
    X64,
    /// `ia32_sys_call_table`: 32-bit programs.
    Ia32,
    /// `x32_sys_call_table`: programs with 32-bit pointers on 64-bit registers.
    X32,
}

impl SystemCallTable {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X64 => "x64",
            Self::Ia32 => "ia32",
            Self::X32 => "x32",
        }
    }

    /// The kernel's name of the table.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::X64 => "sys_call_table",
            Self::Ia32 => "ia32_sys_call_table",
            Self::X32 => "x32_sys_call_table",
        }
    }
}

/// An entry of a system call table that leads out of the kernel's text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemCallEntry {
    pub table: SystemCallTable,
    pub number: u32,
    /// Here a module that all views have is evidence as well: nobody but the kernel has a place in these tables.
    pub target: Place,
}

/// The kernel's ways to call others when a function of its own is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookKind {
    Ftrace,
    Kprobe,
    Kretprobe,
}

impl HookKind {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ftrace => "ftrace",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
        }
    }
}

/// A hook that calls what neither the kernel nor a module that all views have answers for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelHook {
    pub kind: HookKind,
    /// Where the hook's own record is (`struct ftrace_ops`, `struct kprobe`); `None` where a file shows the hook, and not the record.
    pub record: Option<u64>,
    /// The function that is hooked, `None` for ftrace, where one record hooks many.
    pub site: Option<Site>,
    pub target: Place,
}

/// A hooked place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    pub address: u64,
    /// As `function+0x1f`, where the kernel's symbols say so.
    pub symbol: Option<String>,
}

/// Taints that the kernel's mask must have and has not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaintCleared {
    /// The missing bits, see [`super::taint`].
    pub bits: u64,
    /// The kernel's mask (`tainted_mask`, or /proc/sys/kernel/tainted where memory cannot be read).
    pub mask: u64,
    /// Modules that carry such a taint: the kernel sets both at once.
    pub modules: Vec<String>,
    /// Those of `bits` that the mask had in this boot, at an earlier look or when a module with them was seen loaded.
    pub had: u64,
}

/// Two ways to read /proc/modules that give different answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadingsDiffer {
    /// Modules that only large reads show.
    pub only_whole: Vec<String>,
    /// Modules that only small reads show.
    pub only_pieces: Vec<String>,
}

/// Something that must not be in a kernel that nobody meddled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelFinding {
    Hidden(HiddenModule),
    SystemCall(SystemCallEntry),
    Hook(KernelHook),
    TaintCleared(TaintCleared),
    ReadingsDiffer(ReadingsDiffer),
}

impl KernelFinding {
    /// Each [kind](Self::kind) there is.
    pub const KINDS: [&'static str; 5] = ["hidden-module", "system-call", "hook", "taint-cleared", "readings-differ"];

    /// The kind, as commands and counters name it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hidden(_) => "hidden-module",
            Self::SystemCall(_) => "system-call",
            Self::Hook(_) => "hook",
            Self::TaintCleared(_) => "taint-cleared",
            Self::ReadingsDiffer(_) => "readings-differ",
        }
    }
}

/// One look at the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLook {
    /// Nanoseconds since boot at its beginning.
    pub boot_ns: u64,
    /// What it cost: processor time of its thread, and time from beginning to end, in nanoseconds.
    pub cpu_ns: u64,
    pub elapsed_ns: u64,
    /// Pages of code in the room for modules that no module calls its own, where page tables could be read. The kernel puts BPF programs,
    /// trampolines and probes there.
    pub others_code: Option<usize>,
    /// Modules came and went each time that the kernel was gone over: what was found may be a race.
    pub moved: bool,
    /// One of each [`View`], in their order. What is read once an hour is told as it was then, and so of [`Check`]s.
    pub views: Vec<(View, Sight)>,
    /// One of each [`Check`], in their order.
    pub checks: Vec<(Check, Sight)>,
    /// What was found, by this look alone.
    pub findings: Vec<KernelFinding>,
    /// Findings beyond those that are kept.
    pub more_findings: usize,
}

impl KernelLook {
    /// Whether the kernel's own memory could be looked at.
    pub fn sees_memory(&self) -> bool {
        let of_memory = [View::List, View::AddressTree, View::Kset, View::Memory];
        self.views.iter().any(|(view, sight)| of_memory.contains(view) && !matches!(sight, Sight::Unavailable { .. }))
    }

    /// Whether what this view does not show is not there.
    pub fn is_whole(&self, view: View) -> bool {
        self.views.iter().any(|(seen, sight)| *seen == view && sight.is_whole())
    }

    /// Whether what this check does not find is not there.
    pub fn has_checked(&self, check: Check) -> bool {
        self.checks.iter().any(|(made, sight)| *made == check && sight.is_whole())
    }
}

/// What the daemon knows of loads and unloads, for [`View::History`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleHistory {
    /// Modules that were seen loaded and not unloaded: their names, and when they were loaded, in nanoseconds since boot.
    pub loaded: Vec<(String, u64)>,
    /// All taints that any load brought, see [`super::taint`]: the kernel has them until it ends.
    pub taints: u64,
    /// Why some unloads may have been missed, a clause: the history then is no evidence.
    pub gap: Option<String>,
    /// Nobody keeps one, the reason is a clause.
    pub unavailable: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_ends_before_its_end_and_cannot_wrap() {
        let extent = Extent { address: 0x1000, bytes: 0x10 };
        assert_eq!([0xfff, 0x1000, 0x100f, 0x1010].map(|address| extent.contains(address)), [false, true, true, false]);
        let last = Extent { address: u64::MAX - 1, bytes: u64::MAX };
        assert_eq!([0, u64::MAX].map(|address| last.contains(address)), [false, true]);
    }

    #[test]
    fn every_kind_is_among_the_kinds() {
        use crate::model::samples;
        let cleared = TaintCleared { bits: 1, mask: 0, modules: Vec::new(), had: 1 };
        let differ = ReadingsDiffer { only_whole: Vec::new(), only_pieces: Vec::new() };
        let findings = [
            KernelFinding::Hidden(samples::hidden_module()),
            KernelFinding::SystemCall(samples::changed_entry()),
            KernelFinding::Hook(samples::foreign_hook()),
            KernelFinding::TaintCleared(cleared),
            KernelFinding::ReadingsDiffer(differ),
        ];
        assert_eq!(findings.map(|finding| finding.kind()), KernelFinding::KINDS);
    }

    #[test]
    fn views_and_checks_are_told_in_their_order() {
        assert!(View::ALL.is_sorted() && Check::ALL.is_sorted());
    }
}
