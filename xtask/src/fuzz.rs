//! Readers of hostile bytes, with bytes that a fuzzer makes up: cargo-fuzz, on the pinned toolchain.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{process, setup, vm::Verdict, workspace};

const CARGO_FUZZ_VERSION: &str = "0.13.2";
/// Inputs for each target where nothing else is said: they take seconds.
pub(crate) const RUNS: u32 = 50_000;
const TARGETS: [&str; 5] = ["examine", "modinfo", "rpm_header", "signature", "unpack"];
/// An input may take that long, and that much memory, what the sanitizer needs among it.
const LIMITS: [&str; 4] = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", "-verbosity=0"];

pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) failures: Vec<String>,
    pub(crate) elapsed: Duration,
}

/// Runs every target with so many inputs, beginning with those in its corpus.
pub(crate) fn run(runs: u32) -> Result<Outcome> {
    let start = Instant::now();
    setup::install_tool("cargo-fuzz", CARGO_FUZZ_VERSION, &mut process::cargo(["install", "cargo-fuzz"]))?;
    let mut outcome = Outcome { verdict: Verdict::default(), failures: Vec::new(), elapsed: Duration::ZERO };
    for target in TARGETS {
        println!("fuzz {target}, {runs} inputs");
        match process::run(&mut fuzz(target, runs)?) {
            Ok(()) => outcome.verdict.passed += 1,
            Err(error) => {
                outcome.verdict.failed += 1;
                outcome.failures.push(format!("fuzz {target}: {error}"));
            }
        }
    }
    outcome.elapsed = start.elapsed();
    Ok(outcome)
}

fn fuzz(target: &str, runs: u32) -> Result<Command> {
    let package = workspace::root().join("lkm-monitor/fuzz");
    let folder = workspace::target().join("fuzz");
    // What is found goes there, and not into the corpus.
    let found = folder.join("found").join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let mut command = Command::new(workspace::tools().join("bin/cargo-fuzz"));
    command.args(["fuzz", "run", "--fuzz-dir"]).arg(&package).arg("--target-dir").arg(&folder).arg(target);
    command.arg(&found).arg(package.join("corpus").join(target)).arg("--").args(LIMITS);
    command.arg(format!("-runs={runs}")).arg(format!("-artifact_prefix={}/", found.display()));
    // The sanitizers are behind a switch that the pinned toolchain has, too.
    command.env("RUSTC_BOOTSTRAP", "1").current_dir(workspace::root());
    Ok(command)
}
