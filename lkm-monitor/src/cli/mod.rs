//! The command line, one file per subcommand.

mod baseline;
mod config;
mod doctor;
mod evidence;
mod generate;
mod hunt;
mod integrity;
mod inventory;
mod rows;
mod run;
mod show;
mod spool;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::lifecycle::exit;

#[derive(Debug, Parser)]
#[command(
    name = "lkm-monitor",
    version,
    about = "Sees kernel modules being loaded, unloaded and asked for, and tells the SIEM"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch this host and emit documents
    Run(run::RunArgs),
    /// Look for mistakes in the settings, show which hold, and which there are
    Config(config::ConfigArgs),
    /// Say what can be seen on this host, what cannot, and what to do about it
    Doctor(doctor::DoctorArgs),
    /// List the modules, the files that decide about them and the tools that load them, as they are now
    Inventory(inventory::InventoryArgs),
    /// Look whether modules hide in this kernel, and whether something leads out of its own code
    Integrity(integrity::IntegrityArgs),
    /// Find what is rare among documents of this host and others
    Hunt(hunt::HuntArgs),
    /// Write down what is normal on this host, or learn what is normal elsewhere
    Baseline(baseline::BaselineArgs),
    /// Look after documents that wait for their receivers, and those that were refused
    Spool(spool::SpoolArgs),
    /// List, export and check the images of modules that alerts were about
    Evidence(evidence::EvidenceArgs),
    /// Show documents the way people read them
    Show(show::ShowArgs),
    /// Write the manual page, or what a shell needs to complete the command line
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

/// Runs the command that the command line names.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Fails only when the terminal is gone.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(exit::USAGE),
            };
        }
    };
    let _log = crate::telemetry::start();
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Inventory(args) => inventory::run(args),
        Command::Integrity(args) => integrity::run(&args),
        Command::Hunt(args) => hunt::run(args),
        Command::Baseline(args) => baseline::run(args),
        Command::Spool(args) => spool::run(args),
        Command::Evidence(args) => evidence::run(args),
        Command::Show(args) => show::run(args),
        Command::Generate(args) => generate::run(&args),
    };
    result.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}
