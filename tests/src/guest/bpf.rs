//! bpf(2) as attackers use it, and what the kernel says of the objects that a process holds.

use std::{
    fs, io,
    os::fd::{FromRawFd as _, OwnedFd},
};

/// Commands, of `enum bpf_cmd` in include/uapi/linux/bpf.h.
pub(crate) const MAP_CREATE: libc::c_int = 0;
pub(crate) const MAP_UPDATE_ELEM: libc::c_int = 2;
pub(crate) const MAP_DELETE_ELEM: libc::c_int = 3;
pub(crate) const PROG_LOAD: libc::c_int = 5;
pub(crate) const OBJ_PIN: libc::c_int = 6;
pub(crate) const OBJ_GET: libc::c_int = 7;
pub(crate) const PROG_GET_FD_BY_ID: libc::c_int = 13;
pub(crate) const MAP_GET_FD_BY_ID: libc::c_int = 14;
pub(crate) const LINK_GET_FD_BY_ID: libc::c_int = 30;
pub(crate) const LINK_DETACH: libc::c_int = 34;

/// `BPF_MAP_TYPE_HASH`
pub(crate) const HASH: u64 = 1;

/// `BPF_PROG_TYPE_EXT`
pub(crate) const EXTENSION: u64 = 28;

/// `union bpf_attr`: numbers of the kernel's interface, in the order of the command's structure, two 32-bit ones in one.
pub(crate) fn call(command: libc::c_int, attributes: &mut [u64; 16]) -> rustix::io::Result<i32> {
    // SAFETY: the kernel reads the attributes, and what they point to, which the caller keeps.
    match unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(attributes)) } {
        -1 => Err(rustix::io::Errno::from_io_error(&io::Error::last_os_error()).expect("an errno")),
        answer => Ok(answer as i32),
    }
}

/// Lets this process make programs and maps: kernels before 5.11 count both as locked memory, of which a user has little, root included.
pub(crate) fn lift_limit() {
    let without = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limits are there as long as the call.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const without) };
}

/// A descriptor of the object with this number.
pub(crate) fn open(command: libc::c_int, id: u32) -> rustix::io::Result<OwnedFd> {
    let mut attributes = [0; 16];
    attributes[0] = u64::from(id);
    // SAFETY: the kernel made it for this process.
    call(command, &mut attributes).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An object that a process holds.
pub(crate) struct Held {
    pub(crate) fd: i32,
    info: String,
}

impl Held {
    /// A number behind `key:` in its fdinfo.
    pub(crate) fn number(&self, key: &str) -> Option<u32> {
        self.info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok())
    }
}

/// All descriptors of a process whose fdinfo has this key.
pub(crate) fn held(pid: u32, key: &str) -> Vec<Held> {
    let folder = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("list the descriptors of a process");
    let numbers = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let all = numbers
        .filter_map(|fd: i32| Some(Held { fd, info: fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()? }));
    all.filter(|held| held.number(key).is_some()).collect()
}
