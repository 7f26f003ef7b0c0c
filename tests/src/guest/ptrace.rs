//! A system call in another process's name, as a debugger makes it.

use std::{io, ptr};

/// Lets a process make a call with one argument in the place of its next one, which it makes then. Gives what the call answered.
pub(crate) fn call_in(pid: u32, number: libc::c_long, argument: u64) -> i64 {
    let pid = pid as libc::pid_t;
    attempt(libc::PTRACE_ATTACH as libc::c_long, pid, ptr::null_mut());
    stopped(pid);
    to_the_next_stop(pid);
    // It enters the kernel now.
    let entering = registers(pid);
    let mut other = entering;
    (other.orig_rax, other.rdi) = (number as u64, argument);
    set_registers(pid, other);
    to_the_next_stop(pid);
    let answer = registers(pid).rax as i64;
    let mut again = entering;
    // The instruction before the one to go on with is the one that enters the kernel.
    (again.rip, again.rax) = (entering.rip - 2, entering.orig_rax);
    set_registers(pid, again);
    attempt(libc::PTRACE_DETACH as libc::c_long, pid, ptr::null_mut());
    answer
}

fn to_the_next_stop(pid: libc::pid_t) {
    attempt(libc::PTRACE_SYSCALL as libc::c_long, pid, ptr::null_mut());
    stopped(pid);
}

fn registers(pid: libc::pid_t) -> libc::user_regs_struct {
    // SAFETY: numbers only.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    attempt(libc::PTRACE_GETREGS as libc::c_long, pid, (&raw mut registers).cast());
    registers
}

fn set_registers(pid: libc::pid_t, mut registers: libc::user_regs_struct) {
    attempt(libc::PTRACE_SETREGS as libc::c_long, pid, (&raw mut registers).cast());
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
