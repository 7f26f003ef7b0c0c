//! Kernel memory through a BPF program that is run on demand.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    ptr,
};

use aya::{
    Ebpf, EbpfError, RawTracePointRunOptions, TestRun as _,
    maps::Map,
    programs::{Program, ProgramError, RawTracePoint},
};
use lkm_monitor_common::peek::{FOLLOW, SLOT_BYTES, SLOTS, Slot};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::memory::{Bytes, Memory, MemoryError, u64_at};

/// Compiled by the build script. Aligned as the ELF parser wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lkm-monitor-peek"));

/// Why kernel memory cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeekError {
    #[error("the kernel refuses the program that reads its memory: {0}")]
    Load(#[from] EbpfError),
    #[error("the kernel refuses the program that reads its memory: {}", crate::sensor::attach::in_one_line(.0))]
    Program(#[from] ProgramError),
    #[error("what the program finds cannot be mapped: {0}")]
    Mapping(#[from] io::Error),
    #[error("the program was built without its parts")]
    Incomplete,
}

/// The loaded program. Its map and program are the daemon's own objects.
#[derive(Debug)]
pub(super) struct Peek {
    /// Declared first: undone before the map goes.
    slots: Slots,
    ebpf: Ebpf,
    found: Vec<u8>,
}

impl Peek {
    /// Loads it. Needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN; running it later needs CAP_BPF at the most.
    pub(super) fn load() -> Result<Self, PeekError> {
        let mut ebpf = Ebpf::load(OBJECT)?;
        program(&mut ebpf)?.load()?;
        let Some(Map::Array(map)) = ebpf.map("PEEK") else { return Err(PeekError::Incomplete) };
        let slots = Slots::of(map.fd().as_fd())?;
        Ok(Self { slots, ebpf, found: vec![0; SLOT_BYTES] })
    }

    fn run(&mut self, slots: usize, bytes: usize, offset: u64) -> Result<(), MemoryError> {
        let mut options = RawTracePointRunOptions::new();
        let arguments = [slots as u64, bytes as u64, offset];
        options.args.iter_mut().zip(arguments).for_each(|(place, argument)| *place = argument);
        let run = program(&mut self.ebpf).and_then(|program| Ok(program.test_run(options)?));
        run.map(drop).map_err(|error| MemoryError(format!("the program that reads it does not run: {error}")))
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint, PeekError> {
    match ebpf.program_mut("peek") {
        Some(Program::RawTracePoint(program)) => Ok(program),
        _ => Err(PeekError::Incomplete),
    }
}

impl Memory for Peek {
    fn read_each(
        &mut self,
        addresses: &[u64],
        bytes: usize,
        take: &mut dyn FnMut(u64, Bytes<'_>),
    ) -> Result<(), MemoryError> {
        let bytes = bytes.min(SLOT_BYTES);
        for some in addresses.chunks(SLOTS as usize) {
            // Nothing is at zero, and what stands there would be taken for a request to follow.
            some.iter().enumerate().for_each(|(slot, &address)| self.slots.ask(slot, address.max(1)));
            self.run(some.len(), bytes, 0)?;
            for (slot, &address) in some.iter().enumerate() {
                take(address, self.slots.copy(slot, bytes, &mut self.found));
            }
        }
        Ok(())
    }

    fn follow(&mut self, address: u64, offset: u64) -> Result<Vec<u64>, MemoryError> {
        self.slots.ask(0, address.max(1));
        (1..SLOTS as usize).for_each(|slot| self.slots.ask(slot, FOLLOW));
        self.run(SLOTS as usize, 8, offset)?;
        let read = |slot| u64_at(self.slots.copy(slot, 8, &mut self.found)?, 0);
        Ok((0..SLOTS as usize).map_while(read).collect())
    }
}

/// The map, in this process's memory.
#[derive(Debug)]
struct Slots {
    first: *mut Slot,
}

// SAFETY: whoever has the mapping is its only owner, and the pages are the process's, not a thread's.
unsafe impl Send for Slots {}

/// A whole number of pages, as the kernel made the map.
const MAPPED_BYTES: usize = (size_of::<Slot>() * SLOTS as usize).next_multiple_of(4096);

impl Slots {
    fn of(map: BorrowedFd<'_>) -> io::Result<Self> {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let first = unsafe { mmap(ptr::null_mut(), MAPPED_BYTES, rights, MapFlags::SHARED, map, 0)? };
        Ok(Self { first: first.cast() })
    }

    /// Of a number that there is.
    fn slot(&self, number: usize) -> *mut Slot {
        self.first.wrapping_add(number.min(SLOTS as usize - 1))
    }

    fn ask(&self, number: usize, address: u64) {
        // SAFETY: within the mapping and aligned. Volatile, because the kernel reads it.
        unsafe { (&raw mut (*self.slot(number)).address).write_volatile(address) }
    }

    /// What a slot found, copied before it is looked at.
    fn copy<'a>(&self, number: usize, bytes: usize, to: &'a mut [u8]) -> Option<&'a [u8]> {
        let slot = self.slot(number);
        let to = to.get_mut(..bytes.min(SLOT_BYTES))?;
        // SAFETY: within the mapping and aligned; the program has ended. Who has a descriptor of the map can write there meanwhile: then
        // the bytes are of no use, and bytes all the same.
        unsafe {
            if (&raw const (*slot).status).read_volatile() != 0 {
                return None;
            }
            ptr::copy_nonoverlapping((&raw const (*slot).bytes).cast::<u8>(), to.as_mut_ptr(), to.len());
        }
        Some(to)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: nothing refers to it any more. A mapping that cannot be undone goes with the process.
        let _ = unsafe { munmap(self.first.cast(), MAPPED_BYTES) };
    }
}
