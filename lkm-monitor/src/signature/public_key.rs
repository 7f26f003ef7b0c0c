//! Public keys, and what they say of a signature. ring does the arithmetic.

use der::{Decode as _, Reader as _, SliceReader, asn1::UintRef, oid::ObjectIdentifier};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::algorithm::{Digest, EC_PUBLIC_KEY, P256, P384, RSA_ENCRYPTION, Scheme};

/// Lengths of a modulus that ring takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The longest exponent that ring takes: 2^33 - 1.
const MAX_EXPONENT: u64 = (1 << 33) - 1;
/// An uncompressed point (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// Why a signature cannot be verified here, which says nothing of whether it is good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsupported {
    #[error("its digest is {0}, which is too weak to tell anything")]
    Weak(String),
    #[error("its digest is {0}")]
    Digest(String),
    #[error("its algorithm is {0}")]
    Scheme(String),
    #[error("its algorithm is {scheme} with {digest}, by a key of {key}")]
    Combination { scheme: String, digest: String, key: String },
    #[error("its key is of {0}")]
    Key(String),
    #[error("too many certificates have its signer's name")]
    Certificates,
}

/// The key of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    kind: Kind,
    /// `RSAPublicKey` (RFC 8017, A.1.1) or a point.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa {
        bits: usize,
        /// Whether its numbers are such that ring takes them.
        usual: bool,
    },
    P256 {
        usual: bool,
    },
    P384 {
        usual: bool,
    },
    Other(ObjectIdentifier),
}

impl PublicKey {
    /// `None` of a key that is no whole number of bytes. An RSA key that is none is an error. Nothing is refused for its kind.
    pub(super) fn new(info: &SubjectPublicKeyInfoOwned) -> Result<Option<Self>, der::Error> {
        let Some(bytes) = info.subject_public_key.as_bytes().map(<[u8]>::to_vec) else { return Ok(None) };
        let curve = || info.algorithm.parameters.as_ref().and_then(|curve| curve.decode_as().ok());
        let is_point =
            |coordinate_bytes: usize| bytes.first() == Some(&UNCOMPRESSED) && bytes.len() == 1 + 2 * coordinate_bytes;
        let kind = match info.algorithm.oid {
            RSA_ENCRYPTION => rsa(&bytes)?,
            EC_PUBLIC_KEY => match curve() {
                Some(P256) => Kind::P256 { usual: is_point(32) },
                Some(P384) => Kind::P384 { usual: is_point(48) },
                other => Kind::Other(other.unwrap_or(EC_PUBLIC_KEY)),
            },
            other => Kind::Other(other),
        };
        Ok(Some(Self { kind, bytes }))
    }

    /// `rsa-4096`, `ecdsa-p256`, or an object identifier.
    pub(super) fn name(&self) -> String {
        match self.kind {
            Kind::Rsa { bits, .. } => format!("rsa-{bits}"),
            Kind::P256 { .. } => "ecdsa-p256".to_owned(),
            Kind::P384 { .. } => "ecdsa-p384".to_owned(),
            Kind::Other(oid) => Scheme::of(oid).0.name(),
        }
    }

    /// Whether `signature` is this key's, of `message`. A signature by a key of another kind is not.
    pub(super) fn verify(
        &self,
        scheme: Scheme,
        digest: Digest,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, Unsupported> {
        let algorithm = match (scheme, self.kind) {
            (Scheme::Rsa, Kind::Rsa { usual: true, .. }) => rsa_algorithm(digest),
            (Scheme::Ecdsa, Kind::P256 { usual: true }) => p256_algorithm(digest),
            (Scheme::Ecdsa, Kind::P384 { usual: true }) => p384_algorithm(digest),
            (Scheme::MlDsa(_) | Scheme::Other(_), _) => return Err(Unsupported::Scheme(scheme.name())),
            (Scheme::Rsa, Kind::P256 { .. } | Kind::P384 { .. }) | (Scheme::Ecdsa, Kind::Rsa { .. }) => {
                return Ok(false);
            }
            (Scheme::Rsa | Scheme::Ecdsa, _) => return Err(Unsupported::Key(self.name())),
        };
        let Some(algorithm) = algorithm else { return Err(self.without_algorithm(scheme, digest)) };
        Ok(UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok())
    }

    fn without_algorithm(&self, scheme: Scheme, digest: Digest) -> Unsupported {
        match digest {
            Digest::Sha1 => Unsupported::Weak(digest.name()),
            Digest::Sha256 | Digest::Sha384 | Digest::Sha512 => {
                Unsupported::Combination { scheme: scheme.name(), digest: digest.name(), key: self.name() }
            }
            _ => Unsupported::Digest(digest.name()),
        }
    }
}

fn rsa(bytes: &[u8]) -> Result<Kind, der::Error> {
    let mut reader = SliceReader::new(bytes)?;
    let (modulus, exponent) =
        reader.sequence(|key| Ok::<_, der::Error>((UintRef::decode(key)?, UintRef::decode(key)?)))?;
    reader.finish()?;
    let (modulus, exponent) = (modulus.as_bytes(), exponent.as_bytes());
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = modulus.len() * 8 - leading;
    let exponent = exponent.iter().take(size_of::<u64>()).fold(0, |value, byte| value << 8 | u64::from(*byte));
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let usual = RSA_BITS.contains(&bits) && odd(modulus) && exponent & 1 == 1 && (3..=MAX_EXPONENT).contains(&exponent);
    Ok(Kind::Rsa { bits, usual })
}

fn rsa_algorithm(digest: Digest) -> Option<&'static dyn VerificationAlgorithm> {
    match digest {
        Digest::Sha256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Digest::Sha384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Digest::Sha512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    }
}

