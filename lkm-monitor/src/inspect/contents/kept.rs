//! What is kept of files, to compare the next version with.

use std::collections::BTreeMap;

use crate::model::FileState;

/// Files of which something is kept.
const MAX_FILES: usize = 4096;
/// Paths and texts of all of them.
const MAX_BYTES: usize = 4 << 20;

/// A file when it was last looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Version {
    pub(super) state: FileState,
    /// Of short text files.
    pub(super) text: Option<Vec<u8>>,
}

/// The last versions, by the path on the host.
#[derive(Debug, Default)]
pub(super) struct Kept {
    versions: BTreeMap<Vec<u8>, Version>,
    bytes: usize,
}

impl Kept {
    pub(super) fn get(&self, path: &[u8]) -> Option<&Version> {
        self.versions.get(path)
    }

    /// Keeps the version of the file, or nothing but that there is none. Where there is no room for the text, only the state is
    /// kept; where there is none for the path, nothing.
    pub(super) fn set(&mut self, path: &[u8], version: Option<Version>) {
        if let Some(old) = self.versions.remove(path) {
            self.bytes -= path.len() + len(&old);
        }
        let Some(mut version) = version else { return };
        if self.versions.len() >= MAX_FILES || self.bytes + path.len() > MAX_BYTES {
            return;
        }
        if self.bytes + path.len() + len(&version) > MAX_BYTES {
            version.text = None;
        }
        self.bytes += path.len() + len(&version);
        self.versions.insert(path.to_vec(), version);
    }
}

fn len(version: &Version) -> usize {
    version.text.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(len: usize) -> Option<Version> {
        Some(Version { state: FileState::default(), text: Some(vec![0; len]) })
    }

    #[test]
    fn texts_are_bounded_and_states_remain() {
        let mut kept = Kept::default();
        for number in 0..100_u32 {
            kept.set(&number.to_be_bytes(), version(64 << 10));
        }
        let with_text = kept.versions.values().filter(|version| version.text.is_some()).count();
        assert_eq!((kept.versions.len(), with_text), (100, 63));
        for number in 0..100_u32 {
            kept.set(&number.to_be_bytes(), None);
        }
        assert_eq!((kept.versions.len(), kept.bytes), (0, 0));
    }

    #[test]
    fn files_are_bounded_and_those_that_are_known_stay() {
        let mut kept = Kept::default();
        for number in 0..5000_u32 {
            kept.set(&number.to_be_bytes(), version(1));
        }
        assert_eq!(kept.versions.len(), MAX_FILES);
        kept.set(&0_u32.to_be_bytes(), version(2));
        assert_eq!(kept.get(&0_u32.to_be_bytes()).cloned(), version(2));
        assert_eq!(kept.get(&4999_u32.to_be_bytes()), None);
        kept.set(&vec![b'a'; MAX_BYTES], version(0));
        assert_eq!(kept.versions.len(), MAX_FILES);
    }
}
