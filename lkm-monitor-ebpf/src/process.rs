//! Who did it: the calling process and its ancestors, described while they surely exist.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str},
};
use lkm_monitor_common::{
    limits::{ANCESTORS, ARGS_BYTES, CONTROL_GROUP_DEPTH, CONTROL_GROUPS, DESCRIPTION_NS, NAME_BYTES, WRITE_BYTES},
    offsets::Offsets,
    section::{
        ExecRecord, Process, Tag,
        flags::{TRUNCATED, UNREADABLE},
        process_flags,
    },
};

use crate::{
    event::Event,
    exec_records,
    kernel::{Probed, address, current_task, member, offset, read, read_member, value},
    maps::DESCRIBED,
    path::{Viewer, push_path},
};

/// `PF_KTHREAD` of include/linux/sched.h.
pub(crate) const PF_KTHREAD: u32 = 0x0020_0000;
/// `PF_IO_WORKER` of include/linux/sched.h.
pub(crate) const PF_IO_WORKER: u32 = 0x10;

/// Where the description of a process and its ancestors stands. Kept in the event's buffer, see
/// [`Walk`](crate::path::Walk).
#[repr(C)]
pub(crate) struct Lineage {
    /// The `struct task_struct` to describe next.
    task: u64,
    /// 0 for the caller.
    generation: u64,
    /// The `struct kernfs_node` to name next, and the bytes of names written.
    node: u64,
    node_len: u64,
    node_flags: u64,
    /// A control group nearer to the root, and whether the first ones were left out.
    node_ahead: u64,
    cut: u64,
}

/// When a process was described, and what a later description would differ in.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Described {
    boot_ns: u64,
    start_boot_ns: u64,
    /// `task->self_exec_id`
    exec_id: u64,
    /// `struct nsproxy *`
    namespaces: u64,
    /// `struct css_set *`
    control_groups: u64,
    /// `struct dentry *` of the root and the working directory.
    root: u64,
    working_directory: u64,
}

/// The description of the current process, if the daemon has it: what one process does to thousands of files need not describe
/// it thousands of times.
#[inline(always)]
pub(crate) fn is_described() -> bool {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(described) = DESCRIBED.get_ptr(&tgid) else {
        return false;
    };
    let now = described_now();
    // SAFETY: the map's value stays memory of the map, whatever is in it by now.
    let before = unsafe { *described };
    now == Described { boot_ns: now.boot_ns, ..before } && now.boot_ns.wrapping_sub(before.boot_ns) < DESCRIPTION_NS
}

/// Notes that the daemon got a description of the current process.
#[inline(always)]
pub(crate) fn remember_described() {
    // A failure costs one more description.
    let _ = DESCRIBED.insert(&((bpf_get_current_pid_tgid() >> 32) as u32), &described_now(), 0);
}

#[inline(always)]
fn described_now() -> Described {
    let task = current_task();
    let fs: u64 = member!(u64, task, task_fs);
    Described {
        // SAFETY: no preconditions.
        boot_ns: unsafe { bpf_ktime_get_boot_ns() },
        start_boot_ns: member!(u64, member!(u64, task, task_group_leader), task_start_boot),
        exec_id: member!(u64, task, task_self_exec_id),
        namespaces: member!(u64, task, task_nsproxy),
        control_groups: member!(u64, task, task_cgroups),
        root: member!(u64, address!(fs, fs_root), path_dentry),
        working_directory: member!(u64, address!(fs, fs_pwd), path_dentry),
    }
}

/// Adds the current process and up to [`ANCESTORS`] ancestors.
#[inline(always)]
pub(crate) fn push_processes(event: Event) {
    // SAFETY: a field of a buffer that this probe owns.
    let lineage = unsafe { &raw mut (*event.scratch).lineage };
    // SAFETY: as above.
    unsafe {
        (*lineage).task = current_task();
        (*lineage).generation = 0;
    }
    for _ in 0..=ANCESTORS {
        if describe_process(event.slot) != 0 {
            break;
        }
    }
}

/// Adds the sections of one process and turns to its parent; 1 when it has none. Checked by the verifier once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn describe_process(slot: u32) -> u32 {
    let Some(event) = Event::in_slot(slot) else {
        return 1;
    };
    // SAFETY: a field of a buffer that this probe owns.
    let lineage = unsafe { &mut (*event.scratch).lineage };
    let task = lineage.task;
    let generation = lineage.generation as u32;
    let leader: u64 = member!(u64, task, task_group_leader);
    // The thread that forked, not its leader: a main thread that has ended has given back memory, files and namespaces.
    let parent: u64 = member!(u64, leader, task_real_parent);
    let has_parent = member!(u32, parent, task_tgid) != 0 && member!(u64, parent, task_group_leader) != leader;
    push_process(event, task, leader, generation, has_parent);
    lineage.task = parent;
    lineage.generation = generation as u64 + 1;
    !has_parent as u32
}

