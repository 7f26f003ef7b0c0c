//! A module that somebody signed whom the kernel does not know, and his certificate. The key is made anew for each guest, and nobody keeps it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{cpio::Archive, fixtures, kernels::Kernel};
use crate::{process, workspace};

const MODULE: &str = "dummy";
const SIGNER: &str = "/CN=Somebody else";

/// What ends a signed module, behind a `struct module_signature` (include/linux/module_signature.h).
const MARKER: &[u8] = b"~Module signature appended~\n";
/// Of that struct. Its last four are the number of the signature's own.
const TRAILER_BYTES: usize = 12;
/// `PKEY_ID_PKCS7`, between two bytes and five that are zero for it.
const TRAILER_START: [u8; 8] = [0, 0, 2, 0, 0, 0, 0, 0];

pub(super) fn put(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    let modules = fixtures::in_load_order(kernel, &[MODULE])?;
    let image = &modules.last().with_context(|| format!("kernel {} has no module {MODULE}", kernel.line))?.image;
    let content = unsigned(image).with_context(|| format!("{MODULE} of kernel {} is not signed", kernel.line))?;
    let folder = workspace::machine(kernel.line).join("signed");
    fs::create_dir_all(&folder)?;
    let Signed { signature, certificate } = sign(content, &folder)?;
    fs::remove_dir_all(&folder)?;
    archive.file("/fixtures/foreign.ko", 0o644, &with_signature(content, &signature));
    archive.file("/fixtures/foreign.der", 0o644, &certificate);
    Ok(())
}

struct Signed {
    /// A PKCS#7 message in DER.
    signature: Vec<u8>,
    /// In DER.
    certificate: Vec<u8>,
}

/// Signs as the kernel's scripts/sign-file does: neither certificates nor attributes are in the message, and the signer is named by the issuer
/// and the serial number of his certificate.
fn sign(content: &[u8], folder: &Path) -> Result<Signed> {
    let openssl = |arguments: &[&str]| process::capture(Command::new("openssl").args(arguments).current_dir(folder));
    fs::write(folder.join("module"), content)?;
    let key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem"];
    openssl(&[&["req", "-x509", "-sha256", "-subj", SIGNER, "-out", "certificate.pem"], &key[..]].concat())?;
    let signer = ["-signer", "certificate.pem", "-inkey", "key.pem", "-md", "sha256"];
    let message = ["-binary", "-noattr", "-nocerts", "-nosmimecap", "-outform", "DER"];
    Ok(Signed {
        signature: openssl(&[&["cms", "-sign", "-in", "module"], &signer[..], &message].concat())?,
        certificate: openssl(&["x509", "-in", "certificate.pem", "-outform", "DER"])?,
    })
}

/// The module without its signature; `None` if it has none.
fn unsigned(image: &[u8]) -> Option<&[u8]> {
    let signed = image.strip_suffix(MARKER)?;
    let (signed, trailer) = signed.split_at_checked(signed.len().checked_sub(TRAILER_BYTES)?)?;
    let signature_bytes = u32::from_be_bytes(*trailer.last_chunk()?);
    Some(signed.split_at_checked(signed.len().checked_sub(signature_bytes as usize)?)?.0)
}

fn with_signature(content: &[u8], signature: &[u8]) -> Vec<u8> {
    let signature_bytes = (signature.len() as u32).to_be_bytes();
    [content, signature, &TRAILER_START, &signature_bytes, MARKER].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_taken_off_as_it_was_put_on() {
        let image = with_signature(b"module", b"signature");
        assert_eq!(image, b"modulesignature\0\0\x02\0\0\0\0\0\0\0\0\x09~Module signature appended~\n");
        assert_eq!(unsigned(&image), Some(&b"module"[..]));
        assert_eq!(unsigned(b"module"), None);
        assert_eq!(unsigned(MARKER), None);
        assert_eq!(unsigned(&with_signature(b"", b"")[1..]), None);
    }

    #[test]
    fn who_has_the_certificate_can_verify_the_signature() {
        let folder = std::env::temp_dir().join(format!("xtask-signed-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let Signed { signature, certificate } = sign(b"module\r\n\0", &folder).unwrap();
        for (name, content) in [("signature", &signature), ("certificate.der", &certificate)] {
            fs::write(folder.join(name), content).unwrap();
        }
        let openssl =
            |line: &str| process::output(Command::new("openssl").args(line.split(' ')).current_dir(&folder)).unwrap();
        let subject = openssl("x509 -inform DER -in certificate.der -noout -subject -nameopt RFC2253");
        let verify = "cms -verify -binary -noverify -inform DER -in signature -certfile certificate.pem -content";
        let (verified, other) = (openssl(&format!("{verify} module")), openssl(&format!("{verify} signature")));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(String::from_utf8(subject.stdout).unwrap(), "subject=CN=Somebody else\n");
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        assert_eq!(verified.stdout, b"module\r\n\0");
        assert!(!other.status.success(), "it is not the signature of another content");
    }
}
