//! Runs of module tools, whatever they are called: told when they begin, and when they end. The probes at exec and exit call this.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_get_current_comm, bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_probe_read_kernel_str},
};
use lkm_monitor_common::{
    counter::Counter,
    event::EventKind,
    limits::EXEC_ARGS_BYTES,
    section::{ExecRecord, Tag, Tool, tool_matches},
    watch::{TOOL_BUILD_AT, TOOL_BUILD_BYTES, ToolFile, ToolHints, name_bit, number_bit, tool_kinds},
};

use crate::{
    files::report::by_root,
    kernel::{Load as _, Typed, address, load, member, offset, untyped},
    maps::{EXEC_SCRATCH, TOOL_BUILDS, TOOL_FILES, TOOL_NAMES, TOOL_RUNS},
    process::push_processes,
    stream::{DraftByUser, add, count},
};

/// A run of a module tool.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ToolRun {
    /// `boot_ns` of its exec, the run's name.
    id: u64,
}

/// Runs under way. Where there are none, the probe at the exit has nothing to look for.
#[unsafe(no_mangle)]
static mut TOOL_RUNS_UNDER_WAY: u64 = 0;

/// Filled by the daemon, at any time.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.tools")]
static mut TOOL_HINTS: ToolHints = ToolHints { inodes: 0, builds: 0, names: 0 };

/// A field of [`TOOL_HINTS`].
macro_rules! hints {
    ($field:ident) => {
        // SAFETY: an aligned number that is there as long as the program. Volatile: the daemon writes it.
        unsafe { core::ptr::read_volatile(&raw const TOOL_HINTS.$field) }
    };
}

/// The current process has executed a program; `record` holds its file and the first of its arguments, if `has_arguments`.
#[inline(always)]
pub(crate) fn executed(task: u64, binprm: u64, record: *const ExecRecord, has_arguments: bool) {
    // SAFETY: an aligned number that is there as long as the program.
    if unsafe { core::ptr::read_volatile(&raw const TOOL_RUNS_UNDER_WAY) } != 0 {
        end_run((bpf_get_current_pid_tgid() >> 32) as u32, 0, 1);
    }
    let name = load!(Typed, u32, task, task_comm);
    let build: u64 = Typed::load(binprm, offset!(binprm_head) as u64 + TOOL_BUILD_AT as u64);
    // SAFETY: the calling probe's record.
    let (inode, argument) =
        unsafe { ((*record).exe_inode, (&raw const (*record).args).cast::<u32>().read_unaligned()) };
    let named = name_bit(name) | if has_arguments { name_bit(argument) } else { 0 };
    let may_be_tool = hints!(names) & named | hints!(inodes) & number_bit(inode) | hints!(builds) & number_bit(build);
    if may_be_tool == 0 {
        return;
    }
    let matches = match_tool(untyped(binprm), has_arguments as u32);
    if matches != 0 {
        begin_run(matches, load!(Typed, u32, binprm, binprm_argc));
    }
}

/// Begins to follow a run of a module tool, and tells of it. See [`report_name`](crate::files::report::report_name).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn begin_run(matches: u32, argument_count: u32) -> u32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: no preconditions.
    let run = ToolRun { id: unsafe { bpf_ktime_get_boot_ns() } };
    if TOOL_RUNS.insert(&tgid, &run, 0).is_ok() {
        add(&raw mut TOOL_RUNS_UNDER_WAY, 1);
    } else {
        count(Counter::ToolRunsFull);
    }
    report(EventKind::ToolStarted, run.id, Tool { matches, argument_count, exit_code: 0, replaced: 0 }, true);
    0
}

