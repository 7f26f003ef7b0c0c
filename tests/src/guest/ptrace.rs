//! A system call in another process's name, as a debugger makes it.

use std::{io, ptr};

/// Lets a process that waits in the kernel make a call with one argument, and go on as if nothing had been. Gives what the call answered.
pub(crate) fn call_in(pid: u32, number: libc::c_long, argument: u64) -> i64 {
    let pid = pid as libc::pid_t;
    attempt(libc::PTRACE_ATTACH as libc::c_long, pid, ptr::null_mut());
    stopped(pid);
    // SAFETY: numbers only.
    let mut before: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    attempt(libc::PTRACE_GETREGS as libc::c_long, pid, (&raw mut before).cast());
    let mut during = before;
    // The instruction before the one to go on with is the one that entered the kernel.
    during.rip -= 2;
    during.rax = number as u64;
    during.rdi = argument;
    // No call to be begun anew.
    during.orig_rax = u64::MAX;
    attempt(libc::PTRACE_SETREGS as libc::c_long, pid, (&raw mut during).cast());
    attempt(libc::PTRACE_SINGLESTEP as libc::c_long, pid, ptr::null_mut());
    stopped(pid);
    attempt(libc::PTRACE_GETREGS as libc::c_long, pid, (&raw mut during).cast());
    attempt(libc::PTRACE_SETREGS as libc::c_long, pid, (&raw mut before).cast());
    attempt(libc::PTRACE_DETACH as libc::c_long, pid, ptr::null_mut());
    during.rax as i64
}

/// The call itself: the C library has its numbers in a type of its own.
fn attempt(request: libc::c_long, pid: libc::pid_t, data: *mut libc::c_void) {
    // SAFETY: `data` is what the request asks for, or nothing.
    let answer = unsafe { libc::syscall(libc::SYS_ptrace, request, pid, ptr::null_mut::<libc::c_void>(), data) };
    assert_ne!(answer, -1, "ptrace({request}): {}", io::Error::last_os_error());
}

fn stopped(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: the status has room.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    assert!(waited == pid && libc::WIFSTOPPED(status), "the traced process did not stop: {status:#x}");
}
