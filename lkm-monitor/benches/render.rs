//! What the document of an ordinary load costs: `cargo bench --bench render`. Fails where it costs more than it may.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lkm_monitor::{
    alert::Renderer,
    assess::{Context, assess},
    model::*,
};

/// The host and the load of the unit tests. Cargo builds the library without them here, so the file itself is a part of this program.
#[allow(dead_code, reason = "tests need more of it")]
#[path = "../src/model/samples.rs"]
mod samples;

const DOCUMENTS: u32 = 20_000;
/// The fastest counts: what else the machine does is no cost of ours.
const ROUNDS: u32 = 10;
const MOST: Duration = Duration::from_micros(8);

/// insmod by root, from a shell that came by ssh: with all that is known of such a load.
fn load() -> ModuleCall {
    let tree = samples::tree();
    let process = |pid, name: &str, executable, arguments: &[&str]| Process {
        pid,
        tid: pid,
        namespace_pid: pid,
        start_boot_ns: u64::from(pid) * 1_000_000_000,
        process_group: pid,
        session: 700,
        name: name.into(),
        executable: Some(samples::path(executable)),
        arguments: arguments.iter().map(|argument| Bytes::whole(*argument)).collect(),
        arguments_source: ArgumentsSource::Exec,
        working_directory: Some(samples::path("/root")),
        capabilities: 1 << 16 | 1 << 21,
        tty: Some(Tty { name: b"pts0".to_vec(), major: 136, minor: 0 }),
        ..tree.caller.clone()
    };
    let after = Some(FileState { sha256: Some([7; 32]), ..FileState::default() });
    let load = samples::load();
    ModuleCall {
        module: ModuleFacts { srcversion: Some(Bytes::whole("0123456789ABCDEF0123456")), ..load.module },
        content: Content { status: ContentStatus::Read, after, ..Content::default() },
        parameters: Some(Bytes::whole("debug=1")),
        process: Some(ProcessTree {
            caller: process(901, "insmod", "/usr/bin/kmod", &["insmod", "dummy.ko", "debug=1"]),
            ancestors: vec![process(812, "bash", "/usr/bin/bash", &["-bash"])],
            ..ProcessTree::default()
        }),
        ..load
    }
}

fn main() -> Result<()> {
    let (host, accounts) = (samples::host(), samples::accounts());
    let observation = Observation::Call(Box::new(load()));
    let verdict = assess(&observation, &Context { host: &host, accounts: &accounts });
    let clock = Clock { realtime_offset_ns: 1_700_000_000_000_000_000 };
    let mut renderer = Renderer::new(host, Agent { id: "a".repeat(36), ephemeral_id: "e".repeat(36) }, clock);

    let bytes = renderer.render_observation(&observation, &verdict, &accounts).line.len();
    let mut round = || {
        let began = Instant::now();
        for _ in 0..DOCUMENTS {
            black_box(renderer.render_observation(black_box(&observation), &verdict, &accounts));
        }
        began.elapsed() / DOCUMENTS
    };
    let each = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
    println!("document of {bytes} bytes   {each:>8.1?}   (at most {MOST:?})");
    ensure!(each < MOST, "more than it may cost");
    Ok(())
}
