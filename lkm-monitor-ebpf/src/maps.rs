//! Every map, with what bounds it.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, Stack},
};
use lkm_monitor_common::{
    counter::Counter,
    limits::{self, CALLS_IN_FLIGHT, CALLS_RING_BYTES, TRUTH_RING_BYTES},
    section::ExecRecord,
};

use crate::{calls::InFlight, event::Scratch};

/// Calls and requests: what any process can cause, at any rate.
#[map]
pub(crate) static CALLS: RingBuf = RingBuf::with_byte_size(CALLS_RING_BYTES, 0);

/// What the kernel confirmed (image read, module linked, module freed). Only work that the kernel really did for a
/// privileged caller lands here, so a flood of failing calls cannot push it out.
#[map]
pub(crate) static TRUTH: RingBuf = RingBuf::with_byte_size(TRUTH_RING_BYTES, 0);

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

/// One `u64` per [`Counter`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);
