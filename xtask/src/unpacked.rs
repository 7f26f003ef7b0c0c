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

/// What apt would install for these packages, as `name=version`: what they need, and this machine lacks, differs from Debian to Debian.
pub(crate) fn to_be_installed(packages: &[&str]) -> Result<Vec<String>> {
    would_be_installed(Command::new("apt-get").arg("--reinstall"), packages)
}

/// The same, of an apt-get that was told what else it should know.
pub(crate) fn would_be_installed(apt_get: &mut Command, packages: &[&str]) -> Result<Vec<String>> {
    let install = ["install", "--simulate", "--no-install-recommends"];
    let simulated = process::capture_text(apt_get.args(install).args(packages))?;
    Ok(named(&simulated))
}

/// Packages in lines such as `Inst libc6 [2.36-9] (2.36-10 Debian:12.15/oldstable [amd64])`; in brackets is what is there.
fn named(simulated: &str) -> Vec<String> {
    let package = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let (_, version) = rest.split_once('(')?;
        Some(format!("{name}={}", version.split(' ').next()?))
    };
    simulated.lines().filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_installed_is_fetched_and_nothing_else() {
        let simulated = "\
The following packages will be REMOVED:
  rsyslog
Remv rsyslog [8.2302.0-1+deb12u2]
Inst libssl3 [3.0.17-1] (3.0.18-1 Debian-Security:12/oldstable-security [amd64]) []
Inst syslog-ng-core (3.38.1-5+deb12u1 Debian:12.15/oldstable [amd64])
Conf syslog-ng-core (3.38.1-5+deb12u1 Debian:12.15/oldstable [amd64])
";
        assert_eq!(named(simulated), ["libssl3=3.0.18-1", "syslog-ng-core=3.38.1-5+deb12u1"]);
    }
}
