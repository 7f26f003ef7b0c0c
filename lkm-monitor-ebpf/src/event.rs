//! Building an event, section by section, in a scratch buffer.
//!
//! The verifier must see that every write stays inside the buffer, whatever `len` holds: offsets are masked with the
//! event size (a power of two), and the buffer is longer than that by more than the longest section. What goes past the
//! event's limit is not kept, and the header says so.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{
        bpf_get_current_comm, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str,
        bpf_probe_read_user, bpf_probe_read_user_str,
    },
};
use lkm_monitor_common::{
    event::{EventHeader, EventKind, WIRE_VERSION, header_flags::SECTIONS_DROPPED},
    limits::{EVENT_BYTES, WRITE_BYTES},
    section::{
        SectionHeader, Tag,
        flags::{TRUNCATED, UNREADABLE},
    },
};

use crate::{
    kernel::{current_task, member},
    maps::SCRATCH,
    path::Walk,
    process::Lineage,
};

/// The longest event: the last eight bytes stay free so that the length itself can be masked.
const LIMIT: u64 = EVENT_BYTES as u64 - 8;
const OFFSET_MASK: u64 = EVENT_BYTES as u64 - 8;
const HEADER: u64 = size_of::<SectionHeader>() as u64;

/// A buffer that one event is built in.
#[repr(C)]
pub(crate) struct Scratch {
    /// Bytes of `data` in use.
    pub(crate) len: u64,
    /// What the functions that the verifier checks on their own work on: they take numbers only.
    pub(crate) walk: Walk,
    pub(crate) lineage: Lineage,
    pub(crate) data: [u8; EVENT_BYTES + 3 * WRITE_BYTES],
}

/// An event under construction, in a slot that this probe owns.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) slot: u32,
    pub(crate) scratch: *mut Scratch,
}

impl Event {
    /// Begins anew with a header only.
    #[inline(always)]
    pub(crate) fn write_header(self, kind: EventKind, call_id: u64) {
        let pid_tgid = bpf_get_current_pid_tgid();
        let cred: u64 = member!(u64, current_task(), task_cred);
        let leader: u64 = member!(u64, current_task(), task_group_leader);
        // SAFETY: the header is the first thing in `data`, which is larger; all helpers are without preconditions.
        unsafe {
            let header = self.at(0).cast::<EventHeader>();
            (*header).kind = kind as u16;
            (*header).version = WIRE_VERSION;
            (*header).cpu = bpf_get_smp_processor_id();
            (*header).boot_ns = bpf_ktime_get_boot_ns();
            (*header).call_id = call_id;
            (*header).process_start_boot_ns = member!(u64, leader, task_start_boot);
            (*header).tid = pid_tgid as u32;
            (*header).tgid = (pid_tgid >> 32) as u32;
            (*header).uid = member!(u32, cred, cred_uid);
            (*header).gid = member!(u32, cred, cred_gid);
            (*header).euid = member!(u32, cred, cred_euid);
            (*header).egid = member!(u32, cred, cred_egid);
            (*header).suid = member!(u32, cred, cred_suid);
            (*header).sgid = member!(u32, cred, cred_sgid);
            (*header).flags = 0;
            (*header).reserved = 0;
            bpf_get_current_comm((&raw mut (*header).comm).cast(), 16);
            (*self.scratch).len = size_of::<EventHeader>() as u64;
        }
    }

    /// The event in a slot that the caller owns already.
    #[inline(always)]
    pub(crate) fn in_slot(slot: u32) -> Option<Self> {
        let scratch = SCRATCH.get_ptr_mut(slot)?;
        Some(Self { slot, scratch })
    }

    /// Address of the byte at `offset`, kept inside the buffer.
    #[inline(always)]
    pub(crate) fn at(self, offset: u64) -> *mut u8 {
        // SAFETY: masked to less than EVENT_BYTES, and `data` is longer than that.
        unsafe { (&raw mut (*self.scratch).data).cast::<u8>().add((offset & OFFSET_MASK) as usize) }
    }

    /// Offset at which the next section begins.
    #[inline(always)]
    pub(crate) fn end(self) -> u64 {
        // SAFETY: a field of a buffer that this probe owns.
        unsafe { (*self.scratch).len & OFFSET_MASK }
    }

