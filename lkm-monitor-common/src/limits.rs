//! Every bound of the kernel side, with its unit. What is cut at one of them carries
//! [`section::flags::TRUNCATED`](crate::section::flags::TRUNCATED).

/// Bytes of one event, header and sections together. A power of two: the probes mask with it.
pub const EVENT_BYTES: usize = 32 * 1024;

/// The longest single write that a probe makes into an event; the buffer is that much longer than an event,
/// so a masked offset plus one write stays inside it.
pub const WRITE_BYTES: usize = 4096;

/// Bytes of one path, one NUL per component included. The cut is at the root side: the file's name is always kept.
pub const PATH_BYTES: usize = 4096;

/// Components and mounts of one path.
pub const PATH_COMPONENTS: usize = 1024;

/// Levels of a control group's path, those near the root. Of the longest names as many as two writes hold.
pub const CONTROL_GROUPS: usize = 30;
const _: () = assert!(CONTROL_GROUPS * NAME_BYTES <= 2 * WRITE_BYTES - NAME_BYTES);

/// Levels of control groups that are looked at for those near the root.
pub const CONTROL_GROUP_DEPTH: usize = 256;

/// Bytes of a file name with its NUL (`NAME_MAX` + 1).
pub const NAME_BYTES: usize = 256;

/// Bytes of the caller's own command line, as `mm->arg_start` shows it.
pub const ARGS_BYTES: usize = 4096;

/// Bytes of a command line remembered at exec.
pub const EXEC_ARGS_BYTES: usize = 512;

/// Living processes whose command line is remembered from exec, root's and the others' each; the least recently used makes
/// room.
pub const EXEC_RECORDS: u32 = 4096;

/// Bytes of module parameters. The kernel itself takes any length.
pub const PARAMS_BYTES: usize = 4096;

/// Bytes of a module name that a caller passes to delete_module: `MODULE_NAME_LEN` is 56 with its NUL,
/// what is longer cannot name a module but is evidence.
pub const NAME_ARGUMENT_BYTES: usize = 256;

/// Bytes of a name that `request_module` formats (`MODULE_NAME_LEN`) or that modinfo holds.
pub const MODULE_TEXT_BYTES: usize = 256;

/// Ancestors described with each call, the parent first.
pub const ANCESTORS: usize = 8;

/// Module system calls in flight at one time that can be followed.
pub const CALLS_IN_FLIGHT: u32 = 4096;

/// Default size of the ring for calls, in bytes.
pub const CALLS_RING_BYTES: u32 = 512 * 1024;

/// Default size of the ring for what the kernel confirmed, in bytes.
pub const TRUTH_RING_BYTES: u32 = 512 * 1024;

/// Default size of the ring for files and tools, in bytes.
pub const FILES_RING_BYTES: u32 = 2 * 1024 * 1024;

/// Default size of the ring for module images, in bytes. An image is put there as a whole while its reader has no chance to keep up.
pub const IMAGES_RING_BYTES: u32 = 32 * 1024 * 1024;

/// Bytes of an image in one piece, as long as so many are left; and in each that follows, a page, of which the last one may be used in part.
/// The verifier looks at every piece that there may be, so few are large; most modules are small, and would waste the ring.
pub const LARGE_PIECE_BYTES: usize = 256 * 1024;
pub const PIECE_BYTES: usize = 4096;

/// Bytes that are kept of an image, at the most.
pub const MAX_IMAGE_BYTES: u32 = 64 * 1024 * 1024;

/// The same, unless somebody wants more or less.
pub const IMAGE_BYTES: u32 = 16 * 1024 * 1024;

/// Files whose writers are followed at one time: those that root opened, and those of all others.
pub const ROOT_WRITTEN_FILES: u32 = 1792;
pub const USER_WRITTEN_FILES: u32 = 256;
pub const WRITTEN_FILES: u32 = ROOT_WRITTEN_FILES + USER_WRITTEN_FILES;

/// Renames and links of watched names between the decision to make them and their outcome.
pub const NAME_CHANGES: u32 = 1024;

/// Bytes of a watched name with its NUL: of a file, or of the folder that holds it.
pub const WATCHED_NAME_BYTES: usize = 32;

/// Watched names, and endings of names.
pub const WATCHED_NAMES: u32 = 256;
pub const WATCHED_ENDINGS: usize = 8;

/// Runs of module tools that are followed at one time, and files that are known as such a tool.
pub const TOOL_RUNS: u32 = 1024;
pub const TOOL_FILES: u32 = 64;

/// Arguments among which the name of a tool is looked for, where a program runs another one, or is many.
pub const TOOL_ARGUMENTS: u32 = 32;

/// Bytes of one argument, its NUL included (`MAX_ARG_STRLEN`).
pub const ARGUMENT_BYTES: usize = 128 * 1024;

/// Processes that are known to have been described a moment ago; the daemon makes the map larger on hosts with many CPUs.
pub const DESCRIBED: u32 = 1024;

/// Keys of the daemon's own maps, programs and links: two for each.
pub const OWN_OBJECTS: u32 = 1024;

/// bpf() calls on these between their enter and their return.
pub const OBJECT_CALLS: u32 = 256;

/// How long a description of a process holds for its further changes of files, in nanoseconds. The daemon keeps it longer.
pub const DESCRIPTION_NS: u64 = 2_000_000_000;
