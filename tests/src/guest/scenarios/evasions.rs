//! Ways to deceive a monitor that root has, and some that everybody has. Each was tried, and each must fail.

use std::{
    ffi::{CStr, CString},
    fs::{self, OpenOptions},
    io, iter,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
    ptr, thread,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat, unlinkat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsmount, fsopen, mount_bind, unmount,
    },
    process::{chroot, fchdir, getppid},
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};
use serde_json::json;

use super::namespaces::{finish, private_mounts};
use crate::{
    document::Document,
    machine,
    module_file::{copy, fixture, installed},
    process::{fork, forked, program},
    stage::Stage,
};

/// Where the module tree says that a module lies.
fn in_tree(root: &str) -> String {
    format!("{root}/usr/lib/modules/{}/kernel/dummy.ko", machine::kernel_release())
}

/// A tree with a program and a module of the attacker's, under the names of the host's own.
fn plant(root: &str) {
    let module = in_tree(root);
    fs::create_dir_all(format!("{root}/usr/bin")).expect("make a folder for programs");
    fs::create_dir_all(Path::new(&module).parent().expect("a file in a folder")).expect("make a module tree");
    fs::copy("/init", format!("{root}/usr/bin/kmod")).expect("copy a program");
    fs::copy(fixture("dummy"), module).expect("copy a module");
}

/// For the time of one load, /usr is another one. The names say nothing then.
pub(super) fn mount_over_usr(stage: &mut Stage) {
    plant("/tmp/false");
    // By the time the daemon gets to look, the host has no such file.
    stage.sensor.pause();
    mount_bind("/tmp/false/usr", "/usr").expect("hide the system's programs");
    let loader = program("/usr/bin/kmod", ["load", &in_tree("")]);
    unmount("/usr", UnmountFlags::DETACH).expect("give the system's programs back");
    stage.sensor.resume();
    let loader = loader.succeeded();
    stage
        .load_by(loader.pid)
        .contains(json!({ "file": { "path": in_tree("") }, "process": { "executable": "/usr/bin/kmod" } }))
        .has_findings(&["load-from-nonstandard-path", "module-file-swapped", "unusual-loader"]);
}

/// A root directory on a mount that is in no mount table.
pub(super) fn detached_root(stage: &mut Stage) {
    let module = CString::new(in_tree("")).expect("no NUL");
    let loader = forked(|| {
        let context = fsopen("tmpfs", FsOpenFlags::empty())?;
        fsconfig_create(&context)?;
        fchdir(fsmount(&context, FsMountFlags::empty(), MountAttrFlags::empty())?)?;
        plant(".");
        chroot(".")?;
        execute(c"/usr/bin/kmod", &[c"/sbin/modprobe", c"load", &module])
    })
    .succeeded();
    stage
        .load_by(loader.pid)
        .contains(json!({ "file": { "path": in_tree("") }, "process": { "executable": "/usr/bin/kmod" } }))
        .has_findings(&["load-from-nonstandard-path", "unusual-loader"]);
}

/// A fork that never executed anything gives itself the program file of another.
pub(super) fn forged_executable(stage: &mut Stage) {
    let file = stage.installed("dummy");
    let parent = forked(|| {
        let _ = fork(|| {
            while getppid().is_none_or(|parent| !parent.is_init()) {
                rustix::thread::sched_yield();
            }
            leave_own_program();
            let kmod = rustix::fs::open("/usr/bin/kmod", rustix::fs::OFlags::CLOEXEC, Mode::empty())?;
            prctl(libc::PR_SET_MM, libc::PR_SET_MM_EXE_FILE as u64, kmod.as_raw_fd() as u64)?;
            prctl(libc::PR_SET_NAME, c"modprobe".as_ptr().expose_provenance() as u64, 0)?;
            rustix::system::finit_module(&file, c"", 0)
        });
        Ok(())
    });
    let document = stage.load_of("dummy");
    document
        .contains(json!({
            "process": { "name": "modprobe", "executable": "/usr/bin/kmod", "parent": { "pid": 1 } },
            "lkm_monitor": { "process": { "executable_replaced": true } },
        }))
        .has_findings(&["evidence-mismatch"]);
    assert!(!document.is_by(parent.pid), "the forger is another process than its parent");
}

