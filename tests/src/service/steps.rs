//! What is done to the service, in order.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::{
    process::Signal,
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};
use serde_json::Value;

use crate::{
    events::{self, action, findings, loaded_module},
    host::{self, UNIT, property, run, wait_until_ready},
    settings, traces, trouble,
};

pub(crate) type Step = fn();

pub(crate) const BEFORE_REBOOT: &[(&str, Step)] = &[
    ("is installed and started by its package", install),
    ("may do little", little_privilege),
    ("tells a load as what it is", a_load),
    ("keeps its files for itself", own_files),
    ("reads changed configuration", a_changed_file),
    ("reads its settings anew", settings::reload),
    ("goes on with its settings when new ones are wrong", settings::rejected),
    ("waits for a receiver, and for no other's sake", trouble::receiver_is_down),
    ("keeps what a full disk does not take", trouble::full_disk),
    ("loses nothing durable when it is killed", trouble::killed_in_a_burst),
    ("starts again when somebody else ends it", ended),
    ("goes on when its state has no room", trouble::full_state_folder),
    ("starts again when it hangs", hanging),
    ("follows a clock that jumps", a_jump_of_the_clock),
    ("is installed again over itself", installed_again),
];
pub(crate) const AFTER_REBOOT: &[(&str, Step)] = &[
    ("starts with the machine", after_reboot),
    ("told everything, in order", everything_is_told),
    ("is gone when its package is purged", purge),
];

/// Installed, killed, ended, hanging, installed again, rebooted.
const RUNS: usize = 6;
/// Of these, the ones that had no time to tell their end: killed, hanging.
const KILLED: usize = 2;
/// What the daemon keeps when it has attached (linux/capability.h): DAC_READ_SEARCH, SYS_PTRACE, BPF.
const KEPT_CAPABILITIES: u64 = 1 << 2 | 1 << 19 | 1 << 39;
const MOST_EXPOSURE: f64 = 2.5;
/// Modules that were loaded and have to be told, a line each.
const LOADS: &str = "/var/tmp/loads";

/// For the test alone: a hang is noticed soon.
const DROP_IN: &str = "\
[Service]
WatchdogSec=20
";
const DROP_IN_FOLDER: &str = "/etc/systemd/system/lkm-monitor.service.d";

fn install() {
    traces::remember();
    fs::create_dir_all(DROP_IN_FOLDER).expect("make a folder");
    fs::write(format!("{DROP_IN_FOLDER}/test.conf"), DROP_IN).expect("write the drop-in");
    run("apt-get", &["install", "--yes", "--no-install-recommends", "/root/lkm-monitor.deb"]);
    wait_until_ready();
    assert_eq!(property("UnitFileState"), "enabled");
    assert_eq!(property("NRestarts"), "0");
    assert!(property("StatusText").starts_with("Watching"), "{}", property("StatusText"));
    assert!(!property("StatusText").contains("blind"), "{}", property("StatusText"));
    events::wait_for_one("the start", |document| action(document) == "sensor-started");
    let alerts = events::all().into_iter().filter(|document| document["event"]["kind"] == "alert");
    assert_eq!(alerts.collect::<Vec<_>>(), [Value::Null; 0], "it has nothing to say of its own package");
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
    let alert = load("brd");
    assert_eq!(findings(&alert), ["rare-module"], "{alert}");
    assert!(alert["file"]["hash"]["sha256"].is_string(), "its file was read: {alert}");
    assert_eq!(alert["lkm_monitor"]["module"]["name_source"], "kernel", "{alert}");
    assert!(alert["lkm_monitor"]["missing"].is_null(), "{alert}");

    // Debian packs its modules, and lets the kernel unpack them. By now the daemon has read what dpkg changed when it installed it.
    let alert = load("nls_utf8");
    let image = &alert["lkm_monitor"]["image"];
    assert_eq!((&image["extent"], &image["compression"]), (&"whole".into(), &"xz".into()), "{alert}");
    assert_eq!(image["sha256"], alert["file"]["hash"]["sha256"], "{alert}");
    assert!(image["unpacked_sha256"].is_string() && image["unpacked_sha256"] != image["sha256"], "{alert}");
    assert_eq!(alert["lkm_monitor"]["signature"]["kernel"]["enforces_signatures"], false, "{alert}");
    // This machine's kernel is from no package, and its image is not here: nobody vouches for the module but the kernel.
    assert_eq!(alert["file"]["code_signature"]["status"], "unknown-key", "{alert}");
    assert_eq!(alert["lkm_monitor"]["package"]["manager"], "none", "{alert}");
    assert_eq!(image["kept"], true, "{alert}");
    let hash = image["sha256"].as_str().expect("a hash");
    let kept = format!("/var/lib/lkm-monitor/evidence/{hash}.json");
    host::wait_for("the image is on the disk", || Path::new(&kept).exists().then_some(()));
    run("lkm-monitor", &["evidence", "export", hash, "--to", "/tmp/evidence.bin"]);
    run("sh", &["-c", "cmp /tmp/evidence.bin \"$(modinfo -n nls_utf8)\""]);
    run("lkm-monitor", &["evidence", "verify"]);
}

