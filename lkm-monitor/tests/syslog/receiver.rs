//! A receiver of this test's own: a process on the loopback that writes what it understood into a file.

use std::{
    collections::HashSet,
    fs,
    net::{Ipv4Addr, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use lkm_monitor::config::sinks::TlsConfig;
use serde_json::Value;

use crate::{
    certificates::Authority,
    program::{Client, MARK, Order, Program},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// What was received, as the program understood it.
pub(crate) struct Record {
    pub(crate) header: String,
    pub(crate) time: String,
    pub(crate) data: String,
    pub(crate) document: Value,
}

pub(crate) struct Receiver {
    program: &'static Program,
    order: Order,
    child: Option<Child>,
}

impl Receiver {
    /// One that takes messages up to the length that the sink keeps to by default.
    pub(crate) fn start(program: &'static Program, tls: Option<(&Authority, Client)>) -> Self {
        Self::start_taking(program, 8192, tls)
    }

    pub(crate) fn start_taking(program: &'static Program, max_bytes: usize, tls: Option<(&Authority, Client)>) -> Self {
        let order = Order::new(max_bytes, tls);
        fs::write(order.config(), (program.config)(&order)).unwrap();
        let mut receiver = Self { program, order, child: None };
        receiver.restart();
        receiver
    }

    pub(crate) fn port(&self) -> u16 {
        self.order.port
    }

    /// The settings of somebody who trusts this authority.
    pub(crate) fn trusting(&self, authority: &Authority) -> TlsConfig {
        TlsConfig { ca_file: Some(self.order.file("trusted.pem", &authority.pem)), ..TlsConfig::default() }
    }

    /// Those of somebody whom it has certified, too.
    pub(crate) fn with_certificate(&self, authority: &Authority) -> TlsConfig {
        let (certificate, key) = authority.certify("web-1");
        TlsConfig {
            certificate_file: Some(self.order.file("client.pem", &certificate)),
            key_file: Some(self.order.file("client.key", &key)),
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
        let child = (self.program.command)(&self.order)
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.order.path("errors")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `make setup` fetches it", self.program.name));
        self.child = Some(child);
        self.wait("does not listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).is_ok());
    }

    /// Whole lines of what was received.
    pub(crate) fn records(&self) -> Vec<Record> {
        let text = fs::read_to_string(self.order.output()).unwrap_or_default();
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
            let errors = || fs::read_to_string(self.order.path("errors")).unwrap_or_default();
            assert!(Instant::now() < end, "{} {what}: {}", self.program.name, errors());
            std::thread::yield_now();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.kill();
    }
}
