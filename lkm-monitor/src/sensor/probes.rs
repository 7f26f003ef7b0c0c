//! The table of probes: which hook each one needs, what stands in for it, and what is not seen without it.

use crate::config::SyscallHooks;

/// A place in the kernel that a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// BPF trampoline before a kernel function.
    Fentry(&'static str),
    /// The same before a function that has another name on newer kernels.
    FentryEither(&'static str, &'static str),
    /// BPF trampoline behind a kernel function.
    Fexit(&'static str),
    /// Raw tracepoint with typed arguments.
    BtfTracepoint(&'static str),
    /// Trace event, `category` and name.
    Tracepoint(&'static str, &'static str),
    /// None: the daemon runs the program itself.
    Run,
}

impl Hook {
    /// The kind of hook, as documents and `doctor` name it.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Fentry(_) | Self::FentryEither(..) => "fentry",
            Self::Fexit(_) => "fexit",
            Self::BtfTracepoint(_) => "tp_btf",
            Self::Tracepoint(..) => "tracepoint",
            Self::Run => "run",
        }
    }

    /// The function or event.
    pub fn target(self) -> String {
        match self {
            Self::Fentry(name) | Self::Fexit(name) | Self::BtfTracepoint(name) => name.to_owned(),
            Self::FentryEither(name, newer) => format!("{name} or {newer}"),
            Self::Run => "the daemon".to_owned(),
            Self::Tracepoint(category, name) => format!("{category}:{name}"),
        }
    }
}

/// When a probe is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Always.
    Core,
    /// Always, on kernels that have the function.
    WhereThere,
    /// Where the kernel tells programs the type of the current task, from 5.11 on.
    TypedTask,
    /// Where it does not.
    UntypedTask,
    /// Where `struct module` holds the parameters until init has run.
    HeldParameters,
    /// Where it does not: 7.3, for one.
    PassedParameters,
    /// System calls through trampolines: 64-bit callers.
    Fentry,
    /// System calls through trampolines: 32-bit callers, on kernels that serve them.
    FentryCompat,
    /// System calls through trace events, the fallback.
    Tracepoint,
}

/// One program of the eBPF object.
#[derive(Debug)]
pub struct Probe {
    /// Its name in the object.
    pub program: &'static str,
    pub hook: Hook,
    pub set: Set,
    /// The first kernel that offers the hook to this kind of program.
    pub minimum_kernel: &'static str,
    /// What takes its place.
    pub fallback: &'static str,
    /// What is not seen without it.
    pub lost: &'static str,
}

const ENTER_LOST: &str = "arguments and process of the call before it is decided";
const EXIT_LOST: &str = "the return value: whether a call succeeded, and why it failed";
const PARAMETERS_LOST: &str = "module parameters as the kernel took them";
const COMPAT_LOST: &str = "calls by 32-bit programs";

macro_rules! syscall {
    ($enter:literal, $exit:literal, $function:literal, $set:ident, $enter_lost:expr, $exit_lost:expr) => {
        [
            Probe {
                program: $enter,
                hook: Hook::Fentry($function),
                set: Set::$set,
                minimum_kernel: "5.5",
                fallback: "the syscall tracepoints (64-bit callers only)",
                lost: $enter_lost,
            },
            Probe {
                program: $exit,
                hook: Hook::Fexit($function),
                set: Set::$set,
                minimum_kernel: "5.5",
                fallback: "the syscall tracepoints (64-bit callers only)",
                lost: $exit_lost,
            },
        ]
    };
}

macro_rules! trace_event {
    ($program:literal, $lost:expr) => {
        Probe {
            program: $program,
            hook: Hook::Tracepoint("syscalls", $program),
            set: Set::Tracepoint,
            minimum_kernel: "4.7",
            fallback: "none",
            lost: $lost,
        }
    };
}

