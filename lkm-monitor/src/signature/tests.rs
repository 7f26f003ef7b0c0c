use std::fs;

use der::{Decode as _, Encode as _};
use proptest::prelude::*;

use super::{
    fixtures::{KEY_ID, P256, P384, RSA, RSA_SHA384, RSA_SHA512, Style, TestKey, append, message},
    *,
};
use crate::model::{KeyFacts, KeySource, Signer};

/// The trailer and the marker.
const TRAILER_BYTES: usize = 12 + 28;
const CONTENT: &[u8] = b"\x7fELF of a module";

/// Keys of one file with this certificate.
fn keys(certificate: &[u8], kernel_keys: &str) -> Keys {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.x509");
    let listed = folder.path().join("keys");
    fs::write(&file, certificate).unwrap();
    fs::write(&listed, kernel_keys).unwrap();
    let keys = Keys::read(&KeySources { kernel_images: Vec::new(), certificates: vec![file], kernel_keys: listed });
    assert_eq!(keys.problems(), []);
    keys
}

fn keys_of(key: &TestKey) -> Keys {
    keys(&key.certificate, "")
}

fn verdict(image: &[u8], keys: &Keys) -> &'static str {
    examine(image, keys).verdict.name()
}

fn reason(image: &[u8], keys: &Keys) -> String {
    examine(image, keys).verdict.reason().into_owned()
}

#[test]
fn who_signed_is_told_with_the_key_and_where_it_is_from() {
    let facts = examine(&RSA.module(CONTENT), &keys_of(&RSA));
    let SignatureVerdict::Valid { key } = &facts.verdict else { panic!("{facts:?}") };
    let KeyFacts { subject, algorithm, revoked, in_kernel, source, .. } = key;
    assert_eq!((subject.as_str(), algorithm.as_str()), ("CN=Test module key", "rsa-2048"));
    assert_eq!((*revoked, *in_kernel), (false, None), "an empty list says nothing");
    assert!(matches!(source, KeySource::File(path) if path.ends_with("key.x509")), "{source:?}");
    assert_eq!(
        facts.signer,
        Some(Signer {
            name: Some("Test module key".to_owned()),
            key_id: "0A:1B:FF:00".to_owned(),
            digest_algorithm: "sha256".to_owned(),
            signature_algorithm: "rsa".to_owned(),
        })
    );
    assert_eq!(facts.signature_bytes as usize, RSA.message(CONTENT, Style::default()).len());
    assert_eq!(facts.signers, 1);
    assert_eq!(facts.verdict.reason(), "the key `CN=Test module key` signed the module");
}

#[test]
fn every_kind_of_key_and_message_is_verified() {
    for key in [&*RSA, &RSA_SHA384, &RSA_SHA512, &P256, &P384] {
        let keys = keys_of(key);
        for (attributes, by_subject_key_id) in [(false, false), (true, false), (false, true), (true, true)] {
            let style = Style { attributes, by_subject_key_id, ..Style::default() };
            let signature = key.message(CONTENT, style);
            let facts = examine(&append(CONTENT, &signature), &keys);
            assert_eq!(facts.verdict.name(), "valid", "{facts:?}");
            let signer = facts.signer.unwrap();
            assert_eq!(signer.digest_algorithm, format!("sha{}", key.sha));
            assert_eq!(signer.name.is_none(), by_subject_key_id, "who gives an id gives no name");
            assert_eq!(verdict(&append(b"\x7fELF of another", &signature), &keys), "mismatch");
        }
    }
}

#[test]
fn a_key_of_the_same_name_that_did_not_sign_is_a_mismatch() {
    let image = RSA.module(CONTENT);
    assert_eq!(verdict(&image, &keys_of(&P256)), "mismatch");
    assert_eq!(reason(&image, &keys_of(&P256)), "the key `CN=Test module key` did not sign what the module holds");
    let (rsa, p256) = (&RSA.certificate, &P256.certificate);
    assert_eq!(verdict(&image, &keys(&[&p256[..], rsa].concat(), "")), "valid", "one of two signed");
    let facts = examine(&image, &keys(&[&p256[..], &P384.certificate].concat(), ""));
    let SignatureVerdict::Mismatch { key } = &facts.verdict else { panic!("{facts:?}") };
    assert_eq!(key.algorithm, "ecdsa-p256", "the first is told");
}

#[test]
fn without_a_certificate_a_key_that_the_kernel_lists_is_told() {
    let key = |name: &str| {
        format!("1d5ee1fd I------     1 perm 1f030000     0     0 asymmetri {name}: X509.rsa c5c5c5c5 []\n")
    };
    let other = RSA.named("Another key", &KEY_ID);
    let listed = key("Example: Test module key: aabb");
    let facts = examine(&RSA.module(CONTENT), &keys(&other, &listed));
    let SignatureVerdict::UnknownKey { listed: Some(listed) } = &facts.verdict else { panic!("{facts:?}") };
    assert_eq!((listed.name.as_str(), listed.id.as_deref()), ("Example: Test module key", Some("aabb")));
    assert!(facts.verdict.reason().ends_with("the kernel lists a key `Example: Test module key`"));

    let unknown = examine(&RSA.module(CONTENT), &keys(&other, &key("Another key: aabb"))).verdict;
    assert_eq!(unknown, SignatureVerdict::UnknownKey { listed: None });
    let loaded = keys(&RSA.certificate, &key(&format!("Test module key: {}", "c5".repeat(20))));
    assert_eq!(loaded.facts().next().unwrap().in_kernel, Some(true));
}

