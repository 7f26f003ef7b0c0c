//! Where the running kernel keeps what the probes read.
//!
//! rustc cannot emit CO-RE relocations, so the daemon looks every member up in the kernel's BTF and writes the offsets
//! into the probes' read-only data before they are loaded. The one list below names each member once: it makes the
//! struct, and the table that the daemon resolves.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! offsets {
    ($($(#[$meta:meta])* $field:ident: $ty:literal . $member:literal $(| $ty2:literal . $member2:literal)* $(, $need:ident)?;)*) => {
        /// Byte offsets of kernel structure members; [`Offsets::MISSING`] where the kernel has none.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
        pub struct Offsets {
            $($(#[$meta])* pub $field: u32,)*
        }

        impl Offsets {
            /// A member that the kernel does not have.
            pub const MISSING: u32 = u32::MAX;

            /// All members missing: what the probes are compiled with.
            pub const UNRESOLVED: Self = Self { $($field: Self::MISSING,)* };

            /// How to find each field of [`Offsets`], in field order.
            pub const MEMBERS: &'static [Member] = &[
                $(Member {
                    candidates: &[($ty, $member) $(, ($ty2, $member2))*],
                    optional: offsets!(@optional $($need)?),
                },)*
            ];
        }
    };
    (@optional optional) => { true };
    (@optional) => { false };
}

/// One structure member to look up.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Structure and member, in order of preference: names changed between kernels. A dot goes into a nested struct.
    pub candidates: &'static [(&'static str, &'static str)],
    /// Whether the probes work without it.
    pub optional: bool,
}

offsets! {
    task_pid: "task_struct"."pid";
    task_tgid: "task_struct"."tgid";
    task_flags: "task_struct"."flags";
    task_comm: "task_struct"."comm";
    task_self_exec_id: "task_struct"."self_exec_id";
    task_start_boot: "task_struct"."start_boottime" | "task_struct"."real_start_time";
    task_real_parent: "task_struct"."real_parent";
    task_group_leader: "task_struct"."group_leader";
    task_mm: "task_struct"."mm";
    task_fs: "task_struct"."fs";
    task_files: "task_struct"."files";
    task_nsproxy: "task_struct"."nsproxy";
    task_cred: "task_struct"."cred";
    task_real_cred: "task_struct"."real_cred";
    task_signal: "task_struct"."signal";
    task_loginuid: "task_struct"."loginuid", optional;
    task_sessionid: "task_struct"."sessionid", optional;
    task_cgroups: "task_struct"."cgroups", optional;
    task_ptrace: "task_struct"."ptrace";
    task_exit_code: "task_struct"."exit_code";
    task_nameidata: "task_struct"."nameidata", optional;
    task_parent: "task_struct"."parent";

    mm_exe_file: "mm_struct"."exe_file";
    mm_arg_start: "mm_struct"."arg_start";
    mm_arg_end: "mm_struct"."arg_end";

    fs_root: "fs_struct"."root";
    fs_pwd: "fs_struct"."pwd";
    files_fdt: "files_struct"."fdt";
    fdtable_fd: "fdtable"."fd";
    fdtable_max_fds: "fdtable"."max_fds";

    file_path: "file"."f_path";
    file_inode: "file"."f_inode";
    file_mode: "file"."f_mode";
    file_private_data: "file"."private_data";
    path_mnt: "path"."mnt";
    path_dentry: "path"."dentry";
    vfsmount_root: "vfsmount"."mnt_root";
    mount_mnt: "mount"."mnt";
    mount_parent: "mount"."mnt_parent";
    mount_mountpoint: "mount"."mnt_mountpoint";
    mount_id: "mount"."mnt_id";
    mount_ns: "mount"."mnt_ns";
    mount_instance: "mount"."mnt_instance", optional;
    mount_next_for_sb: "mount"."mnt_next_for_sb", optional;
    sb_mounts: "super_block"."s_mounts";
    sb_root: "super_block"."s_root";
    dentry_parent: "dentry"."d_parent";
    dentry_name: "dentry"."d_name.name";
    dentry_name_len: "dentry"."d_name.len";
    dentry_inline_name: "dentry"."d_iname" | "dentry"."d_shortname";
    dentry_inode: "dentry"."d_inode";
    dentry_flags: "dentry"."d_flags";
    dentry_sb: "dentry"."d_sb";
    dentry_hash_pprev: "dentry"."d_hash.pprev";
    nameidata_path: "nameidata"."path", optional;
    nameidata_dentry: "nameidata"."path.dentry", optional;
    inode_writers: "inode"."i_writecount";
    inode_generation: "inode"."i_generation";
    inode_accessed_s: "inode"."i_atime.tv_sec" | "inode"."__i_atime.tv_sec" | "inode"."i_atime_sec";
    inode_accessed_ns: "inode"."i_atime.tv_nsec" | "inode"."__i_atime.tv_nsec" | "inode"."i_atime_nsec";
    inode_modified_s: "inode"."i_mtime.tv_sec" | "inode"."__i_mtime.tv_sec" | "inode"."i_mtime_sec";
    inode_modified_ns: "inode"."i_mtime.tv_nsec" | "inode"."__i_mtime.tv_nsec" | "inode"."i_mtime_nsec";
    inode_changed_s: "inode"."i_ctime.tv_sec" | "inode"."__i_ctime.tv_sec" | "inode"."i_ctime_sec";
    inode_changed_ns: "inode"."i_ctime.tv_nsec" | "inode"."__i_ctime.tv_nsec" | "inode"."i_ctime_nsec";
    inode_ino: "inode"."i_ino";
    inode_size: "inode"."i_size";
    inode_mode: "inode"."i_mode";
    inode_nlink: "inode"."i_nlink";
    inode_uid: "inode"."i_uid";
    inode_gid: "inode"."i_gid";
    inode_sb: "inode"."i_sb";
    sb_dev: "super_block"."s_dev";
    sb_flags: "super_block"."s_flags";
    sb_magic: "super_block"."s_magic";

    cred_uid: "cred"."uid";
    cred_gid: "cred"."gid";
    cred_suid: "cred"."suid";
    cred_sgid: "cred"."sgid";
    cred_euid: "cred"."euid";
    cred_egid: "cred"."egid";
    cred_cap_effective: "cred"."cap_effective";
    cred_user_ns: "cred"."user_ns";

    nsproxy_uts: "nsproxy"."uts_ns";
    nsproxy_ipc: "nsproxy"."ipc_ns";
    nsproxy_mnt: "nsproxy"."mnt_ns";
    nsproxy_net: "nsproxy"."net_ns";
    nsproxy_cgroup: "nsproxy"."cgroup_ns";
    mnt_ns_root: "mnt_namespace"."root";
    uts_ns_inum: "uts_namespace"."ns.inum";
    ipc_ns_inum: "ipc_namespace"."ns.inum";
    mnt_ns_inum: "mnt_namespace"."ns.inum";
    net_ns_inum: "net"."ns.inum";
    cgroup_ns_inum: "cgroup_namespace"."ns.inum";
    user_ns_inum: "user_namespace"."ns.inum";
    pid_ns_inum: "pid_namespace"."ns.inum";

    pid_level: "pid"."level";
    pid_numbers: "pid"."numbers";
    upid_nr: "upid"."nr";
    upid_ns: "upid"."ns";
    signal_pids: "signal_struct"."pids";
    signal_live: "signal_struct"."live";
    signal_group_exit_code: "signal_struct"."group_exit_code";
    signal_tty: "signal_struct"."tty";
    tty_name: "tty_struct"."name";
    tty_index: "tty_struct"."index";
    tty_driver: "tty_struct"."driver";
    tty_driver_major: "tty_driver"."major";
    tty_driver_minor_start: "tty_driver"."minor_start";

    cset_default_cgroup: "css_set"."dfl_cgrp", optional;
    cset_subsys: "css_set"."subsys", optional;
    css_cgroup: "cgroup_subsys_state"."cgroup", optional;
    cgroup_kn: "cgroup"."kn", optional;
    kernfs_id: "kernfs_node"."id", optional;
    kernfs_name: "kernfs_node"."name", optional;
    kernfs_parent: "kernfs_node"."__parent" | "kernfs_node"."parent", optional;

    module_name: "module"."name";
    module_args: "module"."args", optional;
    module_taints: "module"."taints";
    module_version: "module"."version", optional;
    module_srcversion: "module"."srcversion", optional;
    binprm_file: "linux_binprm"."file";
    binprm_head: "linux_binprm"."buf";
    binprm_argc: "linux_binprm"."argc";
}

/// Enumeration values and sizes that differ between kernels.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct KernelValues {
    /// `kernel_read_file_id.READING_MODULE`.
    pub reading_module: u32,
    /// `kernel_read_file_id.READING_MODULE_COMPRESSED`, `u32::MAX` where the kernel has none.
    pub reading_module_compressed: u32,
    /// `kernel_load_data_id.LOADING_MODULE`.
    pub loading_module: u32,
    /// `sizeof(struct upid)`.
    pub upid_bytes: u32,
    /// `pid_type.PIDTYPE_TGID`.
    pub pidtype_tgid: u32,
    /// `pid_type.PIDTYPE_PGID`.
    pub pidtype_pgid: u32,
    /// `pid_type.PIDTYPE_SID`.
    pub pidtype_sid: u32,
    /// `cgroup_subsys_id.pids_cgrp_id`, the hierarchy to name on hosts without a unified one; `u32::MAX` where there is none.
    pub cgroup_v1_subsys: u32,
    /// 1 where programs may use `bpf_get_current_task_btf` (5.11): kernel structures can then be read without a helper.
    pub typed_task: u32,
    /// The bits of `dentry->d_flags` that tell what kind of file it is, and those bits of a directory. Enumerated from 6.13 on.
    pub dentry_type_mask: u32,
    pub dentry_directory: u32,
    /// Arguments of these functions; the return value follows them in an fexit program.
    pub vfs_link_arguments: u32,
    pub vfs_symlink_arguments: u32,
    pub vfs_create_arguments: u32,
    pub vfs_mknod_arguments: u32,
    pub do_truncate_arguments: u32,
    /// Which argument of `vfs_create` and `vfs_mknod` is the `struct dentry *`.
    pub vfs_create_dentry: u32,
    pub vfs_mknod_dentry: u32,
}

impl KernelValues {
    /// Nothing resolved: what the probes are compiled with.
    pub const UNRESOLVED: Self = Self {
        reading_module: u32::MAX,
        reading_module_compressed: u32::MAX,
        loading_module: u32::MAX,
        upid_bytes: 16,
        pidtype_tgid: 1,
        pidtype_pgid: 2,
        pidtype_sid: 3,
        cgroup_v1_subsys: u32::MAX,
        typed_task: 0,
        dentry_type_mask: 7 << 20,
        dentry_directory: 2 << 20,
        vfs_link_arguments: 5,
        vfs_symlink_arguments: 4,
        vfs_create_arguments: 5,
        vfs_mknod_arguments: 5,
        do_truncate_arguments: 5,
        vfs_create_dentry: 2,
        vfs_mknod_dentry: 2,
    };
}

const _: () = assert!(
    size_of::<Offsets>() == Offsets::MEMBERS.len() * size_of::<u32>(),
    "every member of the table is one u32 of the struct"
);
