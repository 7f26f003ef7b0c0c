//! The daemon's own objects in the kernel, and what can be asked of them.

/// What kind of object.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    Map = 1,
    Program = 2,
    Link = 3,
    /// What a kprobe or a trace event hangs on.
    PerfEvent = 4,
}

impl ObjectKind {
    /// The kind of a raw value, `None` where no kind has it.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            1 => Self::Map,
            2 => Self::Program,
            3 => Self::Link,
            4 => Self::PerfEvent,
            _ => return None,
        })
    }
}

/// Key of an object by its number, in the map that also knows objects by their address. No kernel address is so small.
pub const fn key_of_id(kind: u32, id: u32) -> u64 {
    (kind as u64) << 32 | id as u64
}

/// Commands of bpf(2) (`enum bpf_cmd` of include/uapi/linux/bpf.h, numbers never change) that reach for an object. Reading a map's
/// elements is not among them: for that one needs a descriptor first.
pub mod command {
    pub const MAP_UPDATE_ELEM: u32 = 2;
    pub const MAP_DELETE_ELEM: u32 = 3;
    /// Reaches for the program that it is to extend or to trace, if there is one.
    pub const PROG_LOAD: u32 = 5;
    pub const OBJ_PIN: u32 = 6;
    pub const OBJ_GET: u32 = 7;
    pub const PROG_DETACH: u32 = 9;
    pub const PROG_TEST_RUN: u32 = 10;
    pub const PROG_GET_FD_BY_ID: u32 = 13;
    pub const MAP_GET_FD_BY_ID: u32 = 14;
    pub const MAP_LOOKUP_AND_DELETE_ELEM: u32 = 21;
    pub const MAP_FREEZE: u32 = 22;
    pub const MAP_LOOKUP_AND_DELETE_BATCH: u32 = 25;
    pub const MAP_UPDATE_BATCH: u32 = 26;
    pub const MAP_DELETE_BATCH: u32 = 27;
    pub const LINK_UPDATE: u32 = 29;
    pub const LINK_GET_FD_BY_ID: u32 = 30;
    pub const LINK_DETACH: u32 = 34;
    pub const PROG_BIND_MAP: u32 = 35;
}

/// No command of its own: a map is put within reach of a program, whatever command does that (`bpf_map_inc`).
pub const USE_MAP: u32 = 0x1001;

/// No command of bpf(2): pidfd_getfd(2), which takes a descriptor out of another process.
pub const PIDFD_GETFD: u32 = 0x1000;
