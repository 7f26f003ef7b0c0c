//! Module tools by other names, and other programs by theirs.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions, Permissions},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
    ptr,
};

use serde_json::{Value, json};

use super::{
    evasions::answer,
    tools::{is_run, operation, run_by},
};
use crate::{
    module_file::installed,
    process::{Ended, forked, program},
    stage::Stage,
};

const RULE: &str = "disguised-module-tool";

/// Runs a program that believes to be called `name`.
fn program_as(path: &str, name: &str, arguments: &[&str]) -> (u32, Option<i32>) {
    let mut child = Command::new(path)
        .arg0(name)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {path}: {error}"));
    (child.id(), child.wait().expect("wait for a program").code())
}

fn dummy() -> String {
    installed("dummy").to_str().expect("plain path").to_owned()
}

/// kmod is what its first argument says; the file may be called anything.
pub(super) fn copy(stage: &mut Stage) {
    fs::copy("/usr/bin/kmod", "/tmp/sshd").expect("copy the tool");
    let (pid, status) = program_as("/tmp/sshd", "insmod", &[&dummy()]);
    assert_eq!(status, Some(0), "the copy works");
    let document = run_by(stage, pid);
    document
        .contains(json!({
            "event": {
                "severity": 47,
                "code": "501",
                "outcome": "success",
                "reason": "the module tool kmod was run under another name: /tmp/sshd run by root",
            },
            "process": { "name": "sshd", "executable": "/tmp/sshd", "args": ["insmod", dummy()], "args_count": 2 },
            "lkm_monitor": { "tool": {
                "name": "insmod",
                "matched_by": ["build"],
                "copy": true,
                "operations": [operation("load", "dummy", 0)],
                "effect": "loaded modules",
            } },
        }))
        .has_findings(&[RULE]);
}

/// By no name that kmod knows it does nothing, and so does a changed copy that does something.
pub(super) fn copy_by_an_odd_name(stage: &mut Stage) {
    fs::copy("/usr/bin/kmod", "/tmp/sshd").expect("copy the tool");
    let (pid, status) = program_as("/tmp/sshd", "sshd: root@pts/0", &["x.ko"]);
    assert!(status.is_some_and(|status| status != 0), "kmod does not know what it is");
    run_by(stage, pid)
        .contains(json!({
            "message": "Module tool run under another name",
            "process": { "args": ["sshd: root@pts/0", "x.ko"], "exit_code": status },
            "lkm_monitor": { "tool": { "name": null, "matched_by": ["build"], "copy": true, "effect": "nothing" } },
        }))
        .has_findings(&[RULE]);
    // A copy that says what it is hides nothing.
    fs::copy("/usr/bin/kmod", "/tmp/rmmod").expect("copy the tool");
    let open = program("/tmp/rmmod", ["nosuchmodule"]).failed_with(1);
    run_by(stage, open.pid)
        .contains(
            json!({ "lkm_monitor": { "tool": { "name": "rmmod", "matched_by": ["build", "name"], "copy": true } } }),
        )
        .has_findings(&[]);
}

/// The very file, by another of its names.
pub(super) fn hard_link(stage: &mut Stage) {
    let other = "/usr/bin/lkm-other";
    fs::hard_link("/usr/bin/kmod", other).expect("give the tool another name");
    let (pid, status) = program_as(other, "insmod", &[&dummy()]);
    fs::remove_file(other).expect("take the name away");
    assert_eq!(status, Some(0), "the tool works");
    run_by(stage, pid)
        .contains(json!({
            "process": { "name": "lkm-other", "executable": other },
            "lkm_monitor": { "tool": {
                "name": "insmod",
                "matched_by": ["inode", "build"],
                "copy": null,
                "effect": "loaded modules",
            } },
        }))
        .has_findings(&[RULE]);
}

/// `exec -a` of a shell: only the first argument is another.
pub(super) fn another_first_argument(stage: &mut Stage) {
    let (pid, status) = program_as("/sbin/insmod", "rmmod", &["nosuchmodule"]);
    assert_eq!(status, Some(1), "there is no such module");
    run_by(stage, pid)
        .contains(json!({
            "process": { "name": "insmod", "args": ["rmmod", "nosuchmodule"] },
            // The tool does what its first argument says.
            "lkm_monitor": { "tool": { "name": "rmmod", "matched_by": ["inode", "build", "name"] } },
        }))
        .has_findings(&[]);
}

