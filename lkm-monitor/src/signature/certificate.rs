//! X.509 certificates, as much of them as verifying a module needs (crypto/asymmetric_keys/x509_cert_parser.c).

use der::{Decode as _, Header, Reader as _, SliceReader, oid::ObjectIdentifier};
use sha2::{Digest as _, Sha256};
use x509_cert::{
    ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier},
    name::Name,
};

use super::{algorithm::Scheme, pkcs7::SignerId, public_key::PublicKey};
use crate::model::{
    KeyFacts, KeySource,
    text::{shorten, text},
};

/// RFC 4519, 2.3.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Of a whole certificate. One of an RSA key of 8192 bits takes three KiB.
pub(super) const MAX_BYTES: usize = 8192;

/// Of a name in a document.
pub(super) const MAX_NAME_BYTES: usize = 256;
/// Of a key id in a document. They are digests, but nothing holds a certificate to that.
pub(super) const MAX_KEY_ID_BYTES: usize = 64;

/// Why these bytes are no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("no certificate in DER: {0}")]
    Der(#[from] der::Error),
    #[error("it tells two different signature algorithms")]
    Algorithms,
    #[error("its key or its signature is no whole number of bytes")]
    Bits,
    #[error("it says that it issued itself, and its signature is another's")]
    NotItsOwn,
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// A certificate that fits itself. Who issued it is not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    issuer: Name,
    subject: Name,
    serial: Vec<u8>,
    subject_key_id: Option<Vec<u8>>,
    key: PublicKey,
    sha256: [u8; 32],
    /// Of what is signed in it, by which the kernel's blacklist names it; `None` where the digest is weak or not known.
    tbs_digest: Option<Vec<u8>>,
}

impl Certificate {
    /// One certificate and nothing behind it.
    pub(super) fn from_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > MAX_BYTES {
            return Err(CertificateError::TooLong);
        }
        let certificate = x509_cert::Certificate::from_der(bytes)?;
        let tbs = certificate.tbs_certificate();
        if certificate.signature_algorithm() != tbs.signature() {
            return Err(CertificateError::Algorithms);
        }
        let subject_key_id = tbs.get_extension::<SubjectKeyIdentifier>()?.map(|(_, id)| id.0.into_bytes().into_vec());
        let authority = tbs.get_extension::<AuthorityKeyIdentifier>()?.and_then(|(_, id)| id.key_identifier);
        let key = PublicKey::new(tbs.subject_public_key_info())?.ok_or(CertificateError::Bits)?;
        let signature = certificate.signature().as_bytes().ok_or(CertificateError::Bits)?;
        let signed = signed_part(bytes)?;
        let (scheme, signed_digest) = Scheme::of(tbs.signature().oid);
        // x509_check_for_self_signed
        let issued_itself = tbs.issuer() == tbs.subject()
            && authority.is_none_or(|authority| Some(authority.as_bytes()) == subject_key_id.as_deref());
        if let Some(signed_digest) = signed_digest.filter(|_| issued_itself)
            && key.verify(scheme, signed_digest, signed, signature) == Ok(false)
        {
            return Err(CertificateError::NotItsOwn);
        }
        Ok(Self {
            issuer: tbs.issuer().clone(),
            subject: tbs.subject().clone(),
            serial: tbs.serial_number().as_bytes().to_vec(),
            subject_key_id,
            key,
            sha256: Sha256::digest(bytes).into(),
            tbs_digest: signed_digest.and_then(|digest| digest.compute(signed)),
        })
    }

    /// Whether this is the certificate that a signer names (`find_asymmetric_key`).
    pub(super) fn is_of(&self, signer: &SignerId) -> bool {
        match signer {
            SignerId::IssuerAndSerial { issuer, serial } => **issuer == self.issuer && *serial == self.serial,
            SignerId::SubjectKeyId(id) => self.subject_key_id.as_ref() == Some(id),
        }
    }

    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// By which the kernel's blacklist names it.
    pub(super) fn tbs_digest(&self) -> Option<&[u8]> {
        self.tbs_digest.as_deref()
    }

    /// What the kernel shows of its key: the subject key id, or the serial number (`x509_key_preparse`).
    pub(super) fn kernel_id(&self) -> &[u8] {
        self.subject_key_id.as_deref().unwrap_or(&self.serial)
    }

    pub(super) fn facts(&self, source: KeySource, revoked: bool, in_kernel: Option<bool>) -> KeyFacts {
        KeyFacts {
            subject: shorten(&text(self.subject.to_string().as_bytes()), MAX_NAME_BYTES),
            algorithm: self.key.name(),
            sha256: self.sha256,
            source,
            revoked,
            in_kernel,
        }
    }
}

