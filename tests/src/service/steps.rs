//! What is done to the service, in order.

use std::fs;

use rustix::{
    process::Signal,
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};
use serde_json::Value;

use crate::{
    events::{self, findings, is_load_of},
    host::{self, UNIT, property, run, wait_until_ready},
    traces,
};

pub(crate) type Step = fn();

pub(crate) const BEFORE_REBOOT: &[(&str, Step)] = &[
    ("is installed and started by its package", install),
    ("may do little", little_privilege),
    ("tells a load as what it is", a_load),
    ("reads changed configuration", a_changed_file),
    ("starts again when it is killed", killed),
    ("starts again when somebody else ends it", ended),
    ("starts again when it hangs", hanging),
    ("follows a clock that jumps", a_jump_of_the_clock),
];
pub(crate) const AFTER_REBOOT: &[(&str, Step)] = &[
    ("starts with the machine", after_reboot),
    ("told everything, in order", everything_is_told),
    ("is gone when its package is purged", purge),
];

/// What each step loads, in order. All kernels have these, and nothing else asks for them.
const LOADED: [&str; 6] = ["brd", "loop", "dummy", "ifb", "romfs", "isofs"];
/// What the daemon keeps when it has attached (linux/capability.h): DAC_READ_SEARCH, SYS_PTRACE, BPF.
const KEPT_CAPABILITIES: u64 = 1 << 2 | 1 << 19 | 1 << 39;
const MOST_EXPOSURE: f64 = 2.0;

/// For the test alone: a hang is noticed soon, and documents go to the file, and the log does not.
const DROP_IN: &str = "\
[Service]
WatchdogSec=20
ExecStart=
ExecStart=/usr/sbin/lkm-monitor run --stdout --events
StandardOutput=append:/var/log/lkm-monitor/events.ndjson
StandardError=journal
";
const DROP_IN_FOLDER: &str = "/etc/systemd/system/lkm-monitor.service.d";

fn install() {
    traces::remember();
    fs::create_dir_all(DROP_IN_FOLDER).expect("make a folder");
    fs::write(format!("{DROP_IN_FOLDER}/test.conf"), DROP_IN).expect("write the drop-in");
    // The manager opens the file before it makes the unit's folders.
    fs::create_dir_all("/var/log/lkm-monitor").expect("make the folder of the log");
    run("apt-get", &["install", "--yes", "--no-install-recommends", "/root/lkm-monitor.deb"]);
    wait_until_ready();
    assert_eq!(property("UnitFileState"), "enabled");
    assert_eq!(property("NRestarts"), "0");
    assert!(property("StatusText").starts_with("Watching"), "{}", property("StatusText"));
    assert!(!property("StatusText").contains("blind"), "{}", property("StatusText"));
    events::wait_for_one("the start", |document| document["event"]["action"] == "sensor-started");
}

fn little_privilege() {
    let report = run("systemd-analyze", &["security", "--no-pager", UNIT]);
    let overall = report.lines().rfind(|line| line.contains("Overall exposure level")).expect("a result");
    println!("{overall}");
    let exposure = overall.split_once(": ").and_then(|(_, result)| result.split(' ').next()?.parse().ok());
    assert!(exposure.is_some_and(|exposure: f64| exposure < MOST_EXPOSURE), "{report}");

    let pid = wait_until_ready();
    let threads = host::of_threads(pid, "status");
    assert!(threads.len() > 2, "the threads that count, look and write");
    for status in threads {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        for set in ["CapPrm:", "CapEff:"] {
            let mask = u64::from_str_radix(field(set), 16).expect("a mask");
            assert_eq!(mask & !KEPT_CAPABILITIES, 0, "{status}");
        }
        assert_eq!(field("NoNewPrivs:"), "1", "{status}");
        assert_eq!(field("Seccomp:"), "2", "{status}");
        assert!(field("Uid:").split_whitespace().all(|uid| uid != "0"), "{status}");
    }
}

