//! What common operations cost, with and without company. This machine's time stamp counter counts guest instructions (`-icount
//! shift=0`), and hardly varies from run to run.

mod latency;
mod look;

use std::{
    arch::x86_64::_rdtsc,
    ffi::CStr,
    fs,
    io::Error,
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat, renameat, unlinkat},
    io::Errno,
    process::getppid,
    system::{finit_module, init_module},
};
use serde_json::json;

use crate::{
    mirror,
    process::{become_analyst, forked, program},
    sensor::Sensor,
    suite::Tally,
};

const AUDITCTL: &str = "/usr/bin/auditctl";
const BESIDE: &str = "/usr/bin/beside";

/// Runs of one workload in one process, of which the cheapest counts: what else the kernel does in between only makes it dearer.
const RUNS: usize = 5;
/// Processes, of which the cheapest counts: where the kernel happens to put what it allocates for one makes about 0.4 %.
const PROCESSES: usize = 4;
/// Rounds with the daemon and without it, in turns: kernels are slower in their first seconds.
const ROUNDS: usize = 3;

/// Calls in the recording.
const RECORDED: u32 = 200;

/// An operation of which many are made in one run.
struct Workload {
    name: &'static str,
    repetitions: u32,
    once: fn(),
}

const WORKLOADS: [Workload; 9] = [
    Workload {
        name: "getppid",
        repetitions: 2000,
        once: || assert!(getppid().is_some(), "process 1 started this one"),
    },
    Workload { name: "open/close read-only", repetitions: 400, once: || open(c"/tmp/bench/file", OFlags::RDONLY) },
    Workload { name: "open/close read-write", repetitions: 400, once: || open(c"/tmp/bench/file", OFlags::RDWR) },
    Workload { name: "create/unlink", repetitions: 200, once: || create_and_unlink(c"/tmp/bench/new") },
    Workload { name: "rename", repetitions: 200, once: rename_there_and_back },
    Workload { name: "fork+exec+exit", repetitions: 20, once: fork_exec_exit },
    Workload { name: "create/unlink of a .ko", repetitions: 100, once: || create_and_unlink(c"/tmp/bench/new.ko") },
    // What is loaded waits for the kernel's other processors, as they may be: what is refused once the image was read does not.
    Workload { name: "load of 16 KiB, refused", repetitions: 40, once: || load_nothing(16 << 10) },
    Workload { name: "load of 4 MiB, refused", repetitions: 4, once: || load_nothing(4 << 20) },
];

/// Bytes that are no module.
static NOTHING: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0x5a; 4 << 20]);