/// Adds the sections of one process.
#[inline(always)]
fn push_process(event: Event, task: u64, leader: u64, generation: u32, has_parent: bool) {
    let cred: u64 = member!(u64, task, task_cred);
    let nsproxy: u64 = member!(u64, task, task_nsproxy);
    let signal: u64 = member!(u64, task, task_signal);
    let mm: u64 = member!(u64, task, task_mm);
    let viewer = Viewer { fs: member!(u64, task, task_fs), nsproxy };
    let exe: u64 = member!(u64, mm, mm_exe_file);
    let tgid = member!(u32, task, task_tgid);
    let start_boot_ns = member!(u64, leader, task_start_boot);

    let mut flags = 0;
    if member!(u32, task, task_flags) & PF_KTHREAD != 0 {
        flags |= process_flags::KERNEL_THREAD;
    }
    if has_parent && generation == ANCESTORS as u32 {
        flags |= process_flags::MORE_ANCESTORS;
    }
    let exe_inode: u64 = member!(u64, exe, file_inode);
    let exe_dentry: u64 = member!(u64, address!(exe, file_path), path_dentry);
    let exe_links = member!(u32, exe_inode, inode_nlink);
    if exe != 0
        && (exe_links == 0
            || member!(u64, exe_dentry, dentry_hash_pprev) == 0
                && member!(u64, exe_dentry, dentry_parent) != exe_dentry)
    {
        flags |= process_flags::EXECUTABLE_UNLINKED;
    }

    let tty: u64 = member!(u64, signal, signal_tty);
    let tty_driver: u64 = member!(u64, tty, tty_driver);
    let (namespace_pid, pid_ns) = innermost_pid(signal_pid(signal, value!(pidtype_tgid)));
    let tracer: u64 = if member!(u32, task, task_ptrace) != 0 { member!(u64, task, task_parent) } else { 0 };
    let named = if generation == 0 { task } else { leader };
    let content = event.content().cast::<Process>();
    // SAFETY: a Process fits behind any masked offset; the buffer is this probe's. Written field by field in place:
    // the structure is too large for the 512 bytes of BPF stack.
    unsafe {
        (*content).start_boot_ns = start_boot_ns;
        (*content).capabilities = member!(u64, cred, cred_cap_effective);
        (*content).cgroup_id = member!(u64, control_group(task), kernfs_id);
        (*content).exe_inode = member!(u64, exe_inode, inode_ino);
        (*content).exe_device = member!(u32, member!(u64, exe_inode, inode_sb), sb_dev);
        (*content).exe_links = exe_links;
        (*content).pid = tgid;
        (*content).tid = member!(u32, named, task_pid);
        (*content).namespace_pid = namespace_pid;
        (*content).process_group = initial_number(signal_pid(signal, value!(pidtype_pgid)));
        (*content).session = initial_number(signal_pid(signal, value!(pidtype_sid)));
        (*content).uid = member!(u32, cred, cred_uid);
        (*content).gid = member!(u32, cred, cred_gid);
        (*content).euid = member!(u32, cred, cred_euid);
        (*content).egid = member!(u32, cred, cred_egid);
        (*content).suid = member!(u32, cred, cred_suid);
        (*content).sgid = member!(u32, cred, cred_sgid);
        (*content).loginuid = audit_id(task, offset!(task_loginuid));
        (*content).audit_session = audit_id(task, offset!(task_sessionid));
        (*content).tty_major = member!(u32, tty_driver, tty_driver_major);
        (*content).tty_minor = member!(u32, tty_driver, tty_driver_minor_start) + member!(u32, tty, tty_index);
        (*content).mount_ns = member!(u32, member!(u64, nsproxy, nsproxy_mnt), mnt_ns_inum);
        (*content).pid_ns = pid_ns;
        (*content).net_ns = member!(u32, member!(u64, nsproxy, nsproxy_net), net_ns_inum);
        (*content).user_ns = member!(u32, member!(u64, cred, cred_user_ns), user_ns_inum);
        (*content).uts_ns = member!(u32, member!(u64, nsproxy, nsproxy_uts), uts_ns_inum);
        (*content).ipc_ns = member!(u32, member!(u64, nsproxy, nsproxy_ipc), ipc_ns_inum);
        (*content).cgroup_ns = member!(u32, member!(u64, nsproxy, nsproxy_cgroup), cgroup_ns_inum);
        (*content).generation = generation;
        (*content).flags = flags;
        (*content).tracer_pid = member!(u32, tracer, task_tgid);
        (*content).reserved = 0;
        (*content).comm = member!([u8; 16], named, task_comm);
        (*content).tracer_comm = member!([u8; 16], tracer, task_comm);
    }
    event.close(Tag::Process, 0, size_of::<Process>() as u64);

    if exe != 0 {
        push_path(event, Tag::ExecutablePath, address!(exe, file_path), viewer);
    }
    if generation == 0 && mm != 0 {
        let start: u64 = member!(u64, mm, mm_arg_start);
        let end: u64 = member!(u64, mm, mm_arg_end);
        event.push_user_bytes::<{ ARGS_BYTES as u64 }>(Tag::Arguments, start, end.wrapping_sub(start));
    }
    push_exec_record(event, task, tgid);
    if viewer.fs != 0 {
        push_path(event, Tag::WorkingDirectory, address!(viewer.fs, fs_pwd), viewer);
        push_path(event, Tag::RootDirectory, address!(viewer.fs, fs_root), viewer);
    }
    if tty != 0 {
        event.push_kernel_str::<64>(Tag::Terminal, address!(tty, tty_name));
    }
    push_control_group(event, control_group(task));
}

