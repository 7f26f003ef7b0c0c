//! Format, clippy, dependencies, spelling: what must be clean before a change is merged.

use std::process::Command;

use anyhow::Result;

use crate::{packages, process, setup, workspace};

const CARGO_DENY_VERSION: &str = "0.20.2";
const EBPF_TARGET: &str = "bpfel-unknown-none";

pub(crate) fn lint() -> Result<()> {
    setup::setup(&[])?;
    packages::ensure(&[packages::LINT])?;
    setup::install_tool("cargo-deny", CARGO_DENY_VERSION, &mut process::cargo(["install", "cargo-deny"]))?;

    check("format", &mut process::cargo(["fmt", "--all", "--check"]))?;
    check(
        "clippy, host packages",
        process::cargo(["clippy", "--workspace", "--exclude", "lkm-monitor-ebpf", "--all-targets"])
            .args(["--", "--deny", "warnings"]),
    )?;
    check("clippy, eBPF programs", &mut ebpf_clippy())?;
    // The check itself needs no network, but it reads the sources of every dependency on every platform.
    process::step("sources of dependencies", || {
        process::capture(&mut process::cargo(["fetch", "--locked"])).map(drop)
    })?;
    check(
        "dependencies",
        Command::new(workspace::tools().join("bin/cargo-deny"))
            .args(["--offline", "check", "bans", "licenses", "sources"])
            .current_dir(workspace::root()),
    )?;
    check("spelling", &mut spelling()?)
}

fn check(name: &str, command: &mut Command) -> Result<()> {
    println!("lint: {name}");
    process::run(command)
}

/// Core is built from source for the bpf target, which the pinned stable toolchain does when it is told to.
fn ebpf_clippy() -> Command {
    let mut command = process::cargo(["clippy", "--package", "lkm-monitor-ebpf", "--target", EBPF_TARGET]);
    command
        .args(["--release", "-Zbuild-std=core", "--", "--deny", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        // aya reads the traced machine's architecture from here, because the bpf target has none.
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS", "--cfg=bpf_target_arch=\"x86_64\"");
    command
}

fn spelling() -> Result<Command> {
    let tracked = process::capture_text(Command::new("git").arg("ls-files").current_dir(workspace::root()))?;
    let mut command = Command::new("codespell");
    command.args(tracked.lines()).current_dir(workspace::root());
    Ok(command)
}
