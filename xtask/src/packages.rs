//! Debian packages that the work tree needs, and their installation.

use std::{fs, io, os::unix::fs::MetadataExt as _, process::Command};

use anyhow::{Result, bail};

use crate::process;

#[derive(Debug)]
pub(crate) struct Package {
    name: &'static str,
    purpose: &'static str,
}

const fn package(name: &'static str, purpose: &'static str) -> Package {
    Package { name, purpose }
}

pub(crate) const BUILD: &[Package] = &[
    package("ca-certificates", "certificates, to fetch crates"),
    package("gcc", "host linker"),
    package("g++", "C++ standard library, for bpf-linker"),
    package("libc6-dev", "C library headers"),
    package("llvm-22-dev", "LLVM 22, for bpf-linker"),
    package("libpolly-22-dev", "LLVM 22 Polly, for bpf-linker"),
    package("libzstd-dev", "zstd library, for bpf-linker"),
    package("zlib1g-dev", "zlib library, for bpf-linker"),
    package("musl-tools", "C compiler for static programs"),
];

pub(crate) const MACHINES: &[Package] = &[
    package("debian-archive-keyring", "keys of Debian's kernel packages"),
    package("qemu-system-x86", "test machines"),
    package("make", "to build a module for the guest"),
    package("busybox-static", "a second kind of module tools in the guest"),
    package("xz-utils", "to unpack and pack kernel modules"),
    package("zstd", "to unpack kernel modules"),
];

/// What tests on this machine and in test machines ask.
pub(crate) const TESTS: &[Package] = &[
    package("kmod", "modprobe, to ask and in the guest; depmod"),
    package("openssl", "keys to sign with"),
    package("redis-server", "the store that a fleet shares, here and in the guest"),
    package("redis-tools", "to make a cluster of it"),
    package("rsyslog", "a receiver of syslog, and a shipper that follows files"),
    package("rsyslog-openssl", "its TLS"),
];

pub(crate) const COMPARISON: &[Package] = &[package("python3-venv", "a folder for DuckDB")];

pub(crate) const BROWSER: &[Package] =
    &[package("chromium", "a browser for the hunt's report"), package("chromium-driver", "to drive the browser")];

/// A Debian for a test machine.
pub(crate) const DEBIAN: &[Package] =
    &[package("mmdebstrap", "to make a Debian system"), package("e2fsprogs", "to put it on a disk")];

pub(crate) const DIST: &[Package] = &[package("rpm", "to make RPM packages")];

pub(crate) const LINT: &[Package] = &[package("codespell", "spelling check")];

/// Installs what is missing. Touches neither the network nor the package database when nothing is.
pub(crate) fn ensure(packages: &[&[Package]]) -> Result<()> {
    let wanted: Vec<&Package> = packages.iter().copied().flatten().collect();
    if let Err(error) = process::output(Command::new("apt-get").arg("--version")) {
        if error.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound) {
            bail!("this machine has no apt; install by hand what these Debian packages hold:\n{}", by_hand(&wanted));
        }
        return Err(error);
    }
    let missing = missing(&wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    process::step("package lists", update_lists)?;
    process::step(&format!("packages {}", missing.join(" ")), || {
        process::capture(apt_get(&["install", "--yes", "--no-install-recommends"])?.args(&missing)).map(drop)
    })
}

pub(crate) fn update_lists() -> Result<()> {
    process::capture(&mut apt_get(&["update"])?).map(drop)
}

fn by_hand(packages: &[&Package]) -> String {
    packages.iter().map(|package| format!("  {:<24} {}\n", package.name, package.purpose)).collect()
}

fn missing(wanted: &[&Package]) -> Result<Vec<&'static str>> {
    let names = wanted.iter().map(|package| package.name);
    // The exit status is non-zero as soon as one name is unknown, which is an answer and not a failure.
    let output = process::output(
        Command::new("dpkg-query")
            .args(["--show", "--showformat=${db:Status-Abbrev}|${Package}\\n"])
            .args(names.clone()),
    )?;
    let shown = String::from_utf8_lossy(&output.stdout);
    Ok(names.filter(|name| !is_installed(&shown, name)).collect())
}

fn is_installed(shown: &str, name: &str) -> bool {
    shown
        .lines()
        .filter_map(|line| line.split_once('|'))
        .any(|(state, package)| package == name && state.trim() == "ii")
}

/// As root directly, else through sudo, which may ask for a password.
fn apt_get(arguments: &[&str]) -> Result<Command> {
    let is_root = fs::metadata("/proc/self")?.uid() == 0;
    let mut command = Command::new(if is_root { "env" } else { "sudo" });
    if !is_root {
        command.arg("env");
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fully_installed_packages_count() {
        let shown = "ii |kmod\nrc |zstd\nun |qemu-system-x86\n";
        assert!(is_installed(shown, "kmod"));
        assert!(!is_installed(shown, "zstd"));
        assert!(!is_installed(shown, "qemu-system-x86"));
        assert!(!is_installed(shown, "codespell"));
    }
}