/// A module of the host's own, by the host's own tool: nothing about it is strange but that it is the first.
fn a_load() {
    let alert = load(LOADED[0]);
    assert_eq!(findings(&alert), ["rare-module"], "{alert}");
    assert!(alert["file"]["hash"]["sha256"].is_string(), "its file was read: {alert}");
    assert_eq!(alert["lkm_monitor"]["module"]["name_source"], "kernel", "{alert}");
    assert!(alert["lkm_monitor"]["missing"].is_null(), "{alert}");
}

fn a_changed_file() {
    let path = "/etc/modprobe.d/service-test.conf";
    fs::write(path, "blacklist softdog\n").expect("write a file");
    let alert = events::wait_for_one("an alert on the file", |document| document["file"]["path"] == path);
    assert!(alert["lkm_monitor"].to_string().contains("blacklist softdog"), "its content is told: {alert}");
    fs::remove_file(path).expect("remove the file");
}

fn killed() {
    host::restarted_after(Signal::KILL);
    assert_eq!(property("NRestarts"), "1");
    load(LOADED[1]);
}

fn ended() {
    host::restarted_after(Signal::TERM);
    load(LOADED[2]);
}

fn hanging() {
    host::restarted_after(Signal::STOP);
    let log = run("journalctl", &["--no-pager", "--unit", UNIT]);
    assert!(log.contains("Watchdog timeout"), "{log}");
    load(LOADED[3]);
}

fn a_jump_of_the_clock() {
    const DAY_S: i64 = 24 * 60 * 60;
    let step = |seconds: i64| {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
        clock_settime(ClockId::Realtime, Timespec { tv_sec: tv_sec + seconds, tv_nsec }).expect("set the clock");
    };
    let pid = wait_until_ready();
    step(DAY_S);
    let stepped = |document: &Value| document["event"]["action"] == "clock-stepped";
    events::wait_for_one("the step", stepped);
    let alert = load(LOADED[4]);
    step(-DAY_S);
    assert_eq!(wait_until_ready(), pid, "it goes on");
    let today = run("date", &["--utc", "+%Y-%m-%d"]);
    assert!(alert["@timestamp"].as_str().is_some_and(|time| time > today.trim_end()), "{alert}");
    assert!(!alert["@timestamp"].as_str().is_some_and(|time| time.starts_with(today.trim_end())), "{alert}");
}

fn after_reboot() {
    wait_until_ready();
    load(LOADED[5]);
}

fn everything_is_told() {
    run("systemctl", &["stop", UNIT]);
    let documents = events::all();
    let is_ours = |document: &&Value| LOADED.iter().any(|module| is_load_of(document, module));
    let told: Vec<_> = documents.iter().filter(is_ours).map(|load| &load["lkm_monitor"]["module"]["name"]).collect();
    assert_eq!(told, LOADED, "each load once, in order");
    let gaps = events::gaps(&documents);
    assert!(gaps.is_empty(), "{gaps:?}");
    // Installed, killed, ended, hanging, rebooted.
    let starts = documents.iter().filter(|document| document["event"]["action"] == "sensor-started").count();
    assert_eq!(starts, 5);
    run("systemctl", &["start", UNIT]);
}

fn purge() {
    run("apt-get", &["purge", "--yes", "lkm-monitor"]);
    fs::remove_dir_all(DROP_IN_FOLDER).expect("remove the drop-in");
    assert_eq!(property("LoadState"), "not-found");
    assert!(fs::read_to_string("/etc/passwd").is_ok_and(|users| !users.contains("lkm-monitor")));
    let traces = traces::new_ones();
    assert!(traces.is_empty(), "{traces:?}");
}

/// Loads a module as people do. The alert on it.
fn load(module: &str) -> Value {
    run("modprobe", &[module]);
    events::wait_for_one(&format!("an alert on {module}"), |document| is_load_of(document, module))
}
