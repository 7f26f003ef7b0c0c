//! The database of dpkg, read from its files (dpkg's `lib/dpkg/db-fsys-files.c` and `db-fsys-divert.c`).
//!
//! What packages have below module folders is kept in memory and brought up to date when the database changed. A file elsewhere is
//! looked for in all lists. A module is no conffile, so the digests in the status file do not matter. While dpkg is at work, what it did
//! last is in `updates/` and not in the status file: the version of a package that is just being unpacked may be the earlier one.

mod diversions;
mod index;
mod list;
mod status;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use self::{diversions::Listing, index::Index, list::Md5};
use super::{
    digest::{Algorithm, Recorded},
    owner::{Found, Owner, Problems},
    read,
};
use crate::model::Manager;

/// What is read to find one file that is no module: 3,000 packages have 40 MiB of lists.
const MAX_SEARCHED_BYTES: u64 = 1 << 30;

/// The database.
#[derive(Debug)]
pub(super) struct Dpkg {
    files: Files,
    index: Option<Index>,
}

/// Where it is.
#[derive(Debug)]
struct Files {
    info: PathBuf,
    status: PathBuf,
    diversions: PathBuf,
}

impl Dpkg {
    pub(super) fn new(root: &Path) -> Self {
        let folder = root.join("var/lib/dpkg");
        let [info, status, diversions] = ["info", "status", "diversions"].map(|name| folder.join(name));
        Self { files: Files { info, status, diversions }, index: None }
    }

    /// What changes when the database changes: dpkg exchanges files for new ones.
    pub(super) fn paths(&self) -> [&Path; 3] {
        [&self.files.info, &self.files.status, &self.files.diversions]
    }

    /// Reads what has changed. To be called before the first question, and when the paths were changed.
    pub(super) fn refresh(&mut self) {
        let earlier = self.index.take().unwrap_or_default();
        self.index = self.files.info.is_dir().then(|| Index::read(&self.files, earlier));
    }

    /// Who owns the file with these names. `None` when there is no such database.
    pub(super) fn owner(&self, spellings: &[Vec<u8>]) -> Option<Found> {
        let index = self.index.as_ref()?;
        let mut problems = Problems::default();
        let listed = index.diversions.listings(spellings).into_iter().find_map(|listing| {
            if list::is_below_modules(listing.path) {
                index.lister(&listing).map(|(stem, md5)| (stem.to_vec(), md5))
            } else {
                self.search(index, &listing, &mut problems)
            }
        });
        let Some((stem, md5)) = listed else {
            problems.extend(index.problems.iter().cloned());
            return Some(Found { owner: None, problems });
        };
        // Those of other packages do not bear upon the answer.
        let own = [&self.files.status, &self.files.diversions, &self.files.of(&stem, b".md5sums")];
        problems.extend(index.problems.iter().filter(|problem| own.contains(&&problem.path)).cloned());
        let installed = index.status.installed(&stem);
        let (name, architecture) = status::split(&stem);
        let owner = Owner {
            manager: Manager::Dpkg,
            package: name.to_vec(),
            version: installed.map(|installed| installed.version.to_vec()),
            architecture: installed.map(|installed| installed.architecture).or(architecture).map(<[u8]>::to_vec),
            recorded: md5.map(|md5| Recorded { algorithm: Algorithm::Md5, value: md5.to_vec() }),
        };
        Some(Found { owner: Some(owner), problems })
    }

    /// Looks through all lists.
    fn search(&self, index: &Index, listing: &Listing<'_>, problems: &mut Problems) -> Option<(Vec<u8>, Option<Md5>)> {
        let mut searched_bytes = 0;
        for stem in index.stems(listing) {
            if searched_bytes > MAX_SEARCHED_BYTES {
                problems.add(&self.files.info, "it holds more than is searched");
                return None;
            }
            let path = self.files.of(stem, b".list");
            match read::whole(&path, index::MAX_LIST_BYTES) {
                Ok(content) if list::holds(&content, listing.path) => {
                    return Some((stem.to_vec(), self.md5(stem, listing.path, problems)));
                }
                Ok(content) => searched_bytes += content.len() as u64,
                Err(reason) => problems.add(&path, reason),
            }
        }
        None
    }

    fn md5(&self, stem: &[u8], path: &[u8], problems: &mut Problems) -> Option<Md5> {
        match self.files.md5sums(stem) {
            Ok(sums) => {
                let path = path.strip_prefix(b"/").unwrap_or(path);
                list::md5sums(&sums).find(|(listed, _)| *listed == path).map(|(_, md5)| md5)
            }
            Err((path, reason)) => {
                problems.add(&path, reason);
                None
            }
        }
    }
}
