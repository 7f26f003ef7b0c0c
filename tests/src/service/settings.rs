//! Settings that change while the service runs, and the journal as a second sink.

use std::{collections::HashMap, fs};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::{
    events::{self, action},
    host::{self, property, run, set, settings_file, unset, wait_for, wait_until_ready},
    steps::load,
};

/// One more place is watched, and documents go to the journal too, from now until the end.
const MORE: &str = r#"
[[files.watch]]
path = "/opt/vendor/modprobe.d/*"
kind = "modprobe"

[sinks.file.file]

[sinks.journal.journald]
"#;
const WRONG: &str = "\
[sinks.journal]
batch_documents = 0
";

pub(crate) fn reload() {
    let before = wait_until_ready();
    fs::create_dir_all("/opt/vendor/modprobe.d").expect("make a folder");
    set("10-more", MORE);
    run("lkm-monitor", &["config", "check"]);
    let document = reloaded();
    assert_eq!(action(&document), "configuration-reloaded", "{document}");
    let configuration = &document["lkm_monitor"]["configuration"];
    let changes = configuration["changes"].as_array().map_or(&[][..], Vec::as_slice);
    let keys: Vec<_> = changes.iter().filter_map(|change| change["key"].as_str()).collect();
    assert!(keys.contains(&"files.watch") && keys.contains(&"sinks.journal.journald"), "{document}");
    assert!(configuration["restart_needed"].is_null(), "{document}");
    assert_eq!(wait_until_ready(), before, "it goes on");

    let path = "/opt/vendor/modprobe.d/vendor.conf";
    fs::write(path, "blacklist softdog\n").expect("write a file");
    let alert = events::wait_for_one("an alert on the file", |document| document["file"]["path"] == path);
    wait_for("the alert in the journal", || journal().contains_key(id(&alert)).then_some(()));
    fs::remove_dir_all("/opt/vendor").expect("remove the folder");

    // Without systemctl, the manager knows from the daemon alone that it reloads, and that it has done so.
    let changed = property("StateChangeTimestampMonotonic");
    let (told, _) = answers();
    kill_process(before, Signal::HUP).expect("send the signal");
    wait_for("the reload", || (answers().0 > told).then_some(()));
    wait_for("the manager knows", || (property("StateChangeTimestampMonotonic") != changed).then_some(()));
    assert_eq!(wait_until_ready(), before, "it goes on");
}

pub(crate) fn rejected() {
    let before = wait_until_ready();
    set("20-wrong", WRONG);
    let said = host::said("lkm-monitor", &["config", "check"]);
    assert!(said.contains("20-wrong.toml:2: sinks.journal.batch_documents: it is 0"), "{said}");
    let document = reloaded();
    assert_eq!(action(&document), "configuration-rejected", "{document}");
    let problems = document["lkm_monitor"]["configuration"]["problems"].to_string();
    assert!(problems.contains(&settings_file("20-wrong")), "{document}");
    unset("20-wrong");
    let alert = load("loop");
    wait_for("the load in the journal", || journal().contains_key(id(&alert)).then_some(()));
    assert_eq!(wait_until_ready(), before, "it goes on");
}

/// Lets the service read its settings. What came of it.
pub(crate) fn reloaded() -> Value {
    let (before, _) = answers();
    run("systemctl", &["reload", host::UNIT]);
    wait_for("what came of the settings", || {
        let (now, last) = answers();
        last.filter(|_| now > before)
    })
}

/// How many times the daemon told what came of settings, and the last of these documents.
fn answers() -> (usize, Option<Value>) {
    let is_answer = |document: &Value| action(document).starts_with("configuration-re");
    let mut answers: Vec<_> = events::all().into_iter().filter(is_answer).collect();
    (answers.len(), answers.pop())
}

/// Documents in the journal, by their ids.
fn journal() -> HashMap<String, Value> {
    let records = run("journalctl", &["--output=json", "--all", "--identifier=lkm-monitor", "--quiet"]);
    let records = records.lines().map(events::parse);
    // Other records are the daemon's log.
    let documents = records.filter_map(|record| record["LKM_MONITOR_DOCUMENT"].as_str().map(events::parse));
    documents.map(|document| (id(&document).to_owned(), document)).collect()
}

/// From the moment on in which it became a sink.
pub(crate) fn journal_has_all(documents: &[Value]) {
    let journal = journal();
    let first = documents.iter().position(|document| journal.contains_key(id(document))).expect("some");
    assert!(documents[..=first].iter().any(|document| action(document) == "sensor-started"));
    assert!(!documents[..first].iter().any(|document| action(document) == "sensor-stopped"), "since the first run");
    let missing = documents[first..].iter().filter(|document| journal.get(id(document)) != Some(document));
    assert_eq!(missing.collect::<Vec<_>>(), [&Value::Null; 0]);
}

fn id(document: &Value) -> &str {
    document["event"]["id"].as_str().expect("each document has an id")
}
