//! Debian's auditctl, to compare with: fetched and unpacked below `target/audit`, never installed.

use std::path::PathBuf;

use anyhow::Result;

use crate::{unpacked, workspace};

/// auditctl itself, and the libraries that a machine may lack.
const PACKAGES: [&str; 4] = ["auditd", "libaudit1", "libauparse0", "libcap-ng0"];

/// Where it lies, and where its libraries may.
pub(crate) struct Auditctl {
    pub(crate) program: PathBuf,
    pub(crate) libraries: Vec<PathBuf>,
}

/// Unpacks it unless that was done before.
pub(crate) fn fetch() -> Result<Auditctl> {
    let root = workspace::target().join("audit");
    unpacked::fetch("auditctl", &root, || Ok(PACKAGES.map(String::from).to_vec()))?;
    let merged = root.join("usr/sbin/auditctl");
    let program = if merged.exists() { merged } else { root.join("sbin/auditctl") };
    let libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map(|folder| root.join(folder));
    Ok(Auditctl { program, libraries: libraries.to_vec() })
}
