//! Debian packages whose files are used from where they are unpacked: nothing is installed.

use std::{fs, path::Path, process::Command};

use anyhow::Result;

use crate::{packages, process};

/// Fetches packages (names, or `name=version`) into the folder `root`, unless that was done before.
pub(crate) fn fetch(what: &str, root: &Path, packages: impl FnOnce() -> Result<Vec<String>>) -> Result<()> {
    if root.exists() {
        return Ok(());
    }
    process::step(what, || {
        let partial = root.with_extension("partial");
        fs::create_dir_all(&partial)?;
        packages::update_lists()?;
        process::capture(Command::new("apt-get").arg("download").args(packages()?).current_dir(&partial))?;
        unpack(&partial, &partial)?;
        Ok(fs::rename(&partial, root)?)
    })
}

/// Unpacks the package files in one folder into another.
pub(crate) fn unpack(folder: &Path, root: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            process::capture(Command::new("dpkg").arg("-x").arg(&path).arg(root))?;
        }
    }
    Ok(())
}