/// The number's bytes without leading zeros.
pub(super) fn magnitude(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// `TBSCertificate` as it stands there.
fn signed_part(certificate: &[u8]) -> Result<&[u8], der::Error> {
    let mut reader = SliceReader::new(certificate)?;
    Header::decode(&mut reader)?;
    reader.tlv_bytes()
}

/// The first common name in a name, made [`text`] and shortened.
pub(super) fn common_name(name: &Name) -> Option<String> {
    let value = name.iter().find(|attribute| attribute.oid == COMMON_NAME)?.value.value();
    Some(shorten(&text(value), MAX_NAME_BYTES))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signature::{
        algorithm::Digest,
        fixtures::{KEY_ID, P256, RSA, SERIAL},
    };

    fn signer(issuer: &str, serial: &[u8]) -> SignerId {
        SignerId::IssuerAndSerial { issuer: Box::new(issuer.parse().unwrap()), serial: serial.to_vec() }
    }

    #[test]
    fn a_certificate_is_that_of_issuer_and_serial_or_of_the_key_id() {
        let certificate = Certificate::from_der(&RSA.certificate).unwrap();
        assert!(certificate.is_of(&signer("CN=Test module key", &SERIAL)));
        assert!(!certificate.is_of(&signer("CN=Test module key", &[1])));
        assert!(!certificate.is_of(&signer("CN=Test module keys", &SERIAL)));
        assert!(certificate.is_of(&SignerId::SubjectKeyId(KEY_ID.to_vec())));
        assert!(!certificate.is_of(&SignerId::SubjectKeyId(Vec::new())));
        assert_eq!(certificate.kernel_id(), KEY_ID);
    }

    #[test]
    fn names_are_safe_to_show_and_short() {
        let certificate = Certificate::from_der(&RSA.named("a\x1b[31m", &[1; 100])).unwrap();
        let facts = certificate.facts(KeySource::File("key".into()), false, None);
        assert_eq!(facts.subject, r"CN=a\\1b[31m", "RFC 4514 has an escape of its own");
        let long = Certificate::from_der(&RSA.named(&"long".repeat(100), &KEY_ID)).unwrap();
        assert!(common_name(&long.subject).unwrap().len() <= MAX_NAME_BYTES);
        assert!(long.facts(KeySource::File("key".into()), false, None).subject.len() <= MAX_NAME_BYTES);
    }

    #[test]
    fn one_that_did_not_issue_itself_is_refused() {
        let mut bytes = RSA.certificate.clone();
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(Certificate::from_der(&bytes), Err(CertificateError::NotItsOwn));
        let same_names = P256.issued_by(&RSA);
        assert!(Certificate::from_der(&same_names).is_ok(), "its authority is another key");
        assert_eq!(Certificate::from_der(&[0; MAX_BYTES + 1]), Err(CertificateError::TooLong));
    }

    proptest! {
        #[test]
        fn no_changed_bit_is_taken(at: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = P256.certificate.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(certificate) = Certificate::from_der(&bytes) {
                let names_another = certificate.issuer != certificate.subject;
                let is_unsupported = certificate.key.verify(Scheme::Ecdsa, Digest::Sha256, b"", b"").is_err();
                prop_assert!(names_another || is_unsupported, "it cannot be verified by itself");
            }
            prop_assert!(Certificate::from_der(&bytes[..at]).is_err());
        }

        #[test]
        fn no_bytes_are_a_panic(bytes: Vec<u8>) {
            prop_assert!(Certificate::from_der(&bytes).is_err());
        }
    }
}