const CORE: [Probe; 10] = [
    Probe {
        program: "sched_process_exec",
        hook: Hook::BtfTracepoint("sched_process_exec"),
        set: Set::Core,
        minimum_kernel: "5.5",
        fallback: "/proc/PID/cmdline, read when the daemon starts",
        lost: "command lines of parents that are gone, and of processes that overwrote theirs",
    },
    Probe {
        program: "sched_process_fork",
        hook: Hook::BtfTracepoint("sched_process_fork"),
        set: Set::Core,
        minimum_kernel: "5.5",
        fallback: "the command line of a parent with the same executable",
        lost: "what a process that was never executed is a fork of",
    },
    Probe {
        program: "sched_process_exit",
        hook: Hook::BtfTracepoint("sched_process_exit"),
        set: Set::Core,
        minimum_kernel: "5.5",
        fallback: "the oldest command lines make room",
        lost: "command lines of long-lived parents on hosts that run many programs",
    },
    Probe {
        program: "security_kernel_post_read_file",
        hook: Hook::Fentry("security_kernel_post_read_file"),
        set: Set::Core,
        minimum_kernel: "5.5",
        fallback: "the file behind the caller's descriptor at the enter",
        lost: "a file exchanged between the call and the kernel's reading of it",
    },
    Probe {
        program: "security_kernel_post_load_data",
        hook: Hook::Fentry("security_kernel_post_load_data"),
        set: Set::Core,
        minimum_kernel: "5.10",
        fallback: "the length that the caller gave",
        lost: "whether the kernel read an image from memory",
    },
    Probe {
        program: "module_coming",
        hook: Hook::Fentry("blocking_notifier_call_chain_robust"),
        set: Set::HeldParameters,
        minimum_kernel: "5.10",
        fallback: "the caller's memory at the enter",
        lost: PARAMETERS_LOST,
    },
    Probe {
        program: "parse_args",
        hook: Hook::Fentry("parse_args"),
        set: Set::PassedParameters,
        minimum_kernel: "6.6",
        fallback: "the caller's memory at the enter",
        lost: PARAMETERS_LOST,
    },
    Probe {
        program: "module_load",
        hook: Hook::BtfTracepoint("module_load"),
        set: Set::Core,
        minimum_kernel: "5.5",
        fallback: "the return value of the call",
        lost: "the kernel's word on a load: name, taints, version, and whether init ran",
    },
    Probe {
        program: "module_free",
        hook: Hook::BtfTracepoint("module_free"),
        set: Set::Core,
        minimum_kernel: "5.5",
        fallback: "the return value of the call",
        lost: "the kernel's word on an unload",
    },
    Probe {
        program: "module_request",
        hook: Hook::BtfTracepoint("module_request"),
        set: Set::Core,
        minimum_kernel: "5.5",
        fallback: "none",
        lost: "which process made the kernel load a module by itself",
    },
];

const fn file_probe(program: &'static str, hook: Hook, lost: &'static str) -> Probe {
    Probe { program, hook, set: Set::Core, minimum_kernel: "5.10", fallback: "none", lost }
}

const OPENS_LOST: &str = "module files and module configuration that are created or written";
const HANDED_OUT_LOST: &str = "watched files that are written through descriptors of fanotify and by kernel servers";
const LINKS_LOST: &str = "hard links to module files and module configuration";
const SYMLINKS_LOST: &str = "symbolic links in the place of module files and module configuration";
const MOUNTS_LOST: &str = "what is mounted over module configuration";

const WRITE_ACCESS: Hook = Hook::FentryEither("__mnt_want_write", "mnt_get_write_access");

const FILES: [Probe; 23] = [
    Probe { set: Set::TypedTask, ..file_probe("write_access", WRITE_ACCESS, OPENS_LOST) },
    Probe { set: Set::UntypedTask, ..file_probe("write_access_5_10", WRITE_ACCESS, OPENS_LOST) },
    file_probe(
        "finish_open",
        Hook::Fexit("finish_open"),
        "files that are created or written on FUSE and network file systems",
    ),
    file_probe(
        "security_inode_create",
        Hook::Fentry("security_inode_create"),
        "module files and module configuration that are created by an open for reading",
    ),
    file_probe("dentry_open", Hook::Fexit("dentry_open"), HANDED_OUT_LOST),
    Probe {
        set: Set::WhereThere,
        minimum_kernel: "6.14",
        ..file_probe("dentry_open_nonotify", Hook::Fexit("dentry_open_nonotify"), HANDED_OUT_LOST)
    },
    file_probe("closed_files", Hook::Run, "when a written file was closed"),
    file_probe("d_move", Hook::Fentry("d_move"), "renames of module files and module configuration"),
    file_probe("d_exchange", Hook::Fentry("d_exchange"), "exchanges of module files and module configuration"),
    file_probe("d_delete", Hook::Fentry("d_delete"), "removals of module files and module configuration"),
    file_probe("security_path_link", Hook::Fentry("security_path_link"), LINKS_LOST),
    file_probe("vfs_link", Hook::Fexit("vfs_link"), LINKS_LOST),
    file_probe("security_path_symlink", Hook::Fentry("security_path_symlink"), SYMLINKS_LOST),
    file_probe("vfs_symlink", Hook::Fexit("vfs_symlink"), SYMLINKS_LOST),
    file_probe("vfs_create", Hook::Fexit("vfs_create"), "module files that mknod makes"),
    file_probe(
        "vfs_mknod",
        Hook::Fexit("vfs_mknod"),
        "special files in the place of module files and module configuration",
    ),
    file_probe("chmod_common", Hook::Fexit("chmod_common"), "changes of the mode of watched files"),
    file_probe("chown_common", Hook::Fexit("chown_common"), "changes of the owner of watched files"),
    file_probe("vfs_utimes", Hook::Fexit("vfs_utimes"), "changes of the times of watched files"),
    file_probe("vfs_truncate", Hook::Fexit("vfs_truncate"), "watched files that are cut by their name"),
    file_probe("do_truncate", Hook::Fexit("do_truncate"), "watched files that are cut by an open for reading"),
    file_probe("path_mount", Hook::Fexit("path_mount"), MOUNTS_LOST),
    file_probe("security_move_mount", Hook::Fentry("security_move_mount"), MOUNTS_LOST),
];

