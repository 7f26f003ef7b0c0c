//! What PID 1 owes its machine.

use std::{
    ffi::{CStr, CString},
    fs,
    io::ErrorKind,
    time::{Duration, Instant},
};

use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Pid, WaitOptions},
    system::{RebootCommand, reboot},
};

const FILE_SYSTEMS: [(&str, &str, &CStr); 10] = [
    ("proc", "/proc", c""),
    ("sysfs", "/sys", c""),
    ("devtmpfs", "/dev", c""),
    ("devpts", "/dev/pts", c"ptmxmode=0666"),
    ("securityfs", "/sys/kernel/security", c""),
    ("debugfs", "/sys/kernel/debug", c""),
    ("tracefs", "/sys/kernel/tracing", c""),
    ("bpf", "/sys/fs/bpf", c""),
    ("cgroup2", "/sys/fs/cgroup", c""),
    ("tmpfs", "/run", c"mode=755"),
];
const SCRATCH: &str = "/tmp";
/// A module that was in use a moment ago may need that moment.
const UNLOAD_DEADLINE: Duration = Duration::from_secs(10);

/// What an init system does before anything else runs.
pub(crate) fn set_up() {
    for (kind, target, options) in FILE_SYSTEMS {
        fs::create_dir_all(target).unwrap_or_else(|error| panic!("cannot make {target}: {error}"));
        mount(kind, target, kind, MountFlags::empty(), options)
            .unwrap_or_else(|error| panic!("cannot mount {kind} on {target}: {error}"));
    }
    let name = fs::read_to_string("/etc/hostname").expect("the machine has a name");
    rustix::system::sethostname(name.trim_end().as_bytes()).expect("name the machine");
    mount("tmpfs", SCRATCH, "tmpfs", MountFlags::empty(), c"mode=1777").expect("mount the scratch folder");
}

pub(crate) struct CommandLine(String);

impl CommandLine {
    pub(crate) fn read() -> Self {
        Self(fs::read_to_string("/proc/cmdline").expect("read the kernel's command line"))
    }

    /// The value of `name=value`.
    pub(crate) fn word(&self, name: &str) -> Option<&str> {
        self.0.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

pub(crate) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Major and minor version.
pub(crate) fn kernel_version() -> (u32, u32) {
    let release = kernel_release();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse().ok());
    numbers.next().zip(numbers.next()).unwrap_or_else(|| panic!("{release:?} is no kernel release"))
}

/// Names of the loaded modules, the newest first. A name with a newline shows as two; no scenario leaves one behind.
pub(crate) fn loaded_modules() -> Vec<String> {
    let listing = fs::read("/proc/modules").expect("read the list of modules");
    String::from_utf8_lossy(&listing).lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// Unloads whatever is loaded and not in `before`.
pub(crate) fn unload_all_but(before: &[String]) {
    let deadline = Instant::now() + UNLOAD_DEADLINE;
    while let Some(name) = loaded_modules().into_iter().find(|name| !before.contains(name)) {
        let name = CString::new(name).expect("module names hold no NUL");
        let answer = rustix::system::delete_module(&name, libc::O_NONBLOCK);
        assert!(answer.is_ok() || Instant::now() < deadline, "the module {name:?} cannot be unloaded: {answer:?}",);
        rustix::thread::sched_yield();
    }
}

pub(crate) fn empty_scratch() {
    for entry in fs::read_dir(SCRATCH).expect("list the scratch folder") {
        let path = entry.expect("list the scratch folder").path();
        // A scenario that failed may have left a mount, or one in its state.
        for place in [path.join("state"), path.clone()] {
            while unmount(&place, UnmountFlags::DETACH).is_ok() {}
        }
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() == ErrorKind::NotADirectory => fs::remove_file(&path).expect("remove a file"),
            result => result.expect("remove a folder"),
        }
    }
}

/// Takes the exit status of orphans that became children of PID 1, but not of `keep`, whose status has an owner.
pub(crate) fn reap_orphans(keep: u32) {
    let children = fs::read_to_string("/proc/1/task/1/children").expect("list the children");
    for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != keep as i32) {
        let _ = rustix::process::waitpid(Pid::from_raw(child), WaitOptions::NOHANG);
    }
}

pub(crate) fn power_off() {
    rustix::fs::sync();
    let _ = reboot(RebootCommand::PowerOff);
}
