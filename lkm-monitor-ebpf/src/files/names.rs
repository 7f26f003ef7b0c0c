//! Renames and links of watched names: what is about to happen is noted where the security modules are asked, which see the
//! mounts and both names, and told where the file system has answered.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_kernel};
use lkm_monitor_common::{
    counter::Counter,
    limits::NAME_BYTES,
    section::{FileOperation, Tag, file_change_flags},
};

use super::{
    report::{Change, report},
    watch::{is_watched, may_be_watched},
    writers,
};
use crate::{
    event::Event,
    kernel::{Typed, member},
    maps::NAME_CHANGES,
    path::{Name, Place, Viewer, push_place},
    stream::{add, count},
};

/// A rename or link that is under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct NameChange {
    /// The file's old name, as it was before: what a dentry is called changes with the rename.
    old_folder: Place,
    /// `struct dentry *` of the old name, which has the new name afterwards.
    old_dentry: u64,
    new_mnt: u64,
    /// Of the new name.
    new_folder: u64,
    new_dentry: u64,
    /// `struct inode *` that gets the new name; 0 for a symbolic link.
    inode: u64,
    /// A symbolic link's text, in kernel memory.
    target: u64,
    operation: u32,
    call_flags: u32,
    old_name_len: u32,
    reserved: u32,
    old_name: [u8; NAME_BYTES],
}

/// A change with nothing in it, to make room for one in the map: it is too large for the stack.
static NOTHING: NameChange = NameChange {
    old_folder: Place { mnt: 0, dentry: 0 },
    old_dentry: 0,
    new_mnt: 0,
    new_folder: 0,
    new_dentry: 0,
    inode: 0,
    target: 0,
    operation: 0,
    call_flags: 0,
    old_name_len: 0,
    reserved: 0,
    old_name: [0; NAME_BYTES],
};

/// Changes under way, of all threads. Where there are none, the probes at the outcome have nothing to look for.
#[unsafe(no_mangle)]
static mut NAME_CHANGES_UNDER_WAY: u64 = 0;

/// `security_path_rename(old_dir, old_dentry, new_dir, new_dentry, flags)`
#[inline(always)]
pub(crate) fn begin_rename(old_dir: u64, old_dentry: u64, new_dir: u64, new_dentry: u64, call_flags: u32) {
    if !may_be_watched::<Typed>(old_dentry) && !may_be_watched::<Typed>(new_dentry) {
        return;
    }
    if !is_watched(old_dentry) && !is_watched(new_dentry) {
        return;
    }
    if let Some(change) = begin() {
        // SAFETY: a live map value that only this thread writes.
        unsafe {
            (*change).old_folder.mnt = member!(u64, old_dir, path_mnt);
            (*change).new_mnt = member!(u64, new_dir, path_mnt);
            (*change).new_folder = member!(u64, new_dir, path_dentry);
            (*change).operation = FileOperation::Rename as u32;
            (*change).call_flags = call_flags;
            set_old(change, old_dentry);
            (*change).new_dentry = new_dentry;
        }
    }
}

/// `security_path_link(old_dentry, new_dir, new_dentry)`: of the old name's mount nothing is said, but a link never leaves its
/// mount.
#[inline(always)]
pub(crate) fn begin_link(old_dentry: u64, new_dir: u64, new_dentry: u64) {
    if !may_be_watched::<Typed>(new_dentry) || !is_watched(new_dentry) {
        return;
    }
    if let Some(change) = begin() {
        // SAFETY: as above.
        unsafe {
            (*change).new_mnt = member!(u64, new_dir, path_mnt);
            (*change).old_folder.mnt = (*change).new_mnt;
            (*change).new_folder = member!(u64, new_dir, path_dentry);
            (*change).operation = FileOperation::Link as u32;
            set_old(change, old_dentry);
            (*change).new_dentry = new_dentry;
        }
    }
}

/// `security_path_symlink(dir, dentry, old_name)`
#[inline(always)]
pub(crate) fn begin_symlink(dir: u64, dentry: u64, target: u64) {
    if !may_be_watched::<Typed>(dentry) || !is_watched(dentry) {
        return;
    }
    if let Some(change) = begin() {
        // SAFETY: as above.
        unsafe {
            (*change).new_mnt = member!(u64, dir, path_mnt);
            (*change).new_folder = member!(u64, dir, path_dentry);
            (*change).operation = FileOperation::Symlink as u32;
            (*change).new_dentry = dentry;
            (*change).target = target;
        }
    }
}