const OBJECTS_LOST: &str = "other processes at the sensor's own programs, maps and links";
const USED_LOST: &str = "programs of others that use the sensor's maps";
const OUTCOME_LOST: &str = "whether the kernel let other processes do so, and objects that they opened by a path";
const TAKEN_LOST: &str = "descriptors that other processes take from the daemon";

const fn object_probe(program: &'static str, set: Set, hook: Hook, lost: &'static str) -> Probe {
    let fallback = "a look at every link, each five seconds";
    Probe { program, hook, set, minimum_kernel: "5.5", fallback, lost }
}

const OBJECTS: [Probe; 9] = [
    Probe { fallback: "none", ..object_probe("ring_fill", Set::Core, Hook::Run, "how full the rings are") },
    object_probe("own_object", Set::Core, Hook::Run, OBJECTS_LOST),
    object_probe("bpf_returns_seen", Set::Core, Hook::Run, OUTCOME_LOST),
    object_probe("security_bpf", Set::Core, Hook::Fentry("security_bpf"), OBJECTS_LOST),
    Probe {
        fallback: "a look at what the maps hold, each five seconds",
        ..object_probe("bpf_map_inc", Set::Core, Hook::Fentry("bpf_map_inc"), USED_LOST)
    },
    object_probe("x64_bpf_exit", Set::Core, Hook::Fexit("__x64_sys_bpf"), OUTCOME_LOST),
    object_probe("ia32_bpf_exit", Set::WhereThere, Hook::Fexit("__ia32_sys_bpf"), OUTCOME_LOST),
    object_probe("x64_pidfd_getfd_exit", Set::Core, Hook::Fexit("__x64_sys_pidfd_getfd"), TAKEN_LOST),
    object_probe("ia32_pidfd_getfd_exit", Set::WhereThere, Hook::Fexit("__ia32_sys_pidfd_getfd"), TAKEN_LOST),
];

const NATIVE: [[Probe; 2]; 3] = [
    syscall!("x64_init_module", "x64_init_module_exit", "__x64_sys_init_module", Fentry, ENTER_LOST, EXIT_LOST),
    syscall!("x64_finit_module", "x64_finit_module_exit", "__x64_sys_finit_module", Fentry, ENTER_LOST, EXIT_LOST),
    syscall!("x64_delete_module", "x64_delete_module_exit", "__x64_sys_delete_module", Fentry, ENTER_LOST, EXIT_LOST),
];

const COMPAT: [[Probe; 2]; 3] = [
    syscall!(
        "ia32_init_module",
        "ia32_init_module_exit",
        "__ia32_sys_init_module",
        FentryCompat,
        COMPAT_LOST,
        COMPAT_LOST
    ),
    syscall!(
        "ia32_finit_module",
        "ia32_finit_module_exit",
        "__ia32_sys_finit_module",
        FentryCompat,
        COMPAT_LOST,
        COMPAT_LOST
    ),
    syscall!(
        "ia32_delete_module",
        "ia32_delete_module_exit",
        "__ia32_sys_delete_module",
        FentryCompat,
        COMPAT_LOST,
        COMPAT_LOST
    ),
];

const TRACE_EVENTS: [Probe; 6] = [
    trace_event!("sys_enter_init_module", ENTER_LOST),
    trace_event!("sys_exit_init_module", EXIT_LOST),
    trace_event!("sys_enter_finit_module", ENTER_LOST),
    trace_event!("sys_exit_finit_module", EXIT_LOST),
    trace_event!("sys_enter_delete_module", ENTER_LOST),
    trace_event!("sys_exit_delete_module", EXIT_LOST),
];

/// All probes, in the order in which they are attached: what describes first, then what reports.
pub fn all() -> impl Iterator<Item = &'static Probe> {
    CORE.iter()
        .chain(FILES.iter())
        .chain(OBJECTS.iter())
        .chain(NATIVE.iter().flatten())
        .chain(COMPAT.iter().flatten())
        .chain(TRACE_EVENTS.iter())
}

/// The probes of one set.
pub fn in_set(set: Set) -> impl Iterator<Item = &'static Probe> {
    all().filter(move |probe| probe.set == set)
}

/// The sets of system call probes to try, best first.
pub const fn syscall_sets(hooks: SyscallHooks) -> &'static [Set] {
    match hooks {
        SyscallHooks::Auto => &[Set::Fentry, Set::Tracepoint],
        SyscallHooks::Fentry => &[Set::Fentry],
        SyscallHooks::Tracepoint => &[Set::Tracepoint],
    }
}
