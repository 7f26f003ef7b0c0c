//! More calls than can be reported, and one that matters among them.

use std::{
    fs::OpenOptions,
    ptr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap_anonymous},
    system::{delete_module, finit_module, init_module},
    thread::{CpuSet, sched_setaffinity},
};
use serde_json::json;

use crate::{
    document::Document,
    module_file::{copy, installed},
    process::{Fork, become_analyst, fork, forked, program},
    sensor::Sensor,
    stage::Stage,
};

/// Processes that make calls of one kind.
const OF_EACH_KIND: usize = 2;
const CALLS_WHILE_LISTENING: u64 = 1_000;
/// Several times what the ring for calls holds.
const CALLS_WHILE_STANDING_STILL: u64 = 5_000;
/// Together more documents than can wait.
const BURSTS_WHILE_NOBODY_READS: usize = 22;
const CALLS_OF_A_BURST: usize = 100;
/// Thousands of documents take their time on an emulated processor.
const REPORT_DEADLINE: Duration = Duration::from_secs(120);

pub(super) fn while_the_daemon_listens(stage: &mut Stage) {
    let since = boot_ns();
    let flood = Flood::start();
    flood.wait_for(CALLS_WHILE_LISTENING);
    let made = flood.stop();
    adds_up(stage, made, since);
}

/// A daemon that gets no time sees nothing of the flood. What root loaded in the middle of it must not drown.
pub(super) fn while_the_daemon_stands_still(stage: &mut Stage) {
    stage.sensor.pause();
    let since = boot_ns();
    let flood = Flood::start();
    flood.wait_for(CALLS_WHILE_STANDING_STILL);
    let insmod = program("/sbin/insmod", [installed("ifb")]).succeeded();
    let made = flood.stop();
    stage.sensor.resume();
    adds_up(stage, made + 1, since);

    let document = stage.load_of("ifb");
    document.contains(json!({
        "process": {
            "pid": insmod.pid,
            "executable": "/usr/bin/kmod",
            "user": { "id": "0" },
            "parent": { "pid": 1, "executable": "/init" },
        },
        "file": { "path": installed("ifb") },
    }));
    assert!(document.findings().contains(&"incomplete-load"), "{}", document.value());
    for part in ["enter", "exit"] {
        assert!(document.lists("lkm_monitor.missing", part), "the ring was full at the {part}: {}", document.value());
    }
    let lost = |document: &Document| document.number("lkm_monitor.loss.calls_unseen").is_some_and(|calls| calls > 0);
    assert!(stage.sensor.documents().iter().any(lost), "the flood was meant to be more than the ring holds");
}

/// Whoever stores the documents stands still, and an unprivileged process makes more of them than can wait. What root did
/// meanwhile is told all the same.
pub(super) fn while_nobody_reads(stage: &mut Stage) {
    let mut second = Sensor::start_for_alerts(stage.hooks);
    second.hold_output(true);
    // Not faster than the daemons can read: the documents are to be too many, not the events.
    for _ in 0..BURSTS_WHILE_NOBODY_READS {
        let burst = || {
            become_analyst();
            (0..CALLS_OF_A_BURST).for_each(|_| assert_eq!(init_module(b"nothing", c""), Err(Errno::PERM)));
            Ok(())
        };
        let _ = forked(burst).succeeded();
        stage.sensor.settle();
    }
    copy("dummy", "/tmp/rootkit.ko");
    let insmod = program("/sbin/insmod", ["/tmp/rootkit.ko"]).succeeded();
    let rmmod = program("/sbin/rmmod", ["dummy"]).succeeded();
    stage.sensor.settle();
    second.hold_output(false);
    second.expect("the load", |document| document.is_load() && document.is_by(insmod.pid) && document.is_alert());
    second.expect("the unload", |document| document.is_unload() && document.is_by(rmmod.pid) && document.is_alert());
    second.expect("what nobody took", |document| document.text("lkm_monitor.loss.reason") == "output_full");
    second.stop();
}

/// A daemon that has always more to read still tells what it lost, and hears when it is told to end.
pub(super) fn that_does_not_end(stage: &mut Stage) {
    let mut second = Sensor::start_for_alerts(stage.hooks);
    // On one processor, because the emulator does not take it well when one processor changes the code that another one
    // is in: attaching and detaching do.
    second.pin_to(0);
    let flood = Flood::start_on(0);
    let lost = |document: &Document| (document.text("lkm_monitor.loss.reason") == "ring_full").then_some(());
    let told = second.look(REPORT_DEADLINE, lost);
    assert!(told.is_some(), "the flood is more than the ring holds, and the loss is told while it lasts");
    second.ask_to_stop();
    flood.stop();
    second.stop();
}