/// How the program that is in this CPU's record is known as a module tool; 0 when it is none. See
/// [`report_name`](crate::files::report::report_name).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn match_tool(binprm: u64, has_arguments: u32) -> u32 {
    let Some(record) = EXEC_SCRATCH.get_ptr(0) else {
        return 0;
    };
    let (mut matches, mut kinds) = (0, 0);
    let mut add = |bit: u32, kind: Option<u32>| {
        if let Some(kind) = kind {
            matches |= bit;
            kinds |= kind;
        }
    };
    // SAFETY: the calling probe's record; what is read has room; the helpers check their sources. Map values are copied at once.
    unsafe {
        let tool = ToolFile { inode: (*record).exe_inode, device: (*record).exe_device, reserved: 0 };
        add(tool_matches::INODE, TOOL_FILES.get(&tool).copied());
        let head = address!(binprm, binprm_head).wrapping_add(TOOL_BUILD_AT as u64);
        let mut build = [0_u8; TOOL_BUILD_BYTES];
        bpf_probe_read_kernel(
            build.as_mut_ptr().cast(),
            TOOL_BUILD_BYTES as u32,
            core::ptr::with_exposed_provenance(head as usize),
        );
        add(tool_matches::BUILD, TOOL_BUILDS.get(&build).copied());
        let mut name = [0_u8; 16];
        bpf_get_current_comm(name.as_mut_ptr().cast(), 16);
        add(tool_matches::NAME, TOOL_NAMES.get(&name).copied());
    }
    if kinds & tool_kinds::TOOL != 0 {
        return matches;
    }
    if has_arguments == 0 {
        return 0;
    }
    // SAFETY: as above; a place in the arguments is masked to the room there is.
    let first = unsafe { (&raw const (*record).args).cast::<u8>() };
    let (is_tool, len) = is_tool_name(first);
    if is_tool {
        return matches | tool_matches::ARGUMENT_0;
    }
    // SAFETY: as above.
    let second = unsafe { first.add(len as usize & (EXEC_ARGS_BYTES / 2 - 1)) };
    if kinds & tool_kinds::MANY != 0 && is_tool_name(second).0 {
        return matches | tool_matches::ARGUMENT_1;
    }
    0
}

/// Whether the text at `argument` is a tool's name, and its bytes with its NUL, up to 64.
#[inline(always)]
fn is_tool_name(argument: *const u8) -> (bool, u32) {
    let mut text = [0_u8; 64];
    // SAFETY: the helper writes no more than there is room, and checks the source.
    let len = unsafe { bpf_probe_read_kernel_str(text.as_mut_ptr().cast(), 64, argument.cast()) };
    if len <= 1 {
        return (false, 0);
    }
    let mut name = [0_u8; 16];
    if len <= 16 {
        name.copy_from_slice(&text[..16]);
    }
    // SAFETY: the value is copied at once.
    let kind = unsafe { TOOL_NAMES.get(&name).copied() }.unwrap_or(0);
    (kind & tool_kinds::TOOL != 0, len as u32)
}

/// A process has ended, if this was its last thread.
#[inline(always)]
pub(crate) fn exited(task: u64) {
    // SAFETY: an aligned number that is there as long as the program.
    if unsafe { core::ptr::read_volatile(&raw const TOOL_RUNS_UNDER_WAY) } == 0 {
        return;
    }
    let signal: u64 = member!(u64, task, task_signal);
    if member!(u32, signal, signal_live) == 0 {
        let of_group = member!(u32, signal, signal_group_exit_code);
        let exit_code = if of_group != 0 { of_group } else { member!(u32, task, task_exit_code) };
        end_run(member!(u32, task, task_tgid), exit_code, 0);
    }
}

/// Tells that the run of a process is over, if it is one. See [`report_name`](crate::files::report::report_name).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn end_run(tgid: u32, exit_code: u32, replaced: u32) -> u32 {
    // SAFETY: copied at once.
    let Some(run) = (unsafe { TOOL_RUNS.get(&tgid).copied() }) else {
        return 0;
    };
    report(EventKind::ToolEnded, run.id, Tool { matches: 0, argument_count: 0, exit_code, replaced }, false);
    if TOOL_RUNS.remove(&tgid).is_ok() {
        add(&raw mut TOOL_RUNS_UNDER_WAY, u64::MAX);
    }
    0
}

#[inline(always)]
fn report(kind: EventKind, id: u64, tool: Tool, describe: bool) {
    if let Some(draft) = DraftByUser::begin(by_root(), kind, id) {
        draft.event.push(Tag::Tool, tool);
        if describe {
            push_processes(draft.event);
        }
        draft.submit();
    }
}
