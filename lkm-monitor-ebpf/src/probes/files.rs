//! Watched files: opened for writing, named, removed, given other attributes.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task},
    macros::{fentry, fexit, raw_tracepoint},
    programs::{FEntryContext, FExitContext, RawTracePointContext},
};
use lkm_monitor_common::section::{FileOperation, file_change_flags};

use crate::{
    files::{
        names,
        report::{Change, UNKNOWN, report, report_name},
        watch::{examine, is_watched, may_be_watched},
        writers,
    },
    kernel::{Load, Probed, Typed, address, argument, current_task, member, offset, typed_task, untyped, value},
    path::{Name, Place},
};

/// `S_IFMT` and `S_IFDIR` of include/uapi/linux/stat.h.
const S_IFMT: u16 = 0o170_000;
const S_IFDIR: u16 = 0o040_000;

/// `int __mnt_want_write(struct vfsmount *m)`, from 6.7 on `int mnt_get_write_access(struct vfsmount *m)`
///
/// `do_dentry_open` asks for it when a file is opened for writing, and only then: to read a file costs nothing. Which file it is
/// stands in the path walk of this thread, `current->nameidata`. Other callers, which make and remove names, walk no path at
/// that moment, or are at the folder.
#[fentry(function = "__mnt_want_write")]
pub(crate) fn write_access(ctx: FEntryContext) -> i32 {
    let mount: u64 = ctx.arg(0);
    let may_be_watched = if value!(typed_task) != 0 {
        may_open_watched::<Typed>(typed_task(), mount)
    } else {
        // SAFETY: no preconditions.
        may_open_watched::<Probed>(unsafe { bpf_get_current_task() }, mount)
    };
    if may_be_watched {
        report_opened();
    }
    0
}

/// Whether the file at which the path walk of `task` stands may be watched, and is being opened for writing.
#[inline(always)]
fn may_open_watched<L: Load>(task: u64, mount: u64) -> bool {
    let walk: u64 = L::load(task, offset!(task_nameidata));
    if walk == 0 {
        return false;
    }
    let path = offset!(nameidata_path);
    // Where they differ, a file system opens a file of another one for its own.
    if L::load::<u64>(walk, path + offset!(path_mnt)) != mount {
        return false;
    }
    let dentry: u64 = L::load(walk, path + offset!(path_dentry));
    let inode: u64 = L::load(dentry, offset!(dentry_inode));
    if L::load::<u16>(inode, offset!(inode_mode)) & S_IFMT == S_IFDIR {
        let operations: u64 = L::load(inode, offset!(inode_operations));
        return L::load::<u64>(operations, offset!(operations_atomic_open)) != 0;
    }
    may_be_watched::<L>(dentry)
}

/// Reports the file at which this thread's path walk stands, if it is watched. See [`report_name`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn report_opened() -> u32 {
    let walk: u64 = member!(u64, current_task(), task_nameidata);
    let path = address!(walk, nameidata_path);
    let place = Place { mnt: member!(u64, path, path_mnt), dentry: member!(u64, path, path_dentry) };
    let inode: u64 = member!(u64, place.dentry, dentry_inode);
    let mut change = Change {
        operation: FileOperation::Open as u32,
        flags: file_change_flags::NOT_FOLLOWED,
        call_flags: 0,
        ret: 0,
        session: 0,
        inode,
        place,
        name: Name::NONE,
    };
    if member!(u16, inode, inode_mode) & S_IFMT == S_IFDIR {
        if !opens_at_once(&mut change, walk) {
            return 0;
        }
    } else {
        if !is_watched(place.dentry) {
            return 0;
        }
        let followed = writers::follow(inode, (bpf_get_current_pid_tgid() >> 32) as u32);
        if followed.known {
            return 0;
        }
        change.session = followed.session;
        if followed.session != 0 {
            change.flags = file_change_flags::FOLLOWED;
        }
    }
    report(change, |_, _| {});
    0
}

/// A file system that looks up, creates and opens in one step (`atomic_open`: FUSE, NFS, CIFS) is asked while the walk is still
/// at the folder. Of the file there is only the name. Whether that is watched.
#[inline(always)]
fn opens_at_once(change: &mut Change, walk: u64) -> bool {
    let last = address!(walk, nameidata_last);
    change.name = Name { address: member!(u64, last, qstr_name), len: member!(u32, last, qstr_len) };
    change.inode = 0;
    change.flags |= file_change_flags::OUTCOME_UNKNOWN;
    examine(change.name.address, change.name.len, change.place.dentry)
}

/// Run by the daemon while watched files are being written, on no hook.
#[raw_tracepoint]
pub(crate) fn closed_files(_ctx: RawTracePointContext) -> i32 {
    writers::look();
    0
}

/// `int security_path_rename(const struct path *old_dir, struct dentry *old_dentry, const struct path *new_dir,
/// struct dentry *new_dentry, unsigned int flags)`
#[fentry(function = "security_path_rename")]
pub(crate) fn security_path_rename(ctx: FEntryContext) -> i32 {
    names::begin_rename(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3), ctx.arg(4));
    0
}

