//! Digests that databases record, and whether bytes have them.

use md5::Md5;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::model::DigestCheck;

/// By what a digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// By its number in OpenPGP (RFC 9580, section 9.5), which rpm uses. SHA-1 is not
    /// made: whoever wants can make two files that have the same.
    pub(super) const fn from_pgp(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Md5),
            8 => Some(Self::Sha256),
            9 => Some(Self::Sha384),
            10 => Some(Self::Sha512),
            11 => Some(Self::Sha224),
            _ => None,
        }
    }

    fn digest(self, content: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::digest(content).to_vec(),
            Self::Sha224 => Sha224::digest(content).to_vec(),
            Self::Sha256 => Sha256::digest(content).to_vec(),
            Self::Sha384 => Sha384::digest(content).to_vec(),
            Self::Sha512 => Sha512::digest(content).to_vec(),
        }
    }
}

/// The digest that a file should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) algorithm: Algorithm,
    pub(super) value: Vec<u8>,
}

impl Recorded {
    pub(super) fn check(&self, content: &[u8]) -> DigestCheck {
        if self.algorithm.digest(content) == self.value { DigestCheck::Matches } else { DigestCheck::Differs }
    }
}

/// The bytes that pairs of hexadecimal digits stand for.
pub(super) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_have_one_digest_of_each_algorithm() {
        // Of the empty text, as RFC 1321 and FIPS 180-4 give them.
        let known = [
            (1, "d41d8cd98f00b204e9800998ecf8427e"),
            (8, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (9, "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b"),
            (
                10,
                "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                 47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            ),
            (11, "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f"),
        ];
        for (number, digest) in known {
            let algorithm = Algorithm::from_pgp(number).unwrap();
            let recorded = Recorded { algorithm, value: unhex(digest.as_bytes()).unwrap() };
            assert_eq!(recorded.check(b""), DigestCheck::Matches, "{algorithm:?}");
            assert_eq!(recorded.check(b"a"), DigestCheck::Differs, "{algorithm:?}");
        }
        assert_eq!(Algorithm::from_pgp(2), None);
    }

    #[test]
    fn what_is_not_hexadecimal_is_no_digest() {
        for text in ["abc", "0x", "é0", "+1"] {
            assert_eq!(unhex(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn digits_are_the_bytes(bytes: Vec<u8>) {
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(unhex(text.as_bytes()), Some(bytes.clone()));
            prop_assert_eq!(unhex(text.to_uppercase().as_bytes()), Some(bytes));
        }
    }
}
