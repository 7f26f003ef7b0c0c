//! What other processes do to the sensor's own programs, maps and links.

use super::ProcessTree;

/// A kind of object in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    Map,
    Program,
    Link,
    /// What a kprobe or a trace event hangs on.
    PerfEvent,
}

impl ObjectKind {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Program => "program",
            Self::Link => "link",
            Self::PerfEvent => "perf-event",
        }
    }
}

/// One of the sensor's objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnObject {
    pub kind: ObjectKind,
    /// The kernel's number of it, within its kind; 0 where the kernel numbers none.
    pub id: u32,
    /// As the sensor calls it: the map, or the program that the link attaches.
    pub name: Option<String>,
}

/// What was asked of an object: a command of bpf(2), but for the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectOperation {
    /// `BPF_PROG_GET_FD_BY_ID` and its like, or `BPF_OBJ_GET`: a descriptor, with which all else can be done.
    Open,
    /// `BPF_OBJ_PIN`: a name in a file system, which keeps it alive.
    Pin,
    /// `BPF_MAP_UPDATE_ELEM`, `BPF_MAP_UPDATE_BATCH`.
    UpdateMap,
    /// `BPF_MAP_DELETE_ELEM`, `BPF_MAP_LOOKUP_AND_DELETE_ELEM` and the batches.
    DeleteFromMap,
    /// `BPF_MAP_FREEZE`.
    FreezeMap,
    /// `BPF_PROG_LOAD` of a program that uses it, `BPF_PROG_BIND_MAP`, or a map of maps that it is put into: what the program then does
    /// with it is no call of bpf(2).
    UseMap,
    /// `BPF_PROG_TEST_RUN`.
    RunProgram,
    /// `BPF_PROG_LOAD` of one that traces this program, or takes the place of a function of it.
    ExtendProgram,
    /// `BPF_PROG_DETACH`.
    DetachProgram,
    /// `BPF_LINK_UPDATE`.
    UpdateLink,
    /// `BPF_LINK_DETACH`.
    DetachLink,
    /// pidfd_getfd(2): a descriptor out of the daemon.
    TakeDescriptor,
}

impl ObjectOperation {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pin => "pin",
            Self::UpdateMap => "update-map",
            Self::DeleteFromMap => "delete-from-map",
            Self::FreezeMap => "freeze-map",
            Self::UseMap => "use-map",
            Self::RunProgram => "run-program",
            Self::ExtendProgram => "extend-program",
            Self::DetachProgram => "detach-program",
            Self::UpdateLink => "update-link",
            Self::DetachLink => "detach-link",
            Self::TakeDescriptor => "take-descriptor",
        }
    }

    /// In sentences, before the objects.
    pub const fn participle(self) -> &'static str {
        match self {
            Self::Open => "opened",
            Self::Pin => "pinned",
            Self::UpdateMap | Self::UpdateLink => "changed",
            Self::DeleteFromMap => "emptied in part",
            Self::FreezeMap => "frozen",
            Self::UseMap => "put within reach of a program of others",
            Self::RunProgram => "run",
            Self::ExtendProgram => "extended with code of others",
            Self::DetachProgram | Self::DetachLink => "detached",
            Self::TakeDescriptor => "taken from the daemon",
        }
    }

    /// Whether it may change what the sensor sees, and not only who can.
    pub const fn is_change(self) -> bool {
        !matches!(self, Self::Open | Self::Pin | Self::TakeDescriptor)
    }
}

/// What one process asked of objects of the sensor's within a moment, in one way.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectAccess {
    /// Nanoseconds since boot of the first call, and of the last.
    pub boot_ns: u64,
    pub last_boot_ns: u64,
    pub cpu: u32,
    pub operation: ObjectOperation,
    /// Calls altogether.
    pub count: u64,
    /// Each object once, some at the most.
    pub objects: Vec<OwnObject>,
    /// Of the call that went best.
    pub outcome: AccessOutcome,
    pub process: ProcessTree,
}

/// How a call ended; worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessOutcome {
    /// The kernel refused it, with this error.
    Refused(i32),
    /// Its end was not seen.
    Unknown,
    Succeeded,
}
