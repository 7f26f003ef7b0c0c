//! Paths, from the leaf up to the root of the mount namespace, mounts crossed (compare `prepend_path` in fs/d_path.c).
//!
//! Components are written leaf first; the daemon turns them round. The walk does not stop at the process's root
//! directory but marks where it passed it: a chroot must not make `/tmp/x/lib/modules` look like `/lib/modules`.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use lkm_monitor_common::{
    limits::{NAME_BYTES, PATH_BYTES, PATH_COMPONENTS},
    offsets::Offsets,
    section::{
        File, PathHead, Tag, file_flags,
        flags::{ANONYMOUS, BIND_MOUNT, FOREIGN_ROOT, NO_MOUNT, OUTSIDE_ROOT, TRUNCATED, UNREADABLE},
    },
};

use crate::{
    event::Event,
    kernel::{address, current_task, member, offset, read},
};

/// `SB_KERNMOUNT` of include/linux/fs.h.
const SB_KERNMOUNT: u64 = 1 << 22;

const HEAD: u64 = size_of::<PathHead>() as u64;

/// Components taken by one call of [`walk_components`], and calls for one path.
const CHUNK: usize = 64;
const CHUNKS: usize = PATH_COMPONENTS / CHUNK;

/// The process that looks: where its file tree begins.
#[derive(Clone, Copy)]
pub(crate) struct Viewer {
    /// `struct fs_struct *`
    pub(crate) fs: u64,
    /// `struct nsproxy *`
    pub(crate) nsproxy: u64,
}

impl Viewer {
    #[inline(always)]
    pub(crate) fn of(task: u64) -> Self {
        Self { fs: member!(u64, task, task_fs), nsproxy: member!(u64, task, task_nsproxy) }
    }
}

/// A walk from a `struct path` towards the root, and the root directory of the process that looks.
///
/// It lives in the event's buffer and not in registers: the verifier then forgets what it knew of the values, and finds
/// that one turn of the loop is like the next.
#[repr(C)]
pub(crate) struct Walk {
    mnt: u64,
    dentry: u64,
    root_mnt: u64,
    root_dentry: u64,
    /// The `struct mount` at the root of the process's mount namespace.
    namespace_root: u64,
    /// The root directory of the first mount that was passed.
    mount_root: u64,
    /// Bytes of components written.
    len: u64,
    /// See [`PathHead`].
    root_at: u32,
    mount_at: u32,
    mount_id: u32,
    /// Section flags.
    flags: u32,
    done: u32,
    reserved: u32,
}

/// Adds the path of the `struct path` at `path`, as `viewer` sees it.
#[inline(always)]
pub(crate) fn push_path(event: Event, tag: Tag, path: u64, viewer: Viewer) {
    let place = Place { mnt: member!(u64, path, path_mnt), dentry: member!(u64, path, path_dentry) };
    push_place(event, tag, place, viewer);
}

/// A `struct path` in parts.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// `struct vfsmount *`
    pub(crate) mnt: u64,
    /// `struct dentry *`
    pub(crate) dentry: u64,
}

/// Adds the path of `place`, as `viewer` sees it; the path inside its file system where the mount is 0.
#[inline(always)]
pub(crate) fn push_place(event: Event, tag: Tag, place: Place, viewer: Viewer) {
    let root = address!(viewer.fs, fs_root);
    let namespace: u64 = member!(u64, viewer.nsproxy, nsproxy_mnt);
    // SAFETY: fields of a buffer that this probe owns; the head fits where content goes.
    unsafe {
        let walk = &raw mut (*event.scratch).walk;
        (*walk).mnt = place.mnt;
        (*walk).dentry = place.dentry;
        (*walk).root_mnt = member!(u64, root, path_mnt);
        (*walk).root_dentry = member!(u64, root, path_dentry);
        (*walk).namespace_root = member!(u64, namespace, mnt_ns_root);
        (*walk).mount_root = 0;
        (*walk).mount_id = 0;
        follow(event, walk);
        let mut flags = (*walk).flags as u16;
        if place.mnt == 0 && flags & ANONYMOUS != 0 {
            // The walk went to the root of the file system.
            flags = NO_MOUNT;
        } else if (*walk).root_at == PathHead::NONE && (*walk).root_dentry != 0 && flags & (TRUNCATED | ANONYMOUS) == 0
        {
            flags |= OUTSIDE_ROOT;
        }
        close_path(event, walk, tag, flags);
        if flags & BIND_MOUNT != 0 {
            // From there on without mounts, to the root of the file system, which is no mount's then.
            (*walk).mnt = 0;
            (*walk).dentry = (*walk).mount_root;
            (*walk).root_dentry = 0;
            follow(event, walk);
            close_path(event, walk, Tag::MountRoot, (*walk).flags as u16);
        }
    }
}

