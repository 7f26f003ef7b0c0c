//! The signature at the end of a kernel module.

use std::{borrow::Cow, path::PathBuf};

/// What the signature of a module says, and whether it fits a key of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureFacts {
    pub verdict: SignatureVerdict,
    /// Bytes of the PKCS#7 message; zero without a trailer that can be read.
    pub signature_bytes: u64,
    /// Who signed. Of several signers the one that the verdict is about.
    pub signer: Option<Signer>,
    /// Signers in the message. The kernel's own tool makes one.
    pub signers: usize,
}

/// Who made a signature, as the signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Common name of who issued the signer's certificate, as `modinfo -F signer` prints it, made [`super::text::text`]. A certificate that
    /// is made for a build of the kernel issues itself.
    pub name: Option<String>,
    /// The certificate's serial number, as `modinfo -F sig_key` prints it: `0A:1B`. Of a signer who gives none, the subject key id.
    pub key_id: String,
    /// As `modinfo -F sig_hashalgo` prints it, `sha256`; the object identifier of one that is not known here.
    pub digest_algorithm: String,
    /// `rsa`, `ecdsa`, `ml-dsa-65`; the object identifier of one that is not known here.
    pub signature_algorithm: String,
}

/// Whether a signature fits the module and a key of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureVerdict {
    /// There is no signature.
    Absent,
    /// There is something where a signature ought to be. The reason is a clause.
    Malformed(String),
    /// It is of a kind that cannot be verified here. The reason is a clause.
    Unsupported(String),
    /// Nothing is known of the key but its name. `listed` is a key of that name or id that the kernel shows: it may be that key.
    UnknownKey { listed: Option<ListedKey> },
    /// The key is known, and it did not sign these bytes.
    Mismatch { key: KeyFacts },
    /// The key is known, and it signed these bytes.
    Valid { key: KeyFacts },
}

impl SignatureVerdict {
    /// The name in documents.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Malformed(_) => "malformed",
            Self::Unsupported(_) => "unsupported",
            Self::UnknownKey { .. } => "unknown-key",
            Self::Mismatch { .. } => "mismatch",
            Self::Valid { .. } => "valid",
        }
    }

    /// What it means, as a sentence without its full stop.
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::Absent => "the module has no signature".into(),
            Self::Malformed(reason) => format!("the signature is malformed: {reason}").into(),
            Self::Unsupported(reason) => format!("the signature cannot be verified: {reason}").into(),
            Self::UnknownKey { listed: None } => "no certificate of this host is the signer's".into(),
            Self::UnknownKey { listed: Some(key) } => {
                format!("no certificate of this host is the signer's, but the kernel lists a key `{}`", key.name).into()
            }
            Self::Mismatch { key } => format!("the key `{}` did not sign what the module holds", key.subject).into(),
            Self::Valid { key } if key.revoked => {
                format!("the key `{}` signed the module, and the kernel's blacklist revokes it", key.subject).into()
            }
            Self::Valid { key } => format!("the key `{}` signed the module", key.subject).into(),
        }
    }
}

/// A certificate of this host and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// Its subject, as RFC 4514 writes names, made [`super::text::text`] and shortened.
    pub subject: String,
    /// `rsa-4096`, `ecdsa-p384`; the object identifier of one that is not known here.
    pub algorithm: String,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    pub source: KeySource,
    /// Whether the kernel's blacklist names the certificate, as far as the list can be read. Certificates that are revoked whole, as keys
    /// of that keyring, cannot be told from others.
    pub revoked: bool,
    /// Whether the kernel shows a key with this id, in whichever keyring; `None` where its list cannot be read.
    pub in_kernel: Option<bool>,
}

/// Where a certificate was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// It is built into this kernel image. Not every one there is for modules: the wireless regulatory database has its own, and revoked
    /// ones can be built in too.
    KernelImage(PathBuf),
    /// In this file.
    File(PathBuf),
}

/// An asymmetric key that the kernel shows in /proc/keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The certificate's subject as the kernel puts it together (`x509_fabricate_name`), made [`super::text::text`].
    pub name: String,
    /// The subject key id, or the serial number of a certificate that has none; in lower-case hexadecimal. Keys that were added under a
    /// name of their own have none.
    pub id: Option<String>,
}
