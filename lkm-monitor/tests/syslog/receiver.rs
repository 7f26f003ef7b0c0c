//! An rsyslogd of this test's own.

use std::{
    collections::HashSet,
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lkm_monitor::config::sinks::TlsConfig;
use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::Authority;

const PATIENCE: Duration = Duration::from_secs(30);
/// Between the fields of a record.
const MARK: &str = "\u{1f}";

/// Who may send.
pub(crate) enum Client {
    Anybody,
    WithCertificate,
}

/// What was received, as rsyslog understood it.
pub(crate) struct Record {
    pub(crate) header: String,
    pub(crate) time: String,
    pub(crate) data: String,
    pub(crate) document: Value,
}

pub(crate) struct Receiver {
    folder: TempDir,
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Receiver {
    pub(crate) fn start(tls: Option<(&Authority, Client)>) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut receiver = Self { folder: tempfile::tempdir().unwrap(), port, child: None };
        let (files, driver) = match tls {
            Some((authority, client)) => receiver.tls(authority, &client),
            None => Default::default(),
        };
        let path = |name: &str| receiver.folder.path().join(name).display().to_string();
        let fields = [
            "%syslogfacility-text%.%syslogseverity-text% %hostname% %app-name% %msgid%",
            "%timereported:::date-rfc3339%",
        ];
        let template = [fields[0], fields[1], "%structured-data%", "%msg%"].join(MARK);
        let config = format!(
            r#"
            global(workDirectory="{work}" {files})
            module(load="imtcp" {driver})
            template(name="fields" type="string" string="{template}\n")
            ruleset(name="all") {{ action(type="omfile" file="{output}" template="fields") }}
            input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="all")
            "#,
            work = receiver.folder.path().display(),
            output = path("received"),
        );
        fs::write(path("rsyslog.conf"), config).unwrap();
        receiver.restart();
        receiver
    }

    fn tls(&self, authority: &Authority, client: &Client) -> (String, String) {
        let (certificate, key) = authority.certify("localhost");
        let file = |name: &str, text: &str| self.file(name, text).display().to_string();
        let files = format!(
            r#"defaultNetstreamDriverCAFile="{}" defaultNetstreamDriverCertFile="{}" defaultNetstreamDriverKeyFile="{}""#,
            file("ca.pem", &authority.pem),
            file("server.pem", &certificate),
            file("server.key", &key),
        );
        let mode = match client {
            Client::Anybody => "anon",
            Client::WithCertificate => "x509/certvalid",
        };
        let driver = format!(r#"streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="{mode}""#);
        (files, driver)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        // Keys are among them.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The settings of somebody who trusts this authority.
    pub(crate) fn trusting(&self, authority: &Authority) -> TlsConfig {
        TlsConfig { ca_file: Some(self.file("trusted.pem", &authority.pem)), ..TlsConfig::default() }
    }

    /// Those of somebody whom it has certified, too.
    pub(crate) fn with_certificate(&self, authority: &Authority) -> TlsConfig {
        let (certificate, key) = authority.certify("web-1");
        TlsConfig {
            certificate_file: Some(self.file("client.pem", &certificate)),
            key_file: Some(self.file("client.key", &key)),
            ..self.trusting(authority)
        }
    }

    /// Ends it without any notice.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Kills it if it runs, and starts it again on its port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let child = Command::new("rsyslogd")
            .args(["-n", "-f", &path("rsyslog.conf"), "-i", &path("pid")])
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("errors")).unwrap())
            .spawn()
            .expect("start rsyslogd (Debian package rsyslog)");
        self.child = Some(child);
        self.wait("does not listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok());
    }

    /// Whole lines of what was received.
    pub(crate) fn records(&self) -> Vec<Record> {
        let text = fs::read_to_string(self.folder.path().join("received")).unwrap_or_default();
        let record = |line: &str| {
            let [header, time, data, text] = *line.split(MARK).collect::<Vec<_>>() else { panic!("{line}") };
            let document = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {line}"));
            Record { header: header.to_owned(), time: time.to_owned(), data: data.to_owned(), document }
        };
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(record).collect()
    }

    /// So many records, when they are there.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Record> {
        self.wait(&format!("has not received {count}"), || self.records().len() >= count);
        self.records()
    }

    /// Each of these at least once.
    pub(crate) fn wait_for_all(&self, documents: &[Value]) {
        let expected: HashSet<String> = documents.iter().map(Value::to_string).collect();
        self.wait("has not received all", || {
            let records = self.records();
            let received: HashSet<String> = records.iter().map(|record| record.document.to_string()).collect();
            expected.is_subset(&received)
        });
    }

    fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !condition() {
            let errors = || fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default();
            assert!(Instant::now() < end, "rsyslogd {what}: {}", errors());
            std::thread::yield_now();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.kill();
    }
}
