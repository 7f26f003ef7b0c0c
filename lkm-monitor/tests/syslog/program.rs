//! A program that receives, and how it is told to.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;

use crate::certificates::Authority;

/// Between the fields of a line.
pub(crate) const MARK: &str = "\u{1f}";

/// Who may send.
pub(crate) enum Client {
    Anybody,
    WithCertificate,
}

/// A program that receives.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Its configuration. It is to listen on the port of the loopback, take messages up to the limit, and write a line for each into
    /// [`Order::output`]: facility, severity, host, application and id of the message, time, structured data and text.
    pub(crate) config: fn(&Order) -> String,
    /// Runs it in the foreground, by the configuration in [`Order::config`].
    pub(crate) command: fn(&Order) -> Command,
}

/// How a program is to receive.
pub(crate) struct Order {
    folder: TempDir,
    pub(crate) port: u16,
    /// Of a message, without its octet count.
    pub(crate) max_bytes: usize,
    pub(crate) tls: Option<Tls>,
}

/// Files in PEM, and who is let in.
pub(crate) struct Tls {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) client: Client,
}

impl Order {
    pub(crate) fn new(max_bytes: usize, tls: Option<(&Authority, Client)>) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut order = Self { folder: tempfile::tempdir().unwrap(), port, max_bytes, tls: None };
        order.tls = tls.map(|(authority, client)| {
            let (certificate, key) = authority.certify("localhost");
            let file = |name: &str, text: &str| order.file(name, text).display().to_string();
            Tls {
                authority: file("ca.pem", &authority.pem),
                certificate: file("server.pem", &certificate),
                key: file("server.key", &key),
                client,
            }
        });
        order
    }

    /// A file of the program's own.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Where its configuration is.
    pub(crate) fn config(&self) -> String {
        self.path("config")
    }

    /// Where it writes what it received.
    pub(crate) fn output(&self) -> String {
        self.path("received")
    }

    /// A file with this text, that nobody else may read.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}
