//! The package on a real Debian with systemd: installed, run, killed, stopped, rebooted, removed.
//!
//! [`debian`] makes the disk, [`boot`] what starts from it; the program `service` of the tests does the rest inside, and judges.

mod boot;
mod debian;

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    build, dist, packages, process, setup,
    vm::{
        Verdict,
        kernels::{self, KernelLine},
        qemu,
    },
    workspace,
};

/// What the machine said.
pub(crate) struct Outcome {
    pub(crate) verdict: Result<Verdict, String>,
    pub(crate) elapsed: Duration,
    pub(crate) console: PathBuf,
}

/// By itself, with everything that it needs.
pub(crate) fn test(line: &'static KernelLine, deadline: Duration) -> Result<ExitCode> {
    setup::setup(&[line])?;
    build::daemon()?;
    let Outcome { verdict, elapsed, console } = run(line, deadline)?;
    let seconds = elapsed.as_secs();
    match verdict {
        Ok(Verdict { passed, failed }) => {
            println!("\n{passed} passed, {failed} failed in {seconds} seconds");
            Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(reason) => {
            println!("\n{reason}; see {}", workspace::display(&console));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Boots the Debian release that has the line's kernel. The daemon is built.
pub(crate) fn run(line: &'static KernelLine, deadline: Duration) -> Result<Outcome> {
    packages::ensure(&[packages::DEBIAN])?;
    build::service_test()?;
    let kernel = kernels::unpacked(line)?;
    let package = process::step("Debian package", dist::debian_package)?;
    let disk = debian::disk(line, &kernel)?;
    let folder = workspace::machine("service");
    fs::create_dir_all(&folder)?;
    let initramfs = boot::write(&kernel, &package, &folder)?;
    println!("boot Debian {} with the package, this takes minutes", line.debian());
    let start = Instant::now();
    let mut child = qemu::machine(&kernel, &initramfs, COMMAND_LINE, &[])
        .arg("-drive")
        .arg(format!("file={},if=virtio,format=raw,cache=unsafe", disk.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start qemu-system-x86_64; `cargo xtask setup` installs it")?;
    let console = folder.join("console.log");
    let verdict = qemu::follow(&mut child, &console, "service", deadline, true);
    // Whatever happened, the machine must not outlive its run.
    let _ = child.kill();
    child.wait()?;
    process::capture(Command::new("rm").arg("--force").arg(disk))?;
    Ok(Outcome { verdict: verdict?, elapsed: start.elapsed(), console })
}

/// On a busy machine an emulated timer can be too late for the kernel's check of it, which panics.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=5 panic=-1 no_timer_check systemd.show_status=false";
