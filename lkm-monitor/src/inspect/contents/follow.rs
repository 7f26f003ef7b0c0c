//! Where symbolic links lead, step by step. The kernel is not let follow them: it would go through whatever mounts they lead to.

use rustix::fs::readlinkat;

use super::tree::{Miss, Opened, Tree};

/// The kernel's own limit is 40 (`MAXSYMLINKS` in include/linux/namei.h); links that are meant have a few.
const MAX_LINKS: usize = 16;
/// `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;

/// The end of the way.
#[derive(Debug)]
pub(super) struct Followed {
    /// Without links.
    pub(super) path: Vec<u8>,
    pub(super) opened: Opened,
}

/// Opens what an absolute path leads to, whatever links there are on the way and at its end.
pub(super) fn to_the_end(tree: &Tree, path: &[u8]) -> Result<Followed, Miss> {
    let mut ahead: Vec<Vec<u8>> = parts(path);
    let mut at = Vec::new();
    // `None` at the root, which is asked for only where the way ends there: the host may have it from another machine.
    let mut last = None;
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == b".." {
            at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or_default());
            last = if at.is_empty() { None } else { Some(tree.open(&at)?) };
            continue;
        }
        let next = [&at[..], b"/", &part].concat();
        if next.len() > MAX_PATH_BYTES {
            return Err(Miss::Failed);
        }
        let opened = tree.open(&next)?;
        match readlinkat(&opened.fd, "", Vec::new()) {
            Ok(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Miss::Failed);
                }
                let target = target.as_bytes();
                if target.starts_with(b"/") {
                    at.clear();
                    last = None;
                }
                ahead.extend(parts(target));
            }
            // Nothing that could be read as a link.
            Err(_) => (at, last) = (next, Some(opened)),
        }
    }
    match last {
        Some(opened) => Ok(Followed { path: at, opened }),
        None => Ok(Followed { path: b"/".to_vec(), opened: tree.open(b"/")? }),
    }
}

/// The names in a path, the last one first.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    names.map(<[u8]>::to_vec).rev().collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{ffi::OsStrExt as _, fs::symlink},
    };

    use super::*;

    #[test]
    fn links_are_followed_and_circles_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        fs::create_dir_all(path.join("usr/lib/x")).unwrap();
        fs::write(path.join("usr/file"), "").unwrap();
        symlink("usr/lib", path.join("lib")).unwrap();
        symlink(path.join("lib"), path.join("usr/lib/x/back")).unwrap();
        symlink("../../file", path.join("usr/lib/x/file")).unwrap();
        symlink("b", path.join("a")).unwrap();
        symlink("a", path.join("b")).unwrap();
        let tree = Tree::host().unwrap();
        let to = |below: &str| {
            let from = path.join(below);
            to_the_end(&tree, from.as_os_str().as_bytes()).map(|followed| followed.path)
        };
        let of = |below: &str| Ok(path.join(below).as_os_str().as_bytes().to_vec());
        assert_eq!(to("usr/lib"), of("usr/lib"));
        assert_eq!(to("lib/x"), of("usr/lib/x"));
        assert_eq!(to("lib/x/back/x/back/x"), of("usr/lib/x"));
        assert_eq!(to("lib/x/file"), of("usr/file"));
        assert_eq!(to("usr/../lib/./x//"), of("usr/lib/x"));
        assert_eq!(to("a"), Err(Miss::Failed));
        assert_eq!(to("lib/none"), Err(Miss::Gone));
        assert_eq!(to_the_end(&tree, b"/../..").map(|followed| followed.path), Ok(b"/".to_vec()));
    }
}
