//! Remembers the command line of each exec, for the day when the process is the parent of a module load.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_user},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use lkm_monitor_common::limits::EXEC_ARGS_BYTES;

use crate::{
    kernel::member,
    maps::{EXEC_RECORDS, EXEC_SCRATCH},
};

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`: the new memory is in place,
/// its argument pages have just been written.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    remember_exec(ctx.arg(0), ctx.arg(2));
    0
}

#[inline(always)]
fn remember_exec(task: u64, binprm: u64) {
    let Some(record) = EXEC_SCRATCH.get_ptr_mut(0) else {
        return;
    };
    let mm: u64 = member!(u64, task, task_mm);
    let start: u64 = member!(u64, mm, mm_arg_start);
    let len = member!(u64, mm, mm_arg_end).wrapping_sub(start);
    let inode: u64 = member!(u64, member!(u64, binprm, binprm_file), file_inode);
    let (size, truncated) = if len > EXEC_ARGS_BYTES as u64 { (EXEC_ARGS_BYTES as u64, 1) } else { (len, 0) };
    // SAFETY: this CPU's record, which only this program uses; the helper checks the source address.
    unsafe {
        (*record).start_boot_ns = member!(u64, task, task_start_boot);
        (*record).exec_id = member!(u64, task, task_self_exec_id);
        (*record).exe_inode = member!(u64, inode, inode_ino);
        (*record).exe_device = member!(u32, member!(u64, inode, inode_sb), sb_dev);
        (*record).truncated = truncated;
        let failed = bpf_probe_read_user(
            (&raw mut (*record).args).cast(),
            (size & (2 * EXEC_ARGS_BYTES as u64 - 1)) as u32,
            core::ptr::with_exposed_provenance(start as usize),
        );
        // What is left of an exec before this one tells its age by `exec_id`.
        if failed != 0 {
            return;
        }
        (*record).len = size as u16;
        // The map makes room by itself; a failure under memory pressure costs this one command line.
        let _ = EXEC_RECORDS.insert(&((bpf_get_current_pid_tgid() >> 32) as u32), &*record, 0);
    }
}
