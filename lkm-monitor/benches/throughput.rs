//! How many documents a second one processor takes through all stages, from recorded events to the file sink: part of `make bench`.
//!
//! `throughput RECORDING [DOCUMENTS]`. Everything is pinned to one processor: decode, join, assess, render, output, spool, courier, sink. Memory
//! is looked at on the way: it must not grow with the number of documents.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lkm_monitor::{
    config::sinks::{FileConfig, Plan, SinkConfig},
    dispatch::Dispatch,
    inspect::{
        self,
        contents::{Baseline, Contents},
    },
    output::Output,
    pipeline::{Delivery, Pipeline, boot_ns},
    select::{Exclusions, WatchList},
    sensor::recording,
    spool::{Count, Limits, RETRY, Settings, total},
};
use rustix::thread::{CpuSet, sched_setaffinity};

const DOCUMENTS: u64 = 1_000_000;
/// Looks at memory on the way.
const LOOKS: u64 = 10;
/// For the end, when everything has been queued.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let recorded = arguments.next().context("no recording is named")?;
    let wanted = arguments.next().map_or(Ok(DOCUMENTS), |number| number.parse())?;
    let events = recording::read(File::open(&recorded).with_context(|| recorded.clone())?)?;
    let mut one = CpuSet::new();
    one.set(0);
    // Threads that are started from now on inherit it.
    sched_setaffinity(None, &one)?;

    let folder = tempfile::tempdir_in(target())?;
    let host = inspect::read_host(&(Vec::new(), Vec::new()))?;
    let agent = inspect::identify_agent(&host, std::process::id(), boot_ns());
    let dispatch = Dispatch::start(settings(folder.path()), plans(folder.path())?, &host, &agent)?;
    let output = Output::start(Arc::clone(dispatch.spool()))?;
    let (contents, _) =
        Contents::start(Baseline { folders: Vec::new(), files: Vec::new(), subject: Box::new(|_| None) })?;
    let (watch, exclusions) = (WatchList::new(Vec::new())?, Exclusions::new(Vec::new())?);
    let delivery = Delivery { output, with_events: true };
    let mut pipeline = Pipeline::new(delivery, watch, exclusions, (contents, None), (host, agent), None)?;
    // Who brings documents waits for room, instead of giving them up.
    pipeline.close_before(Instant::now() + Duration::from_secs(24 * 60 * 60));

    let (start, before) = (Instant::now(), processor_time());
    let mut memory = Vec::new();
    while pipeline.documents() < wanted {
        events.iter().for_each(|event| pipeline.replay(event));
        if pipeline.documents() * LOOKS / wanted >= memory.len() as u64 {
            memory.push(resident_kib()?);
        }
    }
    pipeline.drain();
    let documents = pipeline.documents();
    pipeline.into_output().finish(Instant::now() + PATIENCE)?;
    while dispatch.status().counts.values().len() == 0 || acked(&dispatch) < documents {
        ensure!(start.elapsed() < PATIENCE + Duration::from_secs(documents / 1000), "the sink does not follow");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (took, busy) = (start.elapsed(), processor_time() - before);
    let counts = dispatch.status().counts;
    dispatch.finish(Instant::now() + PATIENCE);
    ensure!(total(&counts, Count::SpoolEvicted) == 0, "documents were given up: {counts:?}");

    let a_second = documents as f64 / took.as_secs_f64();
    println!("documents, from events to the file    {documents:>12}");
    println!("seconds                               {:>12.1}", took.as_secs_f64());
    println!("documents a second, on one processor  {a_second:>12.0}");
    println!("microseconds of processor a document  {:>12.2}", busy.as_secs_f64() * 1e6 / documents as f64);
    println!("resident KiB on the way               {memory:?}");
    Ok(())
}

fn acked(dispatch: &Dispatch) -> u64 {
    total(&dispatch.status().counts, Count::Acked)
}

fn settings(folder: &Path) -> Settings {
    let limits = Limits { max_bytes: 256 << 20, max_age_s: 3600, max_dead_letter_bytes: 1 << 20 };
    Settings { path: folder.join("spool.redb"), limits, min_free_bytes: 0, retry: RETRY }
}

fn plans(folder: &Path) -> Result<BTreeMap<String, Plan>> {
    // As the daemon has it by itself, but for the place, and for the disk that is kept.
    let file = FileConfig { path: folder.join("events.ndjson"), keep_files: 1, ..FileConfig::default() };
    let sink = SinkConfig { file: Some(file), ..SinkConfig::default() };
    Ok([("file".to_owned(), Plan::of("file", &sink)?)].into())
}

/// Of all threads.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn resident_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// A disk, and not memory.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}
