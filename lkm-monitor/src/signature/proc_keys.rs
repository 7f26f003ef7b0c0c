//! Keys that the kernel itself has, as far as /proc/keys shows them (proc_keys_show in security/keys/proc.c).
//!
//! ```text
//! 1d5ee1fd I------     1 perm 1f030000     0     0 asymmetri Debian Secure Boot CA: 6cce...: X509.rsa bb419ea1 []
//! 0f4be8ad I------     1 perm 1f030000     0     0 blacklist tbs:80b4...
//! ```
//!
//! Which keyring a key is in is not shown. A description can hold any byte, so a user who may add keys can make lines that look like the
//! kernel's: what is read here is a hint, and never makes a signature valid.

use std::{collections::HashSet, path::Path};

use memchr::memmem;

use super::certificate::{MAX_KEY_ID_BYTES, MAX_NAME_BYTES};
use crate::{
    inspect::regular,
    model::{
        ListedKey,
        text::{shorten, text, unhex},
    },
};

const MAX_FILE_BYTES: u64 = 4 << 20;

/// Why it is not known what the kernel has.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProcKeysError {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("it has more than {MAX_FILE_BYTES} bytes")]
    TooLong,
}

/// Keys of root that the kernel shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KernelKeys {
    asymmetric: Vec<ListedKey>,
    /// Digests of certificates that it refuses (`BLACKLIST_HASH_X509_TBS`).
    revoked: HashSet<Vec<u8>>,
}

impl KernelKeys {
    pub(super) fn read(path: &Path) -> Result<Self, ProcKeysError> {
        let content = regular::read(path, MAX_FILE_BYTES + 1)?;
        if content.len() as u64 > MAX_FILE_BYTES {
            return Err(ProcKeysError::TooLong);
        }
        Ok(Self::parse(&content))
    }

    /// Whether it says nothing: a kernel that verifies modules has a key at least, and shows root's keys to root alone.
    pub(super) fn is_silent(&self) -> bool {
        self.asymmetric.is_empty() && self.revoked.is_empty()
    }

    fn parse(content: &[u8]) -> Self {
        let mut keys = Self::default();
        for (kind, description) in content.split(|byte| *byte == b'\n').filter_map(live_key_of_root) {
            match kind {
                b"asymmetri" => keys.asymmetric.extend(listed(description)),
                b"blacklist" => keys.revoked.extend(revoked(description)),
                _ => {}
            }
        }
        keys
    }

    /// Whether a certificate with this digest of what is signed in it is refused.
    pub(super) fn is_revoked(&self, tbs_digest: &[u8]) -> bool {
        self.revoked.contains(tbs_digest)
    }

    /// A key with this subject key id, or with this serial number and no subject key id. Both in hexadecimal.
    pub(super) fn by_id(&self, id: &str) -> Option<&ListedKey> {
        self.asymmetric.iter().find(|key| key.id.as_deref() == Some(id))
    }

    /// A key of a certificate whose subject has this common name.
    pub(super) fn by_common_name(&self, name: &str) -> Option<&ListedKey> {
        // With an organization that is not the start of the common name, it stands in front: `x509_fabricate_name`.
        let has_name =
            |key: &&ListedKey| key.name.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with(": "));
        self.asymmetric.iter().filter(|_| !name.is_empty()).find(has_name)
    }
}

/// The type and the description of a line.
fn live_key_of_root(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_serial, rest) = field(line)?;
    let (flags, rest) = field(rest)?;
    let (_usage, rest) = field(rest)?;
    let (_expiry, rest) = field(rest)?;
    let (_permissions, rest) = field(rest)?;
    let (user, rest) = field(rest)?;
    let (_group, rest) = field(rest)?;
    let (kind, description) = field(rest)?;
    // Instantiated, and neither revoked, dead, negative nor invalidated; nor counted in a user's quota, as what processes add is.
    let is_live = flags.first() == Some(&b'I') && !flags.iter().any(|flag| b"RDNiQ".contains(flag));
    (is_live && user == b"0").then_some((kind, description))
}

/// The next word, and what follows the space behind it.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|byte| *byte == b' ')?;
    let (word, rest) = line.split_at_checked(end)?;
    Some((word, rest.get(1..)?))
}

