//! Receivers that are down, disks that are full, and a daemon that is killed meanwhile.

use std::{io::Read as _, net::TcpListener, path::Path, process::Command, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    events::{self, action, loaded_module},
    host::{self, SmallDisk, run, set, unset, wait_for, wait_until_ready},
    settings::reloaded,
    steps::{load, remember_load},
};

const RECEIVER: &str = "127.0.0.1:6514";
const RECEIVER_SETTINGS: &str = "[sinks.siem.syslog]\naddress = \"127.0.0.1:6514\"\n";

const SMALL_LOG: &str = "/var/log/lkm-monitor/small";
const SMALL_LOG_SETTINGS: &str = "[sinks.small.file]\npath = \"/var/log/lkm-monitor/small/events.ndjson\"\n";

const SMALL_STATE: &str = "/var/lib/lkm-monitor/small";
const SMALL_STATE_SETTINGS: &str = "[spool]\npath = \"/var/lib/lkm-monitor/small/spool.redb\"\nmin_free_bytes = 0\n";

/// Loaded one after the other, as fast as that goes.
const BURST: &str = "nls_cp737 nls_cp775 nls_cp850 nls_cp852 nls_cp855 nls_cp857 nls_cp860 nls_cp861 nls_cp862 nls_cp863 nls_cp864 \
                     nls_cp865 nls_cp866 nls_cp869 nls_cp874 nls_cp949 nls_cp950 nls_cp1250 nls_cp1251 nls_cp1255";

pub(crate) fn receiver_is_down() {
    set("30-siem", RECEIVER_SETTINGS);
    reloaded();
    load("null_blk");
    wait_for("the load waits", || (waiting("siem") > 0).then_some(()));
    wait_for("no other sink waits", || (waiting("file") == 0 && waiting("journal") == 0).then_some(()));
    receive("null_blk");
    unset("30-siem");
    reloaded();
}

pub(crate) fn full_disk() {
    SmallDisk::mount(SMALL_LOG, "1m").fill();
    set("40-small", SMALL_LOG_SETTINGS);
    reloaded();
    load("tun");
    wait_for("the load waits", || (waiting("small") > 0).then_some(()));
    wait_for("no other sink waits", || (waiting("file") == 0 && waiting("journal") == 0).then_some(()));
}

/// While the disk is still full.
pub(crate) fn killed_in_a_burst() {
    let burst: Vec<_> = BURST.split(' ').collect();
    let in_burst = |documents: &[Value]| -> Vec<String> {
        let modules = documents.iter().filter_map(loaded_module).filter(|module| burst.contains(module));
        modules.map(str::to_owned).collect()
    };
    let mut loading = Command::new("modprobe").arg("--all").args(&burst).spawn().expect("start modprobe");
    events::wait_for_one("the first load", |document| loaded_module(document) == Some(burst[0]));
    host::restarted_after(Signal::KILL);
    assert_eq!(host::property("NRestarts"), "1");
    assert!(loading.wait().expect("wait for modprobe").success());

    // What was not told was not durable: the last ones before the end, and what nobody saw.
    run("modprobe", &["veth"]);
    events::wait_for_one("the next load", |document| loaded_module(document) == Some("veth"));
    let told = in_burst(&events::all());
    println!("{} of {} loads were durable when the daemon was killed", told.len(), burst.len());
    assert_eq!(told, burst[..told.len()]);
    told.iter().for_each(|module| remember_load(module));
    remember_load("veth");

    let disk = SmallDisk::at(SMALL_LOG);
    disk.make_room();
    let there = || events::of_file(&Path::new(SMALL_LOG).join("events.ndjson"));
    let is_there = |module| there().iter().any(|document| loaded_module(document) == Some(module));
    wait_for("what has waited", || is_there("veth").then_some(()));
    assert!(is_there("tun"), "{:?}", there());
    assert_eq!(in_burst(&there()), told);
    unset("40-small");
    reloaded();
    disk.unmount();
}

/// After the next start. One receiver is down, so that the spool grows.
pub(crate) fn move_the_spool() {
    SmallDisk::mount(SMALL_STATE, "16m");
    set("30-siem", RECEIVER_SETTINGS);
    set("50-small", SMALL_STATE_SETTINGS);
}

pub(crate) fn full_state_folder() {
    let pid = wait_until_ready();
    let disk = SmallDisk::at(SMALL_STATE);
    let has = |wanted: &str| events::all().into_iter().find(|document: &Value| action(document) == wanted);
    disk.fill();
    let failed = wait_for("the spool fails", || {
        change_a_file();
        has("spool-failed")
    });
    assert_eq!(events::findings(&failed), ["sensor-spool-failed"], "{failed}");
    assert!(failed["error"]["message"].to_string().contains("No space left"), "{failed}");
    load("bonding");
    assert!(has("spool-restored").is_none(), "the disk is still full");
    disk.make_room();
    wait_for("the spool is restored", || {
        change_a_file();
        has("spool-restored")
    });
    load("team");
    receive("bonding");
    assert_eq!(wait_until_ready(), pid, "it goes on");
}

/// After the next start.
pub(crate) fn move_the_spool_back() {
    unset("30-siem");
    unset("50-small");
    SmallDisk::at(SMALL_STATE).unmount();
}

/// Documents that wait for a sink.
fn waiting(sink: &str) -> u64 {
    let status = run("lkm-monitor", &["spool", "status"]);
    let line = status.lines().find_map(|line| line.strip_prefix("waiting ")?.strip_prefix(sink)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("nothing of {sink}: {status}"))
}

/// Is the receiver until a load of this module has come.
fn receive(module: &str) {
    let listener = TcpListener::bind(RECEIVER).expect("listen");
    listener.set_nonblocking(true).expect("wait for nobody");
    let mut stream = wait_for("the sink comes", || Some(listener.accept().ok()?.0));
    stream.set_nonblocking(false).expect("wait");
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("wait a little");
    let (mut text, mut buffer) = (Vec::new(), [0; 65536]);
    let wanted = format!("\"name\":\"{module}\"");
    wait_for("the load", || {
        let read = stream.read(&mut buffer).unwrap_or_default();
        text.extend_from_slice(&buffer[..read]);
        String::from_utf8_lossy(&text).contains(&wanted).then_some(())
    });
}

/// So that there is something to tell.
fn change_a_file() {
    let path = "/etc/modprobe.d/service-test.conf";
    std::fs::write(path, format!("# {:?}\n", std::time::Instant::now()).repeat(40)).expect("write a file");
    std::fs::remove_file(path).expect("remove the file");
}
