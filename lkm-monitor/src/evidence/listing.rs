//! What is in the folder, by its names.

use std::collections::BTreeSet;

use rustix::fs::Dir;

use super::{
    folder::{Folder, FolderError},
    name::{Digest, Name},
};

/// Names that are looked at: a hundred times as many as the store has of its own.
const MAX_NAMES: usize = 1 << 18;
const SHOWN_STRANGERS: usize = 8;

/// Files that are not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strangers {
    pub number: u64,
    /// Names of some of them, as they are.
    pub shown: Vec<Vec<u8>>,
}

/// The names in the folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) images: BTreeSet<Digest>,
    pub(super) records: BTreeSet<Digest>,
    /// Files that are being written, or that a crash left.
    pub(super) new: Vec<String>,
    pub(super) strangers: Strangers,
    /// There are more names than are looked at.
    pub(super) is_cut: bool,
}

impl Listing {
    pub(super) fn read(folder: &Folder) -> Result<Self, FolderError> {
        Self::read_up_to(folder, MAX_NAMES)
    }

    fn read_up_to(folder: &Folder, max_names: usize) -> Result<Self, FolderError> {
        let failed = |error| folder.failed("list", "", error);
        let mut listing = Self::default();
        for (number, entry) in Dir::read_from(&folder.fd).map_err(failed)?.enumerate() {
            let entry = entry.map_err(failed)?;
            if number >= max_names {
                listing.is_cut = true;
                break;
            }
            listing.add(entry.file_name().to_bytes());
        }
        Ok(listing)
    }

    fn add(&mut self, name: &[u8]) {
        match Name::parse(name) {
            Some(Name::Image(digest)) => drop(self.images.insert(digest)),
            Some(Name::Record(digest)) => drop(self.records.insert(digest)),
            Some(Name::Clock) => {}
            None if name == b"." || name == b".." => {}
            None if Name::is_new(name) => self.new.extend(String::from_utf8(name.to_vec())),
            None => {
                self.strangers.number += 1;
                if self.strangers.shown.len() < SHOWN_STRANGERS {
                    self.strangers.shown.push(name.to_vec());
                }
            }
        }
    }

    /// Of which there is an image or a record.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.images.union(&self.records).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

    use super::*;

    #[test]
    fn each_name_is_what_it_is() {
        let path = tempfile::tempdir().unwrap();
        let digits = "ab".repeat(32);
        let ours = [
            format!("{digits}.evidence"),
            "cd".repeat(32) + ".json",
            format!("{digits}.json.new"),
            "clock.json".into(),
        ];
        let strange: &[&[u8]] = &[b"notes", b"\xff\x1b", b"x.evidence"];
        for name in ours.iter().map(String::as_bytes).chain(strange.iter().copied()) {
            fs::write(path.path().join(OsStr::from_bytes(name)), "").unwrap();
        }
        let folder = Folder::open_to_read(path.path()).unwrap();
        let mut listing = Listing::read(&folder).unwrap();
        assert_eq!(listing.digests().collect::<Vec<_>>(), [[0xab; 32], [0xcd; 32]]);
        assert_eq!((listing.images.len(), listing.records.len()), (1, 1));
        assert_eq!(listing.new, [ours[2].clone()]);
        listing.strangers.shown.sort();
        assert_eq!(
            listing.strangers,
            Strangers { number: 3, shown: [strange[0], strange[2], strange[1]].map(Vec::from).to_vec() }
        );
        assert!(!listing.is_cut);
        assert!(Listing::read_up_to(&folder, 4).unwrap().is_cut);
    }
}
