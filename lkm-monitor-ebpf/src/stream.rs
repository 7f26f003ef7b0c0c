//! The streams to the daemon, the only writers to the rings: what any process can cause, what the kernel confirmed, and what
//! root does to files.

use core::{arch::asm, marker::PhantomData};

use aya_ebpf::{
    helpers::generated::bpf_ringbuf_output,
    maps::{RingBuf, Stack},
};
use lkm_monitor_common::{counter::Counter, event::EventKind, limits::EVENT_BYTES};

use crate::{
    event::Event,
    maps::{ANSWER, CALLS, CALLS_SLOTS, COUNTERS, FILES, FILES_SLOTS, TRUTH, TRUTH_SLOTS},
};

/// A ring and the buffers that its events are built in. Each stream has buffers of its own: a flood of calls that fail
/// must not take those of a load that succeeds.
pub(crate) trait Stream: Sized {
    fn ring() -> &'static RingBuf;
    fn free_slots() -> &'static Stack<u32>;

    /// Takes a free buffer and begins an event in it. `None`, counted, when no buffer is free.
    #[inline(always)]
    fn begin(kind: EventKind, call_id: u64) -> Option<Draft<Self>> {
        let Ok(Some(slot)) = Self::free_slots().pop() else {
            count(Counter::ScratchExhausted);
            return None;
        };
        let event = Event::in_slot(slot)?;
        event.write_header(kind, call_id);
        Some(Draft { event, stream: PhantomData })
    }
}

/// Calls and requests.
pub(crate) struct Calls;

impl Stream for Calls {
    #[inline(always)]
    fn ring() -> &'static RingBuf {
        &CALLS
    }

    #[inline(always)]
    fn free_slots() -> &'static Stack<u32> {
        &CALLS_SLOTS
    }
}

/// What the kernel did for a privileged caller.
pub(crate) struct Truth;

impl Stream for Truth {
    #[inline(always)]
    fn ring() -> &'static RingBuf {
        &TRUTH
    }

    #[inline(always)]
    fn free_slots() -> &'static Stack<u32> {
        &TRUTH_SLOTS
    }
}

/// What root does to watched files and with module tools.
pub(crate) struct Files;

impl Stream for Files {
    #[inline(always)]
    fn ring() -> &'static RingBuf {
        &FILES
    }

    #[inline(always)]
    fn free_slots() -> &'static Stack<u32> {
        &FILES_SLOTS
    }
}

/// An event on its way to the stream that its buffer belongs to.
#[must_use = "a draft that is not submitted keeps its buffer for ever"]
pub(crate) struct Draft<S> {
    pub(crate) event: Event,
    stream: PhantomData<S>,
}

impl<S: Stream> Draft<S> {
    /// Copies the event into the ring and gives its buffer back. Whether it reached the ring; a full ring is counted.
    #[inline(always)]
    pub(crate) fn submit(self) -> bool {
        let sent = self.try_submit();
        if !sent {
            count(Counter::RingFull);
        }
        sent
    }

    /// The same for what will be tried again: a full ring is no loss then.
    #[inline(always)]
    pub(crate) fn try_submit(self) -> bool {
        let event = self.event;
        let len = event.end() & (EVENT_BYTES as u64 - 1);
        let ring = core::ptr::from_ref(S::ring()).cast_mut().cast();
        // SAFETY: `len` is less than the buffer; the ring is a map of the right type (`RingBuf` is a transparent map definition).
        let failed = unsafe { bpf_ringbuf_output(ring, event.at(0).cast(), len, 0) };
        // A push fails only on a full stack, and this slot was taken from it.
        let _ = S::free_slots().push(&event.slot, 0);
        if failed == 0 {
            count(Counter::Submitted);
        }
        failed == 0
    }
}

/// An event that goes to [`Files`] if root causes it, and to [`Calls`] if somebody else does: decided once, so that the code in
/// between is there once.
#[must_use = "a draft that is not submitted keeps its buffer for ever"]
pub(crate) struct DraftByUser {
    pub(crate) event: Event,
    by_root: bool,
}

impl DraftByUser {
    /// See [`Stream::begin`].
    #[inline(always)]
    pub(crate) fn begin(by_root: bool, kind: EventKind, call_id: u64) -> Option<Self> {
        let slot = if by_root { Files::free_slots().pop() } else { Calls::free_slots().pop() };
        let Ok(Some(slot)) = slot else {
            count(Counter::ScratchExhausted);
            return None;
        };
        let event = Event::in_slot(slot)?;
        event.write_header(kind, call_id);
        Some(Self { event, by_root })
    }

    /// See [`Draft::submit`].
    #[inline(always)]
    pub(crate) fn submit(self) -> bool {
        if self.by_root {
            Draft::<Files> { event: self.event, stream: PhantomData }.submit()
        } else {
            Draft::<Calls> { event: self.event, stream: PhantomData }.submit()
        }
    }
}

/// Answers the daemon, which runs this program and nobody else at this time.
#[inline(always)]
pub(crate) fn answer(value: u64) {
    if let Some(place) = ANSWER.get_ptr_mut(0) {
        // SAFETY: an aligned number that is there as long as the map.
        unsafe { place.write_volatile(value) };
    }
}

/// Adds one to a counter of this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        add(value, 1);
    }
}

/// Adds to a number of a map, which is aligned and lives as long as the map.
#[inline(always)]
pub(crate) fn add(value: *mut u64, addend: u64) {
    // One atomic instruction (all kernels have it), because a probe can be preempted by another between a load and a
    // store; core offers no atomic addition for this target.
    // SAFETY: the caller's word.
    unsafe { asm!("lock *(u64 *)({value} + 0) += {addend}", value = in(reg) value, addend = in(reg) addend) };
}
