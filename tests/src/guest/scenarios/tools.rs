//! Runs of kmod's tools: what they were told, what they did to the kernel, and how they ended.

use std::{
    fs, iter,
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
    time::SystemTime,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    net::{AddressFamily, SocketType, socket},
};
use serde_json::{Value, json};

use super::{evasions::execute, loads::time_of};
use crate::{
    document::Document,
    expected::errno_name,
    module_file::{fixture, installed},
    process::{ANALYST, become_analyst, forked, program},
    stage::Stage,
};

pub(super) fn is_run(document: &Document) -> bool {
    document.text("event.action") == "ran-module-tool"
}

/// The report on the run of a tool by this process.
pub(super) fn run_by(stage: &Stage, pid: u32) -> Document {
    stage.sensor.expect(&format!("a run by process {pid}"), |document| is_run(document) && document.is_by(pid))
}

/// What a run asked the kernel for; errno 0 is success.
pub(super) fn operation(operation: &str, module: &str, errno: i32) -> Value {
    let syscall = if operation == "load" { "finit_module" } else { "delete_module" };
    let mut value = json!({ "operation": operation, "syscall": syscall, "module": module, "outcome": "success" });
    if errno != 0 {
        value["outcome"] = "failure".into();
        value["errno"] = errno_name(errno).into();
    }
    value
}

/// What the run did.
fn did(effect: &str, operations: &[Value]) -> Value {
    let operations = if operations.is_empty() { Value::Null } else { operations.into() };
    json!({ "lkm_monitor": { "tool": { "effect": effect, "operations": operations, "more_operations": null } } })
}

pub(super) fn insmod(stage: &mut Stage) {
    let path = installed("dummy");
    let insmod = program("/sbin/insmod", [path.to_str().expect("plain path"), "numdummies=2"]).succeeded();
    let document = run_by(stage, insmod.pid);
    document
        .contains(did("loaded modules", &[operation("load", "dummy", 0)]))
        .contains(json!({
            "message": "Module tool insmod ran: loaded modules",
            "event": { "category": ["process"], "type": ["start"], "outcome": "success", "provider": "kernel" },
            "process": {
                "pid": insmod.pid,
                "name": "insmod",
                "executable": "/usr/bin/kmod",
                "args": ["/sbin/insmod", path, "numdummies=2"],
                "args_count": 3,
                "exit_code": 0,
                "working_directory": "/",
                "user": { "id": "0", "name": "root" },
                "parent": { "pid": 1, "executable": "/init" },
            },
            "lkm_monitor": {
                "tool": {
                    "name": "insmod",
                    "matched_by": ["inode", "build", "name"],
                    "copy": null,
                    "signal": null,
                    "replaced": null,
                    "still_running": null,
                },
                "truncated": null,
                "late": null,
            },
        }))
        .has_findings(&[]);
    assert!(document.number("event.duration").is_some_and(|ns| ns > 0), "{}", document.value());
    let end = time_of(document.text("process.end"));
    assert!(time_of(document.text("process.start")) <= end && end <= SystemTime::now(), "{}", document.value());
}

/// The load is one document, the run that it was part of another.
pub(super) fn modprobe(stage: &mut Stage) {
    let modules = ["udp_tunnel", "ip6_udp_tunnel", "l2tp_core"];
    let modprobe = program("/sbin/modprobe", ["l2tp_core"]).succeeded();
    let document = run_by(stage, modprobe.pid);
    let mut loaded: Vec<_> = document.list("lkm_monitor.tool.operations").to_vec();
    assert_eq!(loaded.last(), Some(&operation("load", "l2tp_core", 0)), "the dependencies come before it");
    loaded.sort_by_key(|done| modules.iter().position(|module| done["module"] == *module));
    assert_eq!(loaded, modules.map(|module| operation("load", module, 0)), "{}", document.value());
    document
        .contains(json!({
            "process": { "args": ["/sbin/modprobe", "l2tp_core"], "args_count": 2, "exit_code": 0 },
            "lkm_monitor": { "tool": {
                "name": "modprobe",
                "matched_by": ["inode", "build", "name"],
                "effect": "loaded modules",
            } },
        }))
        .has_findings(&[]);
    let removing = program("/sbin/modprobe", ["-r", "l2tp_core"]).succeeded();
    let document = run_by(stage, removing.pid);
    let unloaded = document.list("lkm_monitor.tool.operations");
    assert_eq!(unloaded.first(), Some(&operation("unload", "l2tp_core", 0)), "{}", document.value());
    assert_eq!(unloaded.len(), modules.len(), "{}", document.value());
    document
        .contains(json!({
            "message": "Module tool modprobe ran: unloaded modules",
            "process": { "args": ["/sbin/modprobe", "-r", "l2tp_core"], "exit_code": 0 },
        }))
        .has_findings(&[]);
}

