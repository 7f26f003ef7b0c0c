//! How full the rings are.

use aya_ebpf::{
    helpers::generated::bpf_ringbuf_query, macros::raw_tracepoint, maps::RingBuf, programs::RawTracePointContext,
};

use crate::maps::{CALLS, FILES, TRUTH};

/// `BPF_RB_AVAIL_DATA` of include/uapi/linux/bpf.h: bytes that were not read.
const UNREAD: u64 = 0;

/// Run by the daemon with the number of a ring, on no hook. Gives the bytes in it.
#[raw_tracepoint]
pub(crate) fn ring_fill(ctx: RawTracePointContext) -> i32 {
    match ctx.arg::<u64>(0) {
        0 => unread(&TRUTH),
        1 => unread(&FILES),
        _ => unread(&CALLS),
    }
}

#[inline(always)]
fn unread(ring: &'static RingBuf) -> i32 {
    // SAFETY: a map of the right type (`RingBuf` is a transparent map definition).
    unsafe { bpf_ringbuf_query(core::ptr::from_ref(ring).cast_mut().cast(), UNREAD) as i32 }
}