/// Adds the command line that process `tgid` was last executed with, if it is remembered.
#[inline(always)]
fn push_exec_record(event: Event, task: u64, tgid: u32) {
    // A record fits where content goes.
    if exec_records::recall::<Probed>(task, tgid, event.content().cast()) {
        event.close(Tag::ExecArguments, 0, size_of::<ExecRecord>() as u64);
    }
}

/// Process id and pid namespace of a `struct pid` as its own namespace sees it (`task_active_pid_ns`).
#[inline(always)]
fn innermost_pid(pid: u64) -> (u32, u32) {
    let level = member!(u32, pid, pid_level);
    let upid = address!(pid, pid_numbers).wrapping_add(level as u64 * value!(upid_bytes) as u64);
    if pid == 0 {
        return (0, 0);
    }
    (member!(u32, upid, upid_nr), member!(u32, member!(u64, upid, upid_ns), pid_ns_inum))
}

/// The `struct pid` of a process, its group or its session, 0 when it has none.
#[inline(always)]
fn signal_pid(signal: u64, kind: u32) -> u64 {
    read(address!(signal, signal_pids).wrapping_add(kind as u64 * 8))
}

/// The number of a `struct pid` in the initial namespace.
#[inline(always)]
fn initial_number(pid: u64) -> u32 {
    if pid == 0 { 0 } else { member!(u32, address!(pid, pid_numbers), upid_nr) }
}

/// A `loginuid` or `sessionid`, -1 (not set) on kernels without audit.
#[inline(always)]
fn audit_id(task: u64, offset: u32) -> u32 {
    if offset == Offsets::MISSING { u32::MAX } else { read_member(task, offset) }
}

/// The `struct kernfs_node` of the task's control group: of the unified hierarchy, or of the pids controller where the
/// task is at the root of the unified one.
#[inline(always)]
fn control_group(task: u64) -> u64 {
    let set: u64 = member!(u64, task, task_cgroups);
    let node: u64 = member!(u64, member!(u64, set, cset_default_cgroup), cgroup_kn);
    if member!(u64, node, kernfs_parent) != 0 || value!(cgroup_v1_subsys) == u32::MAX {
        return node;
    }
    let subsys = address!(set, cset_subsys).wrapping_add(value!(cgroup_v1_subsys) as u64 * 8);
    if set == 0 || offset!(cset_subsys) == Offsets::MISSING {
        return node;
    }
    member!(u64, member!(u64, read::<u64>(subsys), css_cgroup), cgroup_kn)
}

/// Adds the names of the last [`CONTROL_GROUPS`] control groups up to the root, leaf first.
#[inline(always)]
fn push_control_group(event: Event, node: u64) {
    // SAFETY: a field of a buffer that this probe owns.
    let lineage = unsafe { &mut (*event.scratch).lineage };
    lineage.node = node;
    lineage.node_ahead = node;
    lineage.node_len = 0;
    lineage.node_flags = TRUNCATED as u64;
    lineage.cut = 0;
    // One pointer runs ahead: when it is at the root, the other one is just near enough.
    for distance in 0..CONTROL_GROUP_DEPTH {
        let ahead: u64 = member!(u64, lineage.node_ahead, kernfs_parent);
        if ahead == 0 {
            break;
        }
        lineage.node_ahead = ahead;
        if distance >= CONTROL_GROUPS {
            lineage.node = member!(u64, lineage.node, kernfs_parent);
            lineage.cut = 1;
        }
    }
    for _ in 0..CONTROL_GROUPS + 1 {
        if !step_control_group(event, lineage) {
            break;
        }
    }
    let cut = if lineage.cut != 0 { TRUNCATED } else { 0 };
    event.close(Tag::ControlGroup, lineage.node_flags as u16 | cut, lineage.node_len & (2 * WRITE_BYTES as u64 - 1));
}

/// Adds one name; whether there is another.
#[inline(always)]
fn step_control_group(event: Event, lineage: &mut Lineage) -> bool {
    let node = lineage.node;
    let parent: u64 = member!(u64, node, kernfs_parent);
    if parent == 0 {
        lineage.node_flags = 0;
        return false;
    }
    // SAFETY: a name fits behind any offset that `content_at` gives.
    let read = unsafe {
        bpf_probe_read_kernel_str(
            event.content_at(lineage.node_len).cast(),
            NAME_BYTES as u32,
            core::ptr::with_exposed_provenance(member!(u64, node, kernfs_name) as usize),
        )
    };
    if read <= 0 {
        lineage.node_flags = UNREADABLE as u64;
        return false;
    }
    lineage.node_len += read as u64;
    lineage.node = parent;
    true
}