pub(super) fn rmmod(stage: &mut Stage) {
    program("/sbin/modprobe", ["dummy"]).succeeded();
    let rmmod = program("/sbin/rmmod", ["dummy"]).succeeded();
    run_by(stage, rmmod.pid)
        .contains(did("unloaded modules", &[operation("unload", "dummy", 0)]))
        .contains(json!({ "lkm_monitor": { "tool": { "name": "rmmod" } }, "process": { "exit_code": 0 } }))
        .has_findings(&[]);
}

/// Tools that only read, or do nothing, are told with that.
pub(super) fn that_do_nothing(stage: &mut Stage) {
    let runs: [(&str, &[&str], i32); 9] = [
        ("modprobe", &["-n", "dummy"], 0),
        ("modprobe", &["--show-depends", "l2tp_core"], 0),
        ("modprobe", &["--showconfig"], 0),
        ("modprobe", &["nosuchmodule"], 1),
        ("insmod", &["/tmp/nosuchfile.ko"], 1),
        ("depmod", &["-n"], 0),
        ("lsmod", &[], 0),
        ("modinfo", &["dummy"], 0),
        ("rmmod", &["nosuchmodule"], 1),
    ];
    // A run is told when what it asked for has been; so all of them are made first.
    let ended =
        runs.map(|(tool, arguments, exit_code)| program(&format!("/sbin/{tool}"), arguments).failed_with(exit_code));
    for ((tool, arguments, exit_code), run) in runs.into_iter().zip(ended) {
        let path = format!("/sbin/{tool}");
        let args: Vec<_> = iter::once(path.as_str()).chain(arguments.iter().copied()).collect();
        run_by(stage, run.pid)
            .contains(did("nothing", &[]))
            .contains(json!({
                "event": { "outcome": if exit_code == 0 { "success" } else { "failure" } },
                "process": { "args": args, "args_count": args.len(), "exit_code": exit_code },
                "lkm_monitor": { "tool": { "name": tool, "copy": null } },
            }))
            .has_findings(&[]);
    }
}

/// The kernel's answer is part of the run.
pub(super) fn that_the_kernel_refuses(stage: &mut Stage) {
    program("/sbin/modprobe", ["l2tp_core"]).succeeded();
    let again = program("/sbin/insmod", [installed("l2tp_core")]).failed_with(1);
    run_by(stage, again.pid)
        .contains(did("the kernel refused", &[operation("load", "l2tp_core", libc::EEXIST)]))
        .contains(json!({ "event": { "outcome": "failure" }, "process": { "exit_code": 1 } }))
        .has_findings(&[]);
    let analyst = forked(|| {
        become_analyst();
        execute(c"/sbin/modprobe", &[c"modprobe", c"dummy"])
    })
    .failed_with(1);
    run_by(stage, analyst.pid)
        .contains(did("the kernel refused", &[operation("load", "dummy", libc::EPERM)]))
        .contains(json!({
            "process": {
                "args": ["modprobe", "dummy"],
                "exit_code": 1,
                "user": { "id": ANALYST.to_string(), "name": "analyst" },
            },
        }))
        .has_findings(&[]);
}

/// The kernel runs modprobe itself, in the name of who asked.
pub(super) fn that_the_kernel_runs(stage: &mut Stage) {
    fs::create_dir_all("/run/modprobe.d").expect("make a folder for modprobe's settings");
    fs::write("/run/modprobe.d/vsock.conf", "alias net-pf-40 vsock\n").expect("name the module for the socket family");
    let _ = forked(|| {
        become_analyst();
        socket(AddressFamily::from_raw(libc::AF_VSOCK as u16), SocketType::STREAM, None).map(drop)
    })
    .succeeded();
    let load = stage.load_of("vsock");
    let run = stage
        .sensor
        .expect("the run", |document| is_run(document) && document.at("process.pid") == load.at("process.pid"));
    run.contains(did("loaded modules", &[operation("load", "vsock", 0)]))
        .contains(json!({
            "process": { "args": ["/sbin/modprobe", "-q", "--", "net-pf-40"], "args_count": 4, "exit_code": 0 },
            "lkm_monitor": { "tool": { "name": "modprobe" } },
        }))
        .has_findings(&[]);
}

