//! Which paths name the same file on a host whose /lib is a link to /usr/lib: the kernel tells one, and a package may list the other.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What distributions have merged into /usr.
const FOLDERS: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// The absolute path `path`, and what else it may be called on the host below `root`.
pub(super) fn spellings(root: &Path, path: &[u8]) -> Vec<Vec<u8>> {
    let mut spellings = vec![path.to_vec()];
    let below = path.strip_prefix(b"/usr").unwrap_or(path);
    let first = below.split(|byte| *byte == b'/').nth(1).unwrap_or_default();
    let folder = FOLDERS.iter().find(|folder| folder.as_bytes() == first);
    if folder.is_some_and(|folder| is_merged(root, folder)) {
        spellings.push(if below.len() < path.len() { below.to_vec() } else { [b"/usr", path].concat() });
    }
    spellings
}

/// Whether `/folder` is a link to `/usr/folder`. Its text is compared: an absolute one, followed from here, leaves the host's root.
fn is_merged(root: &Path, folder: &str) -> bool {
    let below_usr = PathBuf::from("usr").join(folder);
    fs::read_link(root.join(folder)).is_ok_and(|target| target.strip_prefix("/").unwrap_or(&target) == below_usr)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn spelled(root: &Path, path: &str) -> Vec<String> {
        spellings(root, path.as_bytes()).into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn a_link_gives_a_file_two_names() {
        for target in ["usr/lib", "/usr/lib"] {
            let root = tempfile::tempdir().unwrap();
            symlink(target, root.path().join("lib")).unwrap();
            assert_eq!(spelled(root.path(), "/lib/a.ko"), ["/lib/a.ko", "/usr/lib/a.ko"]);
            assert_eq!(spelled(root.path(), "/usr/lib/a.ko"), ["/usr/lib/a.ko", "/lib/a.ko"]);
            assert_eq!(spelled(root.path(), "/usr/lib64/a.ko"), ["/usr/lib64/a.ko"]);
            assert_eq!(spelled(root.path(), "/opt/lib/a.ko"), ["/opt/lib/a.ko"]);
            assert_eq!(spelled(root.path(), "/usr/libx/a.ko"), ["/usr/libx/a.ko"]);
        }
    }

    #[test]
    fn folders_of_their_own_hold_other_files() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(spelled(root.path(), "/lib/a.ko"), ["/lib/a.ko"]);
        fs::create_dir(root.path().join("lib")).unwrap();
        assert_eq!(spelled(root.path(), "/usr/lib/a.ko"), ["/usr/lib/a.ko"]);
        symlink("opt/lib", root.path().join("lib64")).unwrap();
        assert_eq!(spelled(root.path(), "/lib64/a.ko"), ["/lib64/a.ko"]);
    }
}
