//! The RPM package, packed by rpmbuild from the tree as it is: nothing is compiled, stripped or looked through.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{NAME, Release, script, tree, write};
use crate::{process, workspace};

/// Sections of a spec file, and the maintainer's script for each.
const SCRIPTS: [(&str, &str); 3] = [("%pre", "preinst"), ("%post", "postinst"), ("%preun", "prerm")];

pub(super) fn pack(release: &Release) -> Result<PathBuf> {
    let top = workspace::dist().join("rpm");
    let spec = top.join(format!("{NAME}.spec"));
    write(&spec, specification(release)?)?;
    process::capture(
        release
            .packer("rpmbuild")
            .args(["-bb", "--target", "x86_64", "--define"])
            .arg(format!("_topdir {}", top.display()))
            .arg(&spec),
    )?;
    let name = format!("{NAME}-{}-1.x86_64.rpm", release.version);
    let path = workspace::dist().join(&name);
    fs::rename(top.join("RPMS/x86_64").join(&name), &path).context("rpmbuild made no package of this name")?;
    fs::remove_dir_all(top)?;
    Ok(path)
}

fn specification(release: &Release) -> Result<String> {
    let Release { version, tree: root, .. } = release;
    let mut text = format!(
        "%global use_source_date_epoch_as_buildtime 1
%global clamp_mtime_to_source_date_epoch 1
%global _buildhost localhost
%global __os_install_post %{{nil}}
%global _build_id_links none
%global debug_package %{{nil}}
%global _binary_payload w6.gzdio

Name: {NAME}
Version: {version}
Release: 1
Summary: Sees kernel modules being loaded and tells the SIEM
License: Apache-2.0
AutoReqProv: no
Requires: systemd, shadow-utils

%description
An on-host daemon that watches by eBPF which kernel modules are loaded, by whom
and from where, and writes alerts in the Elastic Common Schema.

%install
cp --archive {}/. %{{buildroot}}

%files
%defattr(-, root, root)
%dir /etc/lkm-monitor
%dir /etc/lkm-monitor/conf.d
",
        root.display()
    );
    for file in tree::files(root)? {
        let mark = if file == tree::CONFIGURATION { "%config(noreplace) " } else { "" };
        writeln!(text, "{mark}{file}")?;
    }
    for (section, name) in SCRIPTS {
        let script = fs::read_to_string(script(name))?;
        let body = script.strip_prefix("#!/bin/sh\n").context("a maintainer's script is for /bin/sh")?;
        write!(text, "\n{section} -p /bin/sh\n{body}")?;
    }
    text.push_str("\n%postun -p /bin/sh\n[ ! -d /run/systemd/system ] || systemctl daemon-reload\n");
    Ok(text)
}