/// More arguments than are read, and more bytes of them: the number is the kernel's own.
pub(super) fn with_many_arguments(stage: &mut Stage) {
    let sizes = [(300, 4), (3, 6000), (1000, 100)];
    let runs = sizes.map(|(count, bytes)| {
        let arguments = iter::repeat_n("a".repeat(bytes), count);
        program("/sbin/modprobe", ["-n", "dummy"].map(str::to_owned).into_iter().chain(arguments))
    });
    for ((count, bytes), run) in sizes.into_iter().zip(runs) {
        let document = run_by(stage, run.pid);
        document
            .contains(
                json!({ "process": { "args_count": count + 3 }, "lkm_monitor": { "tool": { "effect": "nothing" } } }),
            )
            .has_findings(&[]);
        let shown = document.list("process.args");
        assert_eq!(&shown[..2], [json!("/sbin/modprobe"), json!("-n")]);
        assert!(shown.len() < count + 3 || bytes > 4096, "{}", document.value());
        assert!(document.lists("lkm_monitor.truncated", "process.args"), "{}", document.value());
    }
}

/// A tool that waits for ever, until somebody ends it.
pub(super) fn killed(stage: &mut Stage) {
    mknodat(CWD, "/tmp/pipe.ko", FileType::Fifo, Mode::RUSR, 0).expect("make a pipe that nobody writes");
    let mut tool =
        Command::new("/sbin/insmod").arg("/tmp/pipe.ko").stdin(Stdio::null()).spawn().expect("start a tool that waits");
    tool.kill().expect("kill it");
    assert_eq!(tool.wait().expect("wait for it").signal(), Some(libc::SIGKILL));
    run_by(stage, tool.id())
        .contains(did("nothing", &[]))
        .contains(json!({
            "event": { "outcome": "failure" },
            "process": { "args": ["/sbin/insmod", "/tmp/pipe.ko"], "exit_code": null },
            "lkm_monitor": { "tool": { "name": "insmod", "signal": libc::SIGKILL, "replaced": null } },
        }))
        .has_findings(&[]);
}

/// Several loads by one tool are one run.
pub(super) fn of_many(stage: &mut Stage) {
    let module = fixture("dummy");
    let applet = program("/usr/bin/busybox", ["insmod", module.to_str().expect("plain path")]).succeeded();
    let document = run_by(stage, applet.pid);
    document
        .contains(json!({
            "process": { "args": ["/usr/bin/busybox", "insmod", module], "executable": "/usr/bin/busybox" },
            "lkm_monitor": { "tool": {
                "name": "insmod",
                "matched_by": ["inode", "build", "name", "applet"],
                "effect": "loaded modules",
                "copy": null,
            } },
        }))
        .has_findings(&[]);
    let removing = program("/usr/bin/busybox", ["rmmod", "dummy"]).succeeded();
    run_by(stage, removing.pid)
        .contains(did("unloaded modules", &[operation("unload", "dummy", 0)]))
        .contains(json!({ "lkm_monitor": { "tool": { "name": "rmmod" } } }))
        .has_findings(&[]);
    std::os::unix::fs::symlink("/usr/bin/busybox", "/tmp/insmod").expect("link to the program");
    let linked = program("/tmp/insmod", [&module]).succeeded();
    run_by(stage, linked.pid)
        .contains(json!({
            "process": { "name": "insmod", "executable": "/usr/bin/busybox" },
            "lkm_monitor": { "tool": {
                "name": "insmod",
                "matched_by": ["inode", "build", "name"],
                "effect": "loaded modules",
            } },
        }))
        .has_findings(&[]);
    // The same program does a hundred other things.
    let other = program("/usr/bin/busybox", ["true", "insmod"]).succeeded();
    let last = program("/sbin/modprobe", ["-n", "dummy"]).succeeded();
    run_by(stage, last.pid);
    stage.sensor.expect_none("a run", |document| is_run(document) && document.is_by(other.pid));
}
