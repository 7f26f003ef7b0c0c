//! The kernel's own word on modules: parameters about to be parsed, module linked, module freed.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry},
    programs::{BtfTracePointContext, FEntryContext},
};
use lkm_monitor_common::{
    event::EventKind,
    limits::{MODULE_TEXT_BYTES, PARAMS_BYTES},
    section::{Module, Tag},
};

use crate::{
    calls,
    event::Event,
    kernel::{address, member},
    process::push_processes,
    stream::{Stream as _, Truth},
};

/// `MODULE_STATE_COMING` of `enum module_state` (include/linux/module.h).
const COMING: u64 = 1;

/// `int blocking_notifier_call_chain_robust(struct blocking_notifier_head *nh, unsigned long val_up, unsigned long val_down, void *v)`
///
/// `prepare_coming_module` calls it with the module, a moment before `parse_args` cuts the kernel's copy of the parameters into
/// pieces. That one takes more arguments than a trampoline passes on before 6.6, and a kprobe on it is refused to those who are
/// not CAP_SYS_ADMIN where `kernel.perf_event_paranoid` is 3, as on Debian.
#[fentry(function = "blocking_notifier_call_chain_robust")]
pub(crate) fn module_coming(ctx: FEntryContext) -> i32 {
    if ctx.arg::<u64>(1) == COMING {
        let module: u64 = ctx.arg(3);
        report_parameters(address!(module, module_name), || member!(u64, module, module_args));
    }
    0
}

/// `char *parse_args(const char *doing, char *args, ...)`
///
/// Where `struct module` holds no parameters: `doing` is the module's name, and `args` are the kernel's copy of the parameters. Other
/// callers (the boot command line) are not in a module call.
#[fentry(function = "parse_args")]
pub(crate) fn parse_args(ctx: FEntryContext) -> i32 {
    report_parameters(ctx.arg(0), || ctx.arg(1));
    0
}

/// What the kernel took, at the first time in a module call: later ones are others'.
#[inline(always)]
fn report_parameters(name: u64, parameters: impl FnOnce() -> u64) {
    let Some(call) = calls::current().filter(|call| !calls::has_happened(*call, EventKind::Parameters)) else {
        return;
    };
    let mut sent = false;
    if let Some(draft) = Truth::begin(EventKind::Parameters, calls::id(Some(call))) {
        let event = draft.event;
        event.push_kernel_str::<{ MODULE_TEXT_BYTES as u32 }>(Tag::ModuleName, name);
        event.push_kernel_str::<{ PARAMS_BYTES as u32 }>(Tag::Parameters, parameters());
        sent = draft.submit();
    }
    calls::note(Some(call), EventKind::Parameters, sent);
}

/// `trace_module_load(struct module *mod)`: linked into the kernel, init not run yet.
#[btf_tracepoint(function = "module_load")]
pub(crate) fn module_load(ctx: BtfTracePointContext) -> i32 {
    report_module(EventKind::ModuleLoaded, ctx.arg(0));
    0
}

/// `trace_module_free(struct module *mod)`: unloaded, or taken back after its init failed.
#[btf_tracepoint(function = "module_free")]
pub(crate) fn module_free(ctx: BtfTracePointContext) -> i32 {
    report_module(EventKind::ModuleFreed, ctx.arg(0));
    0
}

#[inline(always)]
fn report_module(kind: EventKind, module: u64) {
    let call = calls::current();
    let mut sent = false;
    if let Some(draft) = Truth::begin(kind, calls::id(call)) {
        let event = draft.event;
        event.push(Tag::Module, Module { taints: member!(u64, module, module_taints) });
        event.push_kernel_str::<{ MODULE_TEXT_BYTES as u32 }>(Tag::ModuleName, address!(module, module_name));
        push_text(event, Tag::ModuleVersion, member!(u64, module, module_version));
        push_text(event, Tag::ModuleSrcversion, member!(u64, module, module_srcversion));
        // Who did it is known from the enter event, unless a flood pushed that out or no probe saw it.
        if !calls::is_described(call) {
            push_processes(event);
        }
        sent = draft.submit();
    }
    calls::note(call, kind, sent);
}

#[inline(always)]
fn push_text(event: Event, tag: Tag, address: u64) {
    if address != 0 {
        event.push_kernel_str::<{ MODULE_TEXT_BYTES as u32 }>(tag, address);
    }
}