pub(crate) fn run() -> Tally {
    fs::create_dir("/tmp/bench").expect("make a folder");
    // The kernel says of each load that is refused why: to the console, that would be the most of what it costs.
    fs::write("/proc/sys/kernel/printk", "1").expect("silence the console");
    fs::write("/tmp/bench/file", "x").expect("make a file");
    let [mut watched, mut nothing] = [Figures::default(), Figures::default()];
    for round in 1..=ROUNDS {
        let mut sensor = Sensor::start_by_default();
        sensor.expect("a sensor that sees everything", |document| document.text("lkm_monitor.sensor.status") == "full");
        watched.measure(|| settle(sensor.pid()));
        if round == ROUNDS {
            footprint(sensor.pid());
        }
        sensor.stop();
        nothing.measure(|| {});
    }
    watched.report("lkm-monitor");
    nothing.report("nothing");
    if Path::new(BESIDE).exists() {
        let mut other = Command::new(BESIDE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start it");
        // Nothing is known of it, not even how it says that it has begun.
        std::thread::sleep(Duration::from_secs(20));
        assert!(other.try_wait().expect("look at it").is_none(), "the other sensor ended by itself");
        measure_and_report("the other sensor");
        let _ = other.kill();
        let _ = other.wait();
    }
    record();
    latency::run();
    look::run();
    // Last, because the system calls keep some of the cost when the rules are gone.
    audit();
    measure_and_report("auditd rules");
    Tally { passed: 1, failed: 0 }
}

/// Events for the measurement of all stages: calls that the kernel refuses, of which everybody can make as many as he likes.
fn record() {
    const FILE: &str = "/tmp/bench/events";
    let mut sensor = Sensor::start_recording(FILE);
    forked(|| {
        become_analyst();
        let file = openat(CWD, c"/tmp/bench/file", OFlags::RDONLY, Mode::empty())?;
        for _ in 0..RECORDED {
            assert_eq!(finit_module(&file, c"", 0), Err(Errno::PERM));
        }
        Ok(())
    });
    sensor.stop();
    let events = fs::read(FILE).expect("read the recording");
    report(&json!({ "recording": events.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }).to_string());
}

/// Rules for what the daemon watches.
fn audit() {
    fs::create_dir_all("/etc/modprobe.d").expect("make a folder");
    fs::create_dir_all("/etc/modules-load.d").expect("make a folder");
    let calls = ["-a", "always,exit", "-F", "arch=b64", "-S", "init_module,finit_module,delete_module"];
    let kmod = ["-a", "always,exit", "-F", "path=/usr/bin/kmod", "-F", "perm=x"];
    let watch = |folder| ["-w", folder, "-p", "wa"];
    let _ = program(AUDITCTL, ["-e", "1"]).succeeded();
    let _ = program(AUDITCTL, calls).succeeded();
    let _ = program(AUDITCTL, kmod).succeeded();
    for folder in ["/etc/modprobe.d", "/etc/modules-load.d", "/usr/lib/modules"] {
        let _ = program(AUDITCTL, watch(folder)).succeeded();
    }
}

fn measure_and_report(with: &str) {
    let mut figures = Figures::default();
    (0..ROUNDS).for_each(|_| figures.measure(|| {}));
    figures.report(with);
}

/// The least that each workload took.
struct Figures([u64; WORKLOADS.len()]);

impl Default for Figures {
    fn default() -> Self {
        Self([u64::MAX; WORKLOADS.len()])
    }
}

impl Figures {
    /// In processes of their own: what this one holds by then would make its forks dearer, and a process that was there before
    /// the audit rules is not audited.
    fn measure(&mut self, before_each: impl Fn()) {
        for _ in 0..PROCESSES {
            before_each();
            let measured = program("/init", ["measure"]).succeeded();
            let figures: Vec<u64> = measured.output.lines().map(|line| line.parse().expect("a figure")).collect();
            assert_eq!(figures.len(), WORKLOADS.len(), "{}", measured.output);
            for (least, figure) in self.0.iter_mut().zip(figures) {
                *least = figure.min(*least);
            }
        }
    }

    fn report(&self, with: &str) {
        for (Workload { name, .. }, instructions) in WORKLOADS.iter().zip(self.0) {
            report(&json!({ "workload": name, "with": with, "instructions": instructions }).to_string());
        }
    }
}

/// Prints the cost of each workload, as a helper.
pub(crate) fn workloads() {
    for Workload { repetitions, once, .. } in WORKLOADS {
        // The first run warms the caches of the kernel.
        let runs = (0..=RUNS).map(|_| {
            let start = ticks();
            (0..repetitions).for_each(|_| once());
            (ticks() - start) / u64::from(repetitions)
        });
        println!("{}", runs.skip(1).min().expect("there are runs"));
    }
}

/// What the daemon takes while nothing happens.
fn footprint(pid: u32) {
    const IDLE_S: u64 = 10;
    settle(pid);
    let before = processor_ticks(pid);
    std::thread::sleep(Duration::from_secs(IDLE_S));
    let ticks = processor_ticks(pid) - before;
    let kib = |key| memory_kib(pid, key);
    let maps = map_bytes(pid) / 1024;
    let figures = json!({ "rss_kib": kib("VmRSS:"), "rss_anon_kib": kib("RssAnon:"), "bpf_maps_kib": maps, "idle_cpu_ticks": ticks, "idle_s": IDLE_S });
    report(&figures.to_string());
}

/// A line of /proc/PID/status that is told in KiB.
fn memory_kib(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read the daemon's status");
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
    line.unwrap_or_else(|| panic!("the daemon has no {key}"))
}

/// Waits until the daemon has done what the workloads left it to do.
fn settle(pid: u32) {
    let mut busy = processor_ticks(pid);
    loop {
        std::thread::sleep(Duration::from_secs(4));
        let now = processor_ticks(pid);
        if now - busy <= 2 {
            break;
        }
        busy = now;
    }
}

/// User and system time in clock ticks of 10 ms: fields 14 and 15 of proc_pid_stat(5).
fn processor_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("read the daemon's times");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// Memory of the maps that the daemon holds open (`memlock` of bpf_map_show_fdinfo).
fn map_bytes(pid: u32) -> u64 {
    let infos = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fdinfo")).expect("list the descriptors");
    let memory = infos.flatten().filter_map(|info| {
        let text = fs::read_to_string(info.path()).ok()?;
        text.contains("map_type:").then_some(())?;
        text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse::<u64>().ok())
    });
    memory.sum()
}

fn report(line: &str) {
    println!("{line}");
    mirror::write(format!("{line}\n").as_bytes());
}

/// The processor's own counter, of instructions and of nanoseconds without anything to do: kernels correct their clocks in the
/// first seconds.
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { _rdtsc() }
}

fn open(path: &CStr, flags: OFlags) {
    drop(openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()).expect("open the file"));
}

fn create_and_unlink(path: &CStr) {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    drop(openat(CWD, path, flags, Mode::RUSR).expect("create a file"));
    unlinkat(CWD, path, rustix::fs::AtFlags::empty()).expect("remove the file");
}

fn rename_there_and_back() {
    renameat(CWD, c"/tmp/bench/file", CWD, c"/tmp/bench/other").expect("rename the file");
    renameat(CWD, c"/tmp/bench/other", CWD, c"/tmp/bench/file").expect("rename the file");
}

/// The kernel reads it, with all that is hooked there, and sees that it is no ELF file.
fn load_nothing(bytes: usize) {
    assert_eq!(init_module(&NOTHING[..bytes], c""), Err(Errno::NOEXEC));
}

fn fork_exec_exit() {
    let arguments = [c"/init".as_ptr(), c"nothing".as_ptr(), std::ptr::null()];
    // SAFETY: the child only executes; the arguments are NUL-terminated and the list ends with a null pointer.
    unsafe {
        match libc::fork() {
            -1 => panic!("cannot fork: {}", Error::last_os_error()),
            0 => {
                libc::execv(arguments[0], arguments.as_ptr());
                libc::_exit(1)
            }
            child => {
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                assert_eq!(status, 0, "the program did nothing, well");
            }
        }
    }
}
