//! A real server, of Debian's package `redis-server`.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::prevalence::link::LinkSettings;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Server {
    child: Option<Child>,
    folder: PathBuf,
    arguments: Vec<String>,
    admin: LinkSettings,
}

/// A port of the loopback that nobody uses.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(super) fn link(address: &str) -> LinkSettings {
    LinkSettings {
        addresses: vec![address.to_owned()],
        cluster: false,
        user: None,
        password: None,
        ca: None,
        certificate: None,
        deadline: Duration::from_secs(5),
    }
}

impl Server {
    /// What it was told to store is on disk before it answers. It listens on a socket in the folder, which no other test can take.
    pub(super) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let socket = folder.join("redis.sock").display().to_string();
        let own = ["--port", "0", "--unixsocket", &socket];
        Self::start_at(folder, &[&own, arguments].concat(), link(&format!("unix://{socket}")))
    }

    /// It listens on a port of the loopback.
    pub(super) fn start_on_port(folder: &Path, arguments: &[&str]) -> (Self, u16) {
        let port = free_port();
        let own = ["--port", &port.to_string()];
        (Self::start_at(folder, &[&own, arguments].concat(), link(&format!("redis://127.0.0.1:{port}"))), port)
    }

    pub(super) fn start_at(folder: &Path, arguments: &[&str], admin: LinkSettings) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { child: None, folder: folder.to_owned(), arguments, admin };
        server.restart();
        server
    }

    pub(super) fn address(&self) -> String {
        self.admin.addresses[0].clone()
    }

    /// Ends it without any notice.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn restart(&mut self) {
        self.kill();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .args(["--dir", &self.folder.display().to_string()])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start redis-server (Debian package redis-server)");
        self.child = Some(child);
        let end = Instant::now() + PATIENCE;
        while let Err(error) = self.query::<String>(redis::cmd("PING")) {
            assert!(Instant::now() < end, "redis-server does not answer: {error}");
            std::thread::yield_now();
        }
    }

    /// Stops it from running, and lets it go on.
    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let id = self.child.as_ref().unwrap().id();
        let pid = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// As an administrator.
    pub(super) fn query<T: redis::FromRedisValue>(&self, command: redis::Cmd) -> redis::RedisResult<T> {
        let info = crate::prevalence::link::info(&self.admin, &self.admin.addresses[0])?;
        let client = match &self.admin.ca {
            Some(ca) => redis::Client::build_with_tls(
                info,
                redis::TlsCertificates {
                    root_cert: Some(ca.clone()),
                    client_tls: self
                        .admin
                        .certificate
                        .clone()
                        .map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key }),
                },
            )?,
            None => redis::Client::open(info)?,
        };
        command.query(&mut client.get_connection_with_timeout(Duration::from_secs(2))?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
