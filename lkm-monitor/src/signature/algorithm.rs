//! Algorithms by their object identifiers (RFC 8017, RFC 5758, RFC 9882; include/linux/oid_registry.h).

use der::oid::ObjectIdentifier;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

const fn oid(dotted: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(dotted)
}

pub(super) const RSA_ENCRYPTION: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
pub(super) const EC_PUBLIC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = oid("1.3.132.0.34");

/// How content becomes a few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha3_256,
    Sha3_384,
    Sha3_512,
    Other(ObjectIdentifier),
}

const DIGESTS: [(ObjectIdentifier, Digest, &str); 8] = [
    (oid("1.3.14.3.2.26"), Digest::Sha1, "sha1"),
    (oid("2.16.840.1.101.3.4.2.4"), Digest::Sha224, "sha224"),
    (oid("2.16.840.1.101.3.4.2.1"), Digest::Sha256, "sha256"),
    (oid("2.16.840.1.101.3.4.2.2"), Digest::Sha384, "sha384"),
    (oid("2.16.840.1.101.3.4.2.3"), Digest::Sha512, "sha512"),
    (oid("2.16.840.1.101.3.4.2.8"), Digest::Sha3_256, "sha3-256"),
    (oid("2.16.840.1.101.3.4.2.9"), Digest::Sha3_384, "sha3-384"),
    (oid("2.16.840.1.101.3.4.2.10"), Digest::Sha3_512, "sha3-512"),
];

impl Digest {
    pub(super) fn of(oid: ObjectIdentifier) -> Self {
        DIGESTS.iter().find(|row| row.0 == oid).map_or(Self::Other(oid), |row| row.1)
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Other(oid) => oid.to_string(),
            known => DIGESTS.iter().find(|row| row.1 == known).map(|row| row.2.to_owned()).unwrap_or_default(),
        }
    }

    /// Of those that are strong, and can be computed here.
    pub(super) fn compute(self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Sha256 => Some(Sha256::digest(message).to_vec()),
            Self::Sha384 => Some(Sha384::digest(message).to_vec()),
            Self::Sha512 => Some(Sha512::digest(message).to_vec()),
            _ => None,
        }
    }
}

/// How a digest is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    Rsa,
    Ecdsa,
    MlDsa(&'static str),
    Other(ObjectIdentifier),
}

/// Signature algorithms, and the digest of those that imply one.
const SCHEMES: [(ObjectIdentifier, Scheme, Option<Digest>); 14] = [
    (RSA_ENCRYPTION, Scheme::Rsa, None),
    (oid("1.2.840.113549.1.1.5"), Scheme::Rsa, Some(Digest::Sha1)),
    (oid("1.2.840.113549.1.1.14"), Scheme::Rsa, Some(Digest::Sha224)),
    (oid("1.2.840.113549.1.1.11"), Scheme::Rsa, Some(Digest::Sha256)),
    (oid("1.2.840.113549.1.1.12"), Scheme::Rsa, Some(Digest::Sha384)),
    (oid("1.2.840.113549.1.1.13"), Scheme::Rsa, Some(Digest::Sha512)),
    (oid("1.2.840.10045.4.1"), Scheme::Ecdsa, Some(Digest::Sha1)),
    (oid("1.2.840.10045.4.3.1"), Scheme::Ecdsa, Some(Digest::Sha224)),
    (oid("1.2.840.10045.4.3.2"), Scheme::Ecdsa, Some(Digest::Sha256)),
    (oid("1.2.840.10045.4.3.3"), Scheme::Ecdsa, Some(Digest::Sha384)),
    (oid("1.2.840.10045.4.3.4"), Scheme::Ecdsa, Some(Digest::Sha512)),
    (oid("2.16.840.1.101.3.4.3.17"), Scheme::MlDsa("ml-dsa-44"), None),
    (oid("2.16.840.1.101.3.4.3.18"), Scheme::MlDsa("ml-dsa-65"), None),
    (oid("2.16.840.1.101.3.4.3.19"), Scheme::MlDsa("ml-dsa-87"), None),
];

impl Scheme {
    /// The scheme, and the digest if the identifier tells it too.
    pub(super) fn of(oid: ObjectIdentifier) -> (Self, Option<Digest>) {
        SCHEMES.iter().find(|row| row.0 == oid).map_or((Self::Other(oid), None), |row| (row.1, row.2))
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Rsa => "rsa".to_owned(),
            Self::Ecdsa => "ecdsa".to_owned(),
            Self::MlDsa(name) => name.to_owned(),
            Self::Other(oid) => oid.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_modinfo() {
        for (oid, digest, name) in DIGESTS {
            assert_eq!((Digest::of(oid), digest.name().as_str()), (digest, name));
        }
        let unknown = oid("1.2.3.4");
        assert_eq!(Digest::of(unknown).name(), "1.2.3.4");
        assert_eq!(Scheme::of(unknown).0.name(), "1.2.3.4");
        assert_eq!(Scheme::of(oid("1.2.840.10045.4.3.3")), (Scheme::Ecdsa, Some(Digest::Sha384)));
        assert_eq!(Scheme::of(oid("2.16.840.1.101.3.4.3.18")).0.name(), "ml-dsa-65");
    }

    #[test]
    fn weak_and_unknown_digests_are_not_computed() {
        let abc = Digest::Sha256.compute(b"abc").unwrap();
        assert_eq!(abc[..4], [0xba, 0x78, 0x16, 0xbf], "FIPS 180-4");
        for digest in [Digest::Sha1, Digest::Sha224, Digest::Sha3_256, Digest::of(oid("1.2.3.4"))] {
            assert!(digest.compute(b"abc").is_none());
        }
    }
}
