//! What a look at the kernel costs where many modules are loaded.

use std::fs;

use serde_json::json;

use super::{memory_kib, report};
use crate::{
    machine,
    metrics::fetch,
    scenarios::integrity::{self, crowds},
    sensor::{Hooks, Sensor},
};

const MODULES: usize = 300;
/// Looks, of which the cheapest counts, and the dearest is told beside it.
const LOOKS: usize = 5;
const SOCKET: &str = "/run/look.sock";
/// Of the last look. The machine's clock counts an instruction as a nanosecond.
const SECONDS: &str = "lkm_monitor_integrity_look_cpu_seconds";

pub(super) fn run() {
    let before = machine::loaded_modules();
    crowds::load_copies(MODULES);
    let settings = format!("[integrity]\ninterval_s = 1\n[metrics]\nlisten = \"unix:{SOCKET}\"\n");
    let mut sensor = Sensor::start_set(Hooks::Fentry, &[], "look", &settings, &[]);
    sensor.says("metrics are served");
    // The first ones have to learn what the others know.
    integrity::wait_for_looks(SOCKET, 2);
    // From now on the most that it has had is the most that a look takes it to.
    fs::write(format!("/proc/{}/clear_refs", sensor.pid()), "5").expect("forget how much memory it has had");
    let between = memory_kib(sensor.pid(), "VmRSS:");
    let seconds = (0..LOOKS).map(|_| {
        integrity::wait_for_looks(SOCKET, 1);
        fetch(SOCKET)[SECONDS]
    });
    let (least, most) =
        seconds.fold((f64::INFINITY, 0.0), |(least, most), seconds| (seconds.min(least), seconds.max(most)));
    let peak = memory_kib(sensor.pid(), "VmHWM:").saturating_sub(between);
    let instructions = |seconds: f64| (seconds * 1e9) as u64;
    let measured = json!({
        "look_modules": MODULES,
        "look_instructions": instructions(least),
        "look_instructions_most": instructions(most),
        "look_peak_kib": peak,
    });
    report(&measured.to_string());
    sensor.stop();
    machine::unload_all_but(&before);
}
