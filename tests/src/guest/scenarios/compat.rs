//! 32-bit system calls. The kernel's tracepoints for system calls do not fire for them, its functions do.

use std::{arch::asm, fs::File, os::fd::AsRawFd as _, path::Path, ptr};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use serde_json::json;

use crate::{
    expected,
    module_file::{Image, copy, fixture},
    process::{Ended, forked, program},
    sensor::Hooks,
    stage::Stage,
};

/// arch/x86/entry/syscalls/syscall_32.tbl
const FINIT_MODULE: i32 = 350;
const DELETE_MODULE: i32 = 129;
const PAGE_BYTES: usize = 4096;

pub(super) fn static_32_bit_program(stage: &mut Stage) {
    let path = fixture("dummy");
    let loader = program("/fixtures/loader32", [path.to_str().expect("plain path"), "numdummies=1"]).succeeded();
    assert_eq!(loader.output.trim(), "0", "the load goes well");
    reported(stage, &loader, &path, "/fixtures/loader32");
}

pub(super) fn int_0x80_from_64_bit_code(stage: &mut Stage) {
    let path = Path::new("/tmp/int80.ko");
    let file = copy("dummy", path);
    let loader = forked(|| finit_module_32(&file)).succeeded();
    reported(stage, &loader, path, "/init");
}

/// One thread, two calls that the tracepoints do not see: two reports all the same.
pub(super) fn load_and_unload_at_once(stage: &mut Stage) {
    let file = copy("dummy", "/tmp/int80.ko");
    let caller = forked(|| {
        finit_module_32(&file)?;
        delete_module_32()
    })
    .succeeded();
    stage.load_by(caller.pid).contains(expected::module(&Image::of("dummy"))).contains(json!({
        "file": { "path": "/tmp/int80.ko" },
    }));
    stage.unload_by(caller.pid).contains(json!({
        "process": { "executable": "/init" },
        "lkm_monitor": { "module": { "name": "dummy", "name_source": "kernel" } },
    }));
}

fn reported(stage: &Stage, loader: &Ended, path: &Path, executable: &str) {
    let document = stage.load_by(loader.pid);
    document.contains(expected::module(&Image::of("dummy"))).contains(json!({
        "file": { "path": path },
        "process": { "executable": executable, "parent": { "pid": 1 } },
    }));
    match stage.hooks {
        Hooks::Fentry => {
            document
                .contains(json!({
                    "event": { "outcome": "success" },
                    "lkm_monitor": {
                        "syscall": { "name": "finit_module", "abi": "i386", "flags": 0, "ret": 0 },
                        "load": { "stage": "live" },
                        "module": { "params": "numdummies=1" },
                        "missing": null,
                    },
                }))
                .has_findings(&["compat-loader", "load-from-nonstandard-path", "unusual-loader"]);
        }
        Hooks::Tracepoint => {
            for part in ["enter", "exit"] {
                assert!(document.lists("lkm_monitor.missing", part), "{part} was invisible: {}", document.value());
            }
            assert!(document.findings().contains(&"incomplete-load"), "{:?}", document.findings());
        }
    }
}

fn finit_module_32(file: &File) -> rustix::io::Result<()> {
    let parameters = low_text(b"numdummies=1\0")?;
    // SAFETY: the call reads the text.
    unsafe { int_0x80(FINIT_MODULE, file.as_raw_fd() as u64, parameters, 0) }
}

fn delete_module_32() -> rustix::io::Result<()> {
    let name = low_text(b"dummy\0")?;
    // SAFETY: the call reads the text.
    unsafe { int_0x80(DELETE_MODULE, u64::from(name), libc::O_NONBLOCK as u32, 0) }
}

/// The address of a text where 32 bits name it.
fn low_text(text: &[u8]) -> rustix::io::Result<u32> {
    let low = MapFlags::PRIVATE | MapFlags::from_bits_retain(libc::MAP_32BIT as u32);
    // SAFETY: a new mapping, which the kernel puts below 4 GiB; it is larger than any text here.
    unsafe {
        let page = mmap_anonymous(ptr::null_mut(), PAGE_BYTES, ProtFlags::READ | ProtFlags::WRITE, low)?;
        ptr::copy_nonoverlapping(text.as_ptr(), page.cast(), text.len());
        Ok(page as u32)
    }
}

/// The 32-bit entry of the kernel is open to 64-bit code as well.
///
/// # Safety
/// As the system call's.
unsafe fn int_0x80(number: i32, first: u64, second: u32, third: u32) -> rustix::io::Result<()> {
    let mut answer = number;
    // SAFETY: the caller's. rbx, the first argument, belongs to the compiler and is given back; the entry clears r8 to r11.
    unsafe {
        asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) first => _,
            inout("eax") answer,
            in("ecx") second,
            in("edx") third,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if answer < 0 { Err(rustix::io::Errno::from_raw_os_error(-answer)) } else { Ok(()) }
}
