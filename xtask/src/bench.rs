//! What the daemon costs everybody else, and how long its documents take, in a machine whose clock counts instructions.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    build, process, setup,
    vm::{self, Guest, Mode, Request, audit, kernels::KernelLine},
    workspace,
};

/// `beside` is another sensor's static or dynamic binary, to be measured too; it is given a few seconds to begin.
pub(crate) fn bench(line: &'static KernelLine, beside: Option<PathBuf>, deadline: Duration) -> Result<()> {
    setup::setup(&[line])?;
    let audit = audit::fetch()?;
    let mut guests = vec![Guest { program: audit.program, name: "auditctl", libraries: audit.libraries }];
    guests.extend(beside.map(|program| Guest { program, name: "beside", libraries: Vec::new() }));
    build::daemon()?;
    build::guest()?;
    println!("boot kernel {}: one processor, one instruction a nanosecond; this takes minutes", line.name);
    let request = Request { mode: Mode::Bench, only: None, shared: false, deadline, prefix_lines: false, guests };
    for outcome in vm::run(&[line], &request)? {
        match outcome.verdict {
            Ok(verdict) if verdict.failed == 0 => {}
            Ok(_) => bail!("the measurement failed"),
            Err(reason) => bail!("the measurement did not run to its end: {reason}"),
        }
        let folder = workspace::target().join("bench");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}.json", line.name));
        let figures = figures(&fs::read_to_string(&outcome.documents).context("the guest wrote no figures")?)?;
        fs::write(&file, serde_json::to_string_pretty(&figures)?)?;
        print(&figures)?;
        println!("\nThe figures as JSON: {}", workspace::display(&file));
        let events = folder.join(format!("{}.events", line.name));
        fs::write(&events, recording(&fs::read_to_string(&outcome.documents)?)?)?;
        println!("\nall stages on this machine, with events of the other");
        throughput(&events)?;
    }
    Ok(())
}

/// Measures all stages with recorded events.
fn throughput(events: &Path) -> Result<()> {
    let bench = ["bench", "--package", "lkm-monitor", "--bench", "throughput", "--"];
    process::run(process::cargo(bench).arg(events))
}

/// The events that the guest recorded, which are in hexadecimal digits among the documents.
fn recording(lines: &str) -> Result<Vec<u8>> {
    let recorded = lines.lines().find_map(|line| line.strip_prefix("{\"recording\":\"")?.strip_suffix("\"}"));
    let digits = recorded.context("the guest recorded no events")?.as_bytes();
    let byte = |digits: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(digits)?, 16)?);
    digits.chunks(2).map(byte).collect()
}

/// Each figure has one of these keys.
const FIGURES: [&str; 5] = ["workload", "rss_kib", "latency", "counted", "look_modules"];

/// The figures among the daemon's documents.
fn figures(lines: &str) -> Result<Vec<Value>> {
    let values: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let is_figure = |value: &Value| FIGURES.iter().any(|key| !value[*key].is_null());
    Ok(values.into_iter().filter(is_figure).collect())
}

fn print(figures: &[Value]) -> Result<()> {
    let instructions = |figure: &Value| figure["instructions"].as_f64().context("a figure without a number");
    let bare = |workload: &Value| {
        let bare = figures.iter().find(|other| other["workload"] == *workload && other["with"] == "nothing");
        bare.context("a workload that was not measured alone").and_then(instructions)
    };
    println!("\n{:26} {:>14} {:>18} {:>9}", "guest instructions for", "each", "with", "");
    for figure in figures {
        if let (Some(workload), Some(with)) = (figure["workload"].as_str(), figure["with"].as_str()) {
            let (each, bare) = (instructions(figure)?, bare(&figure["workload"])?);
            println!("{workload:26} {each:14.0} {with:>18} {:>+8.2}%", (each / bare - 1.0) * 100.0);
        } else if figure["latency"].is_null() && figure["counted"].is_null() {
            println!("{figure}");
        }
    }
    print_latencies(figures)
}

/// From calls to the lines of their documents in the sink's file, and what the calls take without the daemon.
fn print_latencies(figures: &[Value]) -> Result<()> {
    const COLUMNS: [&str; 5] = ["alone", "least", "median", "p99", "most"];
    let us = |figure: &Value, name: &str| figure[format!("{name}_us")].as_f64().context("a latency without a number");
    print!("\n{:26}", "microseconds from");
    COLUMNS.iter().for_each(|column| print!(" {column:>10}"));
    println!();
    for figure in figures {
        if let Some(kind) = figure["latency"].as_str() {
            print!("{kind:26}");
            for column in COLUMNS {
                print!(" {:10.1}", us(figure, column)?);
            }
            println!();
        } else if !figure["counted"].is_null() {
            let [durable, acknowledged] = ["durable_mean", "acknowledged_mean"].map(|name| us(figure, name));
            println!(
                "  by the daemon's own count, on average: durable {:.0}, acknowledged {:.0}",
                durable?, acknowledged?
            );
        }
    }
    Ok(())
}
