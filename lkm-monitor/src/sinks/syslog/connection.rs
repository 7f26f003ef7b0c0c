//! A connection that never waits for longer than it is told, and that notices when the other end is gone.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    os::{fd::AsFd, raw::c_int},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    ioctl::{self, Getter, Opcode},
    net::{RecvFlags, SendFlags, recv, send},
};
use rustls::{ClientConnection, pki_types::ServerName};

use super::{SyslogError, SyslogSettings};
use crate::sinks::tls::TlsFiles;

/// `SIOCOUTQ` of tcp(7), which has the number of `TIOCOUTQ`.
const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;
/// How long one look at the send queue is from the next.
const FIRST_LOOK: Duration = Duration::from_micros(200);
const LAST_LOOK: Duration = Duration::from_millis(50);
/// How long a new connection has to last before it is believed. Who does not like our certificate or address, or has nobody behind it, lets
/// us in and send, and closes then; without this, each batch would be lost so, and nobody would know.
const PROBATION: Duration = Duration::from_secs(1);
/// What a receiver may say between two looks. It has nothing to say.
const MAX_SAID: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Until when it is new.
    new_until: Instant,
}

/// How the receiver is called in messages.
pub(super) fn name(settings: &SyslogSettings) -> String {
    format!("{}:{}", settings.host, settings.port)
}

impl Connection {
    /// Connects to the first address that answers. Reads the files of TLS, since certificates are renewed.
    pub(super) fn open(settings: &SyslogSettings, deadline: Instant) -> Result<Self, SyslogError> {
        let tls = settings.tls.as_ref().map(|tls| TlsFiles::read(tls)?.client_config()).transpose()?;
        let socket = connect(settings, deadline)?;
        let Some(tls) = tls else { return Ok(Self { socket, tls: None, new_until: Instant::now() + PROBATION }) };
        let server =
            ServerName::try_from(settings.host.clone()).map_err(|_| SyslogError::Name(settings.host.clone()))?;
        let failed = |error| SyslogError::Handshake(name(settings), error);
        let mut tls = ClientConnection::new(tls, server).map_err(|error| failed(io::Error::other(error)))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut Timed { socket: &socket, deadline }).map_err(failed)?;
        }
        Ok(Self { socket, tls: Some(Box::new(tls)), new_until: Instant::now() + PROBATION })
    }

    pub(super) fn send(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        let mut socket = Timed { socket: &self.socket, deadline };
        match &mut self.tls {
            None => socket.write_all(bytes),
            Some(tls) => {
                let mut stream = rustls::Stream::new(tls.as_mut(), &mut socket);
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }

    /// An error when the receiver has closed the connection, or does not stop talking. What it says otherwise means nothing in syslog.
    pub(super) fn look(&mut self, deadline: Instant) -> io::Result<()> {
        let mut said = 0;
        while said <= MAX_SAID {
            left(deadline)?;
            let came = match &mut self.tls {
                None => Now(&self.socket).read(&mut [0; 4096]),
                Some(tls) => look_into(tls, &self.socket),
            };
            match came {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the receiver closed it")),
                Ok(read) => said += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the receiver does not stop talking"))
    }

    /// Waits until the receiver's kernel has everything, and a new connection has lasted.
    pub(super) fn settle(&mut self, deadline: Instant) -> io::Result<()> {
        let mut pause = FIRST_LOOK;
        while unacknowledged(&self.socket)? > 0 {
            self.look(deadline)?;
            wait_readable(&self.socket, pause.min(left(deadline)?))?;
            pause = (pause * 2).min(LAST_LOOK);
        }
        while let Ok(new_for) = left(self.new_until) {
            wait_readable(&self.socket, new_for.min(left(deadline)?))?;
            self.look(deadline)?;
        }
        self.look(deadline)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls {
            // RFC 5425, section 4.4. Where there is no room for it now, the receiver sees the end of the connection alone.
            tls.send_close_notify();
            let _ = tls.write_tls(&mut Now(&self.socket));
        }
    }
}

fn connect(settings: &SyslogSettings, deadline: Instant) -> Result<TcpStream, SyslogError> {
    let SyslogSettings { host, port, .. } = settings;
    let addresses = (host.as_str(), *port).to_socket_addrs();
    let addresses: Vec<_> = addresses.map_err(|error| SyslogError::Resolve(host.clone(), error))?.collect();
    let socket = connect_to_one(&addresses, deadline).and_then(|socket| socket.set_nodelay(true).map(|()| socket));
    socket.map_err(|error| SyslogError::Connect(name(settings), error))
}

/// The first of these that answers. One that says nothing may take its share of the time, so that others are left some.
pub(super) fn connect_to_one(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for (address, those_left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = left(deadline)? / u32::try_from(those_left).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, share) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Takes what has arrived. How much; 0 at the end.
fn look_into(tls: &mut ClientConnection, socket: &TcpStream) -> io::Result<usize> {
    let read = tls.read_tls(&mut Now(socket))?;
    let state = tls.process_new_packets().map_err(io::Error::other)?;
    if state.peer_has_closed() {
        return Ok(0);
    }
    io::copy(&mut tls.reader().take(state.plaintext_bytes_to_read() as u64), &mut io::sink())?;
    Ok(read)
}

/// Bytes that were sent and not acknowledged, and those that were not sent.
fn unacknowledged(socket: &TcpStream) -> io::Result<c_int> {
    // SAFETY: SIOCOUTQ writes one C int (tcp(7)).
    Ok(unsafe { ioctl::ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) }?)
}

fn wait_readable(socket: impl AsFd, patience: Duration) -> io::Result<()> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&patience)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(late()) } else { Ok(left) }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the receiver does not keep up")
}

/// A socket, until a deadline.
struct Timed<'a> {
    socket: &'a TcpStream,
    deadline: Instant,
}

/// What a socket says when its time is over.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { late() } else { error }
}

impl Read for Timed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.deadline)?))?;
        self.socket.read(bytes).map_err(timed_out)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)?))?;
        self.socket.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket, without waiting for it.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0, bytes, RecvFlags::DONTWAIT).map(|(read, _)| read)?)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
