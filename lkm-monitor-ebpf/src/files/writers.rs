//! Files that are being written: from the open to the close of the last writer.
//!
//! A hook at each close would cost every file that anybody writes. Nobody needs to know at once that a watched file was closed,
//! so the daemon looks (by running [`look`]) while it knows of files that are being written, and `i_writecount` of their inodes
//! tells. No reference is held on the inode: that it is still the same one is checked by its number, file system and
//! generation, and memory that is gone reads as something else.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use lkm_monitor_common::{
    counter::Counter,
    event::EventKind,
    limits::{ROOT_WRITTEN_FILES, WRITTEN_FILES},
    section::{FileOperation, file_change_flags},
};

use super::report::{Change, by_root, push_change};
use crate::{
    kernel::member,
    maps::{ROOT_PLACES, USER_PLACES, WRITTEN_FILES as FILES_BY_PLACE, WRITTEN_INODES},
    path::{Place, push_inode},
    stream::{Files, Stream as _, count},
};

/// A file that is open for writing.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct WrittenFile {
    /// `boot_ns` of the event that told of the first writer; 0 in a free place. Names the session.
    session: u64,
    /// `struct inode *`
    inode: u64,
    number: u64,
    /// `struct super_block *`
    sb: u64,
    generation: u32,
    /// The process that opened it first.
    opener: u32,
}

/// What became of the wish to follow a file.
#[derive(Clone, Copy)]
pub(crate) struct Followed {
    /// 0 when it is not followed.
    pub(crate) session: u64,
    /// This process is known to write it already.
    pub(crate) known: bool,
}

/// Follows the writers of an inode until there are none.
#[inline(always)]
pub(crate) fn follow(inode: u64, tgid: u32) -> Followed {
    if let Some(place) = WRITTEN_INODES.get_ptr(&inode) {
        // SAFETY: a live map value.
        let place = unsafe { *place };
        if let Some(file) = FILES_BY_PLACE.get_ptr(place) {
            // SAFETY: as above.
            let (session, opener) = unsafe { ((*file).session, (*file).opener) };
            if session != 0 && is_same(file, inode) {
                return Followed { session, known: opener == tgid };
            }
        }
    }
    let free = if by_root() { ROOT_PLACES.pop() } else { USER_PLACES.pop() };
    let Ok(Some(place)) = free else {
        count(Counter::WritersUnfollowed);
        return Followed { session: 0, known: false };
    };
    let Some(file) = FILES_BY_PLACE.get_ptr_mut(place) else {
        return Followed { session: 0, known: false };
    };
    // SAFETY: no preconditions.
    let session = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: a place that nobody else has; the session, which makes it count, is written last.
    unsafe {
        (*file).inode = inode;
        (*file).number = member!(u64, inode, inode_ino);
        (*file).sb = member!(u64, inode, inode_sb);
        (*file).generation = member!(u32, inode, inode_generation);
        (*file).opener = tgid;
        core::ptr::write_volatile(&raw mut (*file).session, session);
    }
    // Without it a second writer gets a session of its own.
    let _ = WRITTEN_INODES.insert(&inode, &place, 0);
    Followed { session, known: false }
}

/// Whether the memory at `inode` is still that of the file.
#[inline(always)]
fn is_same(file: *const WrittenFile, inode: u64) -> bool {
    // SAFETY: a live map value.
    unsafe {
        (*file).inode == inode
            && (*file).number == member!(u64, inode, inode_ino)
            && (*file).sb == member!(u64, inode, inode_sb)
            && (*file).generation == member!(u32, inode, inode_generation)
    }
}

/// Reports the files that nobody writes any more. Run by the daemon, one at a time.
#[inline(always)]
pub(crate) fn look() {
    for place in 0..WRITTEN_FILES {
        look_at(place);
    }
}

/// Looks at one place. An exported function that takes a number is checked by the verifier once, not anew at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn look_at(place: u32) -> u32 {
    if let Some(file) = FILES_BY_PLACE.get_ptr_mut(place) {
        look_at_file(place, file);
    }
    0
}

#[inline(always)]
fn look_at_file(place: u32, file: *mut WrittenFile) {
    // SAFETY: a live map value.
    let (session, inode) = unsafe { (core::ptr::read_volatile(&raw const (*file).session), (*file).inode) };
    if session == 0 {
        return;
    }
    let same = is_same(file, inode);
    if same && member!(i32, inode, inode_writers) > 0 {
        return;
    }
    // Whoever opens it from now on begins a session of its own.
    let _ = WRITTEN_INODES.remove(&inode);
    if same && member!(i32, inode, inode_writers) > 0 {
        let _ = WRITTEN_INODES.insert(&inode, &place, 0);
        return;
    }
    let flags = if same { file_change_flags::FOLLOWED } else { file_change_flags::GONE };
    if !report_close(session, if same { inode } else { 0 }, flags) {
        // Told at the next look.
        return;
    }
    // SAFETY: as above; the place is given back when it is free.
    unsafe { core::ptr::write_volatile(&raw mut (*file).session, 0) };
    // A push fails only on a full list, and this place was taken from it.
    let _ = if place < ROOT_WRITTEN_FILES { ROOT_PLACES.push(&place, 0) } else { USER_PLACES.push(&place, 0) };
}

/// Sends the close; who made it is not known.
#[inline(always)]
fn report_close(session: u64, inode: u64, flags: u32) -> bool {
    let Some(draft) = Files::begin(EventKind::FileChanged, session) else {
        return false;
    };
    let change = Change {
        operation: FileOperation::Close as u32,
        flags,
        call_flags: 0,
        ret: 0,
        session,
        inode,
        place: Place { mnt: 0, dentry: 0 },
    };
    push_change(draft.event, change);
    if inode != 0 {
        push_inode(draft.event, inode, 0);
    }
    draft.try_submit()
}
