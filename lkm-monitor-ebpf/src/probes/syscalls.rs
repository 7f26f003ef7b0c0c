//! init_module, finit_module and delete_module: what was asked, by whom, and what came of it.
//!
//! Two ways in: fentry and fexit on the system call functions, which cost other system calls nothing, and the syscall
//! tracepoints where trampolines do not work. The daemon attaches one of them.

use aya_ebpf::{
    EbpfContext,
    bindings::pt_regs,
    macros::{fentry, fexit, tracepoint},
    programs::{FEntryContext, FExitContext, TracePointContext},
};
use lkm_monitor_common::{
    counter::Counter,
    event::EventKind,
    limits::{NAME_ARGUMENT_BYTES, PARAMS_BYTES},
    section::{Abi, Call, CallEnd, Syscall, Tag},
};

use crate::{
    calls,
    event::Event,
    kernel::{address, current_task, descriptor, read},
    path::{Viewer, push_file, push_path},
    process::push_processes,
    stream::{Calls, Stream as _, count},
};

/// Bit of `orig_rax` that marks an x32 call (`__X32_SYSCALL_BIT`).
const X32_BIT: u64 = 0x4000_0000;

/// The first three arguments of a call.
#[derive(Clone, Copy)]
struct Arguments([u64; 3]);

/// The only argument of a system call function, `const struct pt_regs *`.
///
/// Read through the helper and not as `ctx.arg(0)`: the type information of 5.10 only forward-declares the structure for
/// these functions, and the verifier refuses a typed access to such an argument.
#[inline(always)]
fn registers(ctx: &impl EbpfContext) -> u64 {
    read(ctx.as_ptr().expose_provenance() as u64)
}

/// `long __x64_sys_*(const struct pt_regs *regs)`
#[inline(always)]
fn native_arguments(regs: u64) -> (Abi, Arguments) {
    let regs: *const pt_regs = core::ptr::with_exposed_provenance(regs as usize);
    // Addresses of fields only; nothing is dereferenced here.
    let field = |p: *const u64| read::<u64>(p.expose_provenance() as u64);
    // SAFETY: field addresses of a kernel pointer, read through the helper.
    let (arguments, number) = unsafe {
        (
            [
                field((&raw const (*regs).rdi).cast()),
                field((&raw const (*regs).rsi).cast()),
                field((&raw const (*regs).rdx).cast()),
            ],
            field((&raw const (*regs).orig_rax).cast()),
        )
    };
    let abi = if number & X32_BIT != 0 { Abi::X32 } else { Abi::Native };
    (abi, Arguments(arguments))
}

/// `long __ia32_sys_*(const struct pt_regs *regs)`: 32-bit registers, zero-extended.
#[inline(always)]
fn compat_arguments(regs: u64) -> (Abi, Arguments) {
    let regs: *const pt_regs = core::ptr::with_exposed_provenance(regs as usize);
    let field = |p: *const u64| read::<u64>(p.expose_provenance() as u64) & 0xffff_ffff;
    // SAFETY: field addresses of a kernel pointer, read through the helper.
    let arguments = unsafe {
        [
            field((&raw const (*regs).rbx).cast()),
            field((&raw const (*regs).rcx).cast()),
            field((&raw const (*regs).rdx).cast()),
        ]
    };
    (Abi::Compat, Arguments(arguments))
}

/// Arguments of a `syscalls:sys_enter_*` record: an array of longs behind the common fields and the call's number.
#[inline(always)]
fn tracepoint_arguments(ctx: &TracePointContext) -> (Abi, Arguments) {
    // SAFETY: offsets inside the record of every sys_enter event with three arguments or fewer than six.
    let argument = |n: usize| unsafe { ctx.read_at::<u64>(16 + 8 * n) }.unwrap_or(0);
    (Abi::Native, Arguments([argument(0), argument(1), argument(2)]))
}

#[inline(always)]
fn enter(syscall: Syscall, (abi, Arguments(args)): (Abi, Arguments)) {
    let call_id = calls::enter(syscall, abi, args);
    let mut sent = false;
    if let Some(draft) = Calls::begin(EventKind::CallEnter, call_id) {
        push_call(draft.event, syscall, abi, args);
        push_processes(draft.event);
        sent = draft.submit();
    }
    calls::note(calls::current(), EventKind::CallEnter, sent);
}

