//! Remembers the command line of each exec, for the day when the process or a fork of it loads a module, or has it loaded.

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::btf_tracepoint, programs::BtfTracePointContext};
use lkm_monitor_common::{
    limits::EXEC_ARGS_BYTES,
    section::{ExecRecord, exec_flags},
};

use crate::{
    calls, exec_records,
    files::names,
    kernel::{Typed, load},
    maps::{EXEC_SCRATCH, FORK_SCRATCH},
    probes::tools,
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
    // What is left of an exec before this one tells its age by `exec_id`.
    let has_arguments = read_command_line(record, load!(Typed, u64, task, task_mm));
    // SAFETY: this CPU's record, which only this program uses.
    unsafe {
        set_executable(record, load!(Typed, u64, binprm, binprm_file));
        if has_arguments {
            (*record).start_boot_ns = load!(Typed, u64, task, task_start_boot);
            (*record).exec_id = load!(Typed, u64, task, task_self_exec_id);
            exec_records::remember(task, load!(Typed, u32, task, task_tgid), &*record);
        }
    }
    tools::executed(task, binprm, record, has_arguments);
}

/// # Safety
/// `record` is the probe's own.
#[inline(always)]
unsafe fn set_executable(record: *mut ExecRecord, file: u64) {
    let inode = load!(Typed, u64, file, file_inode);
    // SAFETY: the caller's word.
    unsafe {
        (*record).exe_inode = load!(Typed, u64, inode, inode_ino);
        (*record).exe_device = load!(Typed, u32, load!(Typed, u64, inode, inode_sb), sb_dev);
    }
}

/// Reads the command line of the current process, whose memory is `mm`, and sets the flags anew.
#[inline(always)]
fn read_command_line(record: *mut ExecRecord, mm: u64) -> bool {
    let start = load!(Typed, u64, mm, mm_arg_start);
    let len = load!(Typed, u64, mm, mm_arg_end).wrapping_sub(start);
    let (size, flags) =
        if len > EXEC_ARGS_BYTES as u64 { (EXEC_ARGS_BYTES as u64, exec_flags::TRUNCATED) } else { (len, 0) };
    // SAFETY: the calling probe's record; the helper checks the source address.
    unsafe {
        (*record).flags = flags;
        (*record).len = size as u16;
        bpf_probe_read_user(
            (&raw mut (*record).args).cast(),
            (size & (2 * EXEC_ARGS_BYTES as u64 - 1)) as u32,
            core::ptr::with_exposed_provenance(start as usize),
        ) == 0
    }
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`: the child does not run yet.
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    remember_fork(ctx.arg(0), ctx.arg(1));
    0
}

/// A fork is what its parent was executed as, whatever it says of itself later and whoever is its parent then. A parent that
/// was executed before the probes were there is taken for what it is now.
#[inline(always)]
fn remember_fork(parent: u64, child: u64) {
    let (parent_pid, child_pid) = (load!(Typed, u32, parent, task_tgid), load!(Typed, u32, child, task_tgid));
    // A new thread.
    if parent_pid == child_pid {
        return;
    }
    let Some(record) = FORK_SCRATCH.get_ptr_mut(0) else {
        return;
    };
    if !exec_records::recall::<Typed>(parent, parent_pid, record) {
        let mm = load!(Typed, u64, parent, task_mm);
        // A kernel thread, or a parent whose arguments are not in memory now.
        if mm == 0 || !read_command_line(record, mm) {
            return;
        }
        // SAFETY: this CPU's record, which only this program uses.
        unsafe {
            set_executable(record, load!(Typed, u64, mm, mm_exe_file));
            (*record).exec_id = load!(Typed, u64, parent, task_self_exec_id);
        }
    }
    // SAFETY: as above.
    unsafe {
        (*record).start_boot_ns = load!(Typed, u64, child, task_start_boot);
        (*record).flags |= exec_flags::INHERITED;
        exec_records::remember(child, child_pid, &*record);
    }
}

/// `sched_process_exit(struct task_struct *p)`, of each thread.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task: u64 = ctx.arg(0);
    // The call that a thread is killed in has no return.
    calls::leave();
    names::abandon();
    tools::exited(task);
    // `do_exit` has counted this thread off before.
    if load!(Typed, u32, load!(Typed, u64, task, task_signal), signal_live) == 0 {
        exec_records::forget(load!(Typed, u32, task, task_tgid));
    }
    0
}
