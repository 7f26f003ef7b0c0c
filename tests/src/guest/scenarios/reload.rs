//! Settings that are read anew while things happen. The scenario has a daemon of its own, with the settings of the machine.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::json;

use crate::{document::Document, process::forked, sensor::Sensor, stage::Stage};

const SETTINGS: &str = "/etc/lkm-monitor";
const OWN: &str = "/etc/lkm-monitor/conf.d/10-own.toml";
const LATER: &str = "/etc/lkm-monitor/conf.d/20-later.toml";
/// Excluded at first.
const BUILDS: &str = "/srv/builds";
/// Watched at last.
const VENDOR: &str = "/srv/vendor/modprobe.d";
/// Where files are made all the time.
const BUSY: &str = "/tmp/reload";
/// Two daemons on an emulated machine need as long to look at each.
const PACE: Duration = Duration::from_millis(30);

fn said(sensor: &Sensor, action: &str) -> Document {
    sensor.expect(action, |document| document.text("event.action") == action)
}

fn put(path: &str, text: &str) -> u32 {
    forked(|| {
        fs::write(path, text).expect("write a file");
        Ok(())
    })
    .succeeded()
    .pid
}

fn told(sensor: &Sensor, pid: u32, path: &str) -> Document {
    sensor.expect(path, |document| document.text("file.path") == path && document.is_by(pid))
}

/// Ends it also when what it waits for fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Makes files until `done` comes back; how many it made, and what `done` gave.
fn while_files_appear<T>(done: impl FnOnce() -> T) -> (usize, T) {
    let wanted = AtomicBool::new(true);
    thread::scope(|scope| {
        let maker = scope.spawn(|| {
            let mut made = 0;
            while wanted.load(Ordering::Relaxed) {
                fs::write(format!("{BUSY}/{made}.ko"), "no module").expect("make a file");
                made += 1;
                thread::sleep(PACE);
            }
            made
        });
        let end = End(&wanted);
        let given = done();
        drop(end);
        (maker.join().expect("the files are made"), given)
    })
}

pub(super) fn loses_nothing(stage: &mut Stage) {
    for folder in ["/etc/lkm-monitor/conf.d", BUILDS, VENDOR, BUSY] {
        fs::create_dir_all(folder).expect("make a folder");
    }
    let hooks = stage.hooks.name();
    let main = format!("[sensor]\nsyscall_hooks = \"{hooks}\"\n[rarity]\nenabled = false\n");
    fs::write("/etc/lkm-monitor/config.toml", main).expect("write settings");
    fs::write(OWN, format!("[[files.exclude]]\npath = \"{BUILDS}/*\"\n")).expect("write settings");
    let vendor = format!("{VENDOR}/x.conf");
    fs::write(&vendor, "blacklist a\n").expect("write a file");
    let mut sensor = Sensor::start_with_settings_of_the_machine(&["--events"]);
    let build = format!("{BUILDS}/a.ko");
    put(&build, "no module");
    put(&vendor, "blacklist b\n");
    let unseen = [build.clone(), vendor.clone()];
    sensor.expect_none("a change that is not told", |document| {
        unseen.iter().any(|path| document.text("file.path") == path)
    });

    let (made, reloaded) = while_files_appear(|| {
        sensor.expect("a file, before", |document| document.text("file.path").starts_with(BUSY));
        fs::write(OWN, format!("[[files.watch]]\npath = \"{VENDOR}/*\"\nkind = \"modprobe\"\n"))
            .expect("write settings");
        sensor.hang_up();
        sensor.says("the configuration was reloaded");
        let reloaded = said(&sensor, "configuration-reloaded");
        let sequence = reloaded.number("event.sequence");
        sensor.expect("a file, after", |document| {
            document.text("file.path").starts_with(BUSY) && document.number("event.sequence") > sequence
        });
        reloaded
    });
    reloaded.contains(json!({
        "event": { "kind": "state", "outcome": "success" },
        "lkm_monitor": { "configuration": { "restart_needed": null, "changes": [
            { "key": "files.exclude", "before": format!("[{{ path = \"{BUILDS}/*\" }}]"), "in_place": true },
            {
                "key": "files.watch", "in_place": true,
                "after": format!("[{{ kind = \"modprobe\", path = \"{VENDOR}/*\" }}]"),
            },
        ] } },
    }));
    for number in 0..made {
        let path = format!("{BUSY}/{number}.ko");
        sensor.expect(&path, |document| document.text("file.path") == path);
    }

    // What it says now it is compared with what was there when the settings came.
    let pid = put(&vendor, "blacklist c\n");
    let change = told(&sensor, pid, &vendor);
    change.contains(json!({ "lkm_monitor": { "change": { "diff": {
        "added": ["blacklist c"], "removed": ["blacklist b"],
    } } } }));
    let pid = put(&build, "no module, either");
    told(&sensor, pid, &build);

    fs::write(LATER, "[rarity]\nwindow_days = 0\nwindow_day = 1\n[[files.watch]]\npath = \"/a/b\"\nkind = \"x\"\n")
        .expect("write settings");
    sensor.hang_up();
    let rejected = said(&sensor, "configuration-rejected");
    rejected.contains(json!({ "event": { "kind": "state", "outcome": "failure" } }));
    let before = reloaded.text("lkm_monitor.configuration.sha256");
    assert_eq!(rejected.text("lkm_monitor.configuration.sha256"), before, "the old settings hold");
    let problems = rejected.list("lkm_monitor.configuration.problems");
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(
        problems[0].as_str().is_some_and(|text| text.starts_with(&format!("{LATER}:2: rarity.window_days: it is 0")))
    );
    let pid = put(&vendor, "blacklist d\n");
    told(&sensor, pid, &vendor);

    fs::write(LATER, "[sensor]\ncalls_ring_bytes = 1048576\n").expect("write settings");
    sensor.begin_scenario();
    sensor.hang_up();
    said(&sensor, "configuration-reloaded").contains(json!({ "lkm_monitor": { "configuration": {
        "sha256_before": before,
        "restart_needed": ["sensor.calls_ring_bytes"],
        "changes": [{ "key": "sensor.calls_ring_bytes", "before": "524288", "after": "1048576", "in_place": false }],
    } } }));
    sensor.stop();
    for folder in [SETTINGS, "/srv/vendor", BUILDS, BUSY] {
        fs::remove_dir_all(Path::new(folder)).expect("remove a folder");
    }
}
