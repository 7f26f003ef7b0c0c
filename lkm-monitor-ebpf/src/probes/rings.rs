//! How full the rings are.

use aya_ebpf::{
    helpers::generated::bpf_ringbuf_query, macros::raw_tracepoint, maps::RingBuf, programs::RawTracePointContext,
};

use crate::{
    maps::{CALLS, FILES, IMAGES, TRUTH},
    stream::answer,
};

/// `BPF_RB_AVAIL_DATA` of include/uapi/linux/bpf.h: bytes that were not read.
const UNREAD: u64 = 0;

/// Run by the daemon with the number of a ring, on no hook. Answers the bytes in it.
#[raw_tracepoint]
pub(crate) fn ring_fill(ctx: RawTracePointContext) -> i32 {
    answer(match ctx.arg::<u64>(0) {
        0 => unread(&TRUTH),
        1 => unread(&FILES),
        2 => unread(&CALLS),
        _ => unread(&IMAGES),
    });
    0
}

#[inline(always)]
fn unread(ring: &'static RingBuf) -> u64 {
    // SAFETY: a map of the right type (`RingBuf` is a transparent map definition).
    unsafe { bpf_ringbuf_query(core::ptr::from_ref(ring).cast_mut().cast(), UNREAD) }
}
