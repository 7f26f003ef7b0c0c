//! What a package leaves behind.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::fs::FileType;

/// What changes whether there is the package or not: the machine's own state and logs, the package manager's, and this test's.
const OTHERS: [&str; 12] = [
    "/root",
    "/tmp",
    "/var/tmp",
    "/var/backups",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/service-test",
    "/var/lib/systemd",
    "/var/log/apt",
    "/var/log/dpkg.log",
    "/var/log/journal",
];
const KEPT: &str = "/var/tmp/traces";

/// Remembers which paths there are.
pub(crate) fn remember() {
    let paths: Vec<_> = paths().into_iter().collect();
    fs::write(KEPT, paths.join("\n")).expect("remember the paths");
}

/// Paths that have come since.
pub(crate) fn new_ones() -> Vec<String> {
    let before = fs::read_to_string(KEPT).expect("what was remembered");
    let before: BTreeSet<&str> = before.lines().collect();
    paths().into_iter().filter(|path| !before.contains(path.as_str())).collect()
}

/// All paths on the disk.
fn paths() -> BTreeSet<String> {
    let disk = fs::metadata("/").expect("look at the root").dev();
    let mut paths = BTreeSet::new();
    let mut folders = vec![Path::new("/").to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(stat) = entry.metadata() else { continue };
            if stat.dev() != disk || OTHERS.iter().any(|other| path == Path::new(other)) {
                continue;
            }
            if FileType::from_raw_mode(stat.mode()) == FileType::Directory {
                folders.push(path.clone());
            }
            paths.insert(path.to_string_lossy().into_owned());
        }
    }
    paths
}
