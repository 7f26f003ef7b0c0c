//! The Debian package (deb(5), deb-control(5)), packed by dpkg-deb.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use anyhow::Result;

use super::{NAME, Release, script, tree, write};
use crate::{process, workspace};

const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

pub(super) fn pack(release: &Release) -> Result<PathBuf> {
    let root = workspace::dist().join("deb");
    process::capture(Command::new("cp").args(["--archive", "--link"]).arg(&release.tree).arg(&root))?;
    let control = root.join("DEBIAN");
    write(&control.join("control"), fields(&release.version))?;
    write(&control.join("conffiles"), format!("{}\n", tree::CONFIGURATION))?;
    for name in SCRIPTS {
        let path = control.join(name);
        write(&path, fs::read(script(name))?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let path = workspace::dist().join(format!("{NAME}_{}_amd64.deb", release.version));
    process::capture(release.packer("dpkg-deb").args(["--build", "--root-owner-group"]).arg(&root).arg(&path))?;
    fs::remove_dir_all(root)?;
    Ok(path)
}

fn fields(version: &str) -> String {
    format!(
        "Package: {NAME}
Version: {version}
Architecture: amd64
Maintainer: The lkm-monitor developers <lkm-monitor@localhost>
Section: admin
Priority: optional
Depends: systemd, passwd
Description: sees kernel modules being loaded and tells the SIEM
 An on-host daemon that watches by eBPF which kernel modules are loaded, by whom
 and from where, and writes alerts in the Elastic Common Schema.
"
    )
}
