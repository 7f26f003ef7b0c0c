//! Hands laid on the daemon's own maps, programs and links: by bpf(2), and by pidfd_getfd(2).
//!
//! The call is known where the kernel has copied its arguments (`security_bpf`), and told when it returns. Calls on other objects, and
//! the daemon's own, are not told.

use aya_ebpf::{
    EbpfContext as _,
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit, raw_tracepoint},
    programs::{FEntryContext, FExitContext, RawTracePointContext},
};
use lkm_monitor_common::{
    event::EventKind,
    objects::{ObjectKind, PIDFD_GETFD, USE_MAP, command, key_of_id},
    section::{ObjectAccess, Tag, object_access_flags::OUTCOME_UNKNOWN},
};

use crate::{
    files::report::by_root,
    kernel::{current_task, descriptor, member, read},
    maps::{OBJECT_CALLS, OWN_OBJECTS},
    process::push_processes,
    stream::{DraftByUser, answer},
};

/// One object of the daemon's.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct OwnObject {
    /// An [`ObjectKind`].
    kind: u32,
    id: u32,
}

/// A bpf() call that has not returned.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ObjectCall {
    operation: u32,
    reserved: u32,
    object: OwnObject,
}

/// Which object the call is on shows in the descriptor that it returns.
const UNTIL_RETURN: OwnObject = OwnObject { kind: 0, id: 0 };

/// The daemon: its process in the initial pid namespace, and when that started. 0 until it has said so.
#[unsafe(no_mangle)]
static mut DAEMON_TGID: u64 = 0;
#[unsafe(no_mangle)]
static mut DAEMON_START_BOOT_NS: u64 = 0;
/// Whether returns are hooked.
#[unsafe(no_mangle)]
static mut BPF_RETURNS_SEEN: u64 = 0;

/// One of the numbers above.
macro_rules! global {
    ($name:ident) => {
        // SAFETY: an aligned number that is there as long as the program. Volatile: another program writes it.
        unsafe { core::ptr::read_volatile(&raw const $name) }
    };
}

/// Run by the daemon with a descriptor of its own, an [`ObjectKind`] and the object's number: from now on this is one of the daemon's
/// objects, if the answer is 1. Who runs it first is the daemon. Other callers are told like all others.
#[raw_tracepoint]
pub(crate) fn own_object(ctx: RawTracePointContext) -> i32 {
    let (fd, kind, id): (u64, u64, u64) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    if global!(DAEMON_TGID) == 0 {
        // SAFETY: aligned numbers; the daemon runs this in one thread.
        unsafe {
            core::ptr::write_volatile(&raw mut DAEMON_START_BOOT_NS, start_boot_ns());
            core::ptr::write_volatile(&raw mut DAEMON_TGID, bpf_get_current_pid_tgid() >> 32);
        }
    }
    let object = OwnObject { kind: kind as u32, id: id as u32 };
    answer(u64::from(by_daemon() && know(object_of(fd as u32), object)));
    0
}

/// Whether the daemon's object at this address is known now.
#[inline(always)]
fn know(address: u64, object: OwnObject) -> bool {
    let by_id = object.id == 0 || OWN_OBJECTS.insert(&key_of_id(object.kind, object.id), &object, 0).is_ok();
    address != 0 && by_id && OWN_OBJECTS.insert(&address, &object, 0).is_ok()
}

/// Run by the daemon when the probes on returns are attached.
#[raw_tracepoint]
pub(crate) fn bpf_returns_seen(_ctx: RawTracePointContext) -> i32 {
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(&raw mut BPF_RETURNS_SEEN, 1) };
    0
}

/// `int security_bpf(int cmd, union bpf_attr *attr, unsigned int size)`, from 6.15 on with `bool kernel` behind
///
/// `attr` is the kernel's copy: what the caller writes into its own afterwards changes nothing.
#[fentry(function = "security_bpf")]
pub(crate) fn security_bpf(ctx: FEntryContext) -> i32 {
    let arguments = ctx.as_ptr().expose_provenance() as u64;
    let (operation, attr): (u32, u64) = (read(arguments), read(arguments.wrapping_add(8)));
    if by_daemon() {
        return 0;
    }
    if let Some(object) = target(operation, attr) {
        called(operation, object);
    }
    0
}

/// The daemon's object that a call is on. The places in `union bpf_attr` are part of the kernel's interface.
#[inline(always)]
fn target(operation: u32, attr: u64) -> Option<OwnObject> {
    let word = |at: u64| read::<u32>(attr.wrapping_add(at));
    match operation {
        command::PROG_GET_FD_BY_ID => known(key_of_id(ObjectKind::Program as u32, word(0))),
        command::MAP_GET_FD_BY_ID => known(key_of_id(ObjectKind::Map as u32, word(0))),
        command::LINK_GET_FD_BY_ID => known(key_of_id(ObjectKind::Link as u32, word(0))),
        command::OBJ_GET => Some(UNTIL_RETURN),
        command::MAP_UPDATE_ELEM
        | command::MAP_DELETE_ELEM
        | command::MAP_LOOKUP_AND_DELETE_ELEM
        | command::MAP_FREEZE
        | command::PROG_TEST_RUN
        | command::LINK_UPDATE
        | command::LINK_DETACH => known(object_of(word(0))),
        // `attach_prog_fd`: what is loaded can take the place of a function of it, and no link of ours shows that.
        command::PROG_LOAD => known(object_of(word(112))),
        // `attach_bpf_fd`
        command::PROG_DETACH => known(object_of(word(4))),
        // `bpf_fd`, behind the path
        command::OBJ_PIN => known(object_of(word(8))),
        // `prog_bind_map.map_fd`
        command::PROG_BIND_MAP => known(object_of(word(4))),
        // `batch.map_fd`
        command::MAP_UPDATE_BATCH | command::MAP_DELETE_BATCH | command::MAP_LOOKUP_AND_DELETE_BATCH => {
            known(object_of(word(36)))
        }
        _ => None,
    }
}

