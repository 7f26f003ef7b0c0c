//! Sections: the tagged pieces that an event is made of.
//!
//! An event is an [`EventHeader`](crate::event::EventHeader) followed by sections. Each section is a
//! [`SectionHeader`], `len` bytes, and zero to seven bytes of padding up to a multiple of eight. A section belongs
//! to the last [`Tag::Process`] or [`Tag::File`] before it, where that makes sense. A reader skips tags it does not know.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Head of one section.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SectionHeader {
    /// A [`Tag`].
    pub tag: u16,
    /// Bits of [`flags`].
    pub flags: u16,
    /// Bytes of content, padding not included.
    pub len: u32,
}

/// Bits of [`SectionHeader::flags`].
pub mod flags {
    /// The content was cut at a limit.
    pub const TRUNCATED: u16 = 1;
    /// The content could not be read, or only in part (a page of user memory was not present).
    pub const UNREADABLE: u16 = 2;
    /// A path that does not pass the process's root directory: outside a chroot, or on a detached mount.
    pub const OUTSIDE_ROOT: u16 = 4;
    /// The file's mount shows a part of a file system only: a bind mount of a directory or file.
    pub const BIND_MOUNT: u16 = 8;
    /// The file has no place in any directory tree (memfd and other files made by the kernel).
    pub const ANONYMOUS: u16 = 16;
    /// A path that does not end at the root of the process's mount namespace: on a detached mount, or in another namespace.
    pub const FOREIGN_ROOT: u16 = 32;
    /// A path inside its file system, whose mount the hook does not show.
    pub const NO_MOUNT: u16 = 64;
}

/// What a section holds.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// A [`Call`].
    Call = 1,
    /// A [`CallEnd`].
    CallEnd = 2,
    /// A [`File`].
    File = 3,
    /// A [`PathHead`] and the components of the file's path, leaf first, a NUL behind each.
    FilePath = 4,
    /// An [`Image`].
    Image = 5,
    /// Module parameters, the caller's or the kernel's copy.
    Parameters = 6,
    /// A module name, as the caller passed it or as the kernel holds it.
    ModuleName = 7,
    /// A [`Module`].
    Module = 8,
    /// `module->version`.
    ModuleVersion = 9,
    /// `module->srcversion`.
    ModuleSrcversion = 10,
    /// A [`Process`]: the caller first, then its parents.
    Process = 11,
    /// Like [`Tag::FilePath`], of the executable.
    ExecutablePath = 12,
    /// Like [`Tag::FilePath`], of the working directory.
    WorkingDirectory = 13,
    /// Like [`Tag::FilePath`], of the root directory: empty unless the process is in a chroot.
    RootDirectory = 14,
    /// The command line as the process's memory shows it now, NUL-separated.
    Arguments = 15,
    /// An [`ExecRecord`]: the command line as it was at exec.
    ExecArguments = 16,
    /// Names of the control groups, leaf first, a NUL behind each. A long row is cut at the leaf's side: containers stand
    /// near the root.
    ControlGroup = 17,
    /// Name of the controlling terminal.
    Terminal = 18,
    /// A [`Request`].
    Request = 19,
    /// Like [`Tag::FilePath`], without roots and mounts: where in its file system the mount begins that the path before it ends
    /// on. Absent where the mount shows the whole file system.
    MountRoot = 20,
    /// A [`FileChange`].
    FileChange = 21,
    /// Like [`Tag::FilePath`]: the name that a renamed file had, or the one that a linked file has besides.
    OldPath = 22,
    /// The text of a new symbolic link.
    LinkTarget = 23,
    /// A [`Tool`].
    Tool = 24,
    /// An [`ObjectAccess`].
    ObjectAccess = 25,
}

/// Which module system call.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syscall {
    /// `init_module(2)`.
    InitModule = 1,
    /// `finit_module(2)`.
    FinitModule = 2,
    /// `delete_module(2)`.
    DeleteModule = 3,
}

/// Through which entry the call came.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// The machine's native 64-bit entry.
    Native = 1,
    /// The 32-bit entry: `int 0x80`, `sysenter`, 32-bit `syscall`.
    Compat = 2,
    /// The native entry with the x32 bit set.
    X32 = 3,
}

/// A call's arguments.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Call {
    /// A [`Syscall`].
    pub syscall: u8,
    /// An [`Abi`].
    pub abi: u8,
    pub reserved: u16,
    /// `flags` of finit_module and delete_module.
    pub flags: u32,
    /// `fd` of finit_module, -1 otherwise.
    pub fd: i32,
    pub reserved2: u32,
    /// `len` of init_module: bytes of the image in the caller's memory.
    pub image_bytes: u64,
}

/// How a call ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CallEnd {
    /// The return value: 0, or a negated errno.
    pub ret: i64,
    /// [`EventKind::bit`](crate::event::EventKind::bit)s of what the probes saw during the call.
    pub happened: u32,
    /// The bits of those events that reached their ring.
    pub sent: u32,
    /// A [`Syscall`].
    pub syscall: u8,
    /// An [`Abi`]; 0 when the enter was not seen.
    pub abi: u8,
    pub reserved: [u8; 6],
}