#[inline(always)]
fn push_call(event: Event, syscall: Syscall, abi: Abi, args: [u64; 3]) {
    let mut call =
        Call { syscall: syscall as u8, abi: abi as u8, reserved: 0, flags: 0, fd: -1, reserved2: 0, image_bytes: 0 };
    match syscall {
        Syscall::InitModule => call.image_bytes = args[1],
        Syscall::FinitModule => {
            call.fd = args[0] as i32;
            call.flags = args[2] as u32;
        }
        Syscall::DeleteModule => call.flags = args[1] as u32,
    }
    event.push(Tag::Call, call);
    match syscall {
        Syscall::InitModule => {
            event.push_user_str::<{ PARAMS_BYTES as u32 }>(Tag::Parameters, args[2]);
        }
        Syscall::FinitModule => {
            event.push_user_str::<{ PARAMS_BYTES as u32 }>(Tag::Parameters, args[1]);
            let file = descriptor(args[0] as u32);
            if file != 0 {
                push_file(event, file);
                push_path(event, Tag::FilePath, address!(file, file_path), Viewer::of(current_task()));
            }
        }
        Syscall::DeleteModule => {
            event.push_user_str::<{ NAME_ARGUMENT_BYTES as u32 }>(Tag::ModuleName, args[0]);
        }
    }
}

/// `arguments` are those that the call began with, where the hook still shows them.
#[inline(always)]
fn exit(syscall: Syscall, arguments: Option<[u64; 3]>, ret: i64) {
    let call = calls::returning(syscall, arguments);
    let (mut happened, mut sent, mut abi, mut name_address) = (0, 0, 0, 0);
    if let Some(call) = call {
        // SAFETY: a live map value that only this thread writes.
        unsafe {
            happened = (*call).happened;
            sent = (*call).sent;
            abi = (*call).abi;
            name_address = if let Syscall::DeleteModule = syscall { (*call).arguments[0] } else { 0 };
        }
    }
    let mut delivered = false;
    if let Some(draft) = Calls::begin(EventKind::CallExit, calls::id(call)) {
        let end = CallEnd { ret, happened, sent, syscall: syscall as u8, abi, reserved: [0; 6] };
        draft.event.push(Tag::CallEnd, end);
        // At the enter the page may not have been present; the kernel has touched it since.
        if name_address != 0 {
            draft.event.push_user_str::<{ NAME_ARGUMENT_BYTES as u32 }>(Tag::ModuleName, name_address);
        }
        delivered = draft.submit();
    }
    // A call without an entry is not counted here: the kernel skipped the probe at its enter, and counts that itself, or
    // there was no room for the entry, which was counted then.
    if !delivered && call.is_some() && sent == 0 {
        count(Counter::CallsUnseen);
    }
    calls::leave();
}

/// The programs of one system call: fentry and fexit for both ABIs, and the pair of tracepoints.
macro_rules! probes {
    ($syscall:ident, $x64:ident $x64_function:literal $x64_exit:ident, $ia32:ident $ia32_function:literal $ia32_exit:ident,
     $enter:ident, $exit:ident) => {
        #[fentry(function = $x64_function)]
        pub(crate) fn $x64(ctx: FEntryContext) -> i32 {
            enter(Syscall::$syscall, native_arguments(registers(&ctx)));
            0
        }

        #[fexit(function = $x64_function)]
        pub(crate) fn $x64_exit(ctx: FExitContext) -> i32 {
            let (_, Arguments(arguments)) = native_arguments(registers(&ctx));
            exit(Syscall::$syscall, Some(arguments), ctx.arg(1));
            0
        }

        #[fentry(function = $ia32_function)]
        pub(crate) fn $ia32(ctx: FEntryContext) -> i32 {
            enter(Syscall::$syscall, compat_arguments(registers(&ctx)));
            0
        }

        #[fexit(function = $ia32_function)]
        pub(crate) fn $ia32_exit(ctx: FExitContext) -> i32 {
            let (_, Arguments(arguments)) = compat_arguments(registers(&ctx));
            exit(Syscall::$syscall, Some(arguments), ctx.arg(1));
            0
        }

        #[tracepoint]
        pub(crate) fn $enter(ctx: TracePointContext) -> u32 {
            enter(Syscall::$syscall, tracepoint_arguments(&ctx));
            0
        }

        #[tracepoint]
        pub(crate) fn $exit(ctx: TracePointContext) -> u32 {
            // SAFETY: `ret` follows the common fields and the call's number in every sys_exit record.
            exit(Syscall::$syscall, None, unsafe { ctx.read_at(16) }.unwrap_or(0));
            0
        }
    };
}

probes!(InitModule, x64_init_module "__x64_sys_init_module" x64_init_module_exit,
    ia32_init_module "__ia32_sys_init_module" ia32_init_module_exit,
    sys_enter_init_module, sys_exit_init_module);
probes!(FinitModule, x64_finit_module "__x64_sys_finit_module" x64_finit_module_exit,
    ia32_finit_module "__ia32_sys_finit_module" ia32_finit_module_exit,
    sys_enter_finit_module, sys_exit_finit_module);
probes!(DeleteModule, x64_delete_module "__x64_sys_delete_module" x64_delete_module_exit,
    ia32_delete_module "__ia32_sys_delete_module" ia32_delete_module_exit,
    sys_enter_delete_module, sys_exit_delete_module);
