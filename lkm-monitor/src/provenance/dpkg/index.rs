//! What dpkg's database says of modules, kept in memory: some ten thousand paths of the half a million that a host has.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::{
    Files,
    diversions::{Diversions, Listing},
    list::{self, Md5},
    status::{self, Status},
};
use crate::provenance::{owner::Problems, read, stamp::Stamp};

/// 70,000 packages of a release, each with ten files.
const MAX_ENTRIES: usize = 700_000;
/// 300,000 paths. A list of a package with 4,000 modules has 0.3 MiB.
pub(super) const MAX_LIST_BYTES: u64 = 32 << 20;
/// Of 3,000 packages with 500,000 paths it is 4 MiB.
const MAX_STATUS_BYTES: u64 = 64 << 20;
const MAX_DIVERSIONS_BYTES: u64 = 4 << 20;
/// What the index may take in memory: 200,000 modules. Three kernels of Debian have 12,000.
const MAX_INDEX_BYTES: usize = 32 << 20;
/// Of one module, besides its path.
const MODULE_BYTES: usize = size_of::<Module>();

/// All lists, what they have of modules, and what tells how to read them.
#[derive(Debug, Default)]
pub(super) struct Index {
    lists: BTreeMap<Vec<u8>, List>,
    pub(super) status: Status,
    /// `None` when it is to be read again in any case.
    status_stamp: Option<Stamp>,
    pub(super) diversions: Diversions,
    pub(super) problems: Problems,
    bytes: usize,
}

/// The list of a package.
#[derive(Debug)]
struct List {
    /// `None` when it is to be read again in any case.
    stamp: Option<Stamp>,
    /// In order.
    modules: Vec<Module>,
}

#[derive(Debug)]
struct Module {
    path: Box<[u8]>,
    md5: Option<Md5>,
}

impl Index {
    /// Reads what is not in the `earlier` index, or was changed since.
    pub(super) fn read(files: &Files, earlier: Self) -> Self {
        let mut index = Self::default();
        let stamp = Stamp::of(&files.status);
        index.status = if stamp.is_some() && stamp == earlier.status_stamp {
            earlier.status
        } else {
            Status::parse(&index.content(&files.status, MAX_STATUS_BYTES))
        };
        index.status_stamp = stamp.filter(|_| index.problems.is_empty());
        let diversions = index.content(&files.diversions, MAX_DIVERSIONS_BYTES);
        match Diversions::parse(&diversions) {
            Ok(diversions) => index.diversions = diversions,
            Err(reason) => index.problems.add(&files.diversions, reason),
        }
        if let Err(reason) = index.read_lists(files, earlier.lists) {
            index.problems.add(&files.info, reason);
        }
        index
    }

    fn read_lists(&mut self, files: &Files, mut earlier: BTreeMap<Vec<u8>, List>) -> io::Result<()> {
        for (entry, number) in fs::read_dir(&files.info)?.zip(0..) {
            let (name, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
            if number >= MAX_ENTRIES || self.bytes > MAX_INDEX_BYTES {
                return Err(io::Error::other("it holds more than is read"));
            }
            let Some(stem) = name.as_bytes().strip_suffix(b".list") else { continue };
            let stamp = Stamp::of(&path);
            let known = earlier.remove(stem).filter(|known| known.stamp.is_some() && known.stamp == stamp);
            let list = known.or_else(|| self.read_list(files, stem, &path, stamp));
            let Some(list) = list else { continue };
            self.bytes += list.modules.iter().map(|module| MODULE_BYTES + module.path.len()).sum::<usize>();
            self.lists.insert(stem.to_vec(), list);
        }
        Ok(())
    }

    fn read_list(&mut self, files: &Files, stem: &[u8], path: &Path, stamp: Option<Stamp>) -> Option<List> {
        let content = match read::whole(path, MAX_LIST_BYTES) {
            Ok(content) => content,
            Err(reason) => {
                self.problems.add(path, reason);
                return None;
            }
        };
        let room = MAX_INDEX_BYTES / MODULE_BYTES;
        let mut modules: Vec<_> =
            list::modules(&content).take(room).map(|path| Module { path: path.into(), md5: None }).collect();
        if modules.is_empty() {
            return Some(List { stamp, modules });
        }
        modules.sort_by(|a, b| a.path.cmp(&b.path));
        let sums = match files.md5sums(stem) {
            Ok(sums) => sums,
            Err((path, reason)) => {
                self.problems.add(&path, reason);
                return Some(List { stamp: None, modules });
            }
        };
        for (path, md5) in list::md5sums(&sums) {
            let place = modules.binary_search_by(|module| module.path.strip_prefix(b"/").unwrap_or_default().cmp(path));
            if let Some(module) = place.ok().and_then(|place| modules.get_mut(place)) {
                module.md5 = Some(md5);
            }
        }
        Some(List { stamp, modules })
    }

    /// What there is of a file that need not be there.
    fn content(&mut self, path: &Path, max_bytes: u64) -> Vec<u8> {
        match read::whole(path, max_bytes) {
            Err(reason) if reason.kind() != io::ErrorKind::NotFound => {
                self.problems.add(path, reason);
                Vec::new()
            }
            content => content.unwrap_or_default(),
        }
    }

    /// Whose list has this module: how its files begin, and the digest of the module.
    pub(super) fn lister<'a>(&'a self, listing: &Listing<'_>) -> Option<(&'a [u8], Option<Md5>)> {
        self.stems_for(listing).find_map(|(stem, list)| {
            let place = list.modules.binary_search_by(|module| (*module.path).cmp(listing.path)).ok()?;
            Some((stem, list.modules.get(place)?.md5))
        })
    }

    /// Whose lists count for a listing.
    pub(super) fn stems<'a>(&'a self, listing: &Listing<'_>) -> impl Iterator<Item = &'a [u8]> {
        self.stems_for(listing).map(|(stem, _)| stem)
    }

    fn stems_for<'a>(&'a self, listing: &Listing<'_>) -> impl Iterator<Item = (&'a [u8], &'a List)> {
        let lists = self.lists.iter().map(|(stem, list)| (stem.as_slice(), list));
        lists.filter(|(stem, _)| listing.counts_for(status::split(stem).0))
    }
}

impl Files {
    /// The content of a package's md5sums, which it need not have.
    pub(super) fn md5sums(&self, stem: &[u8]) -> Result<Vec<u8>, (PathBuf, io::Error)> {
        let path = self.of(stem, b".md5sums");
        match read::whole(&path, MAX_LIST_BYTES) {
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            content => content.map_err(|reason| (path, reason)),
        }
    }

    pub(super) fn of(&self, stem: &[u8], ending: &[u8]) -> PathBuf {
        self.info.join(OsStr::from_bytes(&[stem, ending].concat()))
    }
}
