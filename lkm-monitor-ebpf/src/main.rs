//! Kernel probes of lkm-monitor.
//!
//! A probe is thin: it names its hook and the kernel prototype behind it, and calls a body that fills an [`event::Event`]
//! and submits it. The rooms: `probes/` one file per hook family; `process` and `path` describe who
//! and where; `event` builds; `stream` is the only writer to the rings; `kernel` reads kernel memory by the offsets that
//! the daemon resolved from BTF.
//!
//! The probes label, they do not judge: nothing is dropped here for what it is.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod calls;
mod event;
mod exec_records;
mod files;
mod images;
mod kernel;
mod maps;
mod path;
mod probes;
mod process;
mod stream;

/// The kernel lends tracing helpers only to programs that declare a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// No code path here can panic; the compiler wants the item, and the verifier would refuse the loop if one could.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
