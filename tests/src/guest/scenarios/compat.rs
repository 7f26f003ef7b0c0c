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

/// The 32-bit entry of the kernel is open to 64-bit code as well.
fn finit_module_32(file: &File) -> rustix::io::Result<()> {
    let low = MapFlags::PRIVATE | MapFlags::from_bits_retain(libc::MAP_32BIT as u32);
    // SAFETY: a new mapping, which the kernel puts below 4 GiB so that 32 bits name it.
    let parameters = unsafe { mmap_anonymous(ptr::null_mut(), PAGE_BYTES, ProtFlags::READ | ProtFlags::WRITE, low)? };
    let text = b"numdummies=1\0";
    // SAFETY: the new page is larger than the text.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), parameters.cast(), text.len()) };
    let mut answer = FINIT_MODULE;
    // SAFETY: the call reads the text above. rbx, its first argument, belongs to the compiler and is given back;
    // the entry clears r8 to r11.
    unsafe {
        asm!(
            "xchg rbx, {descriptor}",
            "int 0x80",
            "xchg rbx, {descriptor}",
            descriptor = inout(reg) file.as_raw_fd() as u64 => _,
            inout("eax") answer,
            in("ecx") parameters as u32,
            in("edx") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if answer < 0 { Err(rustix::io::Errno::from_raw_os_error(-answer)) } else { Ok(()) }
}
