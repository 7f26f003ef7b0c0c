//! Whether those who signed a module have a known key, and whether they signed this module.

use super::{
    certificate::{MAX_KEY_ID_BYTES, common_name, magnitude},
    keys::Keys,
    pkcs7::{SignerId, SignerInfo},
    public_key::{PublicKey, Unsupported},
};
use crate::model::{SignatureVerdict, Signer};

/// The verdict on all signers, and the signer that it is about. Like the kernel, which refuses a module when any of its signatures is
/// wrong, and takes it when one of the others is right (`pkcs7_validate_trust`).
pub(super) fn decide(content: &[u8], signers: &[SignerInfo<'_>], keys: &Keys) -> (SignatureVerdict, Option<Signer>) {
    let verdicts = signers.iter().map(|signer| {
        let facts = facts(signer);
        (verdict(content, signer, facts.name.as_deref(), keys), facts)
    });
    // Of several with the same weight, the first.
    match verdicts.min_by_key(|(verdict, _)| weight(verdict)) {
        Some((verdict, signer)) => (verdict, Some(signer)),
        None => (SignatureVerdict::Absent, None),
    }
}

/// What comes first decides.
fn weight(verdict: &SignatureVerdict) -> u8 {
    match verdict {
        SignatureVerdict::Mismatch { .. } => 0,
        SignatureVerdict::Valid { .. } => 1,
        SignatureVerdict::Unsupported(_) => 2,
        SignatureVerdict::UnknownKey { .. } => 3,
        SignatureVerdict::Malformed(_) => 4,
        SignatureVerdict::Absent => 5,
    }
}

fn verdict(content: &[u8], signer: &SignerInfo<'_>, name: Option<&str>, keys: &Keys) -> SignatureVerdict {
    let mut refused = None;
    for known in keys.find(&signer.id) {
        match verify(content, signer, known.certificate.key()) {
            Ok(true) => return SignatureVerdict::Valid { key: keys.facts_of(known) },
            Ok(false) => refused = refused.or_else(|| Some(SignatureVerdict::Mismatch { key: keys.facts_of(known) })),
            // It may be the one that signed.
            Err(error) => refused = Some(SignatureVerdict::Unsupported(error.to_string())),
        }
    }
    refused.unwrap_or_else(|| SignatureVerdict::UnknownKey { listed: keys.listed(&signer.id, name).cloned() })
}

fn verify(content: &[u8], signer: &SignerInfo<'_>, key: &PublicKey) -> Result<bool, Unsupported> {
    let Some(attributes) = &signer.attributes else {
        return key.verify(signer.scheme, signer.digest, content, signer.signature);
    };
    // The content's digest is what is signed, with the other attributes.
    let is_signed = key.verify(signer.scheme, signer.digest, &attributes.signed, signer.signature)?;
    let digest = signer.digest.compute(content);
    Ok(is_signed && digest.as_deref() == Some(attributes.content_digest))
}

fn facts(signer: &SignerInfo<'_>) -> Signer {
    let (name, id) = match &signer.id {
        SignerId::IssuerAndSerial { issuer, serial } => (common_name(issuer), magnitude(serial)),
        SignerId::SubjectKeyId(id) => (None, id.get(..MAX_KEY_ID_BYTES).unwrap_or(id)),
    };
    Signer {
        name,
        key_id: id.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"),
        digest_algorithm: signer.digest.name(),
        signature_algorithm: signer.scheme.name(),
    }
}
