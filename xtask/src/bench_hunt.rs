//! How fast the hunt is: beside DuckDB, on the same documents, processors and question.

mod generate;

use std::{fs, io::BufRead as _, io::BufReader, process::Command, process::Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{build, packages, process, setup, workspace};

const DUCKDB: &str = "duckdb==1.4.2";
const COMPARE: &str = include_str!("bench_hunt/compare.py");
/// Ten days after the first document.
const SINCE: &str = "2026-01-11T00:00:00Z";

/// Makes the documents where they are not there, and asks both. Fails where the rows differ.
pub(crate) fn bench(documents: u64) -> Result<()> {
    setup::setup(&[])?;
    packages::ensure(&[packages::COMPARISON])?;
    build::daemon()?;
    let python = python()?;
    let folder = workspace::target().join("bench");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("hunt-{documents}.ndjson"));
    if !file.exists() {
        process::step(&format!("{documents} documents"), || generate::documents(&file, documents))?;
    }
    let mut compare = Command::new(python)
        .args(["-c", COMPARE])
        .arg(workspace::release_binary(workspace::STATIC, "lkm-monitor"))
        .arg(&file)
        .arg(SINCE)
        .stdout(Stdio::piped())
        .spawn()
        .context("start the comparison")?;
    let output = compare.stdout.take().context("the comparison says nothing")?;
    let mut results = Vec::new();
    println!("{:10} {:>6} {:>10} {:>12} {:>8} {:>8}", "hunt", "rows", "seconds", "DuckDB", "ratio", "MiB");
    for line in BufReader::new(output).lines() {
        let result: Value = serde_json::from_str(&line?)?;
        let cell = |name: &str| result[name].as_str().map_or_else(|| result[name].to_string(), str::to_owned);
        println!(
            "{:10} {:>6} {:>10} {:>12} {:>8} {:>8}",
            cell("hunt"),
            cell("rows"),
            cell("seconds"),
            cell("duckdb_seconds"),
            cell("ratio"),
            cell("mib")
        );
        results.push(result);
    }
    if !compare.wait()?.success() || results.is_empty() {
        bail!("the comparison failed");
    }
    fs::write(folder.join("hunt.json"), serde_json::to_string_pretty(&results)?)?;
    match results.iter().find(|result| result["same_rows"] != true) {
        Some(other) => bail!("the rows differ: {other}"),
        None => Ok(()),
    }
}

/// A Python that has DuckDB, in a folder of its own.
fn python() -> Result<std::path::PathBuf> {
    let folder = workspace::tools().join(DUCKDB.replace("==", "-"));
    let python = folder.join("bin/python3");
    if !folder.join("ready").exists() {
        process::step(DUCKDB, || {
            process::capture(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
            process::capture(Command::new(&python).args(["-m", "pip", "install", "--quiet", DUCKDB]))?;
            Ok(fs::write(folder.join("ready"), "")?)
        })?;
    }
    Ok(python)
}