/// `int security_path_link(struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry)`
#[fentry(function = "security_path_link")]
pub(crate) fn security_path_link(ctx: FEntryContext) -> i32 {
    names::begin_link(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// `int security_path_symlink(const struct path *dir, struct dentry *dentry, const char *old_name)`
#[fentry(function = "security_path_symlink")]
pub(crate) fn security_path_symlink(ctx: FEntryContext) -> i32 {
    names::begin_symlink(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// The return value of a function with `arguments` arguments, which kernels disagree on. The verifier takes constant places
/// only, and looks at the right one alone.
#[inline(always)]
fn returned(ctx: &FExitContext, arguments: u32) -> i64 {
    let ret = match arguments {
        1 => argument!(ctx, 1),
        2 => argument!(ctx, 2),
        3 => argument!(ctx, 3),
        4 => argument!(ctx, 4),
        5 => argument!(ctx, 5),
        _ => argument!(ctx, 6),
    };
    ret as i32 as i64
}

/// `vfs_rename`
#[fexit(function = "vfs_rename")]
pub(crate) fn vfs_rename(ctx: FExitContext) -> i32 {
    names::end(FileOperation::Rename, returned(&ctx, value!(vfs_rename_arguments)));
    0
}

/// `vfs_link`
#[fexit(function = "vfs_link")]
pub(crate) fn vfs_link(ctx: FExitContext) -> i32 {
    names::end(FileOperation::Link, returned(&ctx, value!(vfs_link_arguments)));
    0
}

/// `vfs_symlink`
#[fexit(function = "vfs_symlink")]
pub(crate) fn vfs_symlink(ctx: FExitContext) -> i32 {
    names::end(FileOperation::Symlink, returned(&ctx, value!(vfs_symlink_arguments)));
    0
}

/// The argument that is a `struct dentry *`.
#[inline(always)]
fn dentry(ctx: &FExitContext, place: u32) -> u64 {
    match place {
        1 => argument!(ctx, 1),
        _ => argument!(ctx, 2),
    }
}

/// `vfs_unlink`: which mount the caller came through is not among its arguments.
#[fexit(function = "vfs_unlink")]
pub(crate) fn vfs_unlink(ctx: FExitContext) -> i32 {
    let dentry = dentry(&ctx, value!(vfs_unlink_dentry));
    if may_be_watched::<Typed>(dentry) {
        report_name(FileOperation::Remove as u32, untyped(dentry), 0, returned(&ctx, value!(vfs_unlink_arguments)), 0);
    }
    0
}

/// `vfs_create`, which mknod calls and open does not.
#[fexit(function = "vfs_create")]
pub(crate) fn vfs_create(ctx: FExitContext) -> i32 {
    let dentry = dentry(&ctx, value!(vfs_create_dentry));
    if may_be_watched::<Typed>(dentry) {
        report_name(FileOperation::Node as u32, untyped(dentry), 0, returned(&ctx, value!(vfs_create_arguments)), 0);
    }
    0
}

/// `vfs_mknod`
#[fexit(function = "vfs_mknod")]
pub(crate) fn vfs_mknod(ctx: FExitContext) -> i32 {
    let dentry = dentry(&ctx, value!(vfs_mknod_dentry));
    if may_be_watched::<Typed>(dentry) {
        report_name(FileOperation::Node as u32, untyped(dentry), 0, returned(&ctx, value!(vfs_mknod_arguments)), 0);
    }
    0
}

/// A call on a `struct path` that changes what is said of the file, not what is in it.
#[inline(always)]
fn report_attribute(operation: FileOperation, path: u64, call_flags: u32, ret: i64) {
    let (mnt, dentry) = (member!(u64, path, path_mnt), member!(u64, path, path_dentry));
    report_name(operation as u32, dentry, mnt, ret, call_flags);
}

/// `int chmod_common(const struct path *path, umode_t mode)`
#[fexit(function = "chmod_common")]
pub(crate) fn chmod_common(ctx: FExitContext) -> i32 {
    let mode: u16 = ctx.arg(1);
    let ret: i32 = ctx.arg(2);
    report_attribute(FileOperation::Mode, ctx.arg(0), mode as u32, ret as i64);
    0
}

/// `int chown_common(const struct path *path, uid_t user, gid_t group)`
#[fexit(function = "chown_common")]
pub(crate) fn chown_common(ctx: FExitContext) -> i32 {
    let ret: i32 = ctx.arg(3);
    report_attribute(FileOperation::Owner, ctx.arg(0), 0, ret as i64);
    0
}

/// `int vfs_utimes(const struct path *path, struct timespec64 *times)`
#[fexit(function = "vfs_utimes")]
pub(crate) fn vfs_utimes(ctx: FExitContext) -> i32 {
    let ret: i32 = ctx.arg(2);
    report_attribute(FileOperation::Times, ctx.arg(0), 0, ret as i64);
    0
}

/// `long vfs_truncate(const struct path *path, loff_t length)`
#[fexit(function = "vfs_truncate")]
pub(crate) fn vfs_truncate(ctx: FExitContext) -> i32 {
    report_attribute(FileOperation::Size, ctx.arg(0), 0, ctx.arg(2));
    0
}

/// `int path_mount(const char *dev_name, struct path *path, const char *type_page, unsigned long flags, void *data_page)`
#[fexit(function = "path_mount")]
pub(crate) fn path_mount(ctx: FExitContext) -> i32 {
    let flags: u64 = ctx.arg(3);
    let ret: i32 = ctx.arg(5);
    report_attribute(FileOperation::Mount, ctx.arg(1), flags as u32, ret as i64);
    0
}

/// `int security_move_mount(const struct path *from_path, const struct path *to_path)`, before the outcome
#[fentry(function = "security_move_mount")]
pub(crate) fn security_move_mount(ctx: FEntryContext) -> i32 {
    report_attribute(FileOperation::Mount, ctx.arg(1), 0, UNKNOWN);
    0
}
