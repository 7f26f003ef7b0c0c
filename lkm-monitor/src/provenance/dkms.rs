//! Modules that DKMS built on the host (dkms(8)): what it built stays in
//! `/var/lib/dkms/PACKAGE/VERSION/RELEASE/ARCHITECTURE/module/`, and is copied below `/lib/modules/RELEASE/`. A link
//! `/var/lib/dkms/PACKAGE/kernel-RELEASE-ARCHITECTURE` tells which version is installed.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use super::{owner::Problems, read};
use crate::model::DigestCheck;

/// Folders that are looked at for one question. A host has some ten.
const MAX_FOLDERS: usize = 10_000;
/// How a module may be compressed.
const ENDINGS: [&str; 4] = ["", ".gz", ".xz", ".zst"];
/// Where weak-modules(8) puts modules that were built for another release of the kernel.
const WEAK: &[u8] = b"weak-updates/";

/// A module that DKMS built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Built {
    pub(super) package: Vec<u8>,
    pub(super) version: Vec<u8>,
    pub(super) architecture: Vec<u8>,
    pub(super) digest: DigestCheck,
    installed: bool,
}

/// What was built by the name of the installed file `path`, for its kernel. Of several versions it is the one with this content, else
/// the one that is said to be installed.
pub(super) fn built(root: &Path, path: &[u8], content: &[u8], problems: &mut Problems) -> Option<Built> {
    let (release, below) = installed_below(path)?;
    let name = below.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut walk = Walk { folders: 0, problems };
    let mut found: Option<Built> = None;
    for package in walk.folders(&root.join("var/lib/dkms")) {
        for version in walk.folders(&package) {
            let releases = match below.strip_prefix(WEAK) {
                None => vec![version.join(OsStr::from_bytes(release))],
                Some(_) => walk.folders(&version),
            };
            let architectures: Vec<_> = releases.iter().flat_map(|release| walk.folders(release)).collect();
            for architecture in architectures {
                let Some(digest) = walk.compare(&architecture.join("module"), name, content) else { continue };
                let built = Built {
                    package: last(&package),
                    version: last(&version),
                    architecture: last(&architecture),
                    digest,
                    installed: is_installed(&package, &architecture),
                };
                let rank = |built: &Built| (built.digest == DigestCheck::Matches, built.installed);
                if found.as_ref().is_none_or(|found| rank(found) < rank(&built)) {
                    found = Some(built);
                }
            }
        }
    }
    found
}

/// The release of the kernel for which a module is installed, and its path in the folder of the release.
fn installed_below(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let below = path.strip_prefix(b"/usr").unwrap_or(path).strip_prefix(b"/lib/modules/")?;
    let end = below.iter().position(|byte| *byte == b'/')?;
    let (release, rest) = below.split_at_checked(end)?;
    Some((release, rest.strip_prefix(b"/")?))
}

/// Whether the link of the package leads to `VERSION/RELEASE/ARCHITECTURE`.
fn is_installed(package: &Path, built: &Path) -> bool {
    let name = || {
        let architecture = built.file_name()?;
        let release = built.parent()?.file_name()?;
        Some(OsString::from_vec([b"kernel-", release.as_bytes(), b"-", architecture.as_bytes()].concat()))
    };
    let target = name().and_then(|name| fs::read_link(package.join(name)).ok());
    target.is_some_and(|target| built.ends_with(target))
}

fn last(path: &Path) -> Vec<u8> {
    path.file_name().unwrap_or_default().as_bytes().to_vec()
}

/// One question, and what could not be read for it.
struct Walk<'a> {
    folders: usize,
    problems: &'a mut Problems,
}

