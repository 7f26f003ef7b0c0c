//! Test machines: real Debian kernels in QEMU, with the guest test program as their PID 1.
//!
//! [`kernels`] fetches them, [`headers`] what modules for them are built with; [`initramfs`] builds what they boot into, [`qemu`] runs them, [`verdict`] judges the run.

mod apt;
mod apt_index;
pub(crate) mod audit;
pub(crate) mod cpio;
pub(crate) mod fixtures;
pub(crate) mod headers;
pub(crate) mod hiding;
mod initramfs;
pub(crate) mod kernels;
pub(crate) mod mirrors;
mod package;
pub(crate) mod qemu;
mod signed;
mod verdict;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

use self::kernels::{Kernel, KernelLine};
pub(crate) use self::{qemu::Outcome, verdict::Verdict};

/// More than this many emulated machines at a time only slow each other down.
const MACHINES_AT_A_TIME: usize = 2;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Test,
    Demo,
    /// One processor, whose clock counts instructions.
    Bench,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Demo => "demo",
            Self::Bench => "bench",
        }
    }
}

/// What the machines are asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) mode: Mode,
    /// Runs only the scenarios whose name contains this, or one of these between commas.
    pub(crate) only: Option<String>,
    /// The scenarios that no kernel decides are played on one only.
    pub(crate) shared: bool,
    pub(crate) deadline: Duration,
    /// Puts the kernel line before each console line, for several machines at a time.
    pub(crate) prefix_lines: bool,
    /// What else is in `/usr/bin` of the guest.
    pub(crate) guests: Vec<Guest>,
}

/// A program of this machine, for the guest.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) program: PathBuf,
    pub(crate) name: &'static str,
    /// Where its libraries may lie besides the usual places.
    pub(crate) libraries: Vec<PathBuf>,
}

/// Boots each line's kernel and returns the outcomes in the order of `lines`. An error is a fault of the harness.
pub(crate) fn run(lines: &[&'static KernelLine], request: &Request) -> Result<Vec<Outcome>> {
    let kernels: Vec<Kernel> = lines.iter().map(|line| kernels::unpacked(line)).collect::<Result<_>>()?;
    let mut pending: Vec<(usize, Kernel)> = kernels.into_iter().enumerate().collect();
    // Who has most to do begins: no machine waits for another one at the end.
    pending.sort_by_key(|(_, kernel)| !kernel.is_stables());
    let pending = Mutex::new(VecDeque::from(pending));
    let next = || pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let finished = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..MACHINES_AT_A_TIME {
            scope.spawn(|| {
                while let Some((position, kernel)) = next() {
                    let outcome = run_one(&kernel, request);
                    finished.lock().unwrap_or_else(PoisonError::into_inner).push((position, outcome));
                }
            });
        }
    });
    let mut finished = finished.into_inner().unwrap_or_else(PoisonError::into_inner);
    finished.sort_by_key(|(position, _)| *position);
    finished.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Boots one kernel, and once more if the emulator failed it.
fn run_one(kernel: &Kernel, request: &Request) -> Result<Outcome> {
    let outcome = qemu::run(kernel, request)?;
    if outcome.verdict.as_ref().is_err_and(|reason| verdict::is_emulators_fault(reason)) {
        println!("kernel {}: the emulator's fault, not the kernel's: once more", kernel.line);
        return qemu::run(kernel, request);
    }
    Ok(outcome)
}
