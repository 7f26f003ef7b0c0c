//! Makes a fresh machine ready. Safe to run again: a step that is done costs nothing.

use std::{fs, process::Command};

use anyhow::Result;

use crate::{
    packages, process, rpm, syslog_ng,
    vm::{
        headers, hiding,
        kernels::{self, KernelLine},
    },
    workspace,
};

const BPF_LINKER_VERSION: &str = "0.13.0";
/// bpf-linker must link the LLVM of rustc's own major version, to read the bitcode that rustc writes.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// What a build needs, and what the given kernel lines need to boot.
pub(crate) fn setup(lines: &[&'static KernelLine]) -> Result<()> {
    println!("setup");
    let mut wanted = vec![packages::BUILD];
    if !lines.is_empty() {
        wanted.extend([packages::MACHINES, packages::TESTS]);
    }
    packages::ensure(&wanted)?;
    if !lines.is_empty() {
        syslog_ng::fetch()?;
        rpm::fetch()?;
    }
    install_tool(
        "bpf-linker",
        BPF_LINKER_VERSION,
        process::cargo(["install", "bpf-linker", "--no-default-features", "--features", "llvm-22"])
            .env("LLVM_PREFIX", LLVM_PREFIX),
    )?;
    for line in lines {
        let kernel = kernels::fetch(line)?;
        headers::fetch(line, &kernel)?;
        hiding::build(&kernel)?;
    }
    println!("  ready");
    Ok(())
}

/// Builds one version of a tool into `target/tools`. Its dependencies are those of its own lock file.
pub(crate) fn install_tool(name: &str, version: &str, install: &mut Command) -> Result<()> {
    let stamp = workspace::tools().join(format!("{name}.version"));
    let program = workspace::tools().join("bin").join(name);
    if program.exists() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == version) {
        return Ok(());
    }
    process::step(&format!("{name} {version}, built from source in a minute or two"), || {
        install.args(["--version", version, "--locked", "--force", "--root"]).arg(workspace::tools());
        // A build folder of its own: these are not packages of this work tree.
        install.env("CARGO_TARGET_DIR", workspace::tools().join("build"));
        process::capture(install)?;
        fs::remove_dir_all(workspace::tools().join("build"))?;
        Ok(fs::write(&stamp, version)?)
    })
}
