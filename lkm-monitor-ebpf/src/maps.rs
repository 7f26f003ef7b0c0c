//! Every map, with what bounds it.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, Stack},
};
use lkm_monitor_common::{
    counter::Counter,
    limits::{self, CALLS_IN_FLIGHT, CALLS_RING_BYTES, FILES_RING_BYTES, IMAGES_RING_BYTES, TRUTH_RING_BYTES},
    section::ExecRecord,
    watch::{Name, ToolBuild, ToolFile},
};

use crate::{
    calls::InFlight,
    event::Scratch,
    files::{names::NameChange, writers::WrittenFile},
    probes::{
        objects::{ObjectCall, OwnObject},
        tools::ToolRun,
    },
    process::Described,
};

/// Calls and requests: what any process can cause, at any rate.
#[map]
pub(crate) static CALLS: RingBuf = RingBuf::with_byte_size(CALLS_RING_BYTES, 0);

/// What the kernel confirmed (image read, module linked, module freed). Only work that the kernel really did for a
/// privileged caller lands here, so a flood of failing calls cannot push it out.
#[map]
pub(crate) static TRUTH: RingBuf = RingBuf::with_byte_size(TRUTH_RING_BYTES, 0);

/// What root does to watched files, and the module tools that it runs. Root can flood this ring, and with it nothing but
/// this ring; what other users do to files goes to [`CALLS`].
#[map]
pub(crate) static FILES: RingBuf = RingBuf::with_byte_size(FILES_RING_BYTES, 0);

/// Module images, in pieces. Nothing else is in here, so that images and events cannot push each other out.
#[map]
pub(crate) static IMAGES: RingBuf = RingBuf::with_byte_size(IMAGES_RING_BYTES, 0);

/// Buffers that events are built in. Shared by all CPUs: a probe owns its slot from `pop` to `push` of a free list, so
/// preemption and migration cannot make two probes share one, as they can with per-CPU scratch memory.
/// The daemon sets the number of slots and fills the free lists.
#[map]
pub(crate) static SCRATCH: Array<Scratch> = Array::with_max_entries(1, 0);

/// Indexes of the free buffers for [`CALLS`].
#[map]
pub(crate) static CALLS_SLOTS: Stack<u32> = Stack::with_max_entries(1, 0);

/// Indexes of the free buffers for [`TRUTH`].
#[map]
pub(crate) static TRUTH_SLOTS: Stack<u32> = Stack::with_max_entries(1, 0);

/// Indexes of the free buffers for [`FILES`].
#[map]
pub(crate) static FILES_SLOTS: Stack<u32> = Stack::with_max_entries(1, 0);

/// Module calls between their enter and their exit, by thread (`pid_tgid`). An entry stays behind when the kernel skips the
/// probe at an exit; the thread's next call takes its place, and the thread's end takes it away.
#[map]
pub(crate) static IN_FLIGHT: HashMap<u64, InFlight> = HashMap::with_max_entries(CALLS_IN_FLIGHT, 0);

/// Command lines at exec, by process id. A parent's own memory cannot be read from its child's context. Of living
/// processes only; root's have a map of their own, so that nobody else's processes can push them out. The daemon makes the
/// maps larger on hosts with many CPUs.
#[map]
pub(crate) static ROOT_EXECS: LruHashMap<u32, ExecRecord> = LruHashMap::with_max_entries(limits::EXEC_RECORDS, 0);

/// The same of other users.
#[map]
pub(crate) static USER_EXECS: LruHashMap<u32, ExecRecord> = LruHashMap::with_max_entries(limits::EXEC_RECORDS, 0);

/// Where the exec probe builds its record; the kernel never runs one program twice on one CPU at a time.
#[map]
pub(crate) static EXEC_SCRATCH: PerCpuArray<ExecRecord> = PerCpuArray::with_max_entries(1, 0);

/// The same for the fork probe.
#[map]
pub(crate) static FORK_SCRATCH: PerCpuArray<ExecRecord> = PerCpuArray::with_max_entries(1, 0);

/// Bits of [`name_bits`](lkm_monitor_common::watch::name_bits) by watched name.
#[map]
pub(crate) static WATCHED_NAMES: HashMap<Name, u32> = HashMap::with_max_entries(limits::WATCHED_NAMES, 0);

/// Files that are open for writing, until the daemon finds that they are no more. A file's place is its own from the `pop`
/// from a list of free places to the `push`; only the program that looks for closed files pushes.
#[map]
pub(crate) static WRITTEN_FILES: Array<WrittenFile> = Array::with_max_entries(limits::WRITTEN_FILES, 0);

/// The place of a `struct inode *` in [`WRITTEN_FILES`].
#[map]
pub(crate) static WRITTEN_INODES: HashMap<u64, u32> = HashMap::with_max_entries(limits::WRITTEN_FILES, 0);

/// Free places for files that root opened. The daemon fills both lists.
#[map]
pub(crate) static ROOT_PLACES: Stack<u32> = Stack::with_max_entries(limits::ROOT_WRITTEN_FILES, 0);

/// Free places for files that others opened: they cannot take root's.
#[map]
pub(crate) static USER_PLACES: Stack<u32> = Stack::with_max_entries(limits::USER_WRITTEN_FILES, 0);

/// Renames and links of watched names that were decided and not made yet, by thread (`pid_tgid`).
#[map]
pub(crate) static NAME_CHANGES: HashMap<u64, NameChange> = HashMap::with_max_entries(limits::NAME_CHANGES, 0);

/// Processes that were described in an event on a file a moment ago, by process id.
#[map]
pub(crate) static DESCRIBED: LruHashMap<u32, Described> = LruHashMap::with_max_entries(limits::DESCRIBED, 0);

/// Files that are module tools: the installed ones.
#[map]
pub(crate) static TOOL_FILES: HashMap<ToolFile, u32> = HashMap::with_max_entries(limits::TOOL_FILES, 0);

/// What copies of the installed tools have in common with them.
#[map]
pub(crate) static TOOL_BUILDS: HashMap<ToolBuild, u32> = HashMap::with_max_entries(limits::TOOL_FILES, 0);

/// Names of module tools, as `task->comm` holds them.
#[map]
pub(crate) static TOOL_NAMES: HashMap<[u8; 16], u32> = HashMap::with_max_entries(limits::TOOL_FILES, 0);

/// Living processes that are runs of module tools, by process id.
#[map]
pub(crate) static TOOL_RUNS: HashMap<u32, ToolRun> = HashMap::with_max_entries(limits::TOOL_RUNS, 0);

/// The daemon's own maps, programs and links, by address and by number (`objects::key_of_id`).
#[map]
pub(crate) static OWN_OBJECTS: HashMap<u64, OwnObject> = HashMap::with_max_entries(limits::OWN_OBJECTS, 0);

/// bpf() calls of others on these, until they return, by thread (`pid_tgid`).
#[map]
pub(crate) static OBJECT_CALLS: HashMap<u64, ObjectCall> = HashMap::with_max_entries(limits::OBJECT_CALLS, 0);

/// What a program that the daemon runs answers: its return value stays in the kernel.
#[map]
pub(crate) static ANSWER: Array<u64> = Array::with_max_entries(1, 0);

/// One `u64` per [`Counter`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);
