//! The hunt's report in a browser: it sorts, filters and follows links as the page's reader does, and looks whether it stays by itself.

mod browser;
mod checks;
mod documents;

use std::{
    fs,
    net::TcpListener,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{packages, process, vm::Verdict, workspace};
use browser::Browser;
use checks::Page;

/// What the checks found.
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// In a line each.
    pub(crate) failures: Vec<String>,
    pub(crate) elapsed: Duration,
}

pub(crate) fn test() -> Result<ExitCode> {
    let outcome = run()?;
    outcome.failures.iter().for_each(|failure| println!("\n{failure}"));
    let Verdict { passed, failed } = outcome.verdict;
    println!("\n{passed} passed, {failed} failed in {} seconds", outcome.elapsed.as_secs());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes a report and checks it. A failed check does not keep the others from running.
pub(crate) fn run() -> Result<Outcome> {
    packages::ensure(&[packages::BROWSER])?;
    process::run(&mut process::cargo(["build", "--package", "lkm-monitor"]))?;
    println!("look at a report in a browser");
    let start = Instant::now();
    let folder = workspace::target().join("report-test");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    // Whoever makes the page ask for something asks here.
    let elsewhere = TcpListener::bind("127.0.0.1:0")?;
    elsewhere.set_nonblocking(true)?;
    let (input, report) = (folder.join("documents.ndjson"), folder.join("report.html"));
    fs::write(&input, documents::lines(elsewhere.local_addr()?.port()))?;
    process::capture(
        Command::new(workspace::target().join("debug/lkm-monitor"))
            .args(["hunt", "files", "--since", documents::SINCE, "--input"])
            .arg(&input)
            .arg("--html")
            .arg(&report),
    )?;
    let browser = Browser::start(&folder.join("profile"))?;
    let page =
        Page { browser: &browser, url: format!("file://{}", report.display()), elsewhere: &elsewhere, folder: &folder };
    let mut outcome = Outcome { verdict: Verdict::default(), failures: Vec::new(), elapsed: Duration::ZERO };
    for (name, check) in checks::ALL {
        // Each begins with the page as it was written.
        match process::step(name, || page.open().and_then(|()| check(&page))) {
            Ok(()) => outcome.verdict.passed += 1,
            Err(error) => {
                outcome.verdict.failed += 1;
                outcome.failures.push(format!("{name}: {error:#}"));
            }
        }
    }
    outcome.elapsed = start.elapsed();
    Ok(outcome)
}