/// An inode as the kernel holds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct File {
    pub inode: u64,
    /// Bytes (`i_size`).
    pub size: u64,
    /// `s_magic` of the file system.
    pub fs_magic: u64,
    /// `s_dev`: major number << 20 | minor number.
    pub device: u32,
    /// Type and permission bits.
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bits of [`file_flags`].
    pub flags: u32,
    /// Times of access, modification and change, in seconds since 1970 and nanoseconds.
    pub accessed_s: i64,
    pub modified_s: i64,
    pub changed_s: i64,
    pub accessed_ns: u32,
    pub modified_ns: u32,
    pub changed_ns: u32,
    /// `i_writecount`: how often it is open for writing.
    pub writers: i32,
}

/// Bits of [`File::flags`].
pub mod file_flags {
    /// The name was removed from its directory while the file stayed open.
    pub const UNLINKED: u32 = 1;
    /// The file system is mounted by the kernel for itself (`SB_KERNMOUNT`): memfd and its kin.
    pub const KERNEL_MOUNT: u32 = 2;
}

/// First bytes of a path section.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PathHead {
    /// Offset in the component bytes at which the process's root was passed; [`PathHead::NONE`] when it was not.
    pub root_at: u32,
    /// Offset in the component bytes at which the file's own mount ended.
    pub mount_at: u32,
    /// `mount->mnt_id` of that mount, as in /proc/PID/mountinfo; 0 when it is not known.
    pub mount_id: u32,
    pub reserved: u32,
}

impl PathHead {
    /// No such place.
    pub const NONE: u32 = u32::MAX;
}

/// A module image that the kernel read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Image {
    /// Bytes in kernel memory.
    pub size: u64,
    /// One of the constants below.
    pub source: u32,
    pub reserved: u32,
    /// When it was read, in nanoseconds since boot: with the thread, the name of its [pieces](crate::image).
    pub id: u64,
    /// Bytes that reached the ring for pieces, from the image's first one on.
    pub captured_bytes: u64,
}

impl Image {
    /// Read through a file descriptor. A kernel that unpacks compressed modules shows the unpacked ones so, if at all.
    pub const FROM_FILE: u32 = 1;
    /// Copied from the caller's memory.
    pub const FROM_MEMORY: u32 = 2;
    /// Read through a file descriptor and not yet unpacked (`READING_MODULE_COMPRESSED`).
    pub const FROM_COMPRESSED_FILE: u32 = 3;
}

/// `struct module` as `module:module_load` and `module:module_free` show it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Module {
    /// `module->taints`, a bit mask.
    pub taints: u64,
}

/// A process. Ids are those of the initial namespaces.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Process {
    /// Nanoseconds since boot.
    pub start_boot_ns: u64,
    /// `cap_effective`.
    pub capabilities: u64,
    /// kernfs id of the control group.
    pub cgroup_id: u64,
    pub exe_inode: u64,
    pub exe_device: u32,
    pub exe_links: u32,
    pub pid: u32,
    pub tid: u32,
    /// Process id in the process's own pid namespace.
    pub namespace_pid: u32,
    pub process_group: u32,
    pub session: u32,
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    pub suid: u32,
    pub sgid: u32,
    /// Audit login uid, `u32::MAX` when none was set.
    pub loginuid: u32,
    /// Audit session, `u32::MAX` when none was set.
    pub audit_session: u32,
    /// Controlling terminal; 0 when there is none.
    pub tty_major: u32,
    pub tty_minor: u32,
    /// Namespace inode numbers.
    pub mount_ns: u32,
    pub pid_ns: u32,
    pub net_ns: u32,
    pub user_ns: u32,
    pub uts_ns: u32,
    pub ipc_ns: u32,
    pub cgroup_ns: u32,
    /// 0: the caller; 1: its parent; and so on.
    pub generation: u32,
    /// Bits of [`process_flags`].
    pub flags: u32,
    /// The process that traces this one with ptrace, 0 when none does.
    pub tracer_pid: u32,
    pub reserved: u32,
    pub comm: [u8; 16],
    pub tracer_comm: [u8; 16],
}

/// Bits of [`Process::flags`].
pub mod process_flags {
    /// `PF_KTHREAD`.
    pub const KERNEL_THREAD: u32 = 1;
    /// The executable's name was removed from its directory, or it never had one.
    pub const EXECUTABLE_UNLINKED: u32 = 2;
    /// More ancestors exist than [`limits::ANCESTORS`](crate::limits::ANCESTORS).
    pub const MORE_ANCESTORS: u32 = 4;
}

/// Bits of [`ExecRecord::flags`].
pub mod exec_flags {
    /// The command line was longer.
    pub const TRUNCATED: u16 = 1;
    /// It was an ancestor that was executed; the process is a fork of it.
    pub const INHERITED: u16 = 2;
}

