//! Watched files: opened for writing, named, removed, given other attributes.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit, raw_tracepoint},
    programs::{FEntryContext, FExitContext, RawTracePointContext},
};
use lkm_monitor_common::section::{FileOperation, file_change_flags};

use crate::{
    files::{
        names,
        report::{Change, UNKNOWN, report, report_name},
        watch::{is_watched, may_be_watched},
        writers,
    },
    kernel::{Load, Probed, Typed, address, argument, current_task, load, member, typed_task, untyped, value},
    path::Place,
};

/// `FMODE_WRITE` of include/linux/fs.h.
const FMODE_WRITE: u32 = 2;

/// `int __mnt_want_write(struct vfsmount *m)`, from 6.7 on `int mnt_get_write_access(struct vfsmount *m)`
///
/// `do_dentry_open` asks for it when a file is opened for writing, and only then: to read a file costs nothing. Which file it is
/// stands in the path walk of this thread, `current->nameidata`. Other callers, which make and remove names, walk no path at
/// that moment, or are at the folder.
#[fentry(function = "__mnt_want_write")]
pub(crate) fn write_access(ctx: FEntryContext) -> i32 {
    if may_open_watched::<Typed>(typed_task()) {
        report_opened(untyped(ctx.arg(0)));
    }
    0
}

/// The same for kernels before 5.11, which do not tell a program the type of the current task.
#[fentry(function = "__mnt_want_write")]
pub(crate) fn write_access_5_10(ctx: FEntryContext) -> i32 {
    if may_open_watched::<Probed>(current_task()) {
        report_opened(untyped(ctx.arg(0)));
    }
    0
}

/// Whether the file at which the path walk of `task` stands may be watched.
#[inline(always)]
fn may_open_watched<L: Load>(task: u64) -> bool {
    let walk = load!(L, u64, task, task_nameidata);
    if walk == 0 {
        return false;
    }
    let dentry = load!(L, u64, walk, nameidata_dentry);
    let kind = load!(L, u32, dentry, dentry_flags) as u64 & value!(dentry_type_mask) as u64;
    kind != value!(dentry_directory) as u64 && may_be_watched::<L>(dentry)
}

/// Reports the file at which this thread's path walk stands, if it is watched and being opened on `mount`. See [`report_name`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn report_opened(mount: u64) -> u32 {
    let path = address!(member!(u64, current_task(), task_nameidata), nameidata_path);
    let place = Place { mnt: member!(u64, path, path_mnt), dentry: member!(u64, path, path_dentry) };
    let inode: u64 = member!(u64, place.dentry, dentry_inode);
    // Where the mounts differ, a file system opens a file of another one for its own. And where nobody writes, O_TRUNC asks before
    // it is decided whether the caller may.
    if place.mnt == mount && member!(i32, inode, inode_writers) > 0 {
        report_open(place);
    }
    0
}

#[inline(always)]
fn report_open(place: Place) {
    if !is_watched(place.dentry) {
        return;
    }
    let inode: u64 = member!(u64, place.dentry, dentry_inode);
    let followed = writers::follow(inode, (bpf_get_current_pid_tgid() >> 32) as u32);
    if followed.known {
        return;
    }
    let flags = if followed.session != 0 { file_change_flags::FOLLOWED } else { file_change_flags::NOT_FOLLOWED };
    let operation = FileOperation::Open as u32;
    report(Change { operation, flags, call_flags: 0, ret: 0, session: followed.session, inode, place }, |_, _| {});
}

/// `int finish_open(struct file *file, struct dentry *dentry, int (*open)(struct inode *, struct file *))`
///
/// File systems that look up, create and open in one step (`atomic_open`: FUSE, NFS, CIFS, 9P) end with this, while the path walk
/// is still at the folder.
#[fexit(function = "finish_open")]
pub(crate) fn finish_open(ctx: FExitContext) -> i32 {
    let file: u64 = ctx.arg(0);
    let ret: i32 = ctx.arg(3);
    if ret == 0 {
        report_file(file);
    }
    0
}

/// `struct file *dentry_open(const struct path *path, int flags, const struct cred *cred)`
///
/// Opens without a path walk: the descriptors that fanotify hands out, and what kernel servers and file systems open for others.
#[fexit(function = "dentry_open")]
pub(crate) fn dentry_open(ctx: FExitContext) -> i32 {
    report_file(ctx.arg(3));
    0
}