impl Walk<'_> {
    /// The folders in a folder, in order; links are none.
    fn folders(&mut self, folder: &Path) -> Vec<PathBuf> {
        let mut within = || {
            let mut found = Vec::new();
            for entry in fs::read_dir(folder)? {
                self.folders += 1;
                if self.folders > MAX_FOLDERS {
                    return Err(io::Error::other("it holds more than is read"));
                }
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    found.push(entry.path());
                }
            }
            found.sort();
            Ok(found)
        };
        within().unwrap_or_else(|reason| {
            self.add(folder, &reason);
            Vec::new()
        })
    }

    /// Compares with the module of this name in `folder`. `None` when there is none, `NotRecorded` when it is compressed in another way.
    fn compare(&mut self, folder: &Path, name: &[u8], content: &[u8]) -> Option<DigestCheck> {
        let path = folder.join(OsStr::from_bytes(name));
        match read::holds(&path, content) {
            Ok(true) => return Some(DigestCheck::Matches),
            Ok(false) => return Some(DigestCheck::Differs),
            Err(reason) => self.add(&path, &reason),
        }
        let plain = ENDINGS.iter().rev().find_map(|ending| name.strip_suffix(ending.as_bytes())).unwrap_or(name);
        let is_there = |ending: &&str| {
            folder.join(OsStr::from_bytes(&[plain, ending.as_bytes()].concat())).symlink_metadata().is_ok()
        };
        ENDINGS.iter().any(is_there).then_some(DigestCheck::NotRecorded)
    }

    fn add(&mut self, path: &Path, reason: &io::Error) {
        if !matches!(reason.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.problems.add(path, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const RELEASE: &str = "6.1.0-9-amd64";

    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn build(&self, package: &str, version: &str, release: &str, file: &str, content: &str) {
            let folder = self.0.path().join(format!("var/lib/dkms/{package}/{version}/{release}/x86_64/module"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), content).unwrap();
        }

        fn install(&self, package: &str, version: &str) {
            let link = self.0.path().join(format!("var/lib/dkms/{package}/kernel-{RELEASE}-x86_64"));
            symlink(format!("{version}/{RELEASE}/x86_64"), link).unwrap();
        }

        fn ask(&self, below: &str, content: &str) -> Option<(String, String, DigestCheck)> {
            let mut problems = Problems::default();
            let path = format!("/lib/modules/{RELEASE}/{below}");
            let built = built(self.0.path(), path.as_bytes(), content.as_bytes(), &mut problems);
            assert_eq!(problems, Problems::default());
            let Built { package, version, architecture, digest, .. } = built?;
            assert_eq!(architecture, b"x86_64");
            Some((String::from_utf8(package).unwrap(), String::from_utf8(version).unwrap(), digest))
        }
    }

    fn answer(package: &str, version: &str, digest: DigestCheck) -> Option<(String, String, DigestCheck)> {
        Some((package.to_owned(), version.to_owned(), digest))
    }

    #[test]
    fn a_built_module_is_known_by_its_content() {
        let host = Host::new();
        assert_eq!(host.ask("updates/dkms/a.ko", "1"), None, "no DKMS");
        host.build("a-dkms", "1.0", RELEASE, "a.ko", "1");
        host.build("a-dkms", "2.0", RELEASE, "a.ko", "2");
        host.build("other", "7", "5.10", "b.ko", "b");
        assert_eq!(host.ask("updates/dkms/a.ko", "1"), answer("a-dkms", "1.0", DigestCheck::Matches));
        assert_eq!(host.ask("extra/a.ko", "2"), answer("a-dkms", "2.0", DigestCheck::Matches));
        assert_eq!(host.ask("updates/dkms/a.ko", "3"), answer("a-dkms", "1.0", DigestCheck::Differs));
        host.install("a-dkms", "2.0");
        assert_eq!(host.ask("updates/dkms/a.ko", "3"), answer("a-dkms", "2.0", DigestCheck::Differs));
        assert_eq!(host.ask("updates/dkms/b.ko", "b"), None, "built for another kernel");
        assert_eq!(host.ask("weak-updates/b.ko", "b"), answer("other", "7", DigestCheck::Matches));
    }

    #[test]
    fn what_is_compressed_in_another_way_is_not_compared() {
        let host = Host::new();
        host.build("a", "1", RELEASE, "a.ko", "1");
        host.build("b", "1", RELEASE, "b.ko.zst", "1");
        assert_eq!(host.ask("updates/a.ko.xz", "x"), answer("a", "1", DigestCheck::NotRecorded));
        assert_eq!(host.ask("updates/b.ko", "x"), answer("b", "1", DigestCheck::NotRecorded));
        assert_eq!(host.ask("updates/c.ko", "x"), None);
    }

    #[test]
    fn other_places_are_not_those_of_dkms() {
        let host = Host::new();
        host.build("a", "1", RELEASE, "a.ko", "1");
        for path in ["/root/a.ko", "/lib/modules/a.ko", "/lib/modules/", "/opt/lib/modules/6.1.0-9-amd64/a.ko"] {
            assert_eq!(built(host.0.path(), path.as_bytes(), b"1", &mut Problems::default()), None, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let host = Host::new();
        host.build("a", "1", RELEASE, "b.ko", "1");
        let pipe = host.0.path().join(format!("var/lib/dkms/a/1/{RELEASE}/x86_64/module/a.ko"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let mut problems = Problems::default();
        let path = format!("/usr/lib/modules/{RELEASE}/updates/dkms/a.ko");
        let built = built(host.0.path(), path.as_bytes(), b"1", &mut problems).unwrap();
        assert_eq!(built.digest, DigestCheck::NotRecorded);
        let told = problems.into_vec();
        assert_eq!((told[0].path.as_path(), told[0].reason.as_str()), (pipe.as_path(), "not a regular file"));
    }
}
