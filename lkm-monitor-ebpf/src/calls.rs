//! Module system calls between enter and exit.
//!
//! A thread makes one system call at a time, so the thread names the call. The entry remembers what the probes saw and
//! what of it reached a ring: the exit event carries both, and the daemon knows exactly what to wait for and what was lost.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns};
use lkm_monitor_common::{
    counter::Counter,
    event::EventKind,
    section::{Abi, Syscall},
};

use crate::{maps::IN_FLIGHT, stream::count};

/// A call that was entered.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct InFlight {
    /// `boot_ns` of the enter: with the thread id, the call's name.
    pub(crate) call_id: u64,
    /// The call's arguments: delete_module's first one is read again at the exit.
    pub(crate) arguments: [u64; 3],
    /// [`EventKind::bit`]s of what was seen.
    pub(crate) happened: u32,
    /// Bits of what reached a ring.
    pub(crate) sent: u32,
    /// A [`Syscall`].
    pub(crate) syscall: u8,
    pub(crate) abi: u8,
    pub(crate) reserved: [u8; 6],
}

/// Begins to follow a call of this thread. Returns its id, 0 when it cannot be followed (counted).
#[inline(always)]
pub(crate) fn enter(syscall: Syscall, abi: Abi, arguments: [u64; 3]) -> u64 {
    count(Counter::CallsEntered);
    // SAFETY: no preconditions.
    let call_id = unsafe { bpf_ktime_get_boot_ns() };
    let happened = EventKind::CallEnter.bit();
    let call =
        InFlight { call_id, arguments, happened, sent: 0, syscall: syscall as u8, abi: abi as u8, reserved: [0; 6] };
    if IN_FLIGHT.insert(&bpf_get_current_pid_tgid(), &call, 0).is_err() {
        count(Counter::InFlightFull);
        // What an earlier call of this thread may have left there is not this one.
        leave();
        return 0;
    }
    call_id
}

/// The call that this thread is returning from. An entry of another call is what the kernel left behind
/// when it skipped that call's exit probe, and this one's enter probe.
#[inline(always)]
pub(crate) fn returning(syscall: Syscall, arguments: Option<[u64; 3]>) -> Option<*mut InFlight> {
    let call = current()?;
    // SAFETY: a live map value that only this thread writes.
    let same = unsafe { (*call).syscall == syscall as u8 && arguments.is_none_or(|given| (*call).arguments == given) };
    same.then_some(call)
}

/// The call that this thread is in.
#[inline(always)]
pub(crate) fn current() -> Option<*mut InFlight> {
    IN_FLIGHT.get_ptr_mut(&bpf_get_current_pid_tgid())
}

/// Notes that an event of this thread's call happened, and whether it was sent.
#[inline(always)]
pub(crate) fn note(call: Option<*mut InFlight>, kind: EventKind, sent: bool) {
    if let Some(call) = call {
        // SAFETY: a live map value that only this thread writes.
        unsafe {
            (*call).happened |= kind.bit();
            if sent {
                (*call).sent |= kind.bit();
            }
        }
    }
}

/// Whether an event of this kind happened in a call.
#[inline(always)]
pub(crate) fn has_happened(call: *mut InFlight, kind: EventKind) -> bool {
    // SAFETY: a live map value.
    unsafe { (*call).happened & kind.bit() != 0 }
}

/// Id of a call, 0 without one.
#[inline(always)]
pub(crate) fn id(call: Option<*mut InFlight>) -> u64 {
    // SAFETY: a live map value.
    call.map_or(0, |call| unsafe { (*call).call_id })
}

/// Whether the daemon already has the description of this call's process.
#[inline(always)]
pub(crate) fn is_described(call: Option<*mut InFlight>) -> bool {
    // SAFETY: a live map value.
    call.is_some_and(|call| unsafe { (*call).sent } & EventKind::CallEnter.bit() != 0)
}

/// Ends the call of this thread.
#[inline(always)]
pub(crate) fn leave() {
    // Absent when the call began before the probes did, or could not be followed.
    let _ = IN_FLIGHT.remove(&bpf_get_current_pid_tgid());
}
