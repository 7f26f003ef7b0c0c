//! Reading kernel memory on demand: the daemon writes addresses into slots, runs the program `peek`, and finds bytes there.

/// Reads that one run of the program makes at the most.
pub const SLOTS: u32 = 256;

/// Bytes of one read at the most: a page.
pub const SLOT_BYTES: usize = 4096;

/// An address that stands for what the slot before this one found: its first eight bytes, plus the program's offset. Nothing can be read
/// at zero, so it is needed for nothing else.
pub const FOLLOW: u64 = 0;

/// One read. The map that holds them is mapped into the daemon.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Written by the daemon.
    pub address: u64,
    /// Zero, or the error that `bpf_probe_read_kernel` gave.
    pub status: i64,
    /// What is at the address; zeroes where it cannot be read.
    pub bytes: [u8; SLOT_BYTES],
}