/// Executed by a descriptor, a program has the number for a name, or on newer kernels that of its file.
pub(super) fn by_descriptor(stage: &mut Stage) {
    let tool = File::open("/usr/bin/kmod").expect("open the tool");
    let module = dummy();
    let loader = execute_descriptor(tool.as_raw_fd(), &["insmod", &module]).succeeded();
    run_by(stage, loader.pid)
        .contains(json!({
            "process": { "executable": "/usr/bin/kmod", "args": ["insmod", module] },
            "lkm_monitor": { "tool": {
                "name": "insmod",
                "operations": [operation("load", "dummy", 0)],
                "effect": "loaded modules",
                "copy": null,
            } },
        }))
        .has_findings(&[]);
    // A copy that has no name at all any more.
    fs::copy("/usr/bin/kmod", "/tmp/copy").expect("copy the tool");
    let copy = File::open("/tmp/copy").expect("open the copy");
    fs::remove_file("/tmp/copy").expect("take its name away");
    let remover = execute_descriptor(copy.as_raw_fd(), &["rmmod", "dummy"]).succeeded();
    run_by(stage, remover.pid)
        .contains(json!({
            "process": { "args": ["rmmod", "dummy"] },
            "lkm_monitor": { "tool": {
                "name": "rmmod",
                "matched_by": ["build"],
                "operations": [operation("unload", "dummy", 0)],
                "copy": true,
            } },
        }))
        .has_findings(&[RULE]);
    let named = CString::new(Path::new(&format!("/proc/self/fd/{}", tool.as_raw_fd())).as_os_str().as_bytes());
    let named = named.expect("no NUL");
    let by_name = forked(|| super::evasions::execute(&named, &[c"modprobe", c"-n", c"dummy"])).succeeded();
    run_by(stage, by_name.pid)
        .contains(json!({ "lkm_monitor": { "tool": { "name": "modprobe", "effect": "nothing" } } }))
        .has_findings(&[]);
}

/// `execveat` with `AT_EMPTY_PATH`, as fexecve(3) calls it.
fn execute_descriptor(program: RawFd, arguments: &[&str]) -> Ended {
    let arguments: Vec<_> = arguments.iter().map(|argument| CString::new(*argument).expect("no NUL")).collect();
    let pointers: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).chain([ptr::null()]).collect();
    let environment = [ptr::null::<libc::c_char>()];
    forked(|| {
        // SAFETY: NUL-terminated texts and lists that end with a null pointer.
        answer(unsafe {
            libc::syscall(
                libc::SYS_execveat,
                program,
                c"".as_ptr(),
                pointers.as_ptr(),
                environment.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        })
    })
}

/// Programs of many tools have many names; a copy of one is asked for a tool all the same.
pub(super) fn copy_of_a_program_of_many(stage: &mut Stage) {
    fs::copy("/usr/bin/busybox", "/tmp/bb").expect("copy the program");
    let (pid, status) = program_as("/tmp/bb", "busybox", &["insmod", &dummy()]);
    assert_eq!(status, Some(0), "the copy works");
    run_by(stage, pid)
        .contains(json!({
            "process": { "executable": "/tmp/bb" },
            "lkm_monitor": { "tool": {
                "name": "insmod",
                "matched_by": ["build", "applet"],
                "operations": [operation("load", "dummy", 0)],
                "copy": true,
            } },
        }))
        .has_findings(&[]);
    let (pid, status) = program_as("/tmp/bb", "rmmod", &["dummy"]);
    assert_eq!(status, Some(0), "the copy works");
    run_by(stage, pid)
        .contains(json!({
            "process": { "name": "bb" },
            "lkm_monitor": { "tool": {
                "name": "rmmod",
                "matched_by": ["build", "argv0"],
                "operations": [operation("unload", "dummy", 0)],
            } },
        }))
        .has_findings(&[]);
}

/// busybox takes folders for a part of a name, itself for one of its tools, and a dash off the name that it is given.
pub(super) fn program_of_many_asked_otherwise(stage: &mut Stage) {
    let busybox = "/usr/bin/busybox";
    let module = dummy();
    let far = format!("/{}/insmod", "x".repeat(700));
    let asked: [(&str, &[&str], &str); 7] = [
        (busybox, &["/x/insmod", &module], "applet"),
        (busybox, &["busybox", "rmmod", "dummy"], "applet"),
        ("/x/insmod", &[&module], "argv0"),
        ("-rmmod", &["dummy"], "argv0"),
        (&far, &[&module], "argv0"),
        ("busybox-static", &["/x/busybox", "busybox", "/rmmod", "dummy"], "applet"),
        ("-/x/busybox", &["insmod", &module], "applet"),
    ];
    let runs = asked.map(|(name, arguments, matched)| {
        let (pid, status) = program_as(busybox, name, arguments);
        assert_eq!(status, Some(0), "{name} {arguments:?} works");
        (pid, matched)
    });
    for (n, (pid, matched)) in runs.into_iter().enumerate() {
        let (tool, did) = if n % 2 == 0 { ("insmod", "load") } else { ("rmmod", "unload") };
        run_by(stage, pid)
            .contains(json!({ "lkm_monitor": { "tool": {
                "name": tool,
                "matched_by": ["inode", "build", "name", matched],
                "operations": [operation(did, "dummy", 0)],
            } } }))
            .has_findings(&[]);
    }
    // What other applets are told is no applet.
    let (other, status) = program_as(busybox, "true", &["insmod"]);
    assert_eq!(status, Some(0), "true is an applet");
    stage.sensor.expect_none("a run", |document| is_run(document) && document.is_by(other));
}

