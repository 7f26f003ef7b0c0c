//! Reads kernel memory for the daemon, which compares what it finds with what the kernel's files say.
//!
//! An object of its own, apart from the probes: it hangs on no hook, so it costs nothing while nobody runs it, and where a kernel refuses it
//! the probes are there all the same. What to read and what it means is decided in the daemon: `integrity/`.
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::generated::bpf_probe_read_kernel,
    macros::{map, raw_tracepoint},
    maps::Array,
    programs::RawTracePointContext,
};
use lkm_monitor_common::peek::{FOLLOW, SLOT_BYTES, SLOTS, Slot};

/// Where to read, and what was there. The daemon maps it: a copy of each slot by bpf(2) would cost more than the read.
#[map]
static PEEK: Array<Slot> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);

/// Run by the daemon with the number of slots, the bytes of each read and an offset for [`FOLLOW`]. `bpf_probe_read_kernel` takes any
/// address: one that is not the kernel's or not mapped gives an error and no fault.
#[raw_tracepoint]
pub(crate) fn peek(ctx: RawTracePointContext) -> i32 {
    let slots: u64 = ctx.arg(0);
    let bytes: u64 = ctx.arg(1);
    let offset: u64 = ctx.arg(2);
    if bytes > SLOT_BYTES as u64 {
        return 0;
    }
    let mut found = 0_u64;
    let mut number = 0_u32;
    while number < SLOTS && u64::from(number) < slots {
        let Some(slot) = PEEK.get_ptr_mut(number) else { break };
        // SAFETY: an element of the map. The daemon waits for the program's end, so nobody else is at it.
        unsafe {
            let address = match (*slot).address {
                FOLLOW => found.wrapping_add(offset),
                address => address,
            };
            let to = (&raw mut (*slot).bytes).cast::<u8>();
            let from = ptr::with_exposed_provenance(address as usize);
            (*slot).status = bpf_probe_read_kernel(to.cast(), bytes as u32, from);
            found = ptr::read_volatile(to.cast::<u64>());
        }
        number += 1;
    }
    0
}

/// The kernel lends tracing helpers only to programs that declare a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// No code path here can panic; the compiler wants the item, and the verifier would refuse the loop if one could.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
