//! The kernel asking user space for a module, in the context of the process that made it ask.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use lkm_monitor_common::{
    event::EventKind,
    limits::MODULE_TEXT_BYTES,
    section::{Request, Tag},
};

use crate::{
    process::push_processes,
    stream::{Calls, Stream as _},
};

/// `trace_module_request(char *name, bool wait, unsigned long ip)` in `__request_module`, after the security modules agreed.
#[btf_tracepoint(function = "module_request")]
pub(crate) fn module_request(ctx: BtfTracePointContext) -> i32 {
    let wait: u8 = ctx.arg(1);
    if let Some(draft) = Calls::begin(EventKind::ModuleRequested, 0) {
        let event = draft.event;
        event.push(Tag::Request, Request { wait: wait as u32, reserved: 0 });
        event.push_kernel_str::<{ MODULE_TEXT_BYTES as u32 }>(Tag::ModuleName, ctx.arg(0));
        push_processes(event);
        draft.submit();
    }
    0
}