/// Walks from where `walk` stands.
///
/// # Safety
/// `walk` is the event's own.
#[inline(always)]
unsafe fn follow(event: Event, walk: *mut Walk) {
    // SAFETY: the caller's word.
    unsafe {
        (*walk).len = 0;
        (*walk).root_at = PathHead::NONE;
        (*walk).mount_at = PathHead::NONE;
        (*walk).flags = TRUNCATED as u32;
        (*walk).done = 0;
    }
    for _ in 0..CHUNKS {
        if walk_components(event.slot) != 0 {
            break;
        }
    }
}

/// Ends the section of a path.
///
/// # Safety
/// `walk` is the event's own.
#[inline(always)]
unsafe fn close_path(event: Event, walk: *mut Walk, tag: Tag, flags: u16) {
    let head = event.content().cast::<PathHead>();
    // SAFETY: the caller's word; the head fits where content goes.
    unsafe {
        (*head).root_at = (*walk).root_at;
        (*head).mount_at = (*walk).mount_at;
        (*head).mount_id = (*walk).mount_id;
        (*head).reserved = 0;
        event.close(tag, flags, HEAD + (*walk).len);
    }
}

/// Adds what the inode of a `struct file` says.
#[inline(always)]
pub(crate) fn push_file(event: Event, file: u64) {
    push_inode(event, member!(u64, file, file_inode), member!(u64, address!(file, file_path), path_dentry));
}

/// Adds what an inode says, and what its name's `dentry` does; 0 where that is not known.
#[inline(always)]
pub(crate) fn push_inode(event: Event, inode: u64, dentry: u64) {
    let sb: u64 = member!(u64, inode, inode_sb);
    let links = member!(u32, inode, inode_nlink);
    let mut flags = 0;
    // An unlinked dentry is taken out of its hash chain (`d_unhashed`), a root one was never in one.
    let unhashed =
        dentry != 0 && member!(u64, dentry, dentry_hash_pprev) == 0 && member!(u64, dentry, dentry_parent) != dentry;
    if unhashed || links == 0 {
        flags |= file_flags::UNLINKED;
    }
    if member!(u64, sb, sb_flags) & SB_KERNMOUNT != 0 {
        flags |= file_flags::KERNEL_MOUNT;
    }
    let content = event.content().cast::<File>();
    // SAFETY: a File fits behind any masked offset; the buffer is this probe's.
    unsafe {
        (*content).inode = member!(u64, inode, inode_ino);
        (*content).size = member!(u64, inode, inode_size);
        (*content).fs_magic = member!(u64, sb, sb_magic);
        (*content).device = member!(u32, sb, sb_dev);
        (*content).mode = member!(u16, inode, inode_mode) as u32;
        (*content).links = links;
        (*content).uid = member!(u32, inode, inode_uid);
        (*content).gid = member!(u32, inode, inode_gid);
        (*content).flags = flags;
        (*content).accessed_s = member!(i64, inode, inode_accessed_s);
        (*content).accessed_ns = member!(u32, inode, inode_accessed_ns);
        (*content).modified_s = member!(i64, inode, inode_modified_s);
        (*content).modified_ns = member!(u32, inode, inode_modified_ns);
        (*content).changed_s = member!(i64, inode, inode_changed_s);
        (*content).changed_ns = member!(u32, inode, inode_changed_ns);
        (*content).writers = member!(i32, inode, inode_writers);
    }
    event.close(Tag::File, 0, size_of::<File>() as u64);
}

/// Takes the walk in `scratch.walk` [`CHUNK`] components further; 1 when it is at its end.
///
/// An exported function that takes numbers is checked by the verifier once, not anew at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn walk_components(slot: u32) -> u32 {
    let Some(event) = Event::in_slot(slot) else {
        return 1;
    };
    // SAFETY: a field of a buffer that this probe owns.
    let walk = unsafe { &raw mut (*event.scratch).walk };
    for _ in 0..CHUNK {
        // SAFETY: as above.
        unsafe {
            step(event, walk);
            if (*walk).done != 0 {
                return 1;
            }
        }
    }
    0
}

