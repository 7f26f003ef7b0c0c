//! The disk of the machine: Debian's smallest system with systemd, and the modules of the kernel that it boots.
//!
//! It is made once and kept; each run has a copy. Files of root have to be root's, so it is made as root.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    process,
    vm::{
        kernels::{Kernel, KernelLine},
        mirrors::Mirrors,
    },
    workspace,
};

const INCLUDED: &str = "systemd,systemd-sysv,kmod";
/// What nobody reads in the machine.
const LEFT_OUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*"];
/// What the system makes on its first boot would else be another machine each time.
const MACHINE_ID: &str = "6c6b6d2d6d6f6e69746f722d67756573\n";
/// Sparse.
const DISK: &str = "1G";

/// A fresh copy.
pub(super) fn disk(line: &KernelLine, kernel: &Kernel) -> Result<PathBuf> {
    let folder = workspace::target().join("debian");
    fs::create_dir_all(&folder)?;
    let kept = folder.join(format!("{}-{}.ext4", line.debian(), kernel.release));
    if !kept.exists() {
        process::step(&format!("Debian {}, fetched once", line.debian()), || make(line.debian(), kernel, &kept))?;
    }
    let copy = folder.join("running.ext4");
    process::capture(Command::new("cp").arg("--sparse=always").arg(&kept).arg(&copy))?;
    Ok(copy)
}

fn make(suite: &str, kernel: &Kernel, disk: &Path) -> Result<()> {
    let root = disk.with_extension("root");
    remove(&root)?;
    let mirrors = Mirrors::of_this_machine()?;
    let left_out = LEFT_OUT.iter().map(|pattern| format!("--dpkgopt=path-exclude={pattern}"));
    process::capture(
        as_root("mmdebstrap")?
            .args(["--variant=minbase", "--architectures=amd64", "--format=directory", "--quiet"])
            .arg(format!("--include={INCLUDED}"))
            .arg(format!("--keyring={}", mirrors.keyring.display()))
            .args(left_out)
            .arg(suite)
            .arg(&root)
            .arg(&mirrors.main),
    )?;
    let modules = root.join("usr/lib/modules");
    process::capture(as_root("mkdir")?.arg("--parents").arg(&modules))?;
    process::capture(as_root("cp")?.arg("--archive").arg(&kernel.modules).arg(modules))?;
    process::capture(as_root("/usr/sbin/depmod")?.arg("--basedir").arg(&root).arg(&kernel.release))?;
    let machine_id = disk.with_extension("machine-id");
    fs::write(&machine_id, MACHINE_ID)?;
    process::capture(as_root("cp")?.arg(&machine_id).arg(root.join("etc/machine-id")))?;
    fs::remove_file(machine_id)?;
    // Moved into place when it is whole.
    let unfinished = disk.with_extension("unfinished");
    let format = ["-q", "-F", "-t", "ext4", "-d"];
    process::capture(as_root("/usr/sbin/mke2fs")?.args(format).arg(&root).arg(&unfinished).arg(DISK))?;
    remove(&root)?;
    fs::rename(unfinished, disk).with_context(|| format!("cannot make {}", disk.display()))
}

fn remove(folder: &Path) -> Result<()> {
    process::capture(as_root("rm")?.args(["--recursive", "--force"]).arg(folder)).map(drop)
}

fn as_root(program: &str) -> Result<Command> {
    if fs::metadata("/proc/self")?.uid() == 0 {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    Ok(command)
}
