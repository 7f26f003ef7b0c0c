//! PID 1 of a test machine: attacks the machine's kernel and compares what the daemon says with what was done.
//!
//! The machine says on the console that it begins, prints progress, gives one verdict line at the end, and powers off. Every document of the
//! daemon also goes to the second serial port.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test program: the console is its output, a panic is a failed scenario"
)]

mod bench;
mod bpf;
mod compare;
mod demo;
mod document;
mod expected;
mod helper;
mod hiding;
mod io_uring;
mod machine;
mod metrics;
mod mirror;
mod module_file;
mod process;
mod ptrace;
mod scenarios;
mod sensor;
mod stage;
mod suite;

use std::{env, panic};

use crate::mirror::Mirror;

fn main() {
    if std::process::id() == 1 {
        init();
    } else {
        helper::run(&env::args_os().skip(1).collect::<Vec<_>>());
    }
}

/// Whatever happens in between, the machine says how it went and powers off.
fn init() {
    machine::set_up();
    println!("lkm-monitor-tests: begin");
    let command_line = machine::CommandLine::read();
    let mirror = Mirror::start();
    let tally = panic::catch_unwind(|| match command_line.word("lkm.mode") {
        Some("demo") => demo::run(),
        Some("bench") => bench::run(),
        _ => {
            suite::run(command_line.word("lkm.only").unwrap_or_default(), command_line.word("lkm.user_space").is_none())
        }
    });
    mirror.finish();
    let tally = tally.unwrap_or(suite::Tally { passed: 0, failed: 1 });
    println!("lkm-monitor-tests: {} passed, {} failed", tally.passed, tally.failed);
    machine::power_off();
}