fn p256_algorithm(digest: Digest) -> Option<&'static dyn VerificationAlgorithm> {
    match digest {
        Digest::Sha256 => Some(&signature::ECDSA_P256_SHA256_ASN1),
        Digest::Sha384 => Some(&signature::ECDSA_P256_SHA384_ASN1),
        _ => None,
    }
}

fn p384_algorithm(digest: Digest) -> Option<&'static dyn VerificationAlgorithm> {
    match digest {
        Digest::Sha256 => Some(&signature::ECDSA_P384_SHA256_ASN1),
        Digest::Sha384 => Some(&signature::ECDSA_P384_SHA384_ASN1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signature::fixtures::{oid, tlv};

    fn key(algorithm: &[u8], bytes: &[u8]) -> Result<PublicKey, der::Error> {
        let bits = tlv(3, &[&[0], bytes].concat());
        PublicKey::new(&SubjectPublicKeyInfoOwned::from_der(&tlv(0x30, &[tlv(0x30, algorithm), bits].concat()))?)
            .map(Option::unwrap)
    }

    fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, der::Error> {
        let numbers = [tlv(2, &[&[0], modulus].concat()), tlv(2, exponent)].concat();
        key(&oid("1.2.840.113549.1.1.1"), &tlv(0x30, &numbers))
    }

    #[test]
    fn keys_that_cannot_be_used_are_not_called_wrong() {
        let verify = |key: &PublicKey, scheme| key.verify(scheme, Digest::Sha256, b"", b"");
        let unsupported = |key: &PublicKey, scheme, name: &str| {
            assert_eq!(verify(key, scheme), Err(Unsupported::Key(name.to_owned())));
        };
        let three = [1, 0, 1];
        unsupported(&rsa_key(&[0xff; 128], &three).unwrap(), Scheme::Rsa, "rsa-1024");
        unsupported(&rsa_key(&[0xff; 1025], &three).unwrap(), Scheme::Rsa, "rsa-8200");
        unsupported(&rsa_key(&[0xff; 256], &[1]).unwrap(), Scheme::Rsa, "rsa-2048");
        unsupported(&rsa_key(&[0xff; 256], &[1, 0, 0]).unwrap(), Scheme::Rsa, "rsa-2048");
        unsupported(&rsa_key(&[0xff; 256], &[2, 0, 0, 0, 1]).unwrap(), Scheme::Rsa, "rsa-2048");
        unsupported(&rsa_key(&[0xff; 256], &[0x7f; 9]).unwrap(), Scheme::Rsa, "rsa-2048");
        unsupported(&rsa_key(&[0xfe; 256], &three).unwrap(), Scheme::Rsa, "rsa-2048");
        assert_eq!(verify(&rsa_key(&[0xff; 256], &three).unwrap(), Scheme::Rsa), Ok(false), "it can be used");

        let curve = |curve| [oid("1.2.840.10045.2.1"), oid(curve)].concat();
        unsupported(&key(&curve("1.3.132.0.35"), &[4; 133]).unwrap(), Scheme::Ecdsa, "1.3.132.0.35");
        unsupported(&key(&curve("1.2.840.10045.3.1.7"), &[2; 33]).unwrap(), Scheme::Ecdsa, "ecdsa-p256");
        unsupported(&key(&oid("2.16.840.1.101.3.4.3.18"), &[1]).unwrap(), Scheme::Rsa, "ml-dsa-65");
        assert!(rsa_key(&[0xff; 256], &[]).is_err());
    }

    #[test]
    fn digests_that_do_not_go_with_the_key_are_told() {
        let curve = [oid("1.2.840.10045.2.1"), oid("1.3.132.0.34")].concat();
        let key = key(&curve, &[4; 97]).unwrap();
        let reason = key.verify(Scheme::Ecdsa, Digest::Sha512, b"", b"").unwrap_err().to_string();
        assert_eq!(reason, "its algorithm is ecdsa with sha512, by a key of ecdsa-p384");
        let reason = key.verify(Scheme::MlDsa("ml-dsa-65"), Digest::Sha512, b"", b"").unwrap_err().to_string();
        assert_eq!(reason, "its algorithm is ml-dsa-65");
        assert_eq!(key.verify(Scheme::Rsa, Digest::Sha256, b"", b""), Ok(false), "the key cannot have made it");
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes: Vec<u8>, message: Vec<u8>, signature: Vec<u8>) {
            for algorithm in [oid("1.2.840.113549.1.1.1"), [oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")].concat()] {
                if let Ok(key) = key(&algorithm, &bytes) {
                    for scheme in [Scheme::Rsa, Scheme::Ecdsa] {
                        prop_assert_ne!(key.verify(scheme, Digest::Sha256, &message, &signature), Ok(true));
                    }
                }
            }
        }
    }
}
