//! How long it takes from a call to its document in the file of a service that has its default sink.
//!
//! The machine has no disk: what the spool and the file take to be on one comes in addition.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Write as _, pipe},
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
    system::{delete_module, finit_module},
};
use serde_json::json;

use super::{report, settle, ticks};
use crate::{
    metrics,
    module_file::fixture,
    process::{become_analyst, forked},
    sensor::{Hooks, Sensor},
};

/// Calls of each kind, one after the other.
const CALLS: usize = 100;
const FILE: &str = "/var/log/lkm-monitor/events.ndjson";
const SOCKET: &str = "/run/latency.sock";
/// How long the daemon may take to tell that it has counted.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls in turns, each followed by waiting for the document that has this text. They return what each took, in ticks.
type Calls = fn(wait: &mut dyn FnMut(&str)) -> Vec<u64>;

pub(super) fn run() {
    let alone = [refused_loads, loads_and_unloads].map(|calls: Calls| timed(calls, |_| {}));
    let settings = format!("[metrics]\nlisten = \"unix:{SOCKET}\"\n");
    let mut sensor = Sensor::start_service(Hooks::Fentry, "latency", &settings);
    settle(sensor.pid());
    measure(&["a load that is refused"], refused_loads, &alone[0]);
    measure(&["a load", "an unload"], loads_and_unloads, &alone[1]);
    sensor.kill();
}

/// Reports how long calls of these kinds take to their documents, how long they took `alone`, and what the daemon counted.
fn measure(kinds: &[&str], calls: Calls, alone: &[u64]) {
    let before = [Counted::durable(), Counted::acknowledged()];
    let mut tail = Tail::of(FILE);
    let took = timed(calls, |text| tail.wait_for(text));
    for (place, kind) in kinds.iter().enumerate() {
        let [alone, took] = [alone, &took].map(|ticks| sorted_us(ticks.iter().skip(place).step_by(kinds.len())));
        let figures = json!({
            "latency": kind,
            "calls": CALLS,
            "alone_us": alone[CALLS / 2],
            "least_us": took[0],
            "median_us": took[CALLS / 2],
            "p99_us": took[CALLS * 99 / 100 - 1],
            "most_us": took[CALLS - 1],
        });
        report(&figures.to_string());
    }
    let [durable, acknowledged] = before.map(|before| before.mean_us_of_next(took.len()));
    let counted = json!({ "counted": kinds, "durable_mean_us": durable, "acknowledged_mean_us": acknowledged });
    report(&counted.to_string());
}

/// What the calls took, which a fork makes.
fn timed(calls: Calls, mut wait: impl FnMut(&str)) -> Vec<u64> {
    let (reader, mut writer) = pipe().expect("make a pipe");
    forked(|| {
        calls(&mut wait).into_iter().for_each(|took| writeln!(writer, "{took}").expect("tell how long it took"));
        Ok(())
    })
    .succeeded();
    drop(writer);
    let lines = BufReader::new(reader).lines();
    lines.map(|line| line.expect("read how long it took").parse().expect("a number")).collect()
}

/// By somebody who may not load modules.
fn refused_loads(wait: &mut dyn FnMut(&str)) -> Vec<u64> {
    become_analyst();
    let file = File::open("/tmp/bench/file").expect("open a file");
    let load = |number| {
        // By which its document is known.
        let parameters = format!("call={number}.");
        let argument = CString::new(parameters.as_str()).expect("no NUL");
        let start = ticks();
        assert_eq!(finit_module(&file, &argument, 0), Err(Errno::PERM));
        wait(&parameters);
        ticks() - start
    };
    (0..CALLS).map(load).collect()
}

fn loads_and_unloads(wait: &mut dyn FnMut(&str)) -> Vec<u64> {
    let module = File::open(fixture("nls_ascii")).expect("open a module");
    let load_and_unload = |_| {
        let start = ticks();
        finit_module(&module, c"", 0).expect("load a module");
        wait("\"loaded-kernel-module\"");
        let between = ticks();
        delete_module(c"nls_ascii", libc::O_NONBLOCK).expect("unload the module");
        wait("\"unloaded-kernel-module\"");
        [between - start, ticks() - between]
    };
    (0..CALLS).flat_map(load_and_unload).collect()
}

/// In microseconds; a tick is a nanosecond.
fn sorted_us<'a>(ticks: impl Iterator<Item = &'a u64>) -> Vec<f64> {
    let mut ticks: Vec<u64> = ticks.copied().collect();
    ticks.sort_unstable();
    ticks.into_iter().map(|ticks| ticks as f64 / 1000.0).collect()
}

/// The end of a file that grows.
struct Tail {
    file: File,
    changes: OwnedFd,
    unread: Vec<u8>,
}

impl Tail {
    /// What is in the file by now does not count.
    fn of(path: &str) -> Self {
        let changes = inotify::init(CreateFlags::CLOEXEC).expect("watch files");
        inotify::add_watch(&changes, path, WatchFlags::MODIFY).expect("watch the file");
        let mut file = OpenOptions::new().read(true).open(path).expect("open the file");
        file.read_to_end(&mut Vec::new()).expect("read the file");
        Self { file, changes, unread: Vec::new() }
    }

    /// Until a line has this text. That line and those before it are done with. Waiting does not count instructions.
    fn wait_for(&mut self, text: &str) {
        loop {
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                if line.windows(text.len()).any(|window| window == text.as_bytes()) {
                    return;
                }
            }
            if self.file.read_to_end(&mut self.unread).expect("read the file") == 0 {
                // Several changes may be told; what was read already is told for nothing.
                rustix::io::read(self.changes.as_fd(), &mut [0; 4096]).expect("wait for the file");
            }
        }
    }
}

/// A histogram of the daemon's own.
struct Counted {
    name: &'static str,
    labels: &'static str,
    documents: f64,
    seconds: f64,
}

impl Counted {
    fn durable() -> Self {
        Self::fetch("lkm_monitor_durable_latency_seconds", "")
    }

    fn acknowledged() -> Self {
        Self::fetch("lkm_monitor_acknowledged_latency_seconds", "{sink=\"file\"}")
    }

    fn fetch(name: &'static str, labels: &'static str) -> Self {
        let served = metrics::fetch(SOCKET);
        let value = |part| served.get(&format!("{name}_{part}{labels}")).copied().unwrap_or_default();
        Self { name, labels, documents: value("count"), seconds: value("sum") }
    }

    /// The mean of the documents that come after this, in microseconds, when there are so many. The daemon counts milliseconds.
    fn mean_us_of_next(&self, documents: usize) -> f64 {
        let end = Instant::now() + PATIENCE;
        loop {
            let after = Self::fetch(self.name, self.labels);
            let more = after.documents - self.documents;
            if more >= documents as f64 {
                return (after.seconds - self.seconds) * 1e6 / more;
            }
            assert!(Instant::now() < end, "{}: {more} of {documents} documents", self.name);
            rustix::thread::sched_yield();
        }
    }
}
