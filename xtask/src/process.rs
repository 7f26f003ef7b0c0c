//! Running other programs, and telling the person at the terminal what takes so long.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    io::{self, Write as _},
    process::{Command, Output, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Lines of a failed program's output that are worth repeating in the error.
const REPEATED_LINES: usize = 40;

/// Cargo of the pinned toolchain, run in the work tree's root with its own target folder.
pub(crate) fn cargo<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace::root()).env("CARGO_TARGET_DIR", workspace::target());
    command
}

/// Runs with the terminal attached: the program shows its own progress.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", name(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs without a word and returns standard output; a failure repeats what the program said.
pub(crate) fn capture(command: &mut Command) -> Result<Vec<u8>> {
    let output = output(command)?;
    if !output.status.success() {
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        let mut message = format!("`{}` failed ({})", line(command), output.status);
        for repeated in tail(&said, REPEATED_LINES) {
            let _ = write!(message, "\n  | {repeated}");
        }
        bail!(message);
    }
    Ok(output.stdout)
}

pub(crate) fn capture_text(command: &mut Command) -> Result<String> {
    let bytes = capture(command)?;
    String::from_utf8(bytes).with_context(|| format!("{} did not print UTF-8", name(command)))
}

/// Runs without a word and leaves the exit status to the caller.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", name(command)))
}

/// One line per step, with the seconds it took. The name is shown at once, so that a long step is not a silent one.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    print!("  {name} ... ");
    io::stdout().flush()?;
    let start = Instant::now();
    let result = work();
    let word = if result.is_ok() { "ok" } else { "FAILED" };
    println!("{word} ({:.1} s)", start.elapsed().as_secs_f64());
    result
}

pub(crate) fn tail(text: &str, lines: usize) -> impl Iterator<Item = &str> {
    text.lines().skip(text.lines().count().saturating_sub(lines))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn line(command: &Command) -> String {
    let mut line = name(command);
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