/// `name: id: X509.rsa 01234567 []`, or `name: X509.rsa 01234567 []` (asymmetric_key_describe).
fn listed(description: &[u8]) -> Option<ListedKey> {
    let (named, _algorithm) = split_last(description)?;
    let (name, id) = match split_last(named) {
        Some((name, id)) if is_hex(id) => (name, str::from_utf8(id).ok()),
        _ => (named, None),
    };
    let name = shorten(&text(name), MAX_NAME_BYTES);
    Some(ListedKey { name, id: id.filter(|id| id.len() <= 2 * MAX_KEY_ID_BYTES).map(str::to_owned) })
}

fn revoked(description: &[u8]) -> Option<Vec<u8>> {
    unhex(str::from_utf8(description.strip_prefix(b"tbs:")?).ok()?.trim_ascii_end())
}

fn split_last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memmem::rfind(text, b": ")?;
    Some((text.get(..colon)?, text.get(colon + 2..)?))
}

fn is_hex(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len().is_multiple_of(2)
        && text.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTENT: &[u8] = b"\
069da427 I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid_ses.0: 1
1d5ee1fd I------     1 perm 1f030000     0     0 asymmetri Debian: Debian Secure Boot CA: 6ccece7e: X509.rsa 6ccece7e []
1d5ee1fe I------     1 perm 1f030000     0     0 asymmetri Build time autogenerated kernel key: 0a1b: X509.rsa 0a1b []
1d5ee1ff I------     1 perm 1f030000     0     0 asymmetri mine: X509.ecdsa
1d5ee200 IR-----     1 perm 1f030000     0     0 asymmetri Revoked: 01: X509.rsa 01 []
1d5ee201 I------     1 perm 1f030000  1000  1000 asymmetri Of a user: 02: X509.rsa 02 []
1d5ee202 I------     1 perm 1f030000     0     0 asymmetri
0f4be8ad I------     1 perm 1f030000     0     0 blacklist tbs:80b4d96931bf0d02fd91a61e19d14f1d
0f4be8ae I------     1 perm 1f030000     0     0 blacklist bin:0102
";

    #[test]
    fn keys_of_root_are_listed() {
        let keys = KernelKeys::parse(CONTENT);
        let key = |name: &str, id: Option<&str>| ListedKey { name: name.to_owned(), id: id.map(str::to_owned) };
        let debian = key("Debian: Debian Secure Boot CA", Some("6ccece7e"));
        let built = key("Build time autogenerated kernel key", Some("0a1b"));
        assert_eq!(keys.asymmetric, [debian.clone(), built.clone(), key("mine", None)]);
        assert_eq!(keys.by_id("0a1b"), Some(&built));
        assert_eq!(keys.by_id(""), None);
        assert_eq!(keys.by_common_name("Debian Secure Boot CA"), Some(&debian));
        assert_eq!(keys.by_common_name("Build time autogenerated kernel key"), Some(&built));
        assert_eq!(keys.by_common_name("Secure Boot CA"), None);
        assert_eq!(keys.by_common_name(""), None);
    }

    #[test]
    fn revoked_certificates_are_known() {
        let keys = KernelKeys::parse(CONTENT);
        assert!(keys.is_revoked(&unhex("80b4d96931bf0d02fd91a61e19d14f1d").unwrap()));
        assert!(!keys.is_revoked(&[1, 2]), "that is the hash of a file");
    }

    #[test]
    fn a_list_that_is_too_long_is_not_taken_for_the_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(matches!(KernelKeys::read(file.path()), Err(ProcKeysError::TooLong)));
        file.as_file().set_len(0).unwrap();
        assert_eq!(KernelKeys::read(file.path()).unwrap(), KernelKeys::default());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_listed(name in "[A-Za-z0-9 ]{1,40}", id in "([0-9a-f]{2}){1,20}") {
            let line = format!("00000001 I------     1 perm 1f030000     0     0 asymmetri {name}: {id}: X509.rsa {id} []\n");
            let keys = KernelKeys::parse(line.as_bytes());
            prop_assert_eq!(keys.by_id(&id).map(|key| key.name.as_str()), Some(name.as_str()));
            prop_assert!(keys.by_common_name(&name).is_some());
        }

        #[test]
        fn no_bytes_are_a_panic(bytes: Vec<u8>) {
            KernelKeys::parse(&bytes);
            let line = [b"1 I 1 perm 1 0 0 asymmetri ", &bytes[..]].concat();
            KernelKeys::parse(&line);
        }
    }
}
