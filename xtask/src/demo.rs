//! A tour in one machine: attacks happen, alerts appear.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{
    build, setup,
    vm::{self, Mode, Request, kernels::KernelLine},
    workspace,
};

pub(crate) fn demo(line: &'static KernelLine, deadline: Duration) -> Result<()> {
    setup::setup(&[line])?;
    build::daemon()?;
    build::guest()?;
    println!("boot kernel {}", line.name);
    let request =
        Request { mode: Mode::Demo, only: None, shared: false, deadline, prefix_lines: false, guests: Vec::new() };
    for outcome in vm::run(&[line], &request)? {
        let alerts = workspace::target().join("demo/alerts.ndjson");
        fs::create_dir_all(workspace::target().join("demo"))?;
        fs::copy(&outcome.documents, &alerts).context("the guest wrote no documents")?;
        match outcome.verdict {
            Ok(verdict) if verdict.failed == 0 => {}
            Ok(verdict) => bail!("{} steps of the demo failed", verdict.failed),
            Err(reason) => bail!("the demo did not run to its end: {reason}"),
        }
        let daemon = workspace::display(&workspace::release_binary(workspace::STATIC, "lkm-monitor"));
        println!("\nThe alerts as JSON, one a line: {}", workspace::display(&alerts));
        println!("On this machine:                 sudo {daemon} run --stdout | {daemon} show");
    }
    Ok(())
}