/// One component, or one mount.
///
/// # Safety
/// `walk` is the event's own.
#[inline(always)]
unsafe fn step(event: Event, walk: *mut Walk) {
    // SAFETY: the caller's word.
    let walk = unsafe { &mut *walk };
    let (mnt, dentry, len) = (walk.mnt, walk.dentry, walk.len);
    if dentry == walk.root_dentry && mnt == walk.root_mnt && walk.root_at == PathHead::NONE {
        walk.root_at = len as u32;
    }
    let parent: u64 = member!(u64, dentry, dentry_parent);
    if dentry == member!(u64, mnt, vfsmount_root) {
        let mount = mnt.wrapping_sub(offset!(mount_mnt) as u64);
        let parent_mount: u64 = member!(u64, mount, mount_parent);
        if walk.mount_at == PathHead::NONE {
            walk.mount_at = len as u32;
            walk.mount_id = member!(u32, mount, mount_id);
            walk.mount_root = dentry;
            if parent != dentry {
                walk.flags |= BIND_MOUNT as u32;
            }
        }
        if parent_mount == mount || parent_mount == 0 {
            walk.flags &= !(TRUNCATED as u32);
            // A process that is ending has left its namespace before.
            if mount != walk.namespace_root && walk.namespace_root != 0 {
                walk.flags |= FOREIGN_ROOT as u32;
            }
            walk.done = 1;
            return;
        }
        walk.dentry = member!(u64, mount, mount_mountpoint);
        walk.mnt = address!(parent_mount, mount_mnt);
        return;
    }
    // SAFETY: a name fits behind any offset that `content_at` gives.
    let read = unsafe {
        bpf_probe_read_kernel_str(
            event.content_at(HEAD + len).cast(),
            NAME_BYTES as u32,
            core::ptr::with_exposed_provenance(member!(u64, dentry, dentry_name) as usize),
        )
    };
    if read <= 0 {
        walk.flags = UNREADABLE as u32;
        walk.done = 1;
        return;
    }
    let len = len + read as u64;
    if len > PATH_BYTES as u64 {
        walk.done = 1;
        return;
    }
    walk.len = len;
    walk.dentry = parent;
    if parent == dentry {
        // A root that no mount shows: the file was made by the kernel and hangs in no tree.
        walk.flags = ANONYMOUS as u32;
        walk.done = 1;
    }
}

/// Mounts of one file system that are looked at.
const MOUNTS: usize = 512;

/// Folders between a file and the root of a mount that shows only a part of its file system.
const FOLDERS: usize = 64;

/// The `struct vfsmount *` through which the mount namespace of the current process shows `dentry`; 0 where none does. Of
/// several it is the first in the list of the file system's mounts, which is the oldest.
///
/// For hooks that do not show the mount. The list is read without its lock: what is seen may be of a moment ago.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn find_mount(dentry: u64) -> u64 {
    let namespace: u64 = member!(u64, member!(u64, current_task(), task_nsproxy), nsproxy_mnt);
    let sb: u64 = member!(u64, dentry, dentry_sb);
    let root: u64 = member!(u64, sb, sb_root);
    let head = address!(sb, sb_mounts);
    // A list of `struct list_head`, from 6.18 on of pointers to the mounts themselves.
    let linked = offset!(mount_next_for_sb) == Offsets::MISSING;
    let mut at: u64 = read(head);
    for _ in 0..MOUNTS {
        if at == 0 || linked && at == head {
            return 0;
        }
        let mount = if linked { at.wrapping_sub(offset!(mount_instance) as u64) } else { at };
        let mnt = address!(mount, mount_mnt);
        if member!(u64, mount, mount_ns) == namespace {
            let mount_root: u64 = member!(u64, mnt, vfsmount_root);
            if mount_root == root || is_below(dentry, mount_root) != 0 {
                return mnt;
            }
        }
        at = if linked { read(at) } else { member!(u64, mount, mount_next_for_sb) };
    }
    0
}

/// Whether `dentry` is `folder`, or lies in it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn is_below(dentry: u64, folder: u64) -> u32 {
    let mut at = dentry;
    for _ in 0..FOLDERS {
        if at == folder {
            return 1;
        }
        let parent: u64 = member!(u64, at, dentry_parent);
        if parent == at {
            return 0;
        }
        at = parent;
    }
    0
}
