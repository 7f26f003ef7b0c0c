//! A socket that takes no more than the link's allowance, with TLS above it or not.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    os::unix::net::UnixStream,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use super::allowance::{Allowance, timed_out};

/// For one address of a name, so that others are left some time.
const CONNECT: Duration = Duration::from_secs(3);

/// What commands are written to, and answers are read from.
pub(super) enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

pub(super) struct Socket {
    kind: SocketKind,
    allowance: Rc<Allowance>,
}

enum SocketKind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to the first address of the host that answers.
    pub(super) fn tcp(host: &str, port: u16, allowance: &Rc<Allowance>) -> io::Result<Self> {
        allowance.use_connection()?;
        let mut last = io::ErrorKind::NotFound.into();
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, allowance.time_left()?.min(CONNECT)) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    return Ok(Self { kind: SocketKind::Tcp(socket), allowance: Rc::clone(allowance) });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(super) fn unix(path: &Path, allowance: &Rc<Allowance>) -> io::Result<Self> {
        allowance.use_connection()?;
        Ok(Self { kind: SocketKind::Unix(UnixStream::connect(path)?), allowance: Rc::clone(allowance) })
    }

    /// TLS with a server of this name. Keys are agreed upon with the first command.
    pub(super) fn encrypted(self, host: &str, config: Arc<ClientConfig>) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(tls, self))))
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let time = Some(self.allowance.time_left()?);
        let room = self.allowance.bytes_left()?.min(bytes.len());
        let bytes = &mut bytes[..room];
        let read = match &mut self.kind {
            SocketKind::Tcp(socket) => socket.set_read_timeout(time).and_then(|()| socket.read(bytes)),
            SocketKind::Unix(socket) => socket.set_read_timeout(time).and_then(|()| socket.read(bytes)),
        };
        read.inspect(|read| self.allowance.use_bytes(*read)).map_err(timed_out)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let time = Some(self.allowance.time_left()?);
        let written = match &mut self.kind {
            SocketKind::Tcp(socket) => socket.set_write_timeout(time).and_then(|()| socket.write(bytes)),
            SocketKind::Unix(socket) => socket.set_write_timeout(time).and_then(|()| socket.write(bytes)),
        };
        written.map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(bytes),
            Self::Tls(tls) => tls.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
