//! `lkm-monitor config`: looks for mistakes in the settings, shows which hold, and which there are.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};

use crate::{
    config::{self, DEFAULT_FILE, Loaded},
    lifecycle::exit,
};

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say everything that is wrong; exit code 78 if something is
    Check(Files),
    /// Print what holds as a configuration file, and where each value comes from
    Show(Files),
    /// Print a configuration file with every setting, what it may be, and its default
    Default,
}

#[derive(Debug, Args)]
struct Files {
    /// Settings to read, and no others [default: /etc/lkm-monitor/config.toml and /etc/lkm-monitor/conf.d/*.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Check(files) => read(files, |_| Ok(())),
        Action::Show(files) => read(files, |loaded| print(&loaded.effective.to_toml())),
        Action::Default => print(DEFAULT_FILE).map(|()| ExitCode::SUCCESS),
    }
}

/// Settings that can be used go to `then`. One line on standard error for everything that is wrong, or should be another way.
fn read(files: &Files, then: impl FnOnce(&Loaded) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let mut log = io::stderr().lock();
    match config::load(files.config.as_deref()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                writeln!(log, "warning: {warning}")?;
            }
            then(&loaded)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            writeln!(log, "{problems}")?;
            Ok(ExitCode::from(exit::CONFIG))
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
