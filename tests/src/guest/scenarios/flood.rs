//! More calls than can be reported, and one that matters among them.

use std::{
    fs::OpenOptions,
    ptr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap_anonymous, munmap},
    system::{finit_module, init_module},
};
use serde_json::json;

use crate::{
    document::Document,
    module_file::installed,
    process::{Fork, become_analyst, fork, program},
    stage::Stage,
};

/// Of a process that loads from a file and one that loads from memory.
const PAIRS: usize = 2;
const CALLS_WHILE_LISTENING: u64 = 1_000;
/// Several times what the ring for calls holds.
const CALLS_WHILE_STANDING_STILL: u64 = 5_000;
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

/// Processes that make failing calls until they are told to stop.
struct Flood {
    shared: &'static Shared,
    processes: Vec<Fork>,
}

impl Flood {
    fn start() -> Self {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, large and aligned enough, shared with the forks; zeros are a valid `Shared`.
        let shared: &'static Shared = unsafe {
            let memory = mmap_anonymous(ptr::null_mut(), size_of::<Shared>(), access, MapFlags::SHARED);
            &*memory.expect("share memory").cast()
        };
        // The kernel loads from no file that is open for writing only, and nothing for a user who may not load.
        let file = OpenOptions::new().write(true).open("/dev/null").expect("open a file that is no module");
        let from_file = || {
            shared.repeat(|| assert_eq!(finit_module(&file, c"", 0), Err(Errno::BADF), "each call fails"));
            Ok(())
        };
        let from_memory = || {
            become_analyst();
            shared.repeat(|| assert_eq!(init_module(b"nothing", c""), Err(Errno::PERM), "each call fails"));
            Ok(())
        };
        Self { shared, processes: (0..PAIRS).flat_map(|_| [fork(from_file), fork(from_memory)]).collect() }
    }

    fn wait_for(&self, calls: u64) {
        while self.shared.calls.load(Ordering::Relaxed) < calls {
            rustix::thread::sched_yield();
        }
    }

    /// How many calls were made in all.
    fn stop(self) -> u64 {
        self.shared.stop.store(true, Ordering::Relaxed);
        for process in self.processes {
            let _ = process.wait().succeeded();
        }
        let calls = self.shared.calls.load(Ordering::Relaxed);
        // SAFETY: nobody uses the mapping any more.
        unsafe { munmap(ptr::from_ref(self.shared).cast_mut().cast(), size_of::<Shared>()) }.expect("unmap");
        calls
    }
}
