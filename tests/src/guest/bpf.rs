//! bpf(2) as attackers use it, and what the kernel says of the objects that a process holds.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// Commands, of `enum bpf_cmd` in include/uapi/linux/bpf.h.
pub(crate) const MAP_CREATE: libc::c_int = 0;
pub(crate) const MAP_UPDATE_ELEM: libc::c_int = 2;
pub(crate) const MAP_DELETE_ELEM: libc::c_int = 3;
pub(crate) const PROG_LOAD: libc::c_int = 5;
pub(crate) const OBJ_PIN: libc::c_int = 6;
pub(crate) const OBJ_GET: libc::c_int = 7;
pub(crate) const PROG_TEST_RUN: libc::c_int = 10;
pub(crate) const PROG_GET_FD_BY_ID: libc::c_int = 13;
pub(crate) const MAP_GET_FD_BY_ID: libc::c_int = 14;
pub(crate) const LINK_GET_FD_BY_ID: libc::c_int = 30;
pub(crate) const LINK_DETACH: libc::c_int = 34;

/// `BPF_MAP_TYPE_HASH`
pub(crate) const HASH: u64 = 1;

/// `BPF_PROG_TYPE_SOCKET_FILTER`
const SOCKET_FILTER: u64 = 1;

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

/// An instruction (`struct bpf_insn`): operation, destination, source, offset, number.
pub(crate) const fn instruction(operation: u8, to: u8, from: u8, offset: i16, number: i32) -> u64 {
    let number = (number as u32 as u64) << 32;
    number | (offset as u16 as u64) << 16 | ((from << 4 | to) as u64) << 8 | operation as u64
}

/// The instructions that delete `key`, of a multiple of 8 bytes, from the map behind a descriptor.
pub(crate) fn deletion(map: &OwnedFd, key: &[u8]) -> Vec<u64> {
    const STACK: u8 = 10;
    let start = -(key.len() as i16);
    let words = key.as_chunks::<4>().0.iter().map(|word| i32::from_le_bytes(*word));
    let offsets = (start..).step_by(4);
    let mut program: Vec<u64> =
        words.zip(offsets).map(|(word, offset)| instruction(0x62, STACK, 0, offset, word)).collect();
    program.extend([
        // r1 = the map (BPF_PSEUDO_MAP_FD), of two instructions
        instruction(0x18, 1, 1, 0, map.as_raw_fd()),
        0,
        // r2 = the key
        instruction(0xbf, 2, STACK, 0, 0),
        instruction(0x07, 2, 0, 0, start.into()),
        // bpf_map_delete_elem(r1, r2); r0 = 0; exit
        instruction(0x85, 0, 0, 0, 3),
        instruction(0xb7, 0, 0, 0, 0),
        instruction(0x95, 0, 0, 0, 0),
    ]);
    program
}

/// Loads a program that would filter what a socket gets, and runs it once.
pub(crate) fn load_and_run(instructions: &[u64]) -> rustix::io::Result<()> {
    let license = c"GPL";
    let mut attributes = [0; 16];
    attributes[0] = SOCKET_FILTER | (instructions.len() as u64) << 32;
    attributes[1] = instructions.as_ptr().expose_provenance() as u64;
    attributes[2] = license.as_ptr().expose_provenance() as u64;
    // SAFETY: the kernel made it for this process.
    let program = unsafe { OwnedFd::from_raw_fd(call(PROG_LOAD, &mut attributes)?) };
    let packet = [0_u8; 64];
    let mut attributes = [0; 16];
    attributes[0] = program.as_raw_fd() as u64;
    attributes[1] = packet.len() as u64;
    attributes[2] = packet.as_ptr().expose_provenance() as u64;
    call(PROG_TEST_RUN, &mut attributes).map(drop)
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