/// The kernel lets a process change its program file only when no memory of the old one is left.
fn leave_own_program() {
    let maps = fs::read_to_string("/proc/self/maps").expect("read the own mappings");
    for line in maps.lines().filter(|line| line.ends_with(" /init")) {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (start, end) = range.split_once('-').expect("a range of addresses");
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).expect("an address"));
        let right = |letter, right| if rights.contains(letter) { right } else { 0 };
        let access = right('r', libc::PROT_READ) | right('w', libc::PROT_WRITE) | right('x', libc::PROT_EXEC);
        let old = ptr::with_exposed_provenance_mut::<libc::c_void>(start);
        // SAFETY: a copy of the same bytes with the same rights takes the place of each piece of the program at once.
        unsafe {
            let writable = libc::PROT_READ | libc::PROT_WRITE;
            let copy =
                libc::mmap(ptr::null_mut(), end - start, writable, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
            ptr::copy_nonoverlapping(old.cast::<u8>(), copy.cast(), end - start);
            libc::mprotect(copy, end - start, access);
            libc::mremap(copy, end - start, end - start, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, old);
        }
    }
}

/// A tracer makes a stopped modprobe, which was to load something else, call in its name.
pub(super) fn traced_loader(stage: &mut Stage) {
    let file = stage.installed("dummy");
    let tracer = forked(|| {
        // The traced program gets the descriptor from here.
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
        let traced = fork(|| {
            ptrace(PTRACE_TRACEME, 0, 0, 0)?;
            execute(c"/sbin/modprobe", &[c"/sbin/modprobe", c"-q", c"loop"])
        });
        let pid = traced.pid as i32;
        wait_for_stop(pid);
        // SAFETY: a structure of integers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        let address = (&raw mut registers).expose_provenance() as u64;
        ptrace(PTRACE_GETREGS, pid, 0, address)?;
        let empty_text = registers.rsp - 512;
        ptrace(PTRACE_POKETEXT, pid, empty_text, 0)?;
        ptrace(PTRACE_POKETEXT, pid, registers.rip, SYSCALL)?;
        registers.rax = libc::SYS_finit_module as u64;
        (registers.rdi, registers.rsi, registers.rdx) = (file.as_raw_fd() as u64, empty_text, 0);
        ptrace(PTRACE_SETREGS, pid, 0, address)?;
        ptrace(PTRACE_SINGLESTEP, pid, 0, 0)?;
        wait_for_stop(pid);
        ptrace(PTRACE_GETREGS, pid, 0, address)?;
        ptrace(PTRACE_KILL, pid, 0, 0)?;
        match registers.rax as i64 {
            0 => Ok(()),
            negative => Err(rustix::io::Errno::from_raw_os_error(-negative as i32)),
        }
    })
    .succeeded();
    stage
        .load_of("dummy")
        .contains(json!({
            "process": { "executable": "/usr/bin/kmod", "args": ["/sbin/modprobe", "-q", "loop"] },
            "lkm_monitor": { "process": { "tracer": { "pid": tracer.pid, "name": "init" } } },
        }))
        .has_findings(&["traced-loader"]);
}

/// include/uapi/linux/ptrace.h; the C libraries differ in the type of these.
const PTRACE_TRACEME: i32 = 0;
const PTRACE_POKETEXT: i32 = 4;
const PTRACE_KILL: i32 = 8;
const PTRACE_SINGLESTEP: i32 = 9;
const PTRACE_GETREGS: i32 = 12;
const PTRACE_SETREGS: i32 = 13;

/// `syscall` in machine code, and what follows it in memory.
const SYSCALL: u64 = 0x9090_9090_9090_050f;

fn wait_for_stop(pid: i32) {
    let mut status = 0;
    // SAFETY: a child of this process and a number of this function.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert!(libc::WIFSTOPPED(status), "the traced process stops, {status:#x}");
}

fn ptrace(request: i32, pid: i32, address: u64, data: u64) -> rustix::io::Result<()> {
    // SAFETY: the addresses are of the traced process, or of a structure that is large enough.
    answer(unsafe { libc::ptrace(request as _, pid, address, data) })
}

