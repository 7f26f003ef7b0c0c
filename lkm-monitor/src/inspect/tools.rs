//! The module tools that this host has.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use crate::model::{
    InstalledTool,
    tool_run::{MANY_NAMES, TOOL_NAMES},
};

/// Where programs lie; systems whose /bin is not a link to /usr/bin have two of each.
const FOLDERS: [&str; 6] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// As much as the probes compare, and some.
const HEAD_BYTES: u64 = 64;

/// The files behind the names of module tools, each once. Some stat calls and short reads.
pub fn installed_tools() -> Vec<InstalledTool> {
    installed_in(&FOLDERS.map(Path::new))
}

fn installed_in(folders: &[&Path]) -> Vec<InstalledTool> {
    let many = MANY_NAMES.map(|name| (name, true));
    let tools = TOOL_NAMES.map(|name| (name, false));
    let mut found: Vec<InstalledTool> = Vec::new();
    // A tool that is a link to a program of many is that program.
    for (name, is_many) in many.into_iter().chain(tools) {
        for tool in folders.iter().filter_map(|folder| installed(&folder.join(name), is_many)) {
            if !found.iter().any(|other| (other.device, other.inode) == (tool.device, tool.inode)) {
                found.push(tool);
            }
        }
    }
    found
}

fn installed(path: &Path, is_many: bool) -> Option<InstalledTool> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head)).ok()?;
    let device = metadata.dev();
    let device = (rustix::fs::major(device), rustix::fs::minor(device));
    Some(InstalledTool { device, inode: metadata.ino(), head, is_many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("kmod"), "kmod").unwrap();
        fs::write(file("busybox"), "busybox").unwrap();
        std::os::unix::fs::symlink("kmod", file("modprobe")).unwrap();
        std::os::unix::fs::symlink("busybox", file("insmod")).unwrap();
        fs::create_dir(file("rmmod")).unwrap();
        let found = installed_in(&[folder.path(), folder.path()]);
        let heads: Vec<_> = found.iter().map(|tool| (tool.head.as_slice(), tool.is_many)).collect();
        assert_eq!(heads, [(&b"busybox"[..], true), (&b"kmod"[..], false)]);
    }
}
