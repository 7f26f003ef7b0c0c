//! Which package a file comes from, and whether it is what the package brought: read from the databases of dpkg and rpm, and from the
//! folders of DKMS and of kernel builds. No program is run.

mod answers;
mod digest;
mod dkms;
mod dpkg;
mod kernel_build;
mod owner;
mod read;
mod rpm;
mod spelling;
mod stamp;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use self::{
    answers::Answers,
    dkms::Built,
    dpkg::Dpkg,
    owner::{Found, Owner, Problems},
    rpm::Rpm,
    spelling::spellings,
    stamp::Stamps,
};
use crate::model::{DigestCheck, Manager, Provenance};

/// The databases of one host.
#[derive(Debug)]
pub struct Packages {
    root: PathBuf,
    dpkg: Dpkg,
    rpm: Rpm,
    answers: Answers,
    /// From what the answers were made.
    read: Option<Stamps>,
}

impl Packages {
    /// Those of the host whose root folder is seen as `root`. Nothing is read yet.
    pub fn new(root: &Path) -> Self {
        let (dpkg, rpm) = (Dpkg::new(root), Rpm::new(root));
        Self { root: root.to_owned(), dpkg, rpm, answers: Answers::default(), read: None }
    }

    /// Reads the databases, which may take seconds, so that the first question need not.
    pub fn read(&mut self) {
        let stamps = Stamps::of(self.dpkg.paths().into_iter().chain(self.rpm.paths()));
        if !self.read.as_ref().is_some_and(|read| stamps.vouch_for(read)) {
            self.answers.clear();
            self.dpkg.refresh();
            self.read = Some(stamps);
        }
    }

    /// Where the file at `path` comes from, whose bytes are `content`.
    ///
    /// The path is absolute, as the kernel tells it. A question after the databases changed reads them again. Besides them, names beside and
    /// above the file are looked at, on whichever file system that is: who asks must not mind to wait.
    pub fn owner(&mut self, path: &[u8], content: &[u8]) -> Provenance {
        let mut provenance = if is_whole(path) {
            let Found { owner, problems } = self.found(path);
            match owner {
                Some(owner) => of_package(owner, problems, content),
                None => self.of_build(path, problems, content),
            }
        } else {
            let mut problems = Problems::default();
            problems.add(&self.root.join(bytes_path(path)), "not the absolute path of a file");
            nobody(problems)
        };
        for problem in &mut provenance.problems {
            if let Ok(below) = problem.path.strip_prefix(&self.root) {
                problem.path = Path::new("/").join(below);
            }
        }
        provenance
    }

    /// What the databases say.
    fn found(&mut self, path: &[u8]) -> Found {
        self.read();
        if let Some(found) = self.answers.get(path) {
            return found;
        }
        let found = self.ask(&spellings(&self.root, path));
        self.answers.put(path, &found);
        found
    }

    fn ask(&self, spellings: &[Vec<u8>]) -> Found {
        let mut none = Found::default();
        let mut answers = [self.dpkg.owner(spellings), self.rpm.owner(spellings)].into_iter().flatten().peekable();
        if answers.peek().is_none() {
            none.problems.add(&self.root, "neither dpkg nor rpm has a database here");
        }
        for found in answers {
            if found.owner.is_some() {
                return found;
            }
            none.problems.extend(found.problems.into_vec());
        }
        none
    }

    /// Of a file that no package owns.
    fn of_build(&self, path: &[u8], mut problems: Problems, content: &[u8]) -> Provenance {
        if let Some(built) = dkms::built(&self.root, path, content, &mut problems) {
            let Built { package, version, architecture, digest, .. } = built;
            return Provenance {
                manager: Manager::Dkms,
                package: Some(package),
                version: Some(version),
                architecture: Some(architecture),
                digest,
                problems: problems.into_vec(),
            };
        }
        match kernel_build::tree(&self.root, path) {
            Some(tree) => Provenance {
                manager: Manager::KernelBuild,
                package: Some(tree.as_os_str().as_bytes().to_vec()),
                ..nobody(problems)
            },
            None => nobody(problems),
        }
    }
}

fn of_package(owner: Owner, problems: Problems, content: &[u8]) -> Provenance {
    Provenance {
        manager: owner.manager,
        package: Some(owner.package),
        version: owner.version,
        architecture: owner.architecture,
        digest: owner.recorded.map_or(DigestCheck::NotRecorded, |recorded| recorded.check(content)),
        problems: problems.into_vec(),
    }
}

fn nobody(problems: Problems) -> Provenance {
    Provenance {
        manager: if problems.is_empty() { Manager::None } else { Manager::Unknown },
        package: None,
        version: None,
        architecture: None,
        digest: DigestCheck::NotRecorded,
        problems: problems.into_vec(),
    }
}

/// Whether this is an absolute path in which each part but the first is a name.
fn is_whole(path: &[u8]) -> bool {
    let is_name = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
    path.strip_prefix(b"/").is_some_and(|below| below.split(|byte| *byte == b'/').all(is_name))
}

fn bytes_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}
