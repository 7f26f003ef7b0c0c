//! Where the signature is in a module's bytes: at their end, with a trailer and a marker behind it (scripts/sign-file.c).
//!
//! ```text
//! module | signature | struct module_signature | "~Module signature appended~\n"
//! ```

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U32};

/// `MODULE_SIG_STRING` (include/linux/module_signature.h).
const MARKER: &[u8] = b"~Module signature appended~\n";

/// `PKEY_ID_PKCS7`.
const PKCS7: u8 = 2;

/// `struct module_signature` (include/linux/module_signature.h).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ModuleSignature {
    algorithm: u8,
    hash: u8,
    id_type: u8,
    signer_bytes: u8,
    key_id_bytes: u8,
    padding: [u8; 3],
    signature_bytes: U32,
}

/// Why there is no signature in front of the marker that can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TrailerError {
    #[error("the marker is there, and no room for a trailer")]
    Short,
    #[error("its trailer says {signature_bytes} bytes, and {available_bytes} are there")]
    Bounds { signature_bytes: u64, available_bytes: u64 },
    #[error("its trailer has values where zeros belong")]
    NonZero,
    #[error("it is of kind {0}, and not PKCS#7")]
    Kind(u8),
}

/// A module with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed<'a> {
    /// What is signed: all in front of the signature.
    pub(super) content: &'a [u8],
    /// The PKCS#7 message, of at least no bytes.
    pub(super) signature: &'a [u8],
}

/// Takes a module apart as `module_sig_check` and `mod_check_sig` do (kernel/module/signing.c, kernel/module_signature.c). `None` without
/// the marker at the very end: to the kernel such a module is unsigned.
pub(super) fn split(image: &[u8]) -> Result<Option<Signed<'_>>, TrailerError> {
    let Some(rest) = image.strip_suffix(MARKER) else { return Ok(None) };
    let trailer = ModuleSignature::read_from_suffix(rest).ok().filter(|(rest, _)| !rest.is_empty());
    let (rest, trailer) = trailer.ok_or(TrailerError::Short)?;
    let signature_bytes = u64::from(trailer.signature_bytes.get());
    let available_bytes = rest.len() as u64;
    // A module of a signature alone is none.
    if signature_bytes >= available_bytes {
        return Err(TrailerError::Bounds { signature_bytes, available_bytes });
    }
    if trailer.id_type != PKCS7 {
        return Err(TrailerError::Kind(trailer.id_type));
    }
    let zeros = [trailer.algorithm, trailer.hash, trailer.signer_bytes, trailer.key_id_bytes];
    if zeros != [0; 4] || trailer.padding != [0; 3] {
        return Err(TrailerError::NonZero);
    }
    let (content, signature) = rest.split_at(rest.len() - signature_bytes as usize);
    Ok(Some(Signed { content, signature }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signature::fixtures::append;

    #[test]
    fn without_the_marker_at_the_end_there_is_no_signature() {
        assert_eq!(split(b""), Ok(None));
        assert_eq!(split(b"module"), Ok(None));
        let mut image = append(b"module", b"signature");
        assert_eq!(split(&image), Ok(Some(Signed { content: b"module", signature: b"signature" })));
        image.push(b'\n');
        assert_eq!(split(&image), Ok(None), "to the kernel this is unsigned");
    }

    #[test]
    fn a_trailer_that_the_kernel_refuses_is_an_error() {
        let image = append(b"module", b"signature");
        let trailer = image.len() - MARKER.len() - size_of::<ModuleSignature>();
        let with = |at: usize, value: u8| {
            let mut image = image.clone();
            image[trailer + at] = value;
            split(&image).map(drop)
        };
        for at in [0, 1, 3, 4, 5, 6, 7] {
            assert_eq!(with(at, 1), Err(TrailerError::NonZero), "{at}");
        }
        assert_eq!(with(2, 1), Err(TrailerError::Kind(1)));
        let bounds = |signature_bytes| Err(TrailerError::Bounds { signature_bytes, available_bytes: 15 });
        assert_eq!(with(11, 15), bounds(15), "nothing would be left of the module");
        assert_eq!(with(11, 14), Ok(()));
        assert_eq!(with(8, 0xff), bounds(0xff00_0009));
        assert_eq!(split(MARKER), Err(TrailerError::Short));
        assert_eq!(split(&image[trailer..]), Err(TrailerError::Short));
    }

    proptest! {
        #[test]
        fn what_is_appended_is_found(content in prop::collection::vec(any::<u8>(), 1..200), signature: Vec<u8>) {
            let image = append(&content, &signature);
            prop_assert_eq!(split(&image), Ok(Some(Signed { content: &content, signature: &signature })));
        }

        #[test]
        fn no_bytes_are_a_panic(mut image: Vec<u8>) {
            image.extend_from_slice(MARKER);
            if let Ok(Some(signed)) = split(&image) {
                prop_assert!(signed.content.len() + signed.signature.len() < image.len());
            }
        }
    }
}
