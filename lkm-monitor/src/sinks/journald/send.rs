//! The socket: a record as a datagram, or as a sealed file in memory when it is too long for one.

use std::{
    fs::File,
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::Path,
    time::Instant,
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};

pub(super) struct Socket(UnixDatagram);

impl Socket {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self(socket))
    }

    /// Waits until `deadline` for room in the queue.
    pub(super) fn send(&self, record: &[u8], deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(full());
        }
        self.0.set_write_timeout(Some(left))?;
        let sent = match self.0.send(record) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self.send_sealed(record),
            sent => sent.map(drop),
        };
        sent.map_err(|error| if error.kind() == io::ErrorKind::WouldBlock { full() } else { error })
    }

    /// journald maps such a file, and takes it only when nobody can change it any more.
    fn send_sealed(&self, record: &[u8]) -> io::Result<()> {
        let memory = sealed(record)?;
        let descriptors = [memory.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        sendmsg(&self.0, &[IoSlice::new(&[])], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

fn sealed(record: &[u8]) -> io::Result<OwnedFd> {
    let mut memory = File::from(memfd_create("lkm-monitor-record", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?);
    memory.write_all(record)?;
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(memory.into())
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "journald does not read")
}