/// The same with the same arguments, for fanotify's descriptors on newer kernels.
#[fexit(function = "dentry_open_nonotify")]
pub(crate) fn dentry_open_nonotify(ctx: FExitContext) -> i32 {
    report_file(ctx.arg(3));
    0
}

/// Reports a file that was opened, if it is watched and was opened for writing. Of an error, which is no address, nothing can be read.
#[inline(always)]
fn report_file(file: u64) {
    if member!(u32, file, file_mode) & FMODE_WRITE != 0 {
        let path = address!(file, file_path);
        report_finished(member!(u64, path, path_mnt), member!(u64, path, path_dentry));
    }
}

/// See [`report_name`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn report_finished(mnt: u64, dentry: u64) -> u32 {
    report_open(Place { mnt, dentry });
    0
}

/// `int security_inode_create(struct inode *dir, struct dentry *dentry, umode_t mode)`, before the file system makes a file
///
/// Who makes a file and opens it for reading only is seen nowhere else: an empty file takes the place of another one, too.
#[fentry(function = "security_inode_create")]
pub(crate) fn security_inode_create(ctx: FEntryContext) -> i32 {
    let dentry = ctx.arg(1);
    if may_be_watched::<Typed>(dentry) {
        report_creation(untyped(dentry));
    }
    0
}

/// Reports that an open is about to make `dentry`, if it is watched. See [`report_name`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn report_creation(dentry: u64) -> u32 {
    let path = address!(member!(u64, current_task(), task_nameidata), nameidata_path);
    // An open is at the folder now. mknod walks no path any more; and a file system makes the file of another one in another folder.
    if member!(u64, path, path_dentry) != member!(u64, dentry, dentry_parent) || !is_watched(dentry) {
        return 0;
    }
    let operation = FileOperation::Create as u32;
    let flags = file_change_flags::OUTCOME_UNKNOWN;
    let place = Place { mnt: member!(u64, path, path_mnt), dentry };
    report(Change { operation, flags, call_flags: 0, ret: 0, session: 0, inode: 0, place }, |_, _| {});
    0
}

/// Run by the daemon while watched files are being written, on no hook.
#[raw_tracepoint]
pub(crate) fn closed_files(_ctx: RawTracePointContext) -> i32 {
    writers::look();
    0
}

/// `void d_move(struct dentry *dentry, struct dentry *target)`, when a file system has renamed `dentry` to `target`
#[fentry(function = "d_move")]
pub(crate) fn d_move(ctx: FEntryContext) -> i32 {
    names::renamed(ctx.arg(0), ctx.arg(1), false);
    0
}

/// `void d_exchange(struct dentry *dentry1, struct dentry *dentry2)`
#[fentry(function = "d_exchange")]
pub(crate) fn d_exchange(ctx: FEntryContext) -> i32 {
    names::renamed(ctx.arg(0), ctx.arg(1), true);
    0
}

/// `void d_delete(struct dentry *dentry)`, when a file system has removed it
#[fentry(function = "d_delete")]
pub(crate) fn d_delete(ctx: FEntryContext) -> i32 {
    let dentry = ctx.arg(0);
    if may_be_watched::<Typed>(dentry) {
        report_name(FileOperation::Remove as u32, untyped(dentry), 0, 0, 0);
    }
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
        3 => argument!(ctx, 3),
        4 => argument!(ctx, 4),
        5 => argument!(ctx, 5),
        _ => argument!(ctx, 6),
    };
    ret as i32 as i64
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

/// `int do_truncate(struct dentry *dentry, loff_t length, unsigned int time_attrs, struct file *filp)`, from 5.12 on with the
/// mount's idmap in front
///
/// `O_TRUNC` cuts a file that is opened for reading only, too. Other openings are followed, and who cuts by name opens nothing.
#[fexit(function = "do_truncate")]
pub(crate) fn do_truncate(ctx: FExitContext) -> i32 {
    let (file, ret) = match value!(do_truncate_arguments) {
        4 => (argument!(&ctx, 3), argument!(&ctx, 4)),
        _ => (argument!(&ctx, 4), argument!(&ctx, 5)),
    };
    if file != 0 && member!(u32, file, file_mode) & FMODE_WRITE == 0 {
        report_attribute(FileOperation::Size, address!(file, file_path), 0, ret as i32 as i64);
    }
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
