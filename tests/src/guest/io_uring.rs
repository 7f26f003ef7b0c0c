//! As much of io_uring(7) as it takes to do one thing after the other.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

/// include/uapi/linux/io_uring.h: `struct io_uring_params` in words, and places in it.
type Parameters = [u32; 30];
const SUBMITTED_TAIL: usize = 11;
const SUBMITTED_ARRAY: usize = 16;
const COMPLETED_HEAD: usize = 20;
const COMPLETED_MASK: usize = 22;
const COMPLETED_ENTRIES: usize = 25;
const OFFSET_OF_RINGS: i64 = 0;
const OFFSET_OF_ENTRIES: i64 = 0x1000_0000;
const WAIT_FOR_COMPLETION: u64 = 1;
const OPENAT: u8 = 18;
const CLOSE: u8 = 19;
const WRITE: u8 = 23;

/// Both rings of one entry each fit into it.
const PAGE_BYTES: usize = 4096;

/// The beginning of `struct io_uring_sqe`; the rest is zero.
#[repr(C)]
#[derive(Default)]
struct Entry {
    operation: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    offset: u64,
    address: u64,
    len: u32,
    operation_flags: u32,
    rest: [u64; 4],
}

/// A ring of this process, which lives as long as the process.
pub(crate) struct Ring {
    fd: OwnedFd,
    parameters: Parameters,
    rings: *mut u8,
    entries: *mut u8,
}

impl Ring {
    pub(crate) fn new() -> Self {
        let mut parameters = Parameters::default();
        // SAFETY: one entry, and a structure of the size that the kernel fills.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
        assert!(fd >= 0, "make a ring: {}", io::Error::last_os_error());
        // SAFETY: a new descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let map = |offset| {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a new mapping of memory that the kernel made for it.
            let memory =
                unsafe { libc::mmap(ptr::null_mut(), PAGE_BYTES, access, libc::MAP_SHARED, fd.as_raw_fd(), offset) };
            assert_ne!(memory, libc::MAP_FAILED, "map a ring: {}", io::Error::last_os_error());
            memory.cast::<u8>()
        };
        let (rings, entries) = (map(OFFSET_OF_RINGS), map(OFFSET_OF_ENTRIES));
        Self { fd, parameters, rings, entries }
    }

    /// openat(2) from the working directory; the descriptor.
    pub(crate) fn open(&self, path: &CStr, flags: i32, mode: u32) -> i32 {
        let address = path.as_ptr().expose_provenance() as u64;
        let entry = Entry {
            operation: OPENAT,
            fd: libc::AT_FDCWD,
            address,
            len: mode,
            operation_flags: flags as u32,
            ..Entry::default()
        };
        self.run(entry)
    }

    /// write(2) to the beginning.
    pub(crate) fn write(&self, fd: i32, content: &[u8]) -> i32 {
        let address = content.as_ptr().expose_provenance() as u64;
        self.run(Entry { operation: WRITE, fd, address, len: content.len() as u32, ..Entry::default() })
    }

    /// close(2)
    pub(crate) fn close(&self, fd: i32) -> i32 {
        self.run(Entry { operation: CLOSE, fd, ..Entry::default() })
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: an aligned number in the mapping, which both sides only touch as an atomic.
        unsafe { &*self.rings.add(offset as usize).cast::<AtomicU32>() }
    }

    /// Lets the kernel do one thing and waits for its answer.
    fn run(&self, entry: Entry) -> i32 {
        // SAFETY: the only entry; the kernel does not look at it before the tail moves.
        unsafe { self.entries.cast::<Entry>().write(entry) };
        self.word(self.parameters[SUBMITTED_ARRAY]).store(0, Ordering::Relaxed);
        self.word(self.parameters[SUBMITTED_TAIL]).fetch_add(1, Ordering::Release);
        // SAFETY: what the entry points at outlives the call, which waits.
        let entered = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, self.fd.as_raw_fd(), 1, 1, WAIT_FOR_COMPLETION, 0_u64, 0_u64)
        };
        assert_eq!(entered, 1, "use a ring: {}", io::Error::last_os_error());
        let head = self.word(self.parameters[COMPLETED_HEAD]);
        let mask = self.word(self.parameters[COMPLETED_MASK]).load(Ordering::Relaxed);
        let at = head.load(Ordering::Acquire) & mask;
        // `struct io_uring_cqe`: eight bytes of the user's, then the result.
        let result = self.word(self.parameters[COMPLETED_ENTRIES] + at * 16 + 8).load(Ordering::Acquire);
        head.fetch_add(1, Ordering::Release);
        result as i32
    }
}
