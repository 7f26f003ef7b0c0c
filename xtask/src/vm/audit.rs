//! Debian's auditctl, to compare with: fetched and unpacked below `target/audit`, never installed.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;

use crate::{packages, process, workspace};

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
    if !root.exists() {
        process::step("auditctl", || {
            let partial = root.with_extension("partial");
            fs::create_dir_all(&partial)?;
            packages::update_lists()?;
            process::capture(Command::new("apt-get").arg("download").args(PACKAGES).current_dir(&partial))?;
            for entry in fs::read_dir(&partial)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "deb") {
                    process::capture(Command::new("dpkg").arg("-x").arg(&path).arg(&partial))?;
                }
            }
            Ok(fs::rename(&partial, &root)?)
        })?;
    }
    let merged = root.join("usr/sbin/auditctl");
    let program = if merged.exists() { merged } else { root.join("sbin/auditctl") };
    let libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map(|folder| root.join(folder));
    Ok(Auditctl { program, libraries: libraries.to_vec() })
}
