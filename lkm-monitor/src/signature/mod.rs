//! What the signature at the end of a kernel module says, and whether it fits a key of this host.
//!
//! The kernel decides with its own keys (kernel/module/signing.c, certs/system_keyring.c), which nobody can read. Here the same is decided
//! with certificates that can: those that are built into its image, and those of files. So `Valid` says who signed, and not that the kernel
//! trusts him.
//!
//! Searching an image takes tens of milliseconds with LZ4, hundreds with zstd, and seconds with xz. In memory is what the packing refers
//! back to: 16 MiB with LZ4, the whole kernel of some 60 MiB with zstd, and up to that with xz. All of it is given back.

mod algorithm;
mod certificate;
mod certificate_files;
#[cfg(test)]
mod fixtures;
mod kernel_image;
mod keys;
mod lz4_legacy;
mod payload;
mod pkcs7;
mod proc_keys;
mod public_key;
mod scan;
#[cfg(test)]
mod tests;
mod trailer;
mod verify;

pub use self::keys::{KeyProblem, KeySources, Keys};
use self::trailer::{Signed, TrailerError};
use crate::model::{SignatureFacts, SignatureVerdict};

/// Of a PKCS#7 message. One by an RSA key of 8192 bits takes two KiB, one of ML-DSA five.
const MAX_SIGNATURE_BYTES: usize = 64 << 10;

/// What the signature of a module says and is worth.
///
/// `image` is the module as the kernel gets it, unpacked. It is read once for each signer and key of the signer's name, nearly always once,
/// and never more than a dozen times. Nothing is kept of it.
pub fn examine(image: &[u8], keys: &Keys) -> SignatureFacts {
    let without_signer =
        |verdict, signature_bytes| SignatureFacts { verdict, signature_bytes, signer: None, signers: 0 };
    let Signed { content, signature } = match trailer::split(image) {
        Ok(Some(signed)) => signed,
        Ok(None) => return without_signer(SignatureVerdict::Absent, 0),
        // The kernel answers ENOPKG, as to all that it cannot verify: where it does not enforce signatures, it lets the module in, marked as
        // unsigned (mod_check_sig, module_sig_check).
        Err(error @ TrailerError::Kind(_)) => {
            return without_signer(SignatureVerdict::Unsupported(error.to_string()), 0);
        }
        Err(error) => return without_signer(SignatureVerdict::Malformed(error.to_string()), 0),
    };
    let signature_bytes = signature.len() as u64;
    if signature.len() > MAX_SIGNATURE_BYTES {
        let reason = format!("it has more than {MAX_SIGNATURE_BYTES} bytes");
        return without_signer(SignatureVerdict::Unsupported(reason), signature_bytes);
    }
    match pkcs7::signers(signature) {
        Ok(signers) => {
            let (verdict, signer) = verify::decide(content, &signers, keys);
            SignatureFacts { verdict, signature_bytes, signer, signers: signers.len() }
        }
        Err(error) => without_signer(SignatureVerdict::Malformed(error.to_string()), signature_bytes),
    }
}
