//! The daemon as a program: beginning, company, end.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::{
    document::Document,
    process::{forked, program},
    sensor::{self, Hooks, Sensor},
    stage::Stage,
};

const LAST_CALLS: usize = 50;

/// The doctor tries everything, whatever the daemon beside it was told to use.
pub(super) fn doctor(_: &mut Stage) {
    let text = program(sensor::PROGRAM, ["doctor"]).succeeded().output;
    let json = program(sensor::PROGRAM, ["doctor", "--format", "json"]).succeeded().output;
    let diagnosis: Value = serde_json::from_str(&json).expect("the doctor speaks JSON");
    assert_eq!(diagnosis["status"], "full", "{text}");
    let probes = diagnosis["probes"].as_array().expect("the doctor names the probes");
    let attached: Vec<&str> =
        probes.iter().filter(|probe| probe["state"] == "attached").filter_map(|probe| probe["hook"].as_str()).collect();
    for hook in &attached {
        let named = text.lines().any(|line| line.contains("attached") && line.contains(hook));
        assert!(named, "{hook} is not in {text}");
    }
    for call in ["init_module", "finit_module", "delete_module"] {
        assert!(attached.iter().any(|hook| hook.ends_with(&format!("_{call}"))), "{call} is not among {attached:?}");
    }
}

/// The daemon uses what it was told to use, and says so first.
pub(super) fn start_report(stage: &mut Stage) {
    stage.sensor.settle();
    let documents = stage.sensor.all_documents();
    let started = documents.first().expect("the daemon says what it attached");
    started.contains(json!({
        "event": { "kind": "state", "action": "sensor-started" },
        "lkm_monitor": { "sensor": { "syscall_hooks": stage.hooks.name() } },
    }));
    let blind = !started.list("lkm_monitor.sensor.blind").is_empty();
    assert_eq!(blind, stage.hooks == Hooks::Tracepoint, "32-bit calls are all that may go unseen: {}", started.value());
    let status = if blind { "partial" } else { "full" };
    assert_eq!(started.text("lkm_monitor.sensor.status"), status, "{}", started.value());
    let probes = started.list("lkm_monitor.sensor.probes");
    assert!(probes.iter().any(|probe| probe["attached"] == true));
    let symbols = fs::read_to_string("/proc/kallsyms").expect("read the kernel's symbols");
    let functions: BTreeSet<&str> = symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    for probe in probes.iter().filter(|probe| ["fentry", "fexit"].map(Value::from).contains(&probe["kind"])) {
        let hook = probe["hook"].as_str().expect("a probe names its hook");
        assert!(functions.contains(hook), "this kernel has no function {hook}");
    }
}

pub(super) fn second_instance(stage: &mut Stage) {
    let mut second = Sensor::start(stage.hooks);
    let file = stage.installed("dummy");
    let loader = forked(|| rustix::system::finit_module(&file, c"", 0)).succeeded();
    let seen = |document: &Document| document.is_load() && document.is_by(loader.pid);
    second.expect("the load, by the second daemon", seen);
    stage.sensor.expect("the load, by the first daemon", seen);
    second.stop();
}

/// What was done before the signal is reported before the end.
pub(super) fn stop_loses_nothing(stage: &mut Stage) {
    let file = std::fs::OpenOptions::new().write(true).open("/dev/null").expect("open a file that is no module");
    let caller = forked(|| {
        for _ in 0..LAST_CALLS {
            assert_eq!(rustix::system::finit_module(&file, c"", 0), Err(rustix::io::Errno::BADF));
        }
        Ok(())
    })
    .succeeded();
    stage.sensor.stop();
    let documents = stage.sensor.documents();
    let reported = documents.iter().filter(|document| document.is_load() && document.is_by(caller.pid)).count();
    assert_eq!(reported, LAST_CALLS, "calls made right before the end");
}
