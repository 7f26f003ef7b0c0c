//! What the same program does when it is not PID 1: a process with a command line of its own.
//!
//! `nothing` does nothing. `measure NAME` prints what operations cost. `run PROGRAM ARGUMENTS...` starts a program and waits for it. `load FILE` makes one finit_module call. `instead PROGRAM OTHER
//! ARGUMENTS...` executes the program in the other's place.
//! `pretend HELPER...` overwrites its own command line in memory first. `adopt PROGRAM ARGUMENTS...` also takes in the orphans of the
//! program and waits for them; `abandon PROGRAM ARGUMENTS...` leaves one behind that runs the program. The exit status is the
//! program's, or an errno.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::unix::process::CommandExt as _,
    process::{Command, exit},
    slice,
};

use crate::{bench, process};

/// What a pretender's memory shows instead of its arguments.
pub(crate) const PRETENDED: &str = "[kworker/0:1]";

pub(crate) fn run(arguments: &[OsString]) {
    let Some((verb, arguments)) = arguments.split_first() else { panic!("a helper is told what to do") };
    match verb.to_str() {
        Some("run") => exit(run_program(arguments)),
        Some("nothing") => {}
        Some("measure") => bench::workloads(),
        Some("instead") => exec_instead(arguments),
        Some("load") => exit(load(&arguments[0])),
        Some("adopt") => {
            // SAFETY: numbers only.
            unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
            let status = run_program(arguments);
            // Whoever was left behind is a child of this process now.
            // SAFETY: no status is asked for.
            while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
            exit(status)
        }
        Some("abandon") => {
            let parent = std::process::id();
            let _ = process::fork(|| {
                while std::os::unix::process::parent_id() == parent {
                    rustix::thread::sched_yield();
                }
                exit(run_program(arguments))
            });
        }
        Some("pretend") => {
            overwrite_command_line();
            run(arguments);
        }
        _ => panic!("there is no helper {verb:?}"),
    }
}

fn run_program(command: &[OsString]) -> i32 {
    let (program, arguments) = command.split_first().expect("a program is named");
    Command::new(program).args(arguments).status().expect("run the program").code().expect("the program was not killed")
}

/// Executes the first program with the arguments that are for the second.
fn exec_instead(command: &[OsString]) {
    let [program, _, arguments @ ..] = command else { panic!("two programs are named") };
    panic!("cannot execute {program:?}: {}", Command::new(program).args(arguments).exec());
}

fn load(path: &OsStr) -> i32 {
    let file = File::open(path).expect("open the module");
    rustix::system::finit_module(&file, c"", 0).err().map_or(0, |errno| errno.raw_os_error())
}

/// As attackers do: `/proc/PID/cmdline` now shows something else.
fn overwrite_command_line() {
    let status = fs::read_to_string("/proc/self/stat").expect("read the own status");
    let (_, fields) = status.rsplit_once(") ").expect("the name is in parentheses");
    // proc_pid_stat(5) counts from 1 and the first field behind the name is the third.
    let field = |number: usize| fields.split(' ').nth(number - 3).and_then(|text| text.parse::<usize>().ok());
    let (start, end) = (field(48).expect("arg_start"), field(49).expect("arg_end"));
    // SAFETY: the kernel put the arguments there, on this process's stack; the copies that Rust hands out are elsewhere.
    let memory = unsafe { slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut::<u8>(start), end - start) };
    memory.fill(0);
    memory[..PRETENDED.len()].copy_from_slice(PRETENDED.as_bytes());
}
