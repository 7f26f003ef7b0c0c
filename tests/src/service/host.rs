//! Other programs of the machine, the service as its manager sees it, and waiting.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const UNIT: &str = "lkm-monitor.service";
/// The kernel verifies the probes on an emulated processor, and other machines may run beside this one.
const PATIENCE: Duration = Duration::from_secs(240);
const PAUSE: Duration = Duration::from_millis(100);

/// Runs to the end; it has to succeed. What it wrote.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(program, arguments);
    let wrote = text(&output);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{wrote}", output.status);
    wrote
}

/// Runs to the end, whatever comes of it.
pub(crate) fn said(program: &str, arguments: &[&str]) -> String {
    text(&output(program, arguments))
}

fn output(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

/// Looks again and again until there is something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {} s", PATIENCE.as_secs());
        thread::sleep(PAUSE);
    }
}

/// A property of the unit, see systemctl(1).
pub(crate) fn property(name: &str) -> String {
    run("systemctl", &["show", "--value", "--property", name, UNIT]).trim().to_owned()
}

/// The daemon's process, when the service is ready.
pub(crate) fn wait_until_ready() -> Pid {
    wait_for("the service is ready", || {
        let ready = property("ActiveState") == "active" && property("SubState") == "running";
        ready.then(|| property("MainPID").parse().ok().and_then(Pid::from_raw)).flatten()
    })
}

/// Sends the daemon a signal that ends it, at once or in time, and waits until another one is ready.
pub(crate) fn restarted_after(signal: Signal) -> Pid {
    let before = wait_until_ready();
    kill_process(before, signal).expect("send the signal");
    wait_for("another daemon runs", || {
        let now = property("MainPID").parse().ok().and_then(Pid::from_raw);
        (now.is_some() && now != Some(before)).then_some(())
    });
    wait_until_ready()
}

/// A file of /proc of each of the daemon's threads.
pub(crate) fn of_threads(pid: Pid, file: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("list the threads");
    let read = |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join(file)).ok();
    tasks.filter_map(read).collect()
}

/// Writes a file of settings that are read after the package's.
pub(crate) fn set(name: &str, settings: &str) {
    fs::write(settings_file(name), settings).expect("write settings");
}

/// Takes one away.
pub(crate) fn unset(name: &str) {
    fs::remove_file(settings_file(name)).expect("remove settings");
}

pub(crate) fn settings_file(name: &str) -> String {
    format!("/etc/lkm-monitor/conf.d/{name}.toml")
}

/// A small file system of the daemon's own, at a place inside one of its folders.
pub(crate) struct SmallDisk {
    place: &'static Path,
}

impl SmallDisk {
    const FILLER: &str = "filler";

    pub(crate) fn mount(place: &'static str, size: &str) -> Self {
        let [uid, gid] = ["-u", "-g"].map(|which| run("id", &[which, "lkm-monitor"]).trim().to_owned());
        fs::create_dir(place).expect("make a folder");
        let options = format!("size={size},mode=0700,uid={uid},gid={gid}");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", place]);
        Self::at(place)
    }

    /// One that another step has mounted.
    pub(crate) fn at(place: &'static str) -> Self {
        Self { place: Path::new(place) }
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut filler = fs::File::create(self.place.join(Self::FILLER)).expect("make a file");
        for size in [64 * 1024, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives it back.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.place.join(Self::FILLER)).expect("remove the file");
    }

    pub(crate) fn unmount(self) {
        run("umount", &["--lazy", &self.place.to_string_lossy()]);
        fs::remove_dir(self.place).expect("remove the folder");
    }
}
