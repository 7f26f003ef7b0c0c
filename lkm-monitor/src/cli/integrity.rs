//! `lkm-monitor integrity`: whether modules hide in this kernel, and whether something leads out of its own code. Needs no daemon.

mod report;
#[cfg(test)]
mod tests;

use std::{io::Write as _, path::Path, process::ExitCode, thread};

use clap::ValueEnum;

use self::report::Report;
use crate::{
    integrity::{Confirm, Scanner, confirm::SOON},
    lifecycle::exit,
    model::{KernelReport, ModuleHistory},
    sensor::btf::Types,
};

/// Arguments of `integrity`.
#[derive(Debug, clap::Args)]
pub(super) struct IntegrityArgs {
    /// How to print what was found
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// The exit code of a look that found something.
const FOUND: u8 = 1;

/// Looks once, and again when something was found. Exit code 1 where that was found both times, 69 where kernel memory cannot be looked at.
pub(super) fn run(args: &IntegrityArgs) -> anyhow::Result<ExitCode> {
    let root = Path::new("/");
    let (report, code) = if Scanner::has_modules(root) {
        let (looked, is_blind) = look_twice(root);
        let code = match (looked.confirmed.is_empty(), is_blind) {
            (false, _) => FOUND,
            (true, true) => exit::SENSOR_UNAVAILABLE,
            (true, false) => 0,
        };
        (Report::of(&looked), code)
    } else {
        (Report::default(), 0)
    };
    let text = match args.format {
        Format::Table => report.to_string(),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::from(code))
}

/// What was found, and whether kernel memory could not be looked at.
fn look_twice(root: &Path) -> (KernelReport, bool) {
    let types = Types::of_kernel();
    let mut scanner = Scanner::start(root, types.as_ref());
    // Tens of MiB that nothing needs any more.
    drop(types);
    let history = ModuleHistory {
        unavailable: Some("only the daemon sees modules come and go".to_owned()),
        ..ModuleHistory::default()
    };
    let mut confirm = Confirm::default();
    let mut look = scanner.look(&history);
    let mut confirmed = confirm.settle(&look);
    if let Some(wait) = confirm.next_look(look.boot_ns) {
        thread::sleep(wait.min(SOON));
        look = scanner.look(&history);
        confirmed.extend(confirm.settle(&look));
    }
    let is_blind = !look.sees_memory();
    (KernelReport { look, confirmed }, is_blind)
}
