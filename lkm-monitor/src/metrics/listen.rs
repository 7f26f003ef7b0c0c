//! Where metrics are to be had: on this host alone.

use std::{
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::{
        self,
        fs::{FileTypeExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};

/// Whoever is in the daemon's group may ask.
const SOCKET_MODE: u32 = 0o660;

/// A place on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Everybody on the host can ask.
    Loopback(SocketAddr),
    /// The path of a socket.
    Unix(PathBuf),
}

/// Why nobody can ask there.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("it is `{0}`, but must be like 127.0.0.1:9464, [::1]:9464 or unix:/run/lkm-monitor/metrics.sock")]
    Unreadable(String),
    #[error(
        "{0} can be reached from other hosts: it must be an address of the loopback, such as 127.0.0.1, or a unix socket"
    )]
    NotLoopback(IpAddr),
    #[error("cannot listen at {listen}: {source}")]
    Bind { listen: Listen, source: io::Error },
    #[error("{} is there, and is not a socket: it is left alone", .0.display())]
    NotSocket(PathBuf),
    #[error("at {} somebody listens already", .0.display())]
    InUse(PathBuf),
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let unreadable = || ListenError::Unreadable(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            let is_path = path.is_absolute() && path.file_name().is_some();
            // The kernel takes paths of up to 107 bytes.
            let fits = unix::net::SocketAddr::from_pathname(path).is_ok();
            return if is_path && fits { Ok(Self::Unix(path.to_owned())) } else { Err(unreadable()) };
        }
        let address: SocketAddr = text.parse().map_err(|_| unreadable())?;
        if !address.ip().is_loopback() {
            return Err(ListenError::NotLoopback(address.ip()));
        }
        if address.port() == 0 { Err(unreadable()) } else { Ok(Self::Loopback(address)) }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// One who asks.
pub(super) trait Client: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Client for T {}

/// Takes in who comes.
#[derive(Debug)]
pub(super) enum Listener {
    Loopback(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Begins to listen. What an earlier run left of a unix socket is replaced. Needs a tokio runtime with I/O.
    pub(super) fn open(listen: &Listen) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind { listen: listen.clone(), source };
        match listen {
            Listen::Loopback(address) => {
                let listener = std::net::TcpListener::bind(address).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                TcpListener::from_std(listener).map(Self::Loopback).map_err(failed)
            }
            Listen::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
                Ok(Self::Unix(listener))
            }
        }
    }

    /// The next one. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<Box<dyn Client>> {
        Ok(match self {
            Self::Loopback(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Removes a socket that nobody listens at any more.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::Bind { listen: Listen::Unix(path.to_owned()), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotSocket(path.to_owned())),
        Ok(_) => {}
    }
    match unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
    }
}
