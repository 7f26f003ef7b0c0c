//! Modules in the tree where they were built (kernel's `Documentation/kbuild/modules.rst`): Kbuild leaves `NAME.mod` beside `NAME.ko`, and
//! `Module.symvers` in the top folder; `/lib/modules/RELEASE/build` is a link to the tree of a kernel that was installed from it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Folders above the file that are looked at. The kernel's own are nine deep.
const MAX_DEPTH: usize = 32;
/// Kernels that are installed.
const MAX_RELEASES: usize = 256;

/// The top folder of the build that the file `path` is from, as the host names it. Only names are looked at, and no file is opened.
pub(super) fn tree(root: &Path, path: &[u8]) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(path));
    let above: Vec<_> = path.ancestors().skip(1).take(MAX_DEPTH).filter(|folder| folder.parent().is_some()).collect();
    built_beside(root, path, &above).or_else(|| linked(root, &above))
}

fn built_beside(root: &Path, path: &Path, above: &[&Path]) -> Option<PathBuf> {
    let is_there = |folder: &Path, name: &str| below(root, &folder.join(name)).symlink_metadata().is_ok();
    let own = *above.first()?;
    let name = path.file_name()?.to_str()?.strip_suffix(".ko")?;
    if !is_there(own, &format!("{name}.mod")) {
        return None;
    }
    let top = above.iter().find(|folder| is_there(folder, "Module.symvers"));
    // A build that failed later leaves no list of symbols.
    let top = top.or_else(|| above.iter().find(|folder| is_there(folder, "Makefile") || is_there(folder, "Kbuild")));
    Some(top.map_or(own, |top| top).to_owned())
}

fn linked(root: &Path, above: &[&Path]) -> Option<PathBuf> {
    let releases = fs::read_dir(root.join("lib/modules")).into_iter().flatten().flatten().take(MAX_RELEASES);
    let mut targets = releases.filter_map(|release| fs::read_link(release.path().join("build")).ok());
    targets.find(|target| above.contains(&target.as_path()))
}

/// The path on the host as it is seen from here.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Host(tempfile::TempDir);

    impl Host {
        fn new(files: &[&str]) -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            for file in files {
                let path = host.0.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            host
        }

        fn tree(&self, path: &str) -> Option<PathBuf> {
            tree(self.0.path(), path.as_bytes())
        }
    }

    #[test]
    fn what_kbuild_leaves_behind_tells_the_tree() {
        let host =
            Host::new(&["src/x/Module.symvers", "src/x/Makefile", "src/x/a.mod", "src/x/deep/b.mod", "src/x/c.ko"]);
        assert_eq!(host.tree("/src/x/a.ko"), Some("/src/x".into()));
        assert_eq!(host.tree("/src/x/deep/b.ko"), Some("/src/x".into()));
        for elsewhere in ["/src/x/c.ko", "/src/x/deep/a.ko", "/src/x/a", "/a.ko", "/", "/src/none/a.ko"] {
            assert_eq!(host.tree(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_build_that_failed_has_its_makefile() {
        let host = Host::new(&["src/x/Kbuild", "src/x/deep/a.mod", "y/b.mod"]);
        assert_eq!(host.tree("/src/x/deep/a.ko"), Some("/src/x".into()));
        assert_eq!(host.tree("/y/b.ko"), Some("/y".into()));
    }

    #[test]
    fn the_tree_of_an_installed_kernel_is_one() {
        let host = Host::new(&["lib/modules/6.1.0/modules.dep"]);
        symlink("/home/me/linux", host.0.path().join("lib/modules/6.1.0/build")).unwrap();
        assert_eq!(host.tree("/home/me/linux/fs/ext4/ext4.ko"), Some("/home/me/linux".into()));
        assert_eq!(host.tree("/home/me/linux2/a.ko"), None);
    }

    #[test]
    fn a_path_of_any_depth_has_an_end() {
        let host = Host::new(&["Module.symvers", "x/a.mod"]);
        assert_eq!(host.tree("/x/a.ko"), Some("/x".into()), "not the root folder");
        assert_eq!(host.tree(&format!("/{}a.ko", "x/".repeat(10_000))), None);
    }
}