fn own_files() {
    let uid: u32 = run("id", &["-u", "lkm-monitor"]).trim().parse().expect("a user");
    for (path, mode) in [
        ("/var/log/lkm-monitor", 0o750),
        ("/var/log/lkm-monitor/events.ndjson", 0o640),
        ("/var/lib/lkm-monitor", 0o700),
        ("/var/lib/lkm-monitor/evidence", 0o700),
        ("/var/lib/lkm-monitor/prevalence.redb", 0o600),
        ("/var/lib/lkm-monitor/run.json", 0o600),
        ("/var/lib/lkm-monitor/spool.redb", 0o600),
    ] {
        let there = fs::metadata(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!((there.uid(), there.permissions().mode() & 0o7777), (uid, mode), "{path}");
    }
    for file in fs::read_dir("/var/lib/lkm-monitor/evidence").expect("list the evidence") {
        let file = file.expect("an entry");
        assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o7777, 0o600, "{}", file.path().display());
    }
}

fn a_changed_file() {
    let path = "/etc/modprobe.d/service-test.conf";
    fs::write(path, "blacklist softdog\n").expect("write a file");
    let alert = events::wait_for_one("an alert on the file", |document| document["file"]["path"] == path);
    assert!(alert["lkm_monitor"].to_string().contains("blacklist softdog"), "its content is told: {alert}");
    fs::remove_file(path).expect("remove the file");
}

/// From here on, the spool lies where there is little room.
fn ended() {
    trouble::move_the_spool();
    host::restarted_after(Signal::TERM);
    load("dummy");
}

fn hanging() {
    trouble::move_the_spool_back();
    host::restarted_after(Signal::STOP);
    let log = run("journalctl", &["--no-pager", "--unit", UNIT]);
    assert!(log.contains("Watchdog timeout"), "{log}");
    load("ifb");
}

fn a_jump_of_the_clock() {
    const DAY_S: i64 = 24 * 60 * 60;
    let step = |seconds: i64| {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
        clock_settime(ClockId::Realtime, Timespec { tv_sec: tv_sec + seconds, tv_nsec }).expect("set the clock");
    };
    let pid = wait_until_ready();
    step(DAY_S);
    events::wait_for_one("the step", |document| action(document) == "clock-stepped");
    let alert = load("romfs");
    step(-DAY_S);
    assert_eq!(wait_until_ready(), pid, "it goes on");
    let today = run("date", &["--utc", "+%Y-%m-%d"]);
    assert!(alert["@timestamp"].as_str().is_some_and(|time| time > today.trim_end()), "{alert}");
    assert!(!alert["@timestamp"].as_str().is_some_and(|time| time.starts_with(today.trim_end())), "{alert}");
}

/// As an upgrade does it.
fn installed_again() {
    let before = wait_until_ready();
    run("apt-get", &["install", "--yes", "--reinstall", "/root/lkm-monitor.deb"]);
    assert_ne!(wait_until_ready(), before, "another daemon runs");
    assert_eq!(property("UnitFileState"), "enabled");
    let is_program = |document: &Value| {
        findings(document).contains(&"sensor-file-changed") && document["file"]["path"] == "/usr/sbin/lkm-monitor"
    };
    let alert = events::wait_for_one("an alert on the program", is_program);
    assert_eq!(alert["process"]["name"], "dpkg", "who did it is told: {alert}");
    load("isofs");
}

fn after_reboot() {
    wait_until_ready();
    load("nbd");
}

fn everything_is_told() {
    run("systemctl", &["stop", UNIT]);
    let documents = events::all();
    let told: Vec<_> = documents.iter().filter_map(loaded_module).collect();
    let loads = fs::read_to_string(LOADS).expect("what was loaded");
    let is_ours = |module: &&str| loads.lines().any(|load| load == *module);
    let ours: Vec<_> = told.into_iter().filter(is_ours).collect();
    assert_eq!(ours, loads.lines().collect::<Vec<_>>(), "each load once, in order");
    let gaps = events::gaps(&documents);
    assert!(gaps.is_empty(), "{gaps:?}");
    assert_eq!(events::runs_and_killed_ones(&documents), (RUNS, KILLED));
    settings::journal_has_all(&documents);
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
pub(crate) fn load(module: &str) -> Value {
    run("modprobe", &[module]);
    remember_load(module);
    events::wait_for_one(&format!("an alert on {module}"), |document| loaded_module(document) == Some(module))
}

/// This load has to be told, after those that were remembered before it.
pub(crate) fn remember_load(module: &str) {
    let loads = fs::OpenOptions::new().create(true).append(true).open(LOADS);
    loads.and_then(|mut loads| writeln!(loads, "{module}")).expect("remember a load");
}
