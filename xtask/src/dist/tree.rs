//! The files of the packages, where a host has them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::{NAME, write};
use crate::{process, workspace};

/// From the work tree.
const COPIED: [(&str, &str); 5] = [
    ("dist/systemd/lkm-monitor.service", "usr/lib/systemd/system/lkm-monitor.service"),
    ("dist/sysusers.d/lkm-monitor.conf", "usr/lib/sysusers.d/lkm-monitor.conf"),
    ("lkm-monitor/src/config/default.toml", "etc/lkm-monitor/config.toml"),
    ("README.md", "usr/share/doc/lkm-monitor/README.md"),
    ("CHANGELOG.md", "usr/share/doc/lkm-monitor/CHANGELOG.md"),
];
const COPIED_FOLDERS: [(&str, &str); 4] = [
    ("docs", "usr/share/doc/lkm-monitor/docs"),
    ("dist/elastic", "usr/share/lkm-monitor/elastic"),
    ("dist/grafana", "usr/share/lkm-monitor/grafana"),
    ("dist/prometheus", "usr/share/lkm-monitor/prometheus"),
];
/// What the daemon writes about itself.
const GENERATED: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/lkm-monitor"),
    ("zsh", "usr/share/zsh/vendor-completions/_lkm-monitor"),
    ("fish", "usr/share/fish/vendor_completions.d/lkm-monitor.fish"),
];
pub(super) const CONFIGURATION: &str = "/etc/lkm-monitor/config.toml";
const PROGRAM: u32 = 0o755;
const FILE: u32 = 0o644;

/// Writes all of them below `root`, with the modes that they will have.
pub(super) fn write_all(root: &Path) -> Result<()> {
    let daemon = workspace::release_binary(workspace::STATIC, NAME);
    let installed = root.join("usr/sbin/lkm-monitor");
    write(&installed, fs::read(&daemon).with_context(|| format!("cannot read {}", daemon.display()))?)?;
    for (from, to) in COPIED {
        write(&root.join(to), fs::read(workspace::root().join(from)).with_context(|| format!("cannot read {from}"))?)?;
    }
    for (from, to) in COPIED_FOLDERS {
        copy(&workspace::root().join(from), &root.join(to))?;
    }
    fs::create_dir_all(root.join("etc/lkm-monitor/conf.d"))?;
    for (what, to) in GENERATED {
        write(&root.join(to), generated(&daemon, what)?)?;
    }
    let page = root.join("usr/share/man/man1/lkm-monitor.1");
    write(&page, generated(&daemon, "man")?)?;
    process::capture(Command::new("gzip").args(["-n", "-9"]).arg(&page))?;
    write(&root.join("usr/share/doc/lkm-monitor/copyright"), fs::read(workspace::root().join("LICENSE"))?)?;
    modes(root)?;
    fs::set_permissions(installed, fs::Permissions::from_mode(PROGRAM))?;
    Ok(())
}

fn generated(daemon: &Path, what: &str) -> Result<Vec<u8>> {
    process::capture(Command::new(daemon).args(["generate", what]).stderr(Stdio::null()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            write(&to, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// Whatever the builder's umask is.
fn modes(folder: &Path) -> Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(PROGRAM))?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            modes(&path)?;
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(FILE))?;
        }
    }
    Ok(())
}

/// Paths of all files below `root`, as on a host, sorted.
pub(super) fn files(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(format!("/{}", path.strip_prefix(root)?.display()));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_tests_is_packed() {
        let packed: Vec<_> = COPIED.iter().chain(&COPIED_FOLDERS).map(|(from, _)| *from).collect();
        assert!(packed.iter().all(|from| !from.starts_with("tests") && !from.starts_with("target")), "{packed:?}");
        // Folders are packed whole.
        for (folder, _) in COPIED_FOLDERS {
            let files = files(&workspace::root().join(folder)).unwrap();
            assert!(files.iter().all(|path| !path.ends_with(".c") && !path.ends_with(".ko")), "{files:?}");
        }
    }
}
