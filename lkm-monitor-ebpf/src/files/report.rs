//! Events on files.

use lkm_monitor_common::{
    event::EventKind,
    section::{FileChange, FileOperation, Tag},
};

use super::watch::{is_above_watched, is_watched};
use crate::{
    event::Event,
    kernel::{current_task, member},
    path::{Place, Viewer, find_mount, push_inode, push_place},
    process::{PF_IO_WORKER, PF_KTHREAD, is_described, push_processes, remember_described},
    stream::DraftByUser,
};

/// Whether this thread acts for root, in whose ring and among whose places its changes then are.
#[inline(always)]
pub(crate) fn by_root() -> bool {
    // The real user in the initial user namespace: neither a namespace of one's own nor a setuid program makes root here.
    member!(u32, member!(u64, current_task(), task_cred), cred_uid) == 0
}

/// What to report of a change.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    pub(crate) operation: u32,
    pub(crate) flags: u32,
    pub(crate) call_flags: u32,
    pub(crate) ret: i64,
    /// The event that began it; 0 without one.
    pub(crate) session: u64,
    /// 0 where there is none.
    pub(crate) inode: u64,
    pub(crate) place: Place,
}

/// Sends a change, with what `more` adds.
#[inline(always)]
pub(crate) fn report(change: Change, more: impl Fn(Event, Viewer)) {
    let Some(draft) = DraftByUser::begin(by_root(), EventKind::FileChanged, change.session) else {
        return;
    };
    let event = draft.event;
    push_change(event, change);
    if change.inode != 0 {
        push_inode(event, change.inode, 0);
    }
    let viewer = Viewer::of(current_task());
    push_place(event, Tag::FilePath, change.place, viewer);
    more(event, viewer);
    let described = is_described();
    if !described {
        push_processes(event);
    }
    if draft.submit() && !described {
        remember_described();
    }
}

#[inline(always)]
pub(crate) fn push_change(event: Event, change: Change) {
    event.push(
        Tag::FileChange,
        FileChange {
            ret: change.ret,
            operation: change.operation,
            flags: change.flags,
            call_flags: change.call_flags,
            reserved: 0,
        },
    );
}

/// Whether a file system does this for another one, in the name of who mounted it: overlayfs below itself. What is done to the
/// upper one is told. Kernel servers act in the name of their clients, too, but are kernel threads; so do workers of io_uring.
#[inline(always)]
pub(crate) fn on_behalf_of_another() -> bool {
    let task = current_task();
    let acts_for_its_client = member!(u32, task, task_flags) & (PF_KTHREAD | PF_IO_WORKER) != 0;
    member!(u64, task, task_cred) != member!(u64, task, task_real_cred) && !acts_for_its_client
}

/// Reports what was done to the name `dentry` on `mnt` (0 where the hook does not show the mount), if it is watched.
///
/// An exported function that takes numbers is checked by the verifier once in each program, and keeps what is rarely done out of
/// the code that runs for every file.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn report_name(operation: u32, dentry: u64, mnt: u64, ret: i64, call_flags: u32) -> u32 {
    let is_mount = operation == FileOperation::Mount as u32;
    if !is_watched(dentry) && !(is_mount && is_above_watched(dentry)) {
        return 0;
    }
    let flags =
        if is_mount && ret == UNKNOWN { lkm_monitor_common::section::file_change_flags::OUTCOME_UNKNOWN } else { 0 };
    let mnt = if mnt == 0 { find_mount(dentry) } else { mnt };
    if (mnt == 0 || operation == FileOperation::Node as u32) && on_behalf_of_another() {
        return 0;
    }
    let inode = member!(u64, dentry, dentry_inode);
    let place = Place { mnt, dentry };
    report(Change { operation, flags, call_flags, ret, session: 0, inode, place }, |_, _| {});
    0
}

/// The outcome of what a hook reports that comes before it.
pub(crate) const UNKNOWN: i64 = i64::MIN;
