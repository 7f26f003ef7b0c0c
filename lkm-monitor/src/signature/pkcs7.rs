//! The message of a module's signature: SignedData of PKCS#7 (RFC 2315, RFC 5652) in DER, as `scripts/sign-file.c` makes it.
//!
//! It is read as the kernel reads it (crypto/asymmetric_keys/pkcs7_parser.c). Certificates and lists of revoked ones inside are not
//! looked into: the kernel's own tool puts none there.

#[cfg(test)]
mod tests;

use der::{
    Decode as _, Encode as _, ErrorKind, Reader, SliceReader, Tag, TagNumber,
    asn1::{AnyRef, OctetStringRef},
    oid::ObjectIdentifier,
};
use x509_cert::{name::Name, serial_number::SerialNumber, spki::AlgorithmIdentifierRef};

use super::algorithm::{Digest, Scheme};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");

/// Each signer costs a look at the whole module.
const MAX_SIGNERS: usize = 4;

/// Why the message is not a signature of a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Pkcs7Error {
    #[error("its PKCS#7 message is not DER as it should be: {0}")]
    Der(#[from] der::Error),
    #[error("it is a message of type {0}, and not signed data")]
    Type(ObjectIdentifier),
    #[error("it signs something of type {0}, and not plain data")]
    ContentType(ObjectIdentifier),
    #[error("it brings its own content")]
    Attached,
    #[error("its version is {0}")]
    Version(u8),
    #[error("nobody signed")]
    NoSigner,
    #[error("more than {MAX_SIGNERS} signed")]
    Signers,
    #[error("its signed attributes do not tell the content's digest and type once each")]
    Attributes,
}

/// One of those who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignerInfo<'a> {
    pub(super) id: SignerId,
    pub(super) digest: Digest,
    pub(super) scheme: Scheme,
    pub(super) attributes: Option<SignedAttributes<'a>>,
    pub(super) signature: &'a [u8],
}

/// How a signer names its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SignerId {
    IssuerAndSerial { issuer: Box<Name>, serial: Vec<u8> },
    SubjectKeyId(Vec<u8>),
}

/// Attributes that are signed in place of the content, whose digest is one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignedAttributes<'a> {
    /// What is signed: the attributes as a `SET OF` (RFC 5652, 5.4).
    pub(super) signed: Vec<u8>,
    pub(super) content_digest: &'a [u8],
}

/// All who signed, at least one.
pub(super) fn signers(message: &[u8]) -> Result<Vec<SignerInfo<'_>>, Pkcs7Error> {
    let mut reader = SliceReader::new(message)?;
    let signers = reader.sequence(|message| {
        let kind = ObjectIdentifier::decode(message)?;
        if kind != SIGNED_DATA {
            return Err(Pkcs7Error::Type(kind));
        }
        let explicit = AnyRef::decode(message)?;
        explicit_tag(explicit)?;
        let mut content = SliceReader::new(explicit.value())?;
        let signers = content.sequence(signed_data)?;
        content.finish()?;
        Ok(signers)
    })?;
    reader.finish()?;
    Ok(signers)
}

fn explicit_tag(value: AnyRef<'_>) -> Result<(), der::Error> {
    let expected = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    der::Tagged::tag(&value).assert_eq(expected).map(drop)
}

fn signed_data<'a>(data: &mut SliceReader<'a>) -> Result<Vec<SignerInfo<'a>>, Pkcs7Error> {
    // pkcs7_note_signeddata_version
    let version = u8::decode(data)?;
    if !matches!(version, 1 | 3) {
        return Err(Pkcs7Error::Version(version));
    }
    let _digests = set(data)?;
    data.sequence(|content| {
        let kind = ObjectIdentifier::decode(content)?;
        if kind != DATA {
            return Err(Pkcs7Error::ContentType(kind));
        }
        if content.is_finished() { Ok(()) } else { Err(Pkcs7Error::Attached) }
    })?;
    let _certificates = optional(data, 0)?;
    let _revoked = optional(data, 1)?;
    let mut set = SliceReader::new(set(data)?)?;
    let mut signers = Vec::new();
    while !set.is_finished() {
        if signers.len() == MAX_SIGNERS {
            return Err(Pkcs7Error::Signers);
        }
        signers.push(set.sequence(signer_info)?);
    }
    if signers.is_empty() { Err(Pkcs7Error::NoSigner) } else { Ok(signers) }
}

fn signer_info<'a>(info: &mut SliceReader<'a>) -> Result<SignerInfo<'a>, Pkcs7Error> {
    let version = u8::decode(info)?;
    let id = if let Some(key_id) = optional(info, 0)? {
        SignerId::SubjectKeyId(key_id.value().to_vec())
    } else {
        info.sequence(|id| -> Result<_, der::Error> {
            let issuer = Box::new(Name::decode(id)?);
            let serial = SerialNumber::<x509_cert::certificate::Rfc5280>::decode(id)?.as_bytes().to_vec();
            Ok(SignerId::IssuerAndSerial { issuer, serial })
        })?
    };
    // pkcs7_check_authattrs, pkcs7_note_signerinfo_version
    if version != if matches!(id, SignerId::SubjectKeyId(_)) { 3 } else { 1 } {
        return Err(Pkcs7Error::Version(version));
    }
    let digest = Digest::of(AlgorithmIdentifierRef::decode(info)?.oid);
    let attributes = optional(info, 0)?.map(signed_attributes).transpose()?;
    let (scheme, _) = Scheme::of(AlgorithmIdentifierRef::decode(info)?.oid);
    let signature = <&OctetStringRef>::decode(info)?.as_bytes();
    let _unsigned_attributes = optional(info, 1)?;
    Ok(SignerInfo { id, digest, scheme, attributes, signature })
}

fn signed_attributes(attributes: AnyRef<'_>) -> Result<SignedAttributes<'_>, Pkcs7Error> {
    let mut reader = SliceReader::new(attributes.value())?;
    let (mut digests, mut types) = (Vec::new(), Vec::new());
    while !reader.is_finished() {
        reader.sequence(|attribute| -> Result<_, Pkcs7Error> {
            let kind = ObjectIdentifier::decode(attribute)?;
            let values = set(attribute)?;
            match kind {
                MESSAGE_DIGEST => digests.push(<&OctetStringRef>::from_der(values)?.as_bytes()),
                CONTENT_TYPE => types.push(ObjectIdentifier::from_der(values)?),
                _ => {}
            }
            Ok(())
        })?;
    }
    let ([content_digest], [kind]) = (&digests[..], &types[..]) else { return Err(Pkcs7Error::Attributes) };
    if *kind != DATA {
        return Err(Pkcs7Error::ContentType(*kind));
    }
    let signed = AnyRef::new(Tag::Set, attributes.value())?.to_der()?;
    Ok(SignedAttributes { signed, content_digest })
}

/// The elements of a `SET OF`, in whichever order they are.
fn set<'a>(reader: &mut SliceReader<'a>) -> Result<&'a [u8], der::Error> {
    let value = AnyRef::decode(reader)?;
    der::Tagged::tag(&value).assert_eq(Tag::Set)?;
    Ok(value.value())
}

/// The next value, if it has this context-specific tag, which takes the place of its own.
fn optional<'a>(reader: &mut SliceReader<'a>, number: u32) -> Result<Option<AnyRef<'a>>, der::Error> {
    match Tag::peek(reader) {
        Ok(Tag::ContextSpecific { number: found, .. }) if found == TagNumber(number) => {
            AnyRef::decode(reader).map(Some)
        }
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::Incomplete { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
