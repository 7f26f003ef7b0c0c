//! The head of every event. What follows it are [sections](crate::section).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of all layouts in this crate. The daemon refuses any other: both sides are built together.
pub const WIRE_VERSION: u16 = 3;

/// What an event reports.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A module system call was entered.
    CallEnter = 1,
    /// It returned.
    CallExit = 2,
    /// The kernel read a module image: `security_kernel_post_read_file`, `security_kernel_post_load_data`.
    ImageRead = 3,
    /// The kernel is about to parse the module's parameters: `blocking_notifier_call_chain_robust` for a coming module.
    Parameters = 4,
    /// The module is linked and its init function is about to run: `module:module_load`.
    ModuleLoaded = 5,
    /// The module is being freed, after an unload or a failed init: `module:module_free`.
    ModuleFreed = 6,
    /// The kernel asks user space for a module: `module:module_request`.
    ModuleRequested = 7,
    /// A watched file is about to be written, was closed by its last writer, or changed its name or attributes.
    FileChanged = 8,
    /// A module tool was executed.
    ToolStarted = 9,
    /// Its process ended, or executed something else.
    ToolEnded = 10,
    /// A process other than the daemon reached for one of the daemon's own maps, programs or links.
    ObjectAccessed = 11,
}

impl EventKind {
    /// The kind of a raw value, `None` where no kind has it.
    pub const fn from_raw(raw: u16) -> Option<Self> {
        Some(match raw {
            1 => Self::CallEnter,
            2 => Self::CallExit,
            3 => Self::ImageRead,
            4 => Self::Parameters,
            5 => Self::ModuleLoaded,
            6 => Self::ModuleFreed,
            7 => Self::ModuleRequested,
            8 => Self::FileChanged,
            9 => Self::ToolStarted,
            10 => Self::ToolEnded,
            11 => Self::ObjectAccessed,
            _ => return None,
        })
    }

    /// This kind's bit in [`CallEnd::happened`](crate::section::CallEnd::happened) and `sent`.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// First bytes of every event: what, when, and the thread that it happened in.
///
/// The thread's identity is here and not in a section so that an event whose companions were lost still says who.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EventHeader {
    /// An [`EventKind`].
    pub kind: u16,
    /// [`WIRE_VERSION`].
    pub version: u16,
    /// The CPU that the probe ran on.
    pub cpu: u32,
    /// `ktime_get_boot_ns`: nanoseconds since boot, suspend included.
    pub boot_ns: u64,
    /// `boot_ns` of the enter event of the call that this belongs to; 0 when there is none. For files: of the event that
    /// began the writing. For tools: of the exec.
    pub call_id: u64,
    /// Start of the process (its thread group leader), in nanoseconds since boot.
    pub process_start_boot_ns: u64,
    /// Thread id in the initial pid namespace (`task->pid`).
    pub tid: u32,
    /// Process id in the initial pid namespace (`task->tgid`).
    pub tgid: u32,
    /// User and group ids of the thread in the initial user namespace: real, effective, saved.
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    pub suid: u32,
    pub sgid: u32,
    /// Bits of [`header_flags`].
    pub flags: u32,
    pub reserved: u32,
    /// `task->comm`, NUL-padded.
    pub comm: [u8; 16],
}

/// Bits of [`EventHeader::flags`].
pub mod header_flags {
    /// Sections were left out because the event was full.
    pub const SECTIONS_DROPPED: u32 = 1;
}