fn prctl(option: i32, second: u64, third: u64) -> rustix::io::Result<()> {
    // SAFETY: numbers, descriptors, and addresses of constants.
    answer(i64::from(unsafe { libc::prctl(option, second, third, 0_u64, 0_u64) }))
}

pub(super) fn answer(returned: i64) -> rustix::io::Result<()> {
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    if returned < 0 { Err(rustix::io::Errno::from_raw_os_error(errno)) } else { Ok(()) }
}

pub(super) fn execute(path: &CStr, arguments: &[&CStr]) -> rustix::io::Result<()> {
    let pointers: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).chain([ptr::null()]).collect();
    // SAFETY: NUL-terminated texts and a list that ends with a null pointer.
    answer(i64::from(unsafe { libc::execv(path.as_ptr(), pointers.as_ptr()) }))
}

/// A process whose main thread has ended has no memory, files and namespaces of its own to show; its other threads do.
pub(super) fn parent_without_main_thread(stage: &mut Stage) {
    let path = installed("dummy");
    let parent = forked(|| {
        // SAFETY: the number of this thread.
        let main = unsafe { libc::gettid() };
        thread::spawn(move || {
            while !fs::read_to_string(format!("/proc/self/task/{main}/stat")).is_ok_and(|stat| stat.contains(") Z ")) {
                rustix::thread::sched_yield();
            }
            let status = program("/sbin/insmod", [path]).status;
            // SAFETY: ends the whole process.
            unsafe { libc::_exit(status) };
        });
        // SAFETY: ends this thread only.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        Ok(())
    })
    .succeeded();
    stage.load_of("dummy").contains(json!({
        "process": {
            "executable": "/usr/bin/kmod",
            "parent": { "pid": parent.pid, "name": "init", "executable": "/init", "args": ["/init"], "working_directory": "/" },
        },
    }));
}

/// An orphan belongs to who takes it in; what it was made from stays what it was.
pub(super) fn adopted_fork(stage: &mut Stage) {
    let path = installed("dummy");
    let module = path.to_str().expect("plain path");
    program("/init", ["adopt", "/init", "abandon", "/sbin/insmod", module]).succeeded();
    let document = stage.load_of("dummy");
    document.contains(json!({
        "process": {
            "executable": "/usr/bin/kmod",
            "parent": { "executable": "/init", "args": ["/init", "abandon", "/sbin/insmod", module] },
        },
    }));
    let ancestors = document.list("lkm_monitor.ancestors");
    assert_eq!(ancestors[0]["arguments_source"], "inherited", "{ancestors:?}");
    assert_eq!(ancestors[1]["args"][1], "adopt", "{ancestors:?}");
}

/// The same in a mount namespace: another part of the same file system in the place of /usr.
pub(super) fn another_usr_in_a_mount_namespace(stage: &mut Stage) {
    plant("/false");
    let loader = forked(|| {
        private_mounts();
        mount_bind("/false/usr", "/usr")?;
        finish(&program("/usr/bin/kmod", ["load", &in_tree("")]))
    });
    // The daemon finds the file where the host has it.
    let document = stage.load_of("dummy");
    fs::remove_dir_all("/false").expect("take the false system away");
    let _ = loader.succeeded();
    document
        .contains(json!({ "file": { "path": in_tree("") }, "process": { "executable": "/usr/bin/kmod" } }))
        .has_findings(&["load-from-nonstandard-path", "unusual-loader"]);
}

/// What a service does that makes the system read-only for itself is none of these.
pub(super) fn system_mounted_over_itself(stage: &mut Stage) {
    let path = installed("dummy");
    let _ = forked(|| {
        private_mounts();
        mount_bind("/usr", "/usr")?;
        finish(&program("/sbin/insmod", [&path]))
    })
    .succeeded();
    stage
        .load_of("dummy")
        .contains(json!({
            "file": { "path": path },
            "lkm_monitor": { "file": { "mount_point": "/usr", "bind_mount": true } },
        }))
        .has_findings(&[]);
}

