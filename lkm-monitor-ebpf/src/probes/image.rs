//! The module image as the kernel read it: which file, and the bytes.

use aya_ebpf::{helpers::generated::bpf_ktime_get_boot_ns, macros::fentry, programs::FEntryContext};
use lkm_monitor_common::{
    event::EventKind,
    section::{Image, Tag},
};

use crate::{
    calls,
    images::capture_image,
    kernel::{address, current_task, value},
    path::{Viewer, push_file, push_path},
    stream::{Stream as _, Truth},
};

/// `int security_kernel_post_read_file(struct file *file, char *buf, loff_t size, enum kernel_read_file_id id)`
///
/// The file is the one that was read, whatever the caller's descriptor names by now.
#[fentry(function = "security_kernel_post_read_file")]
pub(crate) fn security_kernel_post_read_file(ctx: FEntryContext) -> i32 {
    let id: u32 = ctx.arg(3);
    if id == value!(reading_module) {
        report_image(ctx.arg(0), (ctx.arg(1), ctx.arg(2)), Image::FROM_FILE);
    } else if id == value!(reading_module_compressed) {
        report_image(ctx.arg(0), (ctx.arg(1), ctx.arg(2)), Image::FROM_COMPRESSED_FILE);
    }
    0
}

/// `int security_kernel_post_load_data(char *buf, loff_t size, enum kernel_load_data_id id, char *description)`
#[fentry(function = "security_kernel_post_load_data")]
pub(crate) fn security_kernel_post_load_data(ctx: FEntryContext) -> i32 {
    let id: u32 = ctx.arg(2);
    if id == value!(loading_module) {
        report_image(0, (ctx.arg(0), ctx.arg(1)), Image::FROM_MEMORY);
    }
    0
}

#[inline(always)]
fn report_image(file: u64, (bytes, size): (u64, u64), source: u32) {
    // SAFETY: no preconditions.
    let id = unsafe { bpf_ktime_get_boot_ns() };
    let call = calls::current();
    // A kernel that has unpacked the image reports it again: what it was made of is here already.
    let is_known = call.is_some_and(|call| calls::has_happened(call, EventKind::ImageRead));
    // Before the event: whoever has that finds what is here.
    let captured_bytes = if is_known { 0 } else { capture_image(bytes, size, id) };
    let mut sent = false;
    if let Some(draft) = Truth::begin(EventKind::ImageRead, calls::id(call)) {
        let event = draft.event;
        event.push(Tag::Image, Image { size, source, reserved: 0, id, captured_bytes });
        if file != 0 {
            push_file(event, file);
            push_path(event, Tag::FilePath, address!(file, file_path), Viewer::of(current_task()));
        }
        sent = draft.submit();
    }
    calls::note(call, EventKind::ImageRead, sent);
}