/// `void bpf_map_inc(struct bpf_map *map)`
///
/// Who loads a program holds the maps that its instructions name, by descriptor or by place in a list of descriptors, and so does a map of
/// maps: from then on the program changes them without a call. What the thread was found to do with an object says more, if it does.
#[fentry(function = "bpf_map_inc")]
pub(crate) fn bpf_map_inc(ctx: FEntryContext) -> i32 {
    // SAFETY: looked at, and not kept.
    let is_known_call = unsafe { OBJECT_CALLS.get(&bpf_get_current_pid_tgid()) }.is_some();
    if !by_daemon()
        && !is_known_call
        && let Some(object) = known(ctx.arg(0))
    {
        called(USE_MAP, object);
    }
    0
}

#[inline(always)]
fn called(operation: u32, object: OwnObject) {
    let call = ObjectCall { operation, reserved: 0, object };
    let waits = global!(BPF_RETURNS_SEEN) != 0 && OBJECT_CALLS.insert(&bpf_get_current_pid_tgid(), &call, 0).is_ok();
    if !waits && object.kind != 0 {
        report_access(operation, object.kind, object.id, 0, OUTCOME_UNKNOWN);
    }
}

/// `long __x64_sys_bpf(const struct pt_regs *regs)`
#[fexit(function = "__x64_sys_bpf")]
pub(crate) fn x64_bpf_exit(ctx: FExitContext) -> i32 {
    returned(ctx.arg(1));
    0
}

/// `long __ia32_sys_bpf(const struct pt_regs *regs)`
#[fexit(function = "__ia32_sys_bpf")]
pub(crate) fn ia32_bpf_exit(ctx: FExitContext) -> i32 {
    returned(ctx.arg(1));
    0
}

#[inline(always)]
fn returned(ret: i64) {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: copied at once.
    let Some(call) = (unsafe { OBJECT_CALLS.get(&thread).copied() }) else {
        return;
    };
    let _ = OBJECT_CALLS.remove(&thread);
    let object = match call.object.kind {
        0 if ret < 0 => None,
        0 => known(object_of(ret as u32)),
        _ => Some(call.object),
    };
    if let Some(object) = object {
        report_access(call.operation, object.kind, object.id, ret, 0);
    }
}

/// `long __x64_sys_pidfd_getfd(const struct pt_regs *regs)`: takes a descriptor of another process.
#[fexit(function = "__x64_sys_pidfd_getfd")]
pub(crate) fn x64_pidfd_getfd_exit(ctx: FExitContext) -> i32 {
    taken(ctx.arg(1));
    0
}

/// `long __ia32_sys_pidfd_getfd(const struct pt_regs *regs)`
#[fexit(function = "__ia32_sys_pidfd_getfd")]
pub(crate) fn ia32_pidfd_getfd_exit(ctx: FExitContext) -> i32 {
    taken(ctx.arg(1));
    0
}

#[inline(always)]
fn taken(ret: i64) {
    if ret >= 0
        && !by_daemon()
        && let Some(object) = known(object_of(ret as u32))
    {
        report_access(PIDFD_GETFD, object.kind, object.id, ret, 0);
    }
}

/// Tells of a call. See [`report_name`](crate::files::report::report_name).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn report_access(operation: u32, kind: u32, id: u32, ret: i64, flags: u32) -> u32 {
    if let Some(draft) = DraftByUser::begin(by_root(), EventKind::ObjectAccessed, 0) {
        draft.event.push(Tag::ObjectAccess, ObjectAccess { operation, kind, id, flags, ret });
        push_processes(draft.event);
        draft.submit();
    }
    0
}

#[inline(always)]
fn known(key: u64) -> Option<OwnObject> {
    // SAFETY: copied at once.
    unsafe { OWN_OBJECTS.get(&key).copied() }
}

/// The address of the object behind a descriptor of this process: `private_data` of the files of maps, programs, links and perf
/// events. Of other files it is something else, which is no object's address. 0 where there is no such descriptor.
#[inline(always)]
fn object_of(fd: u32) -> u64 {
    member!(u64, descriptor(fd), file_private_data)
}

#[inline(always)]
fn by_daemon() -> bool {
    bpf_get_current_pid_tgid() >> 32 == global!(DAEMON_TGID) && start_boot_ns() == global!(DAEMON_START_BOOT_NS)
}

/// When the current process started, in nanoseconds since boot.
#[inline(always)]
fn start_boot_ns() -> u64 {
    member!(u64, member!(u64, current_task(), task_group_leader), task_start_boot)
}
