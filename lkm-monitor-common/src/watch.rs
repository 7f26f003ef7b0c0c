//! Which files the probes report: names, folders and endings, in maps that the daemon fills from its settings.
//!
//! A name passes the kernel side when its end, the name itself, or the name of the folder that holds it is watched. That is a
//! superset of what the settings ask for: whole paths are compared in the daemon.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::limits::{WATCHED_ENDINGS, WATCHED_NAME_BYTES};

/// Bytes of an ending that are compared, at the most.
pub const ENDING_BYTES: usize = 8;

/// The section of the probes' object that holds [`Watch`], and the map that it becomes.
pub const WATCH_SECTION: &str = ".data.watch";

/// A byte each, and not a bit: to look one up takes the probes fewer instructions than to shift.
pub type Hints = [u8; 64];

/// What tells quickly that a name is not watched, and the endings.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Watch {
    /// 1 at n - 1: a watched name, or the name of a watched folder, has n bytes, modulo 64.
    pub name_lengths: Hints,
    /// 1 at n: the name of a watched folder has n bytes, modulo 64.
    pub folder_lengths: Hints,
    /// 1 at n: an ending's last byte is n, modulo 64.
    pub last_bytes: Hints,
    /// Unused ones have no mask.
    pub endings: [Ending; WATCHED_ENDINGS],
}

impl Watch {
    /// Nothing is watched.
    pub const NOTHING: Self = Self {
        name_lengths: [0; 64],
        folder_lengths: [0; 64],
        last_bytes: [0; 64],
        endings: [Ending { value: 0, mask: 0, len: 0 }; WATCHED_ENDINGS],
    };
}

/// The end of a name, as the last eight bytes of the name in memory order, read as a little-endian number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ending {
    pub value: u64,
    /// The bytes that count; 0 where there is no ending.
    pub mask: u64,
    /// Bytes that count.
    pub len: u64,
}

impl Ending {
    /// The ending `bytes`, of one to eight bytes; `None` for others.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > ENDING_BYTES {
            return None;
        }
        let mut last = [0; ENDING_BYTES];
        last[ENDING_BYTES - bytes.len()..].copy_from_slice(bytes);
        let mask = u64::MAX << (8 * (ENDING_BYTES - bytes.len()));
        Some(Self { value: u64::from_le_bytes(last), mask, len: bytes.len() as u64 })
    }
}

/// Key of the `WATCHED_NAMES` map: a name, NUL-padded.
pub type Name = [u8; WATCHED_NAME_BYTES];

/// The key of `name`; `None` when it is too long to be watched.
pub fn name(name: &[u8]) -> Option<Name> {
    let mut key = [0; WATCHED_NAME_BYTES];
    key.get_mut(..name.len()).filter(|_| name.len() < WATCHED_NAME_BYTES)?.copy_from_slice(name);
    Some(key)
}

/// Bits of the values of the `WATCHED_NAMES` map.
pub mod name_bits {
    /// A file of this name is watched, wherever it is.
    pub const FILE: u32 = 1;
    /// A folder of this name is watched: itself, and the files in it.
    pub const FOLDER: u32 = 2;
    /// A watched folder may lie below a folder of this name: what is mounted over it takes the place of all that is in it.
    pub const PARENT: u32 = 4;
}

/// The section of the probes' object that holds [`ToolHints`], and the map that it becomes.
pub const TOOLS_SECTION: &str = ".data.tools";

/// What tells quickly that a program is no module tool: bits that are set for each of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ToolHints {
    /// [`number_bit`] of the inode.
    pub inodes: u64,
    /// [`number_bit`] of the first eight bytes of the [`ToolBuild`].
    pub builds: u64,
    /// [`name_bit`] of the name.
    pub names: u64,
}

/// A bit that stands for a number, and for one of 64 others.
pub const fn number_bit(number: u64) -> u64 {
    1 << ((number ^ number >> 6) & 63)
}

/// A bit that stands for names with these first four bytes, and others.
pub const fn name_bit(first: u32) -> u64 {
    number_bit((first ^ first >> 16 ^ first >> 21) as u64)
}

/// Key of the `TOOL_FILES` map: a file that is a module tool.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ToolFile {
    pub inode: u64,
    /// `s_dev`.
    pub device: u32,
    pub reserved: u32,
}

/// Key of the `TOOL_BUILDS` map: entry point and places of the tables in the ELF header (bytes 24 to 48 of the file). Two
/// builds of a program hardly share them.
pub type ToolBuild = [u8; TOOL_BUILD_BYTES];

/// See [`ToolBuild`].
pub const TOOL_BUILD_AT: usize = 24;
pub const TOOL_BUILD_BYTES: usize = 24;

/// Bits of the values of the `TOOL_FILES`, `TOOL_BUILDS` and `TOOL_NAMES` maps.
pub mod tool_kinds {
    /// A module tool.
    pub const TOOL: u32 = 1;
    /// A program that is many tools, by its first argument (busybox). Names may go on behind its own: `busybox-static`.
    pub const MANY: u32 = 2;
    /// A program that runs the one that its arguments name (ld.so).
    pub const INTERPRETER: u32 = 4;
}