/// Room for this thread's change.
#[inline(always)]
fn begin() -> Option<*mut NameChange> {
    let thread = bpf_get_current_pid_tgid();
    let replaces = NAME_CHANGES.get_ptr(&thread).is_some();
    if NAME_CHANGES.insert(&thread, &NOTHING, 0).is_err() {
        count(Counter::NameChangesFull);
        return None;
    }
    if !replaces {
        add(&raw mut NAME_CHANGES_UNDER_WAY, 1);
    }
    NAME_CHANGES.get_ptr_mut(&thread)
}

/// Notes the old name, its folder and the file.
///
/// # Safety
/// `change` is this thread's.
#[inline(always)]
unsafe fn set_old(change: *mut NameChange, dentry: u64) {
    let len = member!(u32, dentry, dentry_name_len) & (NAME_BYTES as u32 - 1);
    // SAFETY: the caller's word; the length is masked to the room there is.
    unsafe {
        (*change).old_dentry = dentry;
        (*change).old_folder.dentry = member!(u64, dentry, dentry_parent);
        (*change).inode = member!(u64, dentry, dentry_inode);
        (*change).old_name_len = len;
        bpf_probe_read_kernel(
            (&raw mut (*change).old_name).cast(),
            len,
            core::ptr::with_exposed_provenance(member!(u64, dentry, dentry_name) as usize),
        );
    }
}

/// The file system's answer to this thread's rename or link.
#[inline(always)]
pub(crate) fn end(operation: FileOperation, ret: i64) {
    // SAFETY: an aligned number that is there as long as the program.
    if unsafe { core::ptr::read_volatile(&raw const NAME_CHANGES_UNDER_WAY) } != 0 {
        tell_name_change(operation as u32, ret);
    }
}

/// Tells of this thread's rename or link, if it is of a watched name. See [`report_name`](super::report::report_name).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_name_change(operation: u32, ret: i64) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let Some(change) = NAME_CHANGES.get_ptr_mut(&thread) else {
        return 0;
    };
    // What a file system does below another one's rename has no note of its own.
    // SAFETY: a live map value that only this thread writes.
    if unsafe { (*change).operation } == operation {
        tell(change, operation, ret);
        forget(&thread);
    }
    0
}

#[inline(always)]
fn tell(change: *mut NameChange, operation: u32, ret: i64) {
    // SAFETY: a live map value that only this thread writes.
    let noted = unsafe { &*change };
    // After a rename the dentry of the new name is the old one's, and that of the target has lost its place.
    let renamed = operation == FileOperation::Rename as u32 && ret == 0;
    let named = if renamed { noted.old_dentry } else { noted.new_dentry };
    let inode = if noted.inode == 0 { member!(u64, noted.new_dentry, dentry_inode) } else { noted.inode };
    let mut session = 0;
    // Who holds it open under another name goes on writing under this one.
    if ret == 0 && inode != 0 && member!(i32, inode, inode_writers) > 0 {
        session = writers::follow(inode, (bpf_get_current_pid_tgid() >> 32) as u32).session;
    }
    let told = Change {
        operation,
        flags: if session != 0 { file_change_flags::FOLLOWED } else { 0 },
        call_flags: noted.call_flags,
        ret,
        session,
        inode,
        place: Place { mnt: noted.new_mnt, dentry: noted.new_folder },
        name: Name { address: member!(u64, named, dentry_name), len: member!(u32, named, dentry_name_len) },
    };
    report(told, |event: Event, viewer: Viewer| {
        // SAFETY: as above.
        let noted = unsafe { &*change };
        if noted.target != 0 {
            event.push_kernel_str::<4096>(Tag::LinkTarget, noted.target);
        } else {
            let name = Name { address: (&raw const noted.old_name).expose_provenance() as u64, len: noted.old_name_len };
            push_place(event, Tag::OldPath, noted.old_folder, name, viewer);
        }
    });
}

/// Ends this thread's change, if it has one: it ended before the file system was asked.
#[inline(always)]
pub(crate) fn abandon() {
    // SAFETY: an aligned number that is there as long as the program.
    if unsafe { core::ptr::read_volatile(&raw const NAME_CHANGES_UNDER_WAY) } != 0 {
        forget(&bpf_get_current_pid_tgid());
    }
}

#[inline(always)]
fn forget(thread: &u64) {
    if NAME_CHANGES.remove(thread).is_ok() {
        add(&raw mut NAME_CHANGES_UNDER_WAY, u64::MAX);
    }
}
