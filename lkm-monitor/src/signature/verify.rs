//! Whether those who signed a module have a known key, and whether they signed this module.

#[cfg(test)]
mod tests;

use super::{
    algorithm::Digest,
    certificate::{MAX_KEY_ID_BYTES, common_name, magnitude},
    keys::Keys,
    pkcs7::{SignerId, SignerInfo},
    public_key::{PublicKey, Unsupported},
};
use crate::model::{SignatureVerdict, Signer};

/// Certificates of one signer that are tried. There is more than one only if somebody gave its name twice.
const MAX_TRIES: usize = 8;
/// Of all signers together, where each costs a look at the whole module: ring takes no digest that was made before.
const MAX_LOOKS: usize = 8;

/// What is signed, and what looking at it has come to.
struct Content<'a> {
    bytes: &'a [u8],
    digests: Vec<(Digest, Option<Vec<u8>>)>,
    looks: usize,
}

/// The verdict on all signers, and the signer that it is about. Like the kernel, which refuses a module when any of its signatures is
/// wrong, and takes it when one of the others is right (`pkcs7_validate_trust`).
pub(super) fn decide(content: &[u8], signers: &[SignerInfo<'_>], keys: &Keys) -> (SignatureVerdict, Option<Signer>) {
    let mut content = Content { bytes: content, digests: Vec::new(), looks: 0 };
    let verdicts = signers.iter().map(|signer| {
        let facts = facts(signer);
        (verdict(&mut content, signer, facts.name.as_deref(), keys), facts)
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

fn verdict(content: &mut Content<'_>, signer: &SignerInfo<'_>, name: Option<&str>, keys: &Keys) -> SignatureVerdict {
    let (mut refused, mut tried) = (None, Vec::new());
    for known in keys.find(&signer.id) {
        let key = known.certificate.key();
        // Another certificate of the same key says nothing else.
        if tried.contains(&key) {
            continue;
        }
        if tried.len() == MAX_TRIES {
            return SignatureVerdict::Unsupported(Unsupported::Certificates.to_string());
        }
        tried.push(key);
        match content.verify(signer, key) {
            Ok(true) => return SignatureVerdict::Valid { key: keys.facts_of(known) },
            Ok(false) => refused = refused.or_else(|| Some(SignatureVerdict::Mismatch { key: keys.facts_of(known) })),
            // It may be the one that signed.
            Err(error) => refused = Some(SignatureVerdict::Unsupported(error.to_string())),
        }
    }
    refused.unwrap_or_else(|| SignatureVerdict::UnknownKey { listed: keys.listed(&signer.id, name).cloned() })
}

impl Content<'_> {
    fn verify(&mut self, signer: &SignerInfo<'_>, key: &PublicKey) -> Result<bool, Unsupported> {
        let Some(attributes) = &signer.attributes else {
            if self.looks == MAX_LOOKS {
                return Err(Unsupported::Certificates);
            }
            self.looks += 1;
            return key.verify(signer.scheme, signer.digest, self.bytes, signer.signature);
        };
        // The content's digest is what is signed, with the other attributes.
        let is_signed = key.verify(signer.scheme, signer.digest, &attributes.signed, signer.signature)?;
        Ok(is_signed && self.digest(signer.digest) == Some(attributes.content_digest))
    }

    /// Made once.
    fn digest(&mut self, digest: Digest) -> Option<&[u8]> {
        let known = self.digests.iter().position(|(made, _)| *made == digest);
        let place = known.unwrap_or_else(|| {
            self.digests.push((digest, digest.compute(self.bytes)));
            self.digests.len() - 1
        });
        self.digests.get(place)?.1.as_deref()
    }
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