#[test]
fn a_revoked_key_is_told() {
    let certificate = x509_cert::Certificate::from_der(&RSA.certificate).unwrap();
    let tbs = certificate.tbs_certificate().to_der().unwrap();
    let digest = crate::model::text::hex(ring::digest::digest(&ring::digest::SHA256, &tbs).as_ref());
    let line = format!("0f4be8ad I------     1 perm 1f030000     0     0 blacklist tbs:{digest}\n");
    let facts = examine(&RSA.module(CONTENT), &keys(&RSA.certificate, &line));
    assert!(facts.verdict.reason().ends_with("and the kernel's blacklist revokes it"), "{facts:?}");
}

#[test]
fn any_wrong_signature_decides_and_then_any_right_one() {
    let keys = keys(&[&RSA.certificate[..], &P384.named("Another key", &[1])].concat(), "");
    let style = Style::default();
    let (right, wrong) = (RSA.signer(CONTENT, style), RSA.signer(b"else", style));
    let unknown = P256.signer(CONTENT, Style { by_subject_key_id: true, ..style });
    let of = |signers: &[Vec<u8>]| examine(&append(CONTENT, &message(signers, style)), &keys);
    assert_eq!(of(&[right.clone(), wrong.clone()]).verdict.name(), "mismatch");
    assert_eq!(of(&[wrong, right.clone()]).verdict.name(), "mismatch");
    let facts = of(&[unknown, right.clone()]);
    assert_eq!((facts.verdict.name(), facts.signers), ("mismatch", 2), "P-256 did not sign with the RSA key");
    assert_eq!(of(&[right.clone(), right.clone()]).verdict.name(), "valid");
    let many = of(&[const { Vec::<u8>::new() }; 5].map(|_| right.clone()));
    assert_eq!(many.verdict.reason(), "the signature is malformed: more than 4 signed");
}

#[test]
fn what_cannot_be_verified_is_not_called_wrong() {
    let keys = keys_of(&RSA);
    let with = |digest| {
        let signature = RSA.message(CONTENT, Style { digest: Some(digest), ..Style::default() });
        reason(&append(CONTENT, &signature), &keys)
    };
    let start = "the signature cannot be verified: ";
    assert_eq!(with("1.3.14.3.2.26"), format!("{start}its digest is sha1, which is too weak to tell anything"));
    assert_eq!(with("2.16.840.1.101.3.4.2.8"), format!("{start}its digest is sha3-256"));
    assert_eq!(with("1.2.3.4"), format!("{start}its digest is 1.2.3.4"));
    let long = append(CONTENT, &vec![0; MAX_SIGNATURE_BYTES + 1]);
    assert_eq!(reason(&long, &keys), format!("{start}it has more than 65536 bytes"));
    assert_eq!(verdict(&append(CONTENT, &vec![0; MAX_SIGNATURE_BYTES]), &keys), "malformed");
}

/// The kernel answers ENOPKG, as to a digest that it does not have, and may let it in.
#[test]
fn a_signature_of_another_kind_than_the_kernels_is_not_supported() {
    let mut kind = RSA.module(CONTENT);
    let at = kind.len() - TRAILER_BYTES + 2;
    kind[at] = 1;
    let reason_of_kind = "the signature cannot be verified: it is of kind 1, and not PKCS#7";
    assert_eq!(
        (verdict(&kind, &keys_of(&RSA)), reason(&kind, &keys_of(&RSA)).as_str()),
        ("unsupported", reason_of_kind)
    );
}

#[test]
fn a_module_without_the_trailer_is_unsigned() {
    let keys = keys_of(&RSA);
    let image = RSA.module(CONTENT);
    for end in [0, CONTENT.len(), image.len() - 28, image.len() - 1] {
        let facts = examine(&image[..end], &keys);
        assert_eq!((facts.verdict.reason().as_ref(), facts.signer), ("the module has no signature", None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_flipped_bit_of_what_is_signed_or_of_the_signature_stays_valid(at: prop::sample::Index, bit in 0..8_u8, attributes: bool) {
        let keys = keys_of(&P256);
        let mut image = append(CONTENT, &P256.message(CONTENT, Style { attributes, ..Style::default() }));
        prop_assert_eq!(verdict(&image, &keys), "valid");
        // The last bytes of the message are the signature's, which has seventy.
        let end = 64 + TRAILER_BYTES;
        let at = at.index(CONTENT.len() + end);
        let at = if at < CONTENT.len() { at } else { image.len() - end + (at - CONTENT.len()) };
        image[at] ^= 1 << bit;
        prop_assert_ne!(verdict(&image, &keys), "valid");
        prop_assert_ne!(verdict(&image[..at], &keys), "valid");
    }

    #[test]
    fn no_flipped_bit_makes_another_module_valid(at: prop::sample::Index, bit in 0..8_u8, attributes: bool) {
        let mut signature = P256.message(b"another", Style { attributes, ..Style::default() });
        let at = at.index(signature.len());
        signature[at] ^= 1 << bit;
        prop_assert_ne!(verdict(&append(CONTENT, &signature), &keys_of(&P256)), "valid");
        prop_assert_ne!(verdict(&append(CONTENT, &signature[..at]), &keys_of(&P256)), "valid");
    }

    #[test]
    fn no_bytes_are_a_panic(content: Vec<u8>, signature: Vec<u8>) {
        let keys = keys_of(&P256);
        prop_assert_ne!(verdict(&append(&content, &signature), &keys), "valid");
        prop_assert_eq!(verdict(&content, &keys), "absent");
    }
}
