//! Names of groups: what of an event they are made of, and how the store holds them.

use sha2::{Digest as _, Sha256};

use crate::model::{
    Kind,
    text::{hex, unhex},
};

/// Longer names are cut and end with a hash of the whole.
const MAX_BYTES: usize = 384;

/// The name of a group: a letter for its kind, and its parts, each with a NUL behind it. Parts are texts, which hold no control
/// character; a hash is kept as its bytes. Names of files that lie beside each other do so in the store, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Box<[u8]>);

impl GroupName {
    /// Of these parts.
    pub fn new<'a>(kind: Kind, parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bytes = vec![letter(kind)];
        for part in parts {
            match sha256(part) {
                Some(hash) => {
                    bytes.push(HASH);
                    bytes.extend(hash);
                }
                None => bytes.extend(part.bytes().map(|byte| if MARKS.contains(&byte) { b' ' } else { byte })),
            }
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
        let cut = self.0.len() == MAX_BYTES && self.0.get(MAX_BYTES - 1 - HASH_BYTES) == Some(&CUT);
        let mut rest = if cut { &self.0[1..MAX_BYTES - 1 - HASH_BYTES] } else { self.0.get(1..).unwrap_or_default() };
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let hash = rest.strip_prefix(&[HASH]).and_then(|rest| rest.split_at_checked(HASH_BYTES));
            let (part, behind) = match hash {
                Some((hash, behind)) => (hex(hash), behind.get(1..).unwrap_or_default()),
                None => {
                    let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
                    (String::from_utf8_lossy(&rest[..end]).into_owned(), rest.get(end + 1..).unwrap_or_default())
                }
            };
            parts.push(part);
            rest = behind;
        }
        parts
    }

    /// A short name that is the same on all hosts whose groups are made of the same `keys`.
    pub fn digest(&self, keys: &str) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(
            &Sha256::new().chain_update(keys).chain_update([0]).chain_update(&self.0).finalize()[..16],
        );
        short
    }
}

/// What stands in no text: between parts, before the hash of a name that was cut, before a part that is a hash.
const MARKS: [u8; 3] = [0, CUT, HASH];
const CUT: u8 = 1;
const HASH: u8 = 2;
const HASH_BYTES: usize = 32;

/// The bytes of a hash in hexadecimal digits, as we write them.
fn sha256(part: &str) -> Option<Vec<u8>> {
    (part.len() == 2 * HASH_BYTES).then(|| unhex(part)).flatten().filter(|bytes| hex(bytes) == part)
}

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
            parts in proptest::collection::vec("[a-z/ ]{0,12}|[0-9a-f]{64}|[0-9A-F]{64}", 1..4),
            others in proptest::collection::vec("[a-z/ ]{0,12}|[0-9a-f]{64}|[0-9A-F]{64}", 1..4),
        ) {
            let name = |parts: &[String]| GroupName::new(Kind::Tool, parts.iter().map(String::as_str));
            prop_assert_eq!(name(&parts).parts(), parts.clone());
            prop_assert_eq!(name(&parts).kind(), Some(Kind::Tool));
            prop_assert_eq!(name(&parts) == name(&others), parts == others);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let name = GroupName::from_bytes(&bytes);
            let _ = (name.kind(), name.parts(), name.digest(""));
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