/// Control groups without end below the container's own, with names as long as they can be.
pub(super) fn deep_control_group(stage: &mut Stage) {
    const ID: &str = "4f5d3c2b1a09f8e7d6c5b4a3928170605f4e3d2c1b0a998877665544332211ff";
    const DEPTH: usize = 40;
    let (top, long) = (format!("docker-{ID}.scope"), "a".repeat(255));
    let names = || [top.as_str()].into_iter().chain(iter::repeat_n(long.as_str(), DEPTH));
    let open = |at: BorrowedFd<'_>, name: &str, flags| openat(at, name, flags, Mode::empty()).expect("open a group");
    // One by one: no path could name the deepest.
    let mut groups = vec![open(CWD, "/sys/fs/cgroup", OFlags::PATH)];
    for name in names() {
        let above = groups[groups.len() - 1].as_fd();
        mkdirat(above, name, Mode::RWXU).expect("make a control group");
        groups.push(open(above, name, OFlags::PATH));
    }
    let file = stage.installed("dummy");
    let loader = forked(|| {
        let members = open(groups[DEPTH].as_fd(), "cgroup.procs", OFlags::WRONLY);
        rustix::io::write(&members, b"0")?;
        rustix::system::finit_module(&file, c"", 0)
    })
    .succeeded();
    let document = stage.load_by(loader.pid);
    let made: Vec<_> = groups.iter().zip(names()).collect();
    for (above, name) in made.into_iter().rev() {
        unlinkat(above, name, AtFlags::REMOVEDIR).expect("remove an empty control group");
    }
    document
        .contains(json!({ "container": { "id": ID, "runtime": "docker" } }))
        .has_findings(&["load-in-container", "unusual-loader"]);
    assert!(document.lists("lkm_monitor.truncated", "lkm_monitor.process.cgroup.path"), "{}", document.value());
}

/// Whoever opens a pipe waits for its other end.
pub(super) fn pipe_for_a_file(stage: &mut Stage) {
    fs::rename("/etc/group", "/etc/group.real").expect("put the groups away");
    mknodat(CWD, "/etc/group", FileType::Fifo, Mode::RUSR, 0).expect("make a pipe");
    copy("dummy", "/tmp/rootkit.ko");
    let insmod = program("/sbin/insmod", ["/tmp/rootkit.ko"]);
    let came = stage.sensor.look(Duration::from_secs(20), |document| document.is_by(insmod.pid).then_some(()));
    // Lets the daemon go on if it waits, so that what follows is not lost too.
    drop(OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open("/etc/group"));
    fs::rename("/etc/group.real", "/etc/group").expect("put the groups back");
    assert!(came.is_some(), "the load is reported while there is a pipe");
}

/// A switch silences hooks that stay attached.
pub(super) fn hooks_switched_off(stage: &mut Stage) {
    const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
    // Kernels that hold the hooks to be permanent refuse.
    if fs::write(FTRACE, "0").is_err() {
        stage.sensor.settle();
        return;
    }
    let blinded = stage.sensor.expect("an alert", |document| document.text("event.action") == "sensor-blinded");
    let silent = blinded.list("lkm_monitor.sensor.blind_hooks");
    assert!(!silent.is_empty() && silent.iter().all(|hook| hook["since"].is_string()), "{}", blinded.value());
    fs::write(FTRACE, "1").expect("turn the hooks on");
    blinded.contains(json!({ "lkm_monitor": { "sensor": { "status": "partial" } } })).has_findings(&["sensor-blinded"]);
    let restored = stage.sensor.expect("the end", |document| document.text("event.action") == "sensor-restored");
    assert!(!restored.is_alert(), "{}", restored.value());
}

/// Documents of a wrong time are found by nobody.
pub(super) fn clock_steps(stage: &mut Stage) {
    const STEP_S: i64 = 7;
    let step = |seconds: i64| {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
        clock_settime(ClockId::Realtime, Timespec { tv_sec: tv_sec + seconds, tv_nsec }).expect("set the clock");
    };
    for seconds in [-STEP_S, STEP_S] {
        step(seconds);
        let stepped = |document: &Document| {
            let by = document.at("lkm_monitor.clock.step_ns").as_i64().unwrap_or(0);
            (by - seconds * 1_000_000_000).abs() < 1_000_000_000
        };
        stage
            .sensor
            .expect("the step", stepped)
            .contains(json!({ "event": { "kind": "state", "action": "clock-stepped" } }));
    }
}
