//! Runs in a Debian with systemd, as a service of its own: installs the package, does to the daemon what happens to services, and judges
//! by what lies on the disk afterwards. The machine is booted twice; what the first boot found is kept.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test program: the console is its output, a panic is a failed step"
)]

mod events;
mod host;
mod settings;
mod steps;
mod traces;
mod trouble;

use std::{fs, panic, path::Path, time::Instant};

use self::steps::Step;

/// A line for each step of the first boot.
const RESULTS: &str = "/var/lib/service-test";

fn main() {
    let rebooted = Path::new(RESULTS).exists();
    if !rebooted {
        println!("lkm-monitor-tests: begin");
    }
    let mut results = fs::read_to_string(RESULTS).unwrap_or_default();
    for (name, step) in if rebooted { steps::AFTER_REBOOT } else { steps::BEFORE_REBOOT } {
        results.push_str(if passes(name, *step) { "passed\n" } else { "FAILED\n" });
    }
    if !rebooted {
        fs::write(RESULTS, results).expect("keep the results");
        host::run("systemctl", &["reboot"]);
        return;
    }
    let failed = results.lines().filter(|result| *result == "FAILED").count();
    println!("lkm-monitor-tests: {} passed, {failed} failed", results.lines().count() - failed);
    host::run("systemctl", &["poweroff"]);
}

/// Runs one step; a panic is its failure and no other's.
fn passes(name: &str, step: Step) -> bool {
    let start = Instant::now();
    let passed = panic::catch_unwind(step).is_ok();
    let word = if passed { "ok" } else { "FAILED" };
    println!("service {name} ... {word} ({:.1} s)", start.elapsed().as_secs_f64());
    if !passed {
        println!("{}", host::said("journalctl", &["--no-pager", "--lines=30", "--unit=lkm-monitor"]));
    }
    passed
}
