//! Names of groups: what of an event they are made of, and how the store holds them.

use sha2::{Digest as _, Sha256};

use crate::model::Kind;

/// Longer names are cut and end with a hash of the whole.
const MAX_BYTES: usize = 1024;

/// The name of a group. Parts hold no control character, so that a NUL can part them; names of files that lie beside each other do so
/// in the store, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Box<[u8]>);

impl GroupName {
    /// Of these parts.
    pub fn new<'a>(kind: Kind, parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bytes = vec![letter(kind)];
        for part in parts {
            bytes.extend(part.bytes().map(|byte| if byte == 0 { b' ' } else { byte }));
            bytes.push(0);
        }
        if bytes.len() > MAX_BYTES {
            let digest = Sha256::digest(&bytes);
            bytes.truncate(MAX_BYTES - 1 - digest.len());
            bytes.push(CUT);
            bytes.extend(digest);
        }
        Self(bytes.into())
    }

    /// Before all others.
    pub fn first() -> Self {
        Self(Box::default())
    }

    /// As the store has it.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// For the store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What kind of group it is, unless the store holds something else.
    pub fn kind(&self) -> Option<Kind> {
        [Kind::File, Kind::Tool, Kind::Module].into_iter().find(|kind| self.0.first() == Some(&letter(*kind)))
    }

    /// Its parts. Of a name that was cut, the last one is not whole.
    pub fn parts(&self) -> Vec<String> {
        let cut = self.0.len() == MAX_BYTES && self.0.get(MAX_BYTES - 33) == Some(&CUT);
        let shown = if cut { &self.0[1..MAX_BYTES - 33] } else { self.0.get(1..).unwrap_or_default() };
        let shown = shown.strip_suffix(b"\0").unwrap_or(shown);
        shown.split(|&byte| byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    }

    /// A short name that is the same on all hosts.
    pub fn digest(&self) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::digest(&self.0)[..16]);
        short
    }
}

/// Stands in no text.
const CUT: u8 = 1;

const fn letter(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'f',
        Kind::Tool => b't',
        Kind::Module => b'm',
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_are_read_back_and_differ(
            parts in proptest::collection::vec("[a-z/ ]{0,12}", 1..4),
            others in proptest::collection::vec("[a-z/ ]{0,12}", 1..4),
        ) {
            let name = |parts: &[String]| GroupName::new(Kind::Tool, parts.iter().map(String::as_str));
            prop_assert_eq!(name(&parts).parts(), parts.clone());
            prop_assert_eq!(name(&parts).kind(), Some(Kind::Tool));
            prop_assert_eq!(name(&parts) == name(&others), parts == others);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let name = GroupName::from_bytes(&bytes);
            let _ = (name.kind(), name.parts(), name.digest());
        }
    }

    #[test]
    fn long_names_are_cut_and_still_differ() {
        let long = "x".repeat(5000);
        let [a, b] = ["a", "b"].map(|end| GroupName::new(Kind::File, [long.as_str(), end]));
        assert_ne!(a, b);
        assert_eq!((a.as_bytes().len(), a.parts().len()), (MAX_BYTES, 1));
    }
}