/// Every call is either reported or counted as lost, whatever happens.
fn adds_up(stage: &mut Stage, made: u64, since: u64) {
    let mut account = Account { since, ..Account::default() };
    stage.sensor.look(REPORT_DEADLINE, |document| {
        account.add(document);
        account.explains(made).then_some(())
    });
    assert!(account.explains(made), "{account:?} of {made} calls");
    // What comes after the last one would be one too many.
    let markers = stage.sensor.markers_set();
    stage.sensor.settle();
    let made = made + (stage.sensor.markers_set() - markers) as u64;
    let mut account = Account { since, ..Account::default() };
    stage.sensor.documents().iter().for_each(|document| account.add(document));
    assert!(account.explains(made), "{account:?} of {made} calls");
}

/// Nanoseconds since boot, as the probes count them.
fn boot_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What became of the calls that were made.
#[derive(Debug, Default)]
struct Account {
    /// Calls that have a document of their own.
    reported: u64,
    /// When this flood began, in nanoseconds since boot: a call of the one before whose end was skipped is reported late.
    since: u64,
    /// Calls of which the daemon only knows that they were made.
    unseen: u64,
    /// Runs of probes that the kernel left out: it does not start a probe that another process is in on the same
    /// processor, which happens where the kernel itself can be preempted. The two runs of one call make one loss or none.
    skipped: u64,
}

impl Account {
    fn add(&mut self, document: &Document) {
        if document.is_load() || document.is_unload() {
            let earlier = document.number("lkm_monitor.call.id").is_some_and(|entered| entered < self.since);
            self.reported += u64::from(!document.is_late() && !earlier);
        } else if document.is_loss() {
            self.unseen += document.number("lkm_monitor.loss.calls_unseen").unwrap_or(0);
            if document.text("lkm_monitor.loss.reason") == "probe_skipped" {
                self.skipped += document.number("lkm_monitor.loss.count").unwrap_or(0);
            }
        }
    }

    /// Exact, unless the kernel skipped probes and the daemon said how many.
    fn explains(&self, made: u64) -> bool {
        let known = self.reported + self.unseen;
        (known..=known + self.skipped).contains(&made)
    }
}

/// What the flooding processes and this one share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    calls: AtomicU64,
}

impl Shared {
    /// Makes calls until told to stop.
    fn repeat(&self, call: impl Fn()) {
        while !self.stop.load(Ordering::Relaxed) {
            call();
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Processes that make failing calls until they are told to stop, or this is dropped.
struct Flood {
    shared: &'static Shared,
    processes: Vec<Fork>,
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Flood {
    /// Loads that the kernel refuses.
    fn start() -> Self {
        // The kernel loads from no file that is open for writing only, and nothing for a user who may not load.
        let file = OpenOptions::new().write(true).open("/dev/null").expect("open a file that is no module");
        let from_file = |shared: &Shared| {
            shared.repeat(|| assert_eq!(finit_module(&file, c"", 0), Err(Errno::BADF), "each call fails"));
        };
        let from_memory = |shared: &Shared| {
            become_analyst();
            shared.repeat(|| assert_eq!(init_module(b"nothing", c""), Err(Errno::PERM), "each call fails"));
        };
        Self::of(&[&from_file, &from_memory])
    }

    /// Unloads of a module that is not there, on one processor. They alert nobody.
    fn start_on(processor: usize) -> Self {
        let unload = |shared: &Shared| {
            let mut processors = CpuSet::new();
            processors.set(processor);
            sched_setaffinity(None, &processors).expect("stay on one processor");
            shared
                .repeat(|| assert_eq!(delete_module(c"nothing", libc::O_NONBLOCK), Err(Errno::NOENT), "there is none"));
        };
        Self::of(&[&unload, &unload])
    }

    fn of(kinds: &[&dyn Fn(&Shared)]) -> Self {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, large and aligned enough, shared with the forks, never unmapped; zeros are a valid
        // `Shared`.
        let shared: &'static Shared = unsafe {
            let memory = mmap_anonymous(ptr::null_mut(), size_of::<Shared>(), access, MapFlags::SHARED);
            &*memory.expect("share memory").cast()
        };
        let run = |calls: &dyn Fn(&Shared)| {
            fork(|| {
                calls(shared);
                Ok(())
            })
        };
        let processes = (0..OF_EACH_KIND).flat_map(|_| kinds.iter().map(|calls| run(*calls)).collect::<Vec<_>>());
        Self { shared, processes: processes.collect() }
    }

    fn wait_for(&self, calls: u64) {
        while self.shared.calls.load(Ordering::Relaxed) < calls {
            rustix::thread::sched_yield();
        }
    }

    /// How many calls were made in all.
    fn stop(mut self) -> u64 {
        self.shared.stop.store(true, Ordering::Relaxed);
        for process in self.processes.drain(..) {
            let _ = process.wait().succeeded();
        }
        self.shared.calls.load(Ordering::Relaxed)
    }
}
