//! syslog-ng, to send to in tests. Debian does not install it beside rsyslog: it is unpacked below `target/tools/syslog-ng`.

use std::process::Command;

use anyhow::Result;

use crate::{process, unpacked, workspace};

const PACKAGE: &str = "syslog-ng-core";

pub(crate) fn fetch() -> Result<()> {
    unpacked::fetch("syslog-ng, unpacked beside rsyslog", &workspace::tools().join("syslog-ng"), || {
        // What else it needs, and this machine lacks, differs from Debian to Debian.
        let install = ["install", "--simulate", "--reinstall", "--no-install-recommends", PACKAGE];
        let simulated = process::capture_text(Command::new("apt-get").args(install))?;
        Ok(to_be_installed(&simulated))
    })
}

/// Packages as `name=version`, of lines such as `Inst libc6 [2.36-9] (2.36-10 Debian:12.15/oldstable [amd64])`; in brackets is what is
/// there.
fn to_be_installed(simulated: &str) -> Vec<String> {
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
        assert_eq!(to_be_installed(simulated), ["libssl3=3.0.18-1", "syslog-ng-core=3.38.1-5+deb12u1"]);
    }
}
