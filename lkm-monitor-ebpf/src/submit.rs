//! The only writer to the rings.

use core::arch::asm;

use aya_ebpf::{helpers::generated::bpf_ringbuf_output, maps::RingBuf};
use lkm_monitor_common::{counter::Counter, limits::EVENT_BYTES};

use crate::{
    event::Event,
    maps::{CALLS, COUNTERS, FREE_SLOTS, TRUTH},
};

/// Adds one to a counter of this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // One atomic instruction (all kernels have it), because a probe can be preempted by another between a load and a
        // store; core offers no atomic addition for this target.
        // SAFETY: map values are aligned and live as long as the map.
        unsafe { asm!("lock *(u64 *)({value} + 0) += {one}", value = in(reg) value, one = in(reg) 1u64) };
    }
}

/// Sends an event of a call or request. Whether it reached the ring; a full ring is counted.
#[inline(always)]
pub(crate) fn submit_call(event: Event) -> bool {
    submit(&CALLS, event)
}

/// Sends an event that the kernel itself confirmed.
#[inline(always)]
pub(crate) fn submit_truth(event: Event) -> bool {
    submit(&TRUTH, event)
}

/// Copies the event into the ring and gives its buffer back.
#[inline(always)]
fn submit(ring: &'static RingBuf, event: Event) -> bool {
    let len = event.end() & (EVENT_BYTES as u64 - 1);
    // SAFETY: `len` is less than the buffer; the ring is a map of the right type (`RingBuf` is a transparent map definition).
    let failed = unsafe { bpf_ringbuf_output(core::ptr::from_ref(ring).cast_mut().cast(), event.at(0).cast(), len, 0) };
    // A push fails only on a full stack, and this slot was taken from it.
    let _ = FREE_SLOTS.push(&event.slot, 0);
    count(if failed == 0 { Counter::Submitted } else { Counter::RingFull });
    failed == 0
}
