//! Chores of the work tree: `cargo xtask <command>`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the terminal is this program's only output")]

mod bench;
mod bench_hunt;
mod bench_prevalence;
mod build;
mod demo;
mod dist;
mod fuzz;
mod lint;
mod packages;
mod process;
mod report_test;
mod rpm;
mod service_test;
mod setup;
mod syslog_ng;
mod test;
mod unpacked;
mod vm;
mod workspace;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::vm::kernels::{self, KernelLine};

#[derive(Parser)]
#[command(about = "Chores of the lkm-monitor work tree")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Installs and fetches everything that the other commands need
    Setup,
    /// Builds the daemon, a static release binary
    Build,
    /// Makes the packages, with checksums and a list of components
    Dist,
    /// Shows the daemon at work in a virtual machine
    Demo {
        /// Kernel line to boot
        #[arg(long, default_value = "6.1", value_parser = kernels::parse_line)]
        kernel: &'static KernelLine,
        #[command(flatten)]
        limits: Limits,
    },
    /// Tests on this machine and on every kernel line
    Test(TestArguments),
    /// Counts what the daemon costs other processes, in guest instructions, and how long documents take
    Bench {
        /// Kernel line to boot
        #[arg(long, default_value = "6.1", value_parser = kernels::parse_line)]
        kernel: &'static KernelLine,
        /// Another sensor's binary, to be measured too; it must need no arguments
        #[arg(long, value_name = "FILE")]
        beside: Option<PathBuf>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Compares the hunt's speed with DuckDB's
    BenchHunt {
        /// Documents to search, about 800 bytes each
        #[arg(long, default_value_t = 10_000_000)]
        documents: u64,
    },
    /// Measures this host's prevalence store
    BenchStore,
    /// Lets ten thousand hosts install a kernel package, with one store: ten minutes
    BenchFleet,
    /// Tries the hunt's report in a browser
    ReportTest,
    /// Installs the package on a real Debian, in a virtual machine, and does to the service what happens to services
    ServiceTest {
        /// Kernel line to boot, and the Debian that has it
        #[arg(long, default_value = "6.12", value_parser = kernels::parse_line)]
        kernel: &'static KernelLine,
        #[command(flatten)]
        limits: Limits,
    },
    /// Gives readers of hostile bytes what a fuzzer makes up
    Fuzz {
        /// Inputs for each reader
        #[arg(long, default_value_t = fuzz::RUNS)]
        runs: u32,
    },
    /// Format, clippy, dependencies, spelling
    Lint,
}

#[derive(Args)]
struct TestArguments {
    /// Kernel line to boot, may be repeated; all of them if absent
    #[arg(long, value_parser = kernels::parse_line)]
    kernel: Vec<&'static KernelLine>,
    /// Runs only the scenarios whose name contains this, or one of these between commas
    #[arg(long, value_name = "SUBSTRING")]
    only: Option<String>,
    /// Boots no kernel
    #[arg(long, conflicts_with_all = ["vm_only", "kernel", "only"])]
    host_only: bool,
    /// Leaves out the tests that need no kernel
    #[arg(long)]
    vm_only: bool,
    #[command(flatten)]
    limits: Limits,
}

#[derive(Args)]
struct Limits {
    /// Seconds after which a machine is stopped and counts as failed
    #[arg(long, default_value_t = 2700)]
    deadline_s: u64,
}

impl Limits {
    fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_s)
    }
}

fn main() -> ExitCode {
    run(Arguments::parse().chore).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(chore: Chore) -> Result<ExitCode> {
    let every_line: Vec<&'static KernelLine> = kernels::LINES.iter().collect();
    match chore {
        Chore::Setup => setup::setup(&every_line)?,
        Chore::Build => {
            setup::setup(&[])?;
            build::daemon()?;
        }
        Chore::Dist => dist::dist()?,
        Chore::Demo { kernel, limits } => demo::demo(kernel, limits.deadline())?,
        Chore::Bench { kernel, beside, limits } => bench::bench(kernel, beside, limits.deadline())?,
        Chore::BenchHunt { documents } => bench_hunt::bench(documents)?,
        Chore::BenchStore => bench_prevalence::store()?,
        Chore::BenchFleet => bench_prevalence::fleet()?,
        Chore::Test(arguments) => {
            return test::test(&test::Selection {
                deadline: arguments.limits.deadline(),
                lines: if arguments.kernel.is_empty() { every_line } else { arguments.kernel },
                only: arguments.only,
                host: !arguments.vm_only,
                machines: !arguments.host_only,
            });
        }
        Chore::ReportTest => {
            setup::setup(&[])?;
            return report_test::test();
        }
        Chore::ServiceTest { kernel, limits } => return service_test::test(kernel, limits.deadline()),
        Chore::Fuzz { runs } => {
            setup::setup(&[])?;
            let fuzz::Outcome { verdict, failures, .. } = fuzz::run(runs)?;
            failures.iter().for_each(|failure| eprintln!("{failure}"));
            return Ok(if verdict.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Chore::Lint => lint::lint()?,
    }
    Ok(ExitCode::SUCCESS)
}
