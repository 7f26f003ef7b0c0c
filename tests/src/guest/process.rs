//! Processes that scenarios start: forks of PID 1, and programs.

use std::{
    ffi::OsStr,
    io::{PipeReader, PipeWriter, Read as _, Write as _, pipe},
    panic::{self, AssertUnwindSafe},
    process::{Command, Stdio},
    time::SystemTime,
};

use rustix::{
    process::{Gid, Pid, Uid, WaitOptions, waitpid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// A forked process that hangs is ended by the kernel after this long.
const FORK_DEADLINE_S: u32 = 120;
/// Exit status of a fork that panicked; no errno is this high.
const PANICKED: i32 = 255;

/// A user who may not load modules.
pub(crate) const ANALYST: u32 = 1000;

/// A fork that is still running.
#[must_use]
pub(crate) struct Fork {
    pub(crate) pid: u32,
    forked_at: SystemTime,
}

/// A process that ran to its end.
pub(crate) struct Ended {
    pub(crate) pid: u32,
    /// Errno of a fork's action, exit status of a program. 0 is success in both.
    pub(crate) status: i32,
    /// Standard output and error of a program.
    pub(crate) output: String,
    pub(crate) started: SystemTime,
}

/// Runs `action` in a fork of this process, which executes nothing: its command line and executable are PID 1's.
pub(crate) fn fork(action: impl FnOnce() -> rustix::io::Result<()>) -> Fork {
    let forked_at = SystemTime::now();
    // SAFETY: musl keeps its allocator usable in the child of a threaded process, and the action waits for no thread.
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork"),
        0 => {
            // SAFETY: no preconditions.
            unsafe { libc::alarm(FORK_DEADLINE_S) };
            let result = panic::catch_unwind(AssertUnwindSafe(action));
            let status = result.map_or(PANICKED, |answer| answer.err().map_or(0, |errno| errno.raw_os_error()));
            // SAFETY: ends the process without running what PID 1 registered for its own end.
            unsafe { libc::_exit(status) }
        }
        pid => Fork { pid: pid as u32, forked_at },
    }
}

/// [`fork`], and waits for its end.
pub(crate) fn forked(action: impl FnOnce() -> rustix::io::Result<()>) -> Ended {
    fork(action).wait()
}

impl Fork {
    pub(crate) fn wait(self) -> Ended {
        let (_, status) = waitpid(Pid::from_raw(self.pid as i32), WaitOptions::empty())
            .expect("a fork of this process")
            .expect("waiting blocks");
        let status = status.exit_status().unwrap_or_else(|| panic!("the fork was killed: {status:?}"));
        assert_ne!(status, PANICKED, "the fork panicked, see above");
        Ended { pid: self.pid, status, output: String::new(), started: self.forked_at }
    }
}

/// Runs a program to its end.
pub(crate) fn program<S: AsRef<OsStr>>(path: &str, arguments: impl IntoIterator<Item = S>) -> Ended {
    let started = SystemTime::now();
    let child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {path}: {error}"));
    let pid = child.id();
    let output = child.wait_with_output().expect("wait for a program");
    let status = output.status.code().unwrap_or_else(|| panic!("{path} was killed: {:?}", output.status));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ended { pid, status, output: said.into_owned(), started }
}

impl Ended {
    /// The process did what it was meant to do.
    pub(crate) fn succeeded(self) -> Self {
        self.failed_with(0)
    }

    /// The process ended with just this errno or exit status.
    pub(crate) fn failed_with(self, status: i32) -> Self {
        assert_eq!(self.status, status, "the attack itself went another way than planned: {}", self.output);
        self
    }
}

/// Gives up root for good, in this thread.
pub(crate) fn become_analyst() {
    let (uid, gid) = (Uid::from_raw(ANALYST), Gid::from_raw(ANALYST));
    set_thread_groups(&[]).expect("drop the groups");
    set_thread_res_gid(gid, gid, gid).expect("change the group");
    set_thread_res_uid(uid, uid, uid).expect("change the user");
}

/// What a fork waits at until it may go on, or lets others know where it is.
pub(crate) struct Gate(PipeReader, PipeWriter);

impl Gate {
    pub(crate) fn new() -> Self {
        let (reader, writer) = pipe().expect("make a pipe");
        Self(reader, writer)
    }

    pub(crate) fn wait(&self) {
        (&self.0).read_exact(&mut [0]).expect("wait at the gate");
    }

    pub(crate) fn open(&self) {
        (&self.1).write_all(&[0]).expect("open the gate");
    }
}
