//! Runs of module tools, whatever they are called: told when they begin, and when they end. The probes at exec and exit call this.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{
        bpf_get_current_comm, bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_probe_read_user,
        bpf_probe_read_user_str,
    },
};
use lkm_monitor_common::{
    counter::Counter,
    event::EventKind,
    limits::{ARGUMENT_BYTES, EXEC_ARGS_BYTES, TOOL_ARGUMENTS},
    section::{ExecRecord, Tag, Tool, tool_matches},
    watch::{TOOL_BUILD_AT, TOOL_BUILD_BYTES, ToolFile, ToolHints, name_bit, number_bit, tool_kinds},
};

use crate::{
    files::report::by_root,
    kernel::{Load as _, Typed, address, current_task, load, member, offset, untyped},
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
    let count = member!(u32, binprm, binprm_argc);
    if has_arguments == 0 || count == 0 {
        return 0;
    }
    match match_arguments(kinds, count) {
        0 => 0,
        bit => matches | bit,
    }
}

/// How the arguments of the current process, a program of these kinds, name a module tool: a bit of [`tool_matches`], or 0.
#[inline(always)]
fn match_arguments(kinds: u32, count: u32) -> u32 {
    let mm: u64 = member!(u64, current_task(), task_mm);
    let mut at: u64 = member!(u64, mm, mm_arg_start);
    if kinds & tool_kinds::MANY != 0 {
        // As a login shell is called; programs of many take it off.
        at += (first_byte(at) == b'-') as u64;
    }
    // Any program can be told that it is `modprobe`. In front of the name only programs that are known read a folder.
    let first = read_argument(at, (kinds == 0) as u32);
    if first & tool_kinds::TOOL as u64 != 0 {
        return tool_matches::ARGUMENT_0;
    }
    let is_interpreter = kinds & tool_kinds::INTERPRETER != 0;
    let is_many = kinds as u64 & first & tool_kinds::MANY as u64 != 0;
    if !is_interpreter && !is_many {
        return 0;
    }
    at += first >> 32;
    for n in 1..TOOL_ARGUMENTS {
        if n >= count {
            break;
        }
        let argument = read_argument(at, 0);
        if argument & tool_kinds::TOOL as u64 != 0 {
            return if is_interpreter { tool_matches::INTERPRETER } else { tool_matches::APPLET };
        }
        // `busybox busybox insmod` is busybox, too.
        if argument == 0 || !is_interpreter && argument & tool_kinds::MANY as u64 == 0 {
            break;
        }
        at += argument >> 32;
    }
    0
}

/// The byte at an address of the current process.
#[inline(always)]
fn first_byte(address: u64) -> u8 {
    let mut byte = 0_u8;
    // SAFETY: the helper writes one byte, and checks the source.
    unsafe { bpf_probe_read_user((&raw mut byte).cast(), 1, core::ptr::with_exposed_provenance(address as usize)) };
    byte
}

/// An argument is measured in pieces, of which only the lengths are of interest.
const PIECES: usize = ARGUMENT_BYTES / (EXEC_ARGS_BYTES - 1) + 1;

/// The bits of [`tool_kinds`] for what the text at `start` of the current process names by its last component, or by all of it
/// (`whole`). The upper half is the number of its bytes with its NUL; 0 when it cannot be read. Overwrites the arguments of this
/// CPU's record. See [`report_name`](crate::files::report::report_name).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn read_argument(start: u64, whole: u32) -> u64 {
    let Some(record) = EXEC_SCRATCH.get_ptr_mut(0) else {
        return 0;
    };
    let mut end = start;
    for _ in 0..PIECES {
        // SAFETY: the calling probe's record, which is kept elsewhere by now; the helper checks the source.
        let read = unsafe {
            bpf_probe_read_user_str(
                (&raw mut (*record).args).cast(),
                EXEC_ARGS_BYTES as u32,
                core::ptr::with_exposed_provenance(end as usize),
            )
        };
        if read <= 0 {
            return 0;
        }
        end = end.wrapping_add(read as u64 - 1);
        if read < EXEC_ARGS_BYTES as i64 {
            break;
        }
    }
    let name = if whole != 0 { start } else { last_component(start, end) };
    kind_of_name(name) as u64 | (end.wrapping_sub(start) + 1) << 32
}

/// Where in the text from `start` to `end` the last component begins, if it is no longer than names of tools are.
#[inline(always)]
fn last_component(start: u64, end: u64) -> u64 {
    let mut last = [0_u8; 16];
    let mut component = end.wrapping_sub(last.len() as u64);
    // SAFETY: the helper writes no more than there is room, and checks the source.
    unsafe {
        bpf_probe_read_user(
            last.as_mut_ptr().cast(),
            last.len() as u32,
            core::ptr::with_exposed_provenance(component as usize),
        )
    };
    for (n, byte) in last.into_iter().enumerate() {
        if byte == b'/' {
            component = end.wrapping_sub(last.len() as u64 - n as u64 - 1);
        }
    }
    if component < start { start } else { component }
}

/// The bits of [`tool_kinds`] for the name at this address of the current process.
#[inline(always)]
fn kind_of_name(address: u64) -> u32 {
    let mut name = [0_u8; 16];
    // SAFETY: the helper writes no more than there is room, and checks the source.
    unsafe {
        bpf_probe_read_user_str(name.as_mut_ptr().cast(), 16, core::ptr::with_exposed_provenance(address as usize))
    };
    kind_of(&name) | kind_of_beginning::<7>(&name) | kind_of_beginning::<6>(&name)
}

#[inline(always)]
fn kind_of(name: &[u8; 16]) -> u32 {
    // SAFETY: the value is copied at once.
    unsafe { TOOL_NAMES.get(name).copied() }.unwrap_or(0)
}

/// Programs of many know themselves by the beginning of a name (`busybox`, `toybox`).
#[inline(always)]
fn kind_of_beginning<const LEN: usize>(name: &[u8; 16]) -> u32 {
    let mut beginning = [0_u8; 16];
    beginning[..LEN].copy_from_slice(&name[..LEN]);
    kind_of(&beginning) & tool_kinds::MANY
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
