//! Loads that an administrator makes too.

use std::{
    ffi::CStr,
    fs::{self, File},
    path::Path,
    ptr,
    sync::Barrier,
    thread,
    time::{Duration, SystemTime},
};

use rustix::{
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap},
    thread::gettid,
};
use serde_json::json;

use super::images;
use crate::{
    document::Document,
    expected, machine,
    module_file::{Image, copy, installed},
    process::{forked, program},
    stage::Stage,
};

/// Kernel clocks tick at least this often, and the daemon turns one clock into another.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);
const PAGE_BYTES: usize = 4096;

/// MODULE_INIT_IGNORE_MODVERSIONS and MODULE_INIT_IGNORE_VERMAGIC of linux/module.h.
const IGNORE_BOTH: i32 = 1 | 2;
/// MODULE_INIT_COMPRESSED_FILE.
const COMPRESSED: i32 = 4;

pub(super) fn insmod(stage: &mut Stage) {
    let path = installed("dummy");
    let text = path.to_str().expect("plain path").to_owned();
    let insmod = program("/sbin/insmod", [text.as_str(), "numdummies=2"]).succeeded();
    let document = stage.live_load(&insmod, "dummy", &path);
    document
        .contains(json!({
            "process": {
                "pid": insmod.pid,
                "name": "insmod",
                "executable": "/usr/bin/kmod",
                "args": ["/sbin/insmod", text, "numdummies=2"],
                "args_count": 3,
                "working_directory": "/",
                "user": { "id": "0", "name": "root" },
                "parent": { "pid": 1, "name": "init", "executable": "/init" },
            },
            "lkm_monitor": {
                "module": { "params": "numdummies=2" },
                "syscall": { "flags": 0 },
                "process": { "initial_namespaces": true, "arguments_rewritten": null, "arguments_truncated": null },
                "file": { "absolute_path": null, "bind_mount": null, "outside_root": null },
            },
        }))
        .has_findings(&[]);
    assert!(document.lists("process.thread.capabilities.effective", "CAP_SYS_MODULE"), "{}", document.value());
    assert!(document.number("event.duration").is_some_and(|ns| ns > 0), "{}", document.value());
    let (earliest, latest) = (insmod.started - CLOCK_TOLERANCE, SystemTime::now() + CLOCK_TOLERANCE);
    for field in ["process.start", "@timestamp"] {
        let time = time_of(document.text(field));
        assert!(earliest <= time && time <= latest, "{field} is not now: {}", document.value());
    }
}

pub(super) fn modprobe_with_dependencies(stage: &mut Stage) {
    let modprobe = program("/sbin/modprobe", ["l2tp_core"]).succeeded();
    for module in ["ip6_udp_tunnel", "udp_tunnel", "l2tp_core"] {
        let path = installed(module);
        stage
            .load_of(module)
            .contains(expected::live("finit_module"))
            .contains(expected::module(&Image::of(module)))
            .contains(expected::file(&path, &fs::metadata(&path).expect("an installed module")))
            .contains(json!({
                "process": {
                    "pid": modprobe.pid,
                    "name": "modprobe",
                    "executable": "/usr/bin/kmod",
                    "args": ["/sbin/modprobe", "l2tp_core"],
                    "command_line": "/sbin/modprobe l2tp_core",
                },
                "lkm_monitor": { "request": null },
            }))
            .has_findings(&[]);
    }
    stage.sensor.expect_none("an alert", Document::is_alert);
}

/// Few modules have a version of their own; this one does.
pub(super) fn versioned_module(stage: &mut Stage) {
    let image = Image::of("rds");
    assert!(image.modinfo("version").is_some() && image.modinfo("srcversion").is_some(), "the fixture has both");
    let insmod = program("/sbin/insmod", [installed("rds")]).succeeded();
    stage.live_load(&insmod, "rds", installed("rds")).has_findings(&[]);
}

/// Without version checks the kernel also ignores the signature: forced and unsigned.
pub(super) fn forced(stage: &mut Stage) {
    let file = stage.installed("dummy");
    let loader = forked(|| rustix::system::finit_module(&file, c"", IGNORE_BOTH)).succeeded();
    stage
        .load_by(loader.pid)
        .contains(expected::live("finit_module"))
        .contains(json!({ "lkm_monitor": {
            "module": { "name": "dummy", "taint_flags": "FE", "taints": 1 << 1 | 1 << 13 },
            "syscall": {
                "flags": IGNORE_BOTH,
                "flag_names": ["MODULE_INIT_IGNORE_MODVERSIONS", "MODULE_INIT_IGNORE_VERMAGIC"],
            },
        } }))
        .has_findings(&["forced-load", "tainted-module", "unusual-loader"]);
}

/// Kernels that can unpack a module show it to their security modules twice: as it was read, and unpacked.
pub(super) fn packed(stage: &mut Stage) {
    let path = Path::new("/fixtures/dummy.ko.xz");
    let file = File::open(path).expect("open the packed module");
    let content = fs::read(path).expect("read the packed module");
    let loader = forked(|| rustix::system::finit_module(&file, c"", COMPRESSED));
    let document = stage.load_by(loader.pid);
    document.contains(json!({
        "file": { "path": path, "size": content.len() },
        "lkm_monitor": { "syscall": { "flag_names": ["MODULE_INIT_COMPRESSED_FILE"] } },
    }));
    if machine::kernel_version() >= (6, 12) {
        assert_eq!(loader.status, 0, "Debian's kernels unpack modules from 6.12 on");
        document
            .contains(expected::live("finit_module"))
            .contains(json!({ "lkm_monitor": { "module": { "name": "dummy" } } }));
    } else {
        document.contains(expected::refused("finit_module", loader.status));
    }
    // Older kernels do not know the flag, and read nothing; between them are some that read the file and find that they cannot unpack it.
    if loader.status == libc::EINVAL {
        document.contains(json!({ "lkm_monitor": { "image": null } }));
    } else {
        document.contains(images::packed(&content, &Image::of("dummy")));
    }
    stage.sensor.settle();
    let reports = stage.sensor.documents().iter().filter(|report| report.is_load()).count();
    assert_eq!(reports, 1, "one load is one document");
}

