//! What processes were executed as: kept by the exec, fork and exit probes, asked for when a process is described.

use aya_ebpf::{helpers::generated::bpf_probe_read_kernel, maps::LruHashMap};
use lkm_monitor_common::section::ExecRecord;

use crate::{
    kernel::{Load, Typed, load},
    maps::{ROOT_EXECS, USER_EXECS},
};

/// Remembers that `task` (a typed pointer), of process `tgid`, was executed like this.
#[inline(always)]
pub(crate) fn remember(task: u64, tgid: u32, record: &ExecRecord) {
    // The real user in the initial user namespace: neither a namespace of one's own nor a setuid program makes root here.
    let of_root = load!(Typed, u32, load!(Typed, u64, task, task_cred), cred_uid) == 0;
    let records = if of_root { &ROOT_EXECS } else { &USER_EXECS };
    // The map makes room by itself; a failure under memory pressure costs this one command line.
    let _ = records.insert(&tgid, record, 0);
}

/// Forgets a process that has ended.
#[inline(always)]
pub(crate) fn forget(tgid: u32) {
    // Absent in one of them, or both.
    let _ = ROOT_EXECS.remove(&tgid);
    let _ = USER_EXECS.remove(&tgid);
}

/// Copies the record of the process that `task` belongs to, if it is of its last exec.
#[inline(always)]
pub(crate) fn recall<L: Load>(task: u64, tgid: u32, copy: *mut ExecRecord) -> bool {
    let start_boot_ns = load!(L, u64, load!(L, u64, task, task_group_leader), task_start_boot);
    let exec_id = load!(L, u64, task, task_self_exec_id);
    recall_from(&ROOT_EXECS, tgid, start_boot_ns, exec_id, copy)
        || recall_from(&USER_EXECS, tgid, start_boot_ns, exec_id, copy)
}

#[inline(always)]
fn recall_from(
    records: &LruHashMap<u32, ExecRecord>,
    tgid: u32,
    start_boot_ns: u64,
    exec_id: u64,
    copy: *mut ExecRecord,
) -> bool {
    let Some(record) = records.get_ptr(&tgid) else {
        return false;
    };
    // SAFETY: the map's value stays memory of the map, whatever is in it by now; the caller's copy has room for a record.
    unsafe {
        bpf_probe_read_kernel(copy.cast(), size_of::<ExecRecord>() as u32, record.cast());
        // The map may give the memory to another process while it is copied: copy and original must both be right.
        (*copy).start_boot_ns == start_boot_ns
            && (*copy).exec_id == exec_id
            && (*record).start_boot_ns == start_boot_ns
            && (*record).exec_id == exec_id
    }
}
