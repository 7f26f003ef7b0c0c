//! Where things lie in the work tree. Everything that is generated is below `target/`.

use std::path::{Path, PathBuf};

/// The daemon and the guest's `/init` are static: one file runs on every kernel and distribution.
pub(crate) const STATIC: &str = "x86_64-unknown-linux-musl";
/// A 32-bit caller takes the kernel's compat system calls, which is what one scenario is about.
pub(crate) const STATIC_32_BIT: &str = "i686-unknown-linux-musl";

pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Programs built for this tree only, such as bpf-linker: they are never installed on the machine.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

pub(crate) fn kernels() -> PathBuf {
    target().join("kernels")
}

/// What modules for these kernels are built with.
pub(crate) fn headers() -> PathBuf {
    target().join("headers")
}

/// Modules that are built for test machines, by kernel line.
pub(crate) fn built_fixtures(line: &str) -> PathBuf {
    target().join("fixtures").join(line)
}

/// The packages of the last `cargo xtask dist`.
pub(crate) fn dist() -> PathBuf {
    target().join("dist")
}

/// Console log, documents and initramfs of one kernel line's last run.
pub(crate) fn machine(line: &str) -> PathBuf {
    target().join("vm").join(line)
}

pub(crate) fn release_binary(triple: &str, name: &str) -> PathBuf {
    target().join(triple).join("release").join(name)
}

/// The path as a person standing in the work tree would type it.
pub(crate) fn display(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
