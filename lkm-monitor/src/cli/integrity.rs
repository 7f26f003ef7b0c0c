//! `lkm-monitor integrity`: whether modules hide in this kernel, and whether something leads out of its own code. Needs no daemon.

mod report;
#[cfg(test)]
mod tests;

use std::{io::Write as _, path::Path, process::ExitCode, thread, time::Duration};

use clap::ValueEnum;

use self::report::Report;
use crate::{
    integrity::{
        Confirm, Scanner,
        confirm::{LATER, SOON},
    },
    lifecycle::exit,
    model::{KernelLook, KernelReport, ModuleHistory},
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

/// Looks once, and again when something was found, which takes half a minute where it may be a race. Exit code 1 where it was found then, 69 where kernel memory cannot be looked at.
pub(super) fn run(args: &IntegrityArgs) -> anyhow::Result<ExitCode> {
    let root = Path::new("/");
    let (report, code) = if Scanner::has_modules(root) {
        let (looked, is_blind) = look_until_certain(root);
        // What changes all the time is no less found.
        let nothing = looked.confirmed.is_empty() && looked.look.findings.is_empty();
        let code = match (nothing, is_blind) {
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

/// How long it takes at the most until everything that was found is certain, or gone.
const PATIENCE: Duration = LATER.saturating_mul(2);

/// What was found, and whether kernel memory could not be looked at.
fn look_until_certain(root: &Path) -> (KernelReport, bool) {
    let types = Types::of_kernel();
    let mut scanner = Scanner::start(root, types.as_ref());
    // Tens of MiB that nothing needs any more.
    drop(types);
    let history = ModuleHistory {
        unavailable: Some("only the daemon sees modules come and go".to_owned()),
        ..ModuleHistory::default()
    };
    let report = settle(PATIENCE, || scanner.look(&history), thread::sleep);
    let is_blind = !report.look.sees_memory();
    (report, is_blind)
}

/// Looks again as long as that can make something certain, and the waits do not come to more than `patience`.
fn settle(patience: Duration, mut look: impl FnMut() -> KernelLook, mut wait: impl FnMut(Duration)) -> KernelReport {
    let mut confirm = Confirm::default();
    let mut last = look();
    let mut confirmed = confirm.settle(&last);
    let mut waited = Duration::ZERO;
    while let Some(time) = confirm.next_look(last.boot_ns) {
        // What may be a race is mostly over soon.
        let time = time.min(SOON);
        waited += time;
        if waited > patience {
            break;
        }
        wait(time);
        last = look();
        confirmed.extend(confirm.settle(&last));
    }
    KernelReport { look: last, confirmed }
}