/// A module that has itself loaded may never return, or end the daemon: its load is told while its init function runs.
pub(super) fn whose_init_takes_long(stage: &mut Stage) {
    let path = installed("dummy");
    // Each device takes its time to register, here more than half a second together.
    let insmod = program("/sbin/insmod", [path.to_str().expect("plain path"), "numdummies=1500"]).succeeded();
    let running = stage.load_by(insmod.pid);
    running.contains(json!({
        "event": { "outcome": "unknown" },
        "process": { "executable": "/usr/bin/kmod" },
        "file": { "path": path },
        "lkm_monitor": {
            "module": { "name": "dummy", "params": "numdummies=1500" },
            "load": { "stage": "init-running" },
            "missing": ["exit"],
            "late": null,
        },
    }));
    let returned = stage.sensor.expect("the return", |document| document.is_by(insmod.pid) && document.is_late());
    returned.contains(json!({
        "event": { "outcome": "success" },
        "lkm_monitor": { "module": { "name": "dummy" }, "load": { "stage": "live" }, "missing": null },
    }));
    returned.contains(images::whole(&fs::read(&path).expect("read the module")));
    assert_eq!(running.at("lkm_monitor.call"), returned.at("lkm_monitor.call"), "both name the same call");
    assert_ne!(running.text("event.id"), returned.text("event.id"));
}

/// A probe cannot wait for a page of user memory; the kernel can, and its copy is what counts.
pub(super) fn with_parameters_in_an_absent_page(stage: &mut Stage) {
    fs::write("/tmp/parameters", b"numdummies=3\0").expect("write the parameters");
    let parameters = File::open("/tmp/parameters").expect("open the parameters");
    let file = stage.installed("dummy");
    let loader = forked(|| {
        // SAFETY: a new private mapping of a file that nobody changes; dropping its page changes no content.
        let text = unsafe {
            let page = mmap(ptr::null_mut(), PAGE_BYTES, ProtFlags::READ, MapFlags::PRIVATE, &parameters, 0)?;
            let text = CStr::from_ptr(page.cast());
            madvise(page, PAGE_BYTES, Advice::LinuxDontNeed)?;
            text
        };
        rustix::system::finit_module(&file, text, 0)
    })
    .succeeded();
    stage
        .live_load(&loader, "dummy", installed("dummy"))
        .contains(json!({ "lkm_monitor": { "module": { "params": "numdummies=3" } } }))
        .has_findings(&["unusual-loader"]);
}

/// Newer kernels let the second caller share the first one's result, older ones refuse it.
pub(super) fn at_the_same_time(stage: &mut Stage) {
    let file = copy("dummy", "/tmp/dummy.ko");
    let both = Barrier::new(2);
    let load = || {
        both.wait();
        (gettid().as_raw_nonzero().get() as u64, rustix::system::finit_module(&file, c"", 0))
    };
    let (left, right) = thread::scope(|scope| {
        let other = scope.spawn(load);
        (load(), other.join().expect("the thread only makes a call"))
    });
    let answers = [left, right].map(|(tid, answer)| (tid, answer.err().map_or(0, |errno| errno.raw_os_error())));
    let stages = answers.map(|(tid, errno)| {
        let document = stage.sensor.expect("a load by each thread", |document| {
            document.is_load() && document.number("lkm_monitor.call.tid") == Some(tid)
        });
        document.contains(json!({ "process": { "pid": 1, "thread": { "id": tid } } }));
        if document.lists("lkm_monitor.missing", "exit") {
            // Two threads in one probe on one processor: a kernel that can be preempted there skips the second, and says so.
            stage
                .sensor
                .expect("the skipped probe", |document| document.text("lkm_monitor.loss.reason") == "probe_skipped");
        } else {
            document.contains(json!({ "lkm_monitor": { "syscall": { "ret": -errno } } }));
        }
        (errno, document.text("lkm_monitor.load.stage").to_owned())
    });
    let live = stages.iter().filter(|(_, stage)| stage == "live" || stage == "init-running").count();
    let other = [(0, "shared"), (libc::EEXIST, "refused"), (libc::EEXIST, "shared")];
    let plausible = |(errno, stage): &(i32, String)| {
        ["live", "init-running", "unknown"].contains(&stage.as_str()) || other.contains(&(*errno, stage.as_str()))
    };
    assert!(live == 1 && stages.iter().all(plausible), "one load is live and the other is not: {stages:?}");
}

/// RFC 3339 as the daemon writes it: UTC, with microseconds.
pub(crate) fn time_of(text: &str) -> SystemTime {
    let numbers: Vec<i64> = text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second, micros] = numbers[..] else { panic!("not a time: {text:?}") };
    assert!(text.ends_with('Z'), "not in UTC: {text:?}");
    // Days since 1970 in the Gregorian calendar, with years that begin in March so that leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    SystemTime::UNIX_EPOCH + Duration::from_micros((seconds * 1_000_000 + micros) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let micros = |text| time_of(text).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
        assert_eq!(micros("1970-01-01T00:00:00.000001Z"), 1);
        assert_eq!(micros("2024-02-29T12:34:56.789000Z"), 1_709_210_096_789_000);
        assert_eq!(micros("2026-11-23T00:00:00.000000Z"), 1_795_392_000_000_000);
    }
}
