//! Processes.

use super::{Bytes, SeenPath};

/// The calling process and its ancestors, nearest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessTree {
    pub caller: Process,
    /// The parent, its parent, and so on.
    pub ancestors: Vec<Process>,
    /// There were more than the limit.
    pub more_ancestors: bool,
    /// Sections did not fit into the event: what is absent may not be absent in truth.
    pub incomplete: bool,
}

/// One process, as the kernel knew it at the moment of the event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    pub pid: u32,
    /// Thread that made the call; equals `pid` for a main thread.
    pub tid: u32,
    /// Process id in its own pid namespace.
    pub namespace_pid: u32,
    /// Nanoseconds since boot.
    pub start_boot_ns: u64,
    /// `comm`, at most 15 bytes, set by the process itself.
    pub name: Vec<u8>,
    pub executable: Option<SeenPath>,
    pub executable_inode: u64,
    pub executable_device: (u32, u32),
    /// The executable's name was removed, or it never had one.
    pub executable_unlinked: bool,
    /// The process replaced what the kernel shows as its executable since its last exec.
    pub executable_replaced: bool,
    pub arguments: Vec<Bytes>,
    /// Further arguments, of which only the number is kept.
    pub more_arguments: usize,
    pub arguments_source: ArgumentsSource,
    pub arguments_truncated: bool,
    /// The command line in the process's memory is not the one it was executed with.
    pub arguments_rewritten: bool,
    pub working_directory: Option<SeenPath>,
    /// Set when the process's root directory is not that of its mount namespace.
    pub root_directory: Option<Vec<u8>>,
    pub ids: Option<Ids>,
    /// Effective capabilities, a bit mask (include/uapi/linux/capability.h).
    pub capabilities: u64,
    /// Audit login uid; `None` when unset.
    pub login_uid: Option<u32>,
    pub audit_session: Option<u32>,
    pub process_group: u32,
    pub session: u32,
    pub tty: Option<Tty>,
    pub control_group: Option<Vec<u8>>,
    /// Cut at the leaf's side.
    pub control_group_truncated: bool,
    pub control_group_id: u64,
    pub namespaces: Namespaces,
    pub kernel_thread: bool,
    /// Who traces it with ptrace, and can make it do anything.
    pub tracer: Option<Tracer>,
}

/// Where a command line comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArgumentsSource {
    /// Not known.
    #[default]
    Unknown,
    /// The process's memory at the moment of the event.
    Memory,
    /// Remembered by the kernel probe when the process was executed.
    Exec,
    /// Remembered by the kernel probe when its creator was executed: the process is a fork and never executed anything.
    Inherited,
    /// Read from /proc when the daemon started.
    Proc,
    /// A guess: its parent's, which has the same executable.
    Parent,
}

/// User and group ids in the initial user namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    pub suid: u32,
    pub sgid: u32,
}

/// Inode numbers of the namespaces, as in /proc/PID/ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    pub mount: u32,
    pub pid: u32,
    pub net: u32,
    pub user: u32,
    pub uts: u32,
    pub ipc: u32,
    pub cgroup: u32,
}

impl Namespaces {
    /// The kinds of which this and `other` have different namespaces. One that is not known (0) differs from none.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let kinds = [
            ("mount", self.mount, other.mount),
            ("pid", self.pid, other.pid),
            ("net", self.net, other.net),
            ("user", self.user, other.user),
            ("uts", self.uts, other.uts),
            ("ipc", self.ipc, other.ipc),
            ("cgroup", self.cgroup, other.cgroup),
        ];
        let differs = |&(_, ours, theirs): &(_, u32, u32)| ours != 0 && theirs != 0 && ours != theirs;
        kinds.into_iter().filter(differs).map(|(kind, ..)| kind).collect()
    }
}

/// A process that traces another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracer {
    pub pid: u32,
    /// `comm`.
    pub name: Vec<u8>,
}

/// A controlling terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tty {
    pub name: Vec<u8>,
    pub major: u32,
    pub minor: u32,
}

/// Arguments of a command line that are kept each by itself: thousands of one letter each would take a multiple of their
/// bytes.
pub const MAX_ARGUMENTS: usize = 256;

impl Process {
    /// Keeps the first `limit` arguments, and the number of the others.
    pub fn cut_arguments(&mut self, limit: usize) {
        let left_out = self.arguments.len().saturating_sub(limit);
        if left_out > 0 {
            self.arguments.truncate(limit);
            self.arguments.shrink_to_fit();
            self.more_arguments += left_out;
            self.arguments_truncated = true;
        }
    }
}