/// The command line of a process at its last exec, or of the process that it is a fork of; also the value of the
/// `ROOT_EXECS` and `USER_EXECS` maps, keyed by process id.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecRecord {
    /// Start of the process, to tell it from another that had its id.
    pub start_boot_ns: u64,
    /// `task->self_exec_id`, which every exec raises: a record of an exec before the last one is no record.
    pub exec_id: u64,
    /// Executable at exec. `prctl(PR_SET_MM_EXE_FILE)` can change what the process shows later.
    pub exe_inode: u64,
    pub exe_device: u32,
    /// Bytes of `args` in use.
    pub len: u16,
    /// Bits of [`exec_flags`].
    pub flags: u16,
    /// NUL-separated.
    pub args: [u8; crate::limits::EXEC_ARGS_BYTES],
}

/// A module request by the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Request {
    /// 1 when the asking process waits for the answer.
    pub wait: u32,
    pub reserved: u32,
}

/// What happens to a file.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOperation {
    /// It is being opened for writing; a new file has just been made.
    Open = 1,
    /// Its last writer closed it.
    Close = 2,
    /// rename, with [`Tag::OldPath`].
    Rename = 3,
    /// A hard link, with [`Tag::OldPath`].
    Link = 4,
    /// A symbolic link, with [`Tag::LinkTarget`].
    Symlink = 5,
    /// unlink.
    Remove = 6,
    /// mknod: a file made without being opened.
    Node = 7,
    /// chmod.
    Mode = 8,
    /// chown.
    Owner = 9,
    /// utimes.
    Times = 10,
    /// truncate, by its name.
    Size = 11,
    /// Something was mounted there.
    Mount = 12,
    /// An open is about to make it; whether it did is not known. If it is opened for writing, [`Self::Open`] follows.
    Create = 13,
}

impl FileOperation {
    /// The operation of a raw value, `None` where none has it.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            1 => Self::Open,
            2 => Self::Close,
            3 => Self::Rename,
            4 => Self::Link,
            5 => Self::Symlink,
            6 => Self::Remove,
            7 => Self::Node,
            8 => Self::Mode,
            9 => Self::Owner,
            10 => Self::Times,
            11 => Self::Size,
            12 => Self::Mount,
            13 => Self::Create,
            _ => return None,
        })
    }
}

/// A change of a file. The file follows as [`Tag::File`] and [`Tag::FilePath`], where it is known.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FileChange {
    /// 0, or a negated errno; 0 where the hook comes before the outcome.
    pub ret: i64,
    /// A [`FileOperation`].
    pub operation: u32,
    /// Bits of [`file_change_flags`].
    pub flags: u32,
    /// Flags of the call, as renameat2 and mount take them; the mode of chmod.
    pub call_flags: u32,
    pub reserved: u32,
}

/// Bits of [`FileChange::flags`].
pub mod file_change_flags {
    /// The writers of this file are followed: the close of the last one is reported by the same id.
    pub const FOLLOWED: u32 = 1;
    /// The inode is no longer what it was when its writing began: it was removed, or its memory reused.
    pub const GONE: u32 = 2;
    /// There was no room to follow the writers.
    pub const NOT_FOLLOWED: u32 = 4;
    /// The hook comes before the outcome.
    pub const OUTCOME_UNKNOWN: u32 = 8;
}

/// A run of a module tool, when it begins and when it ends.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Tool {
    /// Bits of [`tool_matches`].
    pub matches: u32,
    /// Arguments that the program was given (`bprm->argc`).
    pub argument_count: u32,
    /// Wait status as of wait(2), when it ended.
    pub exit_code: u32,
    /// 1 when the process executed another program instead of ending.
    pub replaced: u32,
}

/// Bits of [`Tool::matches`]: how the tool was known.
pub mod tool_matches {
    /// The file is the installed tool: device and inode.
    pub const INODE: u32 = 1;
    /// The file begins like the installed tool: a copy of the same build.
    pub const BUILD: u32 = 2;
    /// The name that was executed.
    pub const NAME: u32 = 4;
    /// The name that it was told it has: `argv[0]`.
    pub const ARGUMENT_0: u32 = 8;
    /// The applet that a program of many was asked for: `argv[1]`, or the one behind more names of such programs.
    pub const APPLET: u32 = 16;
    /// One of the first arguments that the dynamic loader was given.
    pub const INTERPRETER: u32 = 32;
}

/// What a process asked of one of the daemon's own objects.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ObjectAccess {
    /// A command of bpf(2), or [`objects::PIDFD_GETFD`](crate::objects::PIDFD_GETFD).
    pub operation: u32,
    /// An [`ObjectKind`](crate::objects::ObjectKind).
    pub kind: u32,
    /// The kernel's number of the object, within its kind; 0 where the kernel numbers none.
    pub id: u32,
    /// Bits of [`object_access_flags`].
    pub flags: u32,
    /// The return value: what the call gives, or a negated errno.
    pub ret: i64,
}

/// Bits of [`ObjectAccess::flags`].
pub mod object_access_flags {
    /// The return of the call is not hooked, or could not be waited for.
    pub const OUTCOME_UNKNOWN: u32 = 1;
}
