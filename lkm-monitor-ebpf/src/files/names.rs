//! Watched names that are made of other ones.
//!
//! A link is noted where the security modules are asked, which see its mount, and told where the file system has answered. A
//! rename is told where the name cache follows it, by one cheap probe for both names: renames are many, and few of interest.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use lkm_monitor_common::{
    counter::Counter,
    section::{FileOperation, Tag, file_change_flags},
};

use super::{
    report::{Change, on_behalf_of_another, report},
    watch::{is_watched, may_be_watched},
    writers,
};
use crate::{
    event::Event,
    kernel::{Typed, member, untyped},
    maps::NAME_CHANGES,
    path::{Place, Viewer, find_mount, push_place},
    stream::{add, count},
};

/// A link that is under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct NameChange {
    /// `struct vfsmount *`
    mnt: u64,
    /// `struct dentry *` of the new name.
    dentry: u64,
    /// `struct dentry *` of the name that the file has besides; 0 for a symbolic link.
    old_dentry: u64,
    /// A symbolic link's text, in kernel memory.
    target: u64,
    operation: u64,
}

/// Changes under way, of all threads. Where there are none, the probes at the outcome have nothing to look for.
#[unsafe(no_mangle)]
static mut NAME_CHANGES_UNDER_WAY: u64 = 0;

/// `security_path_link(old_dentry, new_dir, new_dentry)`: of the old name's mount nothing is said, but a link never leaves its
/// mount.
#[inline(always)]
pub(crate) fn begin_link(old_dentry: u64, new_dir: u64, dentry: u64) {
    let operation = FileOperation::Link as u64;
    begin(NameChange { mnt: member!(u64, new_dir, path_mnt), dentry, old_dentry, target: 0, operation });
}

/// `security_path_symlink(dir, dentry, old_name)`
#[inline(always)]
pub(crate) fn begin_symlink(dir: u64, dentry: u64, target: u64) {
    let operation = FileOperation::Symlink as u64;
    begin(NameChange { mnt: member!(u64, dir, path_mnt), dentry, old_dentry: 0, target, operation });
}

/// Notes a link, if it is of a watched name: by the new one, a watched file can be written unseen.
#[inline(always)]
fn begin(change: NameChange) {
    // One that a security module has forbidden, of which no outcome was told.
    abandon();
    let is_watched = |dentry| may_be_watched::<Typed>(dentry) && is_watched(dentry);
    if !is_watched(change.dentry) && (change.old_dentry == 0 || !is_watched(change.old_dentry)) {
        return;
    }
    let thread = bpf_get_current_pid_tgid();
    let replaces = NAME_CHANGES.get_ptr(&thread).is_some();
    if NAME_CHANGES.insert(&thread, &change, 0).is_err() {
        count(Counter::NameChangesFull);
    } else if !replaces {
        add(&raw mut NAME_CHANGES_UNDER_WAY, 1);
    }
}

/// The file system's answer to this thread's link.
#[inline(always)]
pub(crate) fn end(operation: FileOperation, ret: i64) {
    // SAFETY: an aligned number that is there as long as the program.
    if unsafe { core::ptr::read_volatile(&raw const NAME_CHANGES_UNDER_WAY) } != 0 {
        tell_name_change(operation as u32, ret);
    }
}

/// Tells of this thread's link, if it is of a watched name. See [`report_name`](super::report::report_name).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_name_change(operation: u32, ret: i64) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let Some(change) = NAME_CHANGES.get_ptr_mut(&thread) else {
        return 0;
    };
    // What a file system does below another one has no note of its own.
    // SAFETY: a live map value that only this thread writes.
    if unsafe { (*change).operation } == operation as u64 {
        tell(change, operation, ret);
        forget(&thread);
    }
    0
}

#[inline(always)]
fn tell(change: *mut NameChange, operation: u32, ret: i64) {
    // SAFETY: a live map value that only this thread writes.
    let noted = unsafe { &*change };
    let old = if noted.old_dentry != 0 { noted.old_dentry } else { noted.dentry };
    let inode = member!(u64, old, dentry_inode);
    let session = if ret == 0 { follow_writers(inode) } else { 0 };
    let told = Change {
        operation,
        flags: if session != 0 { file_change_flags::FOLLOWED } else { 0 },
        call_flags: 0,
        ret,
        session,
        inode,
        place: Place { mnt: noted.mnt, dentry: noted.dentry },
    };
    report(told, |event: Event, viewer: Viewer| {
        // SAFETY: as above.
        let noted = unsafe { &*change };
        if noted.target != 0 {
            event.push_kernel_str::<4096>(Tag::LinkTarget, noted.target);
        } else {
            push_place(event, Tag::OldPath, Place { mnt: noted.mnt, dentry: noted.old_dentry }, viewer);
        }
    });
}

/// Who holds a file open under another name goes on writing under a new one.
#[inline(always)]
fn follow_writers(inode: u64) -> u64 {
    if inode == 0 || member!(i32, inode, inode_writers) <= 0 {
        return 0;
    }
    writers::follow(inode, (bpf_get_current_pid_tgid() >> 32) as u32).session
}

/// A name is about to be given to another file, or two are exchanged, in the name cache: the file system has done it. Names that
/// are not watched cost a few instructions.
#[inline(always)]
pub(crate) fn renamed(dentry: u64, target: u64, exchanged: bool) {
    if may_be_watched::<Typed>(dentry) || may_be_watched::<Typed>(target) {
        report_rename(untyped(dentry), untyped(target), exchanged as u32);
    }
}

/// See [`report_name`](super::report::report_name).
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn report_rename(dentry: u64, target: u64, exchanged: u32) -> u32 {
    if !is_watched(dentry) && !is_watched(target) {
        return 0;
    }
    let mnt = find_mount(dentry);
    if mnt == 0 && on_behalf_of_another() {
        return 0;
    }
    let inode = member!(u64, dentry, dentry_inode);
    let session = follow_writers(inode);
    let told = Change {
        operation: FileOperation::Rename as u32,
        flags: if session != 0 { file_change_flags::FOLLOWED } else { 0 },
        call_flags: exchanged,
        ret: 0,
        session,
        inode,
        place: Place { mnt, dentry: target },
    };
    report(told, |event: Event, viewer: Viewer| push_place(event, Tag::OldPath, Place { mnt, dentry }, viewer));
    0
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
