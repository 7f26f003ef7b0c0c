//! `loader32 FILE [PARAMETERS [FLAGS]]`: one finit_module, and its errno on standard output.
//!
//! Built for i686, it enters the kernel through the 32-bit system call table. Built for anything else, it is an
//! ordinary loader.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a test program: it answers on standard output, or dies")]

use std::{env, ffi::CString, fs::File, os::unix::ffi::OsStringExt as _};

fn main() {
    let mut arguments = env::args_os().skip(1);
    let file = File::open(arguments.next().expect("the module's file is the first argument")).expect("open the module");
    let parameters = CString::new(arguments.next().unwrap_or_default().into_vec()).expect("an argument holds no NUL");
    let flags = arguments.next().map_or(0, |flags| flags.to_string_lossy().parse().expect("flags are a number"));
    let errno = rustix::system::finit_module(&file, &parameters, flags).err().map_or(0, |errno| errno.raw_os_error());
    println!("{errno}");
}
