//! What the kernel probes and the daemon agree on: event layouts, limits, counters and kernel offsets.
//!
//! Everything here is plain memory (`repr(C)`, no padding left to chance, no pointers), so that the
//! probes write it and the daemon reads it without a conversion. Kernel layouts end at the daemon's
//! decoder: nothing behind it sees these types.
#![no_std]

pub mod counter;
pub mod event;
pub mod image;
pub mod limits;
pub mod objects;
pub mod offsets;
pub mod peek;
pub mod section;
pub mod watch;
