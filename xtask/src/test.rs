//! Host tests, then the scenarios on every kernel line, then one table.

mod failures;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    build, fuzz, packages, process, report_test, rpm, service_test, setup, syslog_ng,
    vm::{
        self, Mode, Request, Verdict,
        kernels::{self, KernelLine},
    },
    workspace,
};

pub(crate) struct Selection {
    pub(crate) lines: Vec<&'static KernelLine>,
    pub(crate) only: Option<String>,
    pub(crate) host: bool,
    pub(crate) machines: bool,
    pub(crate) deadline: Duration,
}

struct Row {
    name: String,
    result: Result<Verdict, String>,
    /// See [`failures`].
    failures: Vec<String>,
    elapsed: Duration,
}

/// Failed tests are not an error of this program: they are in the table, and in the exit status.
pub(crate) fn test(selection: &Selection) -> Result<ExitCode> {
    let lines: &[&KernelLine] = if selection.machines { &selection.lines } else { &[] };
    setup::setup(lines)?;
    packages::ensure(&[packages::TESTS])?;
    syslog_ng::fetch()?;
    rpm::fetch()?;
    let mut rows = Vec::new();
    if selection.host {
        rows.push(host()?);
        rows.push(report()?);
        rows.push(hostile_bytes()?);
    }
    if selection.machines {
        build::daemon()?;
        build::guest()?;
        println!("boot {} kernels, this takes minutes", lines.len());
        let request = Request {
            mode: Mode::Test,
            only: selection.only.clone(),
            shared: lines.len() > 1 && selection.only.is_none(),
            deadline: selection.deadline,
            prefix_lines: lines.len() > 1,
            guests: Vec::new(),
        };
        for outcome in vm::run(lines, &request)? {
            let console = fs::read_to_string(&outcome.console)?;
            rows.push(Row {
                name: format!("kernel {}", outcome.line),
                result: outcome.verdict,
                failures: failures::of_guest(&console),
                elapsed: outcome.elapsed,
            });
        }
        if selection.only.is_none()
            && let Some(line) = lines.iter().find(|line| line.name == kernels::STABLE)
        {
            rows.push(service(line, selection.deadline)?);
        }
    }
    Ok(summarise(&rows))
}

/// The package on a real system.
fn service(line: &'static KernelLine, deadline: Duration) -> Result<Row> {
    let service_test::Outcome { verdict, elapsed, console } = service_test::run(line, deadline)?;
    let failures = failures::of_guest(&fs::read_to_string(console)?);
    Ok(Row { name: "service".to_owned(), result: verdict, failures, elapsed })
}

/// The eBPF package only compiles for its own target; the daemon's build script does that.
fn host() -> Result<Row> {
    let start = Instant::now();
    println!("test on this machine");
    let mut command = process::cargo(["test", "--workspace", "--exclude", "lkm-monitor-ebpf", "--no-fail-fast"]);
    // The tests that read databases of rpm let it make some.
    command.env("LKM_MONITOR_RPM", workspace::tools().join("rpm"));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut total = Verdict::default();
    let mut printed = String::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        printed.push_str(&line);
        printed.push('\n');
        if let Some(counted) = harness_counts(&line) {
            total.passed += counted.passed;
            total.failed += counted.failed;
        }
    }
    let status = child.wait()?;
    let result =
        if status.success() || total.failed > 0 { Ok(total) } else { Err(format!("cargo test failed ({status})")) };
    let failures = failures::of_harness(&printed);
    Ok(Row { name: "host".to_owned(), result, failures, elapsed: start.elapsed() })
}

/// The hunt's report, in a browser.
fn report() -> Result<Row> {
    let report_test::Outcome { verdict, failures, elapsed } = report_test::run()?;
    Ok(Row { name: "report".to_owned(), result: Ok(verdict), failures, elapsed })
}

/// Readers of hostile bytes.
fn hostile_bytes() -> Result<Row> {
    let fuzz::Outcome { verdict, failures, elapsed } = fuzz::run(fuzz::RUNS)?;
    Ok(Row { name: "fuzz".to_owned(), result: Ok(verdict), failures, elapsed })
}

/// From the line that closes each test program: `test result: ok. 9 passed; 0 failed; 0 ignored; ...`.
fn harness_counts(line: &str) -> Option<Verdict> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let passed = counts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = counts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some(Verdict { passed, failed })
}

/// A run without a verdict counts as one failure, so that the last line never looks better than it was.
fn summarise(rows: &[Row]) -> ExitCode {
    println!("\n{:<14} {:>7} {:>7} {:>8}", "", "passed", "failed", "seconds");
    let mut total = Verdict::default();
    for row in rows {
        let verdict = row.result.as_ref().map_or(Verdict { passed: 0, failed: 1 }, |verdict| *verdict);
        let reason = row.result.as_ref().err().map_or_else(String::new, |reason| format!("  {reason}"));
        let seconds = row.elapsed.as_secs();
        println!("{:<14} {:>7} {:>7} {seconds:>8}{reason}", row.name, verdict.passed, verdict.failed);
        total.passed += verdict.passed;
        total.failed += verdict.failed;
    }
    for row in rows {
        row.failures.iter().for_each(|failure| println!("\n{}: {failure}", row.name));
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_the_test_harness_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(harness_counts(line), Some(Verdict { passed: 12, failed: 3 }));
        assert_eq!(harness_counts("test sensor::decode ... ok"), None);
    }
}
