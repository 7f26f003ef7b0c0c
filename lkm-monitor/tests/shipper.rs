//! A shipper that follows the file: rsyslog's imfile, of Debian's package `rsyslog`, with the recipe of docs/shippers.md.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lkm_monitor::{
    model::{Agent, Class, Host},
    sinks::{
        Delivered, Entry, Fate, Sink as _,
        file::{FileSettings, FileSink},
    },
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

struct Shipper(Child);

impl Shipper {
    /// Follows `events.ndjson` and what it was renamed to, and writes what it reads to `shipped`.
    fn start(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let recipe = include_str!("../../docs/rsyslog-imfile.conf")
            .replace("/var/log/lkm-monitor/events*.ndjson", &path("log/events*.ndjson"));
        let (before, action) = recipe.split_once("  action(").unwrap();
        let (_, after) = action.split_once(")\n").unwrap();
        let action = format!("action(type=\"omfile\" file=\"{}\" template=\"document\")", path("shipped"));
        let template = "template(name=\"document\" type=\"string\" string=\"%msg%\\n\")";
        let config = format!("global(workDirectory=\"{}\")\n{template}\n{before}{action}\n{after}", folder.display());
        fs::write(path("rsyslog.conf"), config).unwrap();
        let child = Command::new("rsyslogd")
            .args(["-n", "-f", &path("rsyslog.conf"), "-i", &path("pid")])
            .stdout(Stdio::null())
            .stderr(File::create(path("errors")).unwrap())
            .spawn()
            .expect("start rsyslogd (Debian package rsyslog)");
        Self(child)
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn entries(count: u64) -> Vec<Entry> {
    let document = |number: u64| json!({ "event": { "id": format!("{number:032x}") }, "message": "x".repeat(2000) });
    let entry = |number| Entry {
        number,
        class: Class::State,
        happened_ms: 0,
        json: document(number).to_string().into_bytes().into(),
    };
    (0..count).map(entry).collect()
}

/// Ids of documents, without those of headers.
fn shipped(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("shipped")).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let documents =
        whole.map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    documents
        .filter(|document| document["event"]["action"] != "log-file-started")
        .map(|document| document["event"]["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn rsyslog_reads_every_document_once_through_rotations() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("log")).unwrap();
    let settings = FileSettings {
        path: folder.path().join("log/events.ndjson"),
        group: None,
        sync: false,
        rotate_bytes: 1 << 20,
        rotate_after: Duration::from_secs(3600),
        keep_files: 100,
        keep_bytes: 1 << 30,
    };
    let mut sink: FileSink = FileSink::new(settings, &Host::default(), &Agent::default());
    let batch = entries(3000);
    let shipper = Shipper::start(folder.path());
    let mut ids = Vec::new();
    for (part, sent) in batch.chunks(100).zip((100..).step_by(100)) {
        assert_eq!(sink.deliver(part), Delivered::Each(vec![Fate::Taken; 100]));
        // Where files are renamed faster than it follows, rsyslog may read some twice.
        let end = Instant::now() + PATIENCE;
        while ids.len() < sent {
            let errors = || fs::read_to_string(folder.path().join("errors")).unwrap();
            assert!(Instant::now() < end, "{} of {sent} were shipped: {}", ids.len(), errors());
            std::thread::yield_now();
            ids = shipped(folder.path());
        }
    }
    drop(shipper);
    assert!(fs::read_dir(folder.path().join("log")).unwrap().count() > 5, "there were rotations");
    ids.sort();
    assert_eq!(ids, (0..3000).map(|number| format!("{number:032x}")).collect::<Vec<_>>());
}
