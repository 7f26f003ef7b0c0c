//! One run of one machine: starts QEMU, follows the console, enforces the deadline.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    Mode, Request, initramfs,
    kernels::Kernel,
    verdict::{self, Verdict},
};
use crate::{process, workspace};

/// The program of the tests keeps all documents, of which a flood makes ten thousand.
const MEMORY_MIB: &str = "2048";
const PROCESSORS: &str = "2";
/// Newer models panic kernels 6.12 and later under QEMU 7.2's emulation (5-level page tables). The features that are
/// taken away are those that emulation lacks, and would warn about.
const EMULATED_PROCESSOR: &str = "Haswell-noTSX,-pcid,-tsc-deadline,-x2apic,-invpcid";
/// Emulation by default: it works everywhere, while `/dev/kvm` may exist and still hang.
const ACCELERATOR_VARIABLE: &str = "LKM_VM_ACCEL";
/// A kernel boots in seconds, on a busy machine in a minute.
const BOOT_DEADLINE: Duration = Duration::from_secs(180);
/// Shown when a machine gives no verdict.
const LAST_CONSOLE_LINES: usize = 30;

/// What came out of one machine.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) line: &'static str,
    /// The guest's verdict, or why the run does not count.
    pub(crate) verdict: Result<Verdict, String>,
    pub(crate) elapsed: Duration,
    pub(crate) console: PathBuf,
    /// The documents that the guest's daemon wrote, one JSON object a line.
    pub(crate) documents: PathBuf,
}

pub(crate) fn run(kernel: &Kernel, request: &Request) -> Result<Outcome> {
    let start = Instant::now();
    let folder = workspace::machine(kernel.line);
    fs::create_dir_all(&folder)?;
    let initramfs = initramfs::write(kernel, &request.guests)?;
    let documents = folder.join("documents.ndjson");
    let mut child = command(kernel, &initramfs, &documents, request)
        .spawn()
        .context("cannot start qemu-system-x86_64; `cargo xtask setup` installs it")?;
    let log = folder.join("console.log");
    let verdict = follow(&mut child, &log, kernel.line, request.deadline, request.prefix_lines);
    // Whatever happened, the machine must not outlive its run.
    let _ = child.kill();
    child.wait()?;
    let verdict = verdict?;
    if let Err(reason) = &verdict {
        let console = fs::read_to_string(&log)?;
        eprintln!("kernel {}: {reason}; the console's last lines:", kernel.line);
        process::tail(&console, LAST_CONSOLE_LINES).for_each(|line| eprintln!("  | {line}"));
    }
    Ok(Outcome { line: kernel.line, verdict, elapsed: start.elapsed(), console: log, documents })
}

fn command(kernel: &Kernel, initramfs: &Path, documents: &Path, request: &Request) -> Command {
    let counts = matches!(request.mode, Mode::Bench);
    let clock: &[&str] = if counts { &["-icount", "shift=0,sleep=off"] } else { &[] };
    let mut command = machine(kernel, initramfs, &kernel_command_line(kernel, request), clock);
    command
        .arg("-no-reboot")
        .arg("-serial")
        .arg(format!("file:{}", documents.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

/// A machine whose console is standard output, and which has no network. With a `clock` that counts instructions it has one processor.
pub(crate) fn machine(kernel: &Kernel, initramfs: &Path, command_line: &str, clock: &[&str]) -> Command {
    let counts = !clock.is_empty();
    let wanted = std::env::var(ACCELERATOR_VARIABLE).unwrap_or_else(|_| "tcg".to_owned());
    let accelerator = if counts { "tcg,thread=single".to_owned() } else { wanted };
    let processor = if accelerator.starts_with("tcg") { EMULATED_PROCESSOR } else { "host" };
    // The kernel ends the machine together with the thread that waits for it, even if that is killed.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64", "-no-user-config", "-nodefaults"])
        .args(["-accel", &accelerator, "-cpu", processor, "-m", MEMORY_MIB])
        .args(["-smp", if counts { "1" } else { PROCESSORS }])
        .args(clock)
        .args(["-display", "none", "-monitor", "none", "-nic", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", command_line]);
    command
}

/// The guest reads the `lkm.` words from `/proc/cmdline`.
fn kernel_command_line(kernel: &Kernel, request: &Request) -> String {
    // Level 5 lets the kernel's warnings through to the console, where they are watched for.
    let mut words = format!("console=ttyS0 loglevel=5 panic=-1 lkm.mode={}", request.mode.word());
    if matches!(request.mode, Mode::Bench) {
        // Where memory lies decides how many tables a fork copies.
        words.push_str(" norandmaps");
    }
    if let Some(only) = &request.only {
        words.push_str(" lkm.only=");
        words.push_str(only);
    }
    if request.shared && !kernel.is_stables() {
        words.push_str(" lkm.user_space=elsewhere");
    }
    words
}

/// Until the machine powers off: prints and keeps each console line.
pub(crate) fn follow(
    child: &mut Child,
    log: &Path,
    line: &str,
    deadline: Duration,
    prefix_lines: bool,
) -> Result<Result<Verdict, String>> {
    let start = Instant::now();
    let mut log = File::create(log)?;
    let mut reader = verdict::Reader::default();
    let lines = console_lines(child)?;
    loop {
        let patience = if reader.has_begun() { deadline } else { BOOT_DEADLINE.min(deadline) };
        match lines.recv_timeout((start + patience).saturating_duration_since(Instant::now())) {
            Ok(text) => {
                writeln!(log, "{text}")?;
                if prefix_lines {
                    println!("[{line}] {text}")
                } else {
                    println!("{text}")
                }
                reader.line(&text);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(reader.finish()),
            Err(RecvTimeoutError::Timeout) if !reader.has_begun() => return Ok(Err(verdict::NOT_BOOTED.to_owned())),
            Err(RecvTimeoutError::Timeout) => {
                return Ok(Err(format!("not finished after {} s", deadline.as_secs())));
            }
        }
    }
}

/// A thread of its own reads the console, so that a silent machine cannot block past the deadline.
fn console_lines(child: &mut Child) -> Result<mpsc::Receiver<String>> {
    let console = child.stdout.take().context("qemu has no console")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(text.trim_end_matches('\r').to_owned()).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