    /// Closes a section of `len` content bytes that was written at [`Self::content`].
    #[inline(always)]
    pub(crate) fn close(self, tag: Tag, flags: u16, len: u64) {
        let start = self.end();
        let end = start + HEADER + ((len + 7) & !7);
        // SAFETY: the section header fits behind any masked offset; the fields belong to this probe's buffer.
        unsafe {
            let event = self.at(0).cast::<EventHeader>();
            // Whatever follows a section that is left out is left out too: a section belongs to the process or file
            // before it, and a smaller one that still fits would be taken for another's.
            if end > LIMIT || (*event).flags & SECTIONS_DROPPED != 0 {
                (*event).flags |= SECTIONS_DROPPED;
                return;
            }
            let header = self.at(start).cast::<SectionHeader>();
            (*header).tag = tag as u16;
            (*header).flags = flags;
            (*header).len = len as u32;
            (*self.scratch).len = end;
        }
    }

    /// Where the content of the next section goes.
    #[inline(always)]
    pub(crate) fn content(self) -> *mut u8 {
        // SAFETY: a section header behind a masked offset is inside the buffer.
        unsafe { self.at(self.end()).add(HEADER as usize) }
    }

    /// Where byte `offset` of the next section's content goes. Offsets wrap at two `WRITE_BYTES`.
    #[inline(always)]
    pub(crate) fn content_at(self, offset: u64) -> *mut u8 {
        // SAFETY: `data` is longer than an event by two WRITE_BYTES and one more write.
        unsafe { self.content().add((offset & (2 * WRITE_BYTES as u64 - 1)) as usize) }
    }

    /// Adds a section of fixed size.
    #[inline(always)]
    pub(crate) fn push<T: Copy>(self, tag: Tag, content: T) {
        const { assert!(size_of::<T>() <= WRITE_BYTES) };
        // SAFETY: `content` has room for WRITE_BYTES.
        unsafe { self.content().cast::<T>().write_unaligned(content) };
        self.close(tag, 0, size_of::<T>() as u64);
    }

    /// Adds a NUL-terminated string of kernel memory, at most `MAX` bytes with its NUL.
    #[inline(always)]
    pub(crate) fn push_kernel_str<const MAX: u32>(self, tag: Tag, address: u64) {
        const { assert!(MAX as usize <= WRITE_BYTES) };
        // SAFETY: `content` has room for WRITE_BYTES; the helper checks the source.
        let read = unsafe {
            bpf_probe_read_kernel_str(self.content().cast(), MAX, core::ptr::with_exposed_provenance(address as usize))
        };
        self.close_str::<MAX>(tag, read);
    }

    /// Adds a NUL-terminated string of the caller's memory, at most `MAX` bytes with its NUL.
    #[inline(always)]
    pub(crate) fn push_user_str<const MAX: u32>(self, tag: Tag, address: u64) {
        const { assert!(MAX as usize <= WRITE_BYTES) };
        // SAFETY: `content` has room for WRITE_BYTES; the helper checks the source.
        let read = unsafe {
            bpf_probe_read_user_str(self.content().cast(), MAX, core::ptr::with_exposed_provenance(address as usize))
        };
        self.close_str::<MAX>(tag, read);
    }

    /// Closes a string of which a helper read `read` bytes, the NUL included, or failed.
    #[inline(always)]
    fn close_str<const MAX: u32>(self, tag: Tag, read: i64) {
        if read <= 0 {
            self.close(tag, UNREADABLE, 0);
            return;
        }
        let flags = if read >= MAX as i64 { TRUNCATED } else { 0 };
        self.close(tag, flags, (read as u64 - 1) & (2 * WRITE_BYTES as u64 - 1));
    }

    /// Adds `len` bytes of the caller's memory, at most `MAX`, which must be a power of two.
    #[inline(always)]
    pub(crate) fn push_user_bytes<const MAX: u64>(self, tag: Tag, address: u64, len: u64) {
        const { assert!(MAX as usize <= WRITE_BYTES && MAX.is_power_of_two()) };
        let (size, mut flags) = if len >= MAX { (MAX, TRUNCATED) } else { (len & (MAX - 1), 0) };
        if len == MAX {
            flags = 0;
        }
        // SAFETY: `content` has room for WRITE_BYTES; the helper checks the source.
        let failed = unsafe {
            bpf_probe_read_user(
                self.content().cast(),
                size as u32,
                core::ptr::with_exposed_provenance(address as usize),
            )
        };
        if failed != 0 {
            self.close(tag, UNREADABLE, 0);
            return;
        }
        self.close(tag, flags, size);
    }
}