/// The program that loads kmod's libraries runs kmod when it is told to.
pub(super) fn by_the_dynamic_loader(stage: &mut Stage) {
    const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
    let module = dummy();
    let expect = |stage: &Stage, run: &Ended, tool: &str, done: Value| {
        run_by(stage, run.pid)
            .contains(json!({
                "process": { "executable": "/usr/lib64/ld-linux-x86-64.so.2" },
                "lkm_monitor": { "tool": {
                    "name": tool,
                    "matched_by": ["inode", "build", "interpreter"],
                    "copy": null,
                    "operations": done,
                } },
            }))
            .has_findings(&[]);
    };
    let run = program(LOADER, ["--argv0", "insmod", "/usr/bin/kmod", &module]).succeeded();
    expect(stage, &run, "insmod", json!([operation("load", "dummy", 0)]));
    let libraries = "/usr/lib/x86_64-linux-gnu";
    let run = program(LOADER, ["--library-path", libraries, "--inhibit-cache", "/sbin/rmmod", "dummy"]).succeeded();
    expect(stage, &run, "rmmod", json!([operation("unload", "dummy", 0)]));
    let run = program(LOADER, ["/usr/bin/kmod", "list"]).succeeded();
    expect(stage, &run, "kmod", Value::Null);

    fs::copy(LOADER, "/tmp/sshd").expect("copy the loader");
    let run = program("/tmp/sshd", ["/sbin/insmod", &module]).succeeded();
    run_by(stage, run.pid)
        .contains(json!({
            "process": { "executable": "/tmp/sshd" },
            "lkm_monitor": { "tool": { "name": "insmod", "matched_by": ["build", "interpreter"], "copy": true } },
        }))
        .has_findings(&[]);
    let other = program(LOADER, ["--verify", "/usr/lib/x86_64-linux-gnu/libc.so.6"]);
    stage.sensor.expect_none("a run", |document| is_run(document) && document.is_by(other.pid));
}

/// A tool that executes another program has ended then: what the other does is not its doing.
pub(super) fn that_executes_another(stage: &mut Stage) {
    let script = "/tmp/insmod";
    fs::write(script, "#!/usr/bin/busybox sh\nexec /init load \"$1\"\n").expect("write a script");
    fs::set_permissions(script, Permissions::from_mode(0o755)).expect("make it a program");
    let run = program(script, [dummy()]).succeeded();
    let document = run_by(stage, run.pid);
    document
        .contains(json!({
            "event": { "outcome": "unknown" },
            "process": { "name": "insmod", "executable": "/usr/bin/busybox", "exit_code": null, "end": null },
            "lkm_monitor": { "tool": { "name": "insmod", "replaced": true, "effect": "nothing", "operations": null } },
        }))
        .has_findings(&[]);
    stage.load_by(run.pid).contains(json!({ "process": { "executable": "/init" } }));
}

/// Words do not make a tool, unless they are the program's name.
pub(super) fn other_programs(stage: &mut Stage) {
    let spoken_of = program("/init", ["nothing", "modprobe"]).succeeded();
    let (told, status) = program_as("/init", "/init", &["modprobe"]);
    assert_eq!(status, Some(101), "there is no helper of this name");
    // A program that pretends to be a tool is told as what it pretends to be.
    let (pretender, status) = program_as("/init", "modprobe", &["nothing"]);
    assert_eq!(status, Some(0), "the helper does nothing");
    run_by(stage, pretender)
        .contains(json!({
            "process": { "executable": "/init", "args": ["modprobe", "nothing"] },
            "lkm_monitor": { "tool": { "name": "modprobe", "matched_by": ["argv0"], "copy": null } },
        }))
        .has_findings(&[]);
    drop(OpenOptions::new().read(true).open("/usr/bin/kmod").expect("to read a tool is to run none"));
    stage
        .sensor
        .expect_none("a run", |document| is_run(document) && (document.is_by(spoken_of.pid) || document.is_by(told)));
}
