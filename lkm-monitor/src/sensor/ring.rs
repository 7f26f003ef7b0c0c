//! One ring of BPF's (kernel/bpf/ringbuf.c), read without believing it.
//!
//! Whoever has a descriptor of the map can write the page that says how far it was read, and so let the kernel write over events that were
//! not. So this side keeps its position to itself, copies a record before it looks at it, and looks afterwards whether it was whole.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// x86-64 has no other.
const PAGE_BYTES: usize = 4096;
/// Before each record: its length with the bits below, and its place.
const HEADER_BYTES: usize = 8;
/// `BPF_RINGBUF_BUSY_BIT`: the record is still being written.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: its writer thought better of it.
const DISCARDED: u32 = 1 << 30;

/// What cannot be where nobody but the kernel and this daemon has touched the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Tampering {
    #[error("the position up to which it was read was moved")]
    Moved,
    #[error("events that were not read were written over")]
    Overwritten,
    #[error("it held an event that the probes did not write")]
    Foreign,
}

/// A ring that this process alone reads.
#[derive(Debug)]
pub(super) struct Ring {
    map: OwnedFd,
    /// How far the ring was read, for the kernel.
    consumer: Mapping,
    /// How far it was written, and behind that page the records, twice in a row. This process cannot write here.
    producer: Mapping,
    size_bytes: usize,
    /// Bytes that were read since the ring was made.
    position: usize,
    /// The last record.
    record: Vec<u8>,
}

impl Ring {
    /// Maps a ring of `size_bytes` that nobody has read from.
    pub(super) fn open(map: OwnedFd, size_bytes: u32) -> io::Result<Self> {
        let size_bytes = usize::try_from(size_bytes).map_err(io::Error::other)?;
        let consumer = Mapping::of(&map, 0, PAGE_BYTES, ProtFlags::READ | ProtFlags::WRITE)?;
        let producer = Mapping::of(&map, PAGE_BYTES, PAGE_BYTES + 2 * size_bytes, ProtFlags::READ)?;
        Ok(Self { map, consumer, producer, size_bytes, position: 0, record: Vec::new() })
    }

    /// The next record, if one is complete. After an error the ring can be read on: what was written over is left out.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Tampering> {
        loop {
            if self.consumer.position().load(SeqCst) != self.position {
                self.advance(0);
                return Err(Tampering::Moved);
            }
            let unread = self.unread();
            if unread == 0 {
                return Ok(None);
            }
            let start = self.position % self.size_bytes;
            let header = if unread < self.size_bytes { self.producer.header(start) } else { 0 };
            if header & BUSY != 0 {
                return Ok(None);
            }
            let len = (header & !DISCARDED) as usize;
            let taken = (HEADER_BYTES + len).next_multiple_of(8);
            if taken <= unread {
                self.producer.copy(start + HEADER_BYTES, len, &mut self.record);
            }
            // The kernel never lets more than the ring holds wait for a reader whose position it was not lied to about.
            let unread = self.unread();
            if unread >= self.size_bytes || taken > unread {
                self.advance(unread);
                return Err(Tampering::Overwritten);
            }
            self.advance(taken);
            if header & DISCARDED == 0 {
                return Ok(Some(&self.record));
            }
        }
    }

    /// Whether everything was read that was written.
    pub(super) fn is_empty(&self) -> bool {
        self.unread() == 0
    }

    fn unread(&self) -> usize {
        self.producer.position().load(SeqCst).wrapping_sub(self.position)
    }

    /// Tells the kernel how far the ring is read. It wakes a reader only for a record at that place; in one order with the looks at what
    /// was written, so that none comes in between unseen.
    fn advance(&mut self, bytes: usize) {
        self.position = self.position.wrapping_add(bytes);
        self.consumer.position().store(self.position, SeqCst);
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.map.as_raw_fd()
    }
}

/// Pages of the ring, which others write meanwhile.
#[derive(Debug)]
struct Mapping {
    start: *mut u8,
    len: usize,
}

// SAFETY: whoever has the mapping is its only owner, and the pages are the process's, not a thread's.
unsafe impl Send for Mapping {}

impl Mapping {
    fn of(map: &OwnedFd, offset: usize, len: usize, rights: ProtFlags) -> io::Result<Self> {
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let start = unsafe { mmap(ptr::null_mut(), len, rights, MapFlags::SHARED, map.as_fd(), offset as u64)? }.cast();
        Ok(Self { start, len })
    }

    /// The number at its begin.
    const fn position(&self) -> &AtomicUsize {
        // SAFETY: aligned to a page, there as long as the mapping, and written by nobody but atomically.
        unsafe { AtomicUsize::from_ptr(self.start.cast()) }
    }

    /// The length, with its bits, of the record that begins `at` bytes behind the first page, which is a multiple of 8 within the ring.
    fn header(&self, at: usize) -> u32 {
        // SAFETY: aligned, within the mapping.
        unsafe { AtomicU32::from_ptr(self.start.add(PAGE_BYTES + at).cast()) }.load(SeqCst)
    }

    /// Copies what is `at` bytes behind the first page, no more than the ring holds.
    fn copy(&self, at: usize, len: usize, to: &mut Vec<u8>) {
        to.clear();
        to.reserve(len);
        // SAFETY: within the mapping, which holds the ring twice, and room for it. The kernel writes there only after somebody lied to
        // it: then the bytes are of no use, and bytes all the same.
        unsafe {
            ptr::copy_nonoverlapping(self.start.add(PAGE_BYTES + at), to.as_mut_ptr(), len);
            to.set_len(len);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing refers to it any more. A mapping that cannot be undone goes with the process.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests;
