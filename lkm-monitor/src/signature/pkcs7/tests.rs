use proptest::prelude::*;

use super::*;
use crate::signature::fixtures::{KEY_ID, P256, RSA, SERIAL, Style, message, oid, tlv};

fn error(bytes: &[u8]) -> String {
    signers(bytes).unwrap_err().to_string()
}

#[test]
fn a_signer_is_read() {
    let bytes = RSA.message(b"content", Style::default());
    let [signer] = &signers(&bytes).unwrap()[..] else { panic!("one signed") };
    let SignerId::IssuerAndSerial { issuer, serial } = &signer.id else { panic!("{signer:?}") };
    assert_eq!((issuer.to_string().as_str(), &serial[..]), ("CN=Test module key", &SERIAL[..]));
    assert_eq!((signer.digest, signer.scheme), (Digest::Sha256, Scheme::Rsa));
    assert_eq!((signer.signature.len(), &signer.attributes), (256, &None));
}

#[test]
fn signed_attributes_and_a_subject_key_id_are_read() {
    let style = Style { attributes: true, by_subject_key_id: true, ..Style::default() };
    let bytes = P256.message(b"content", style);
    let [signer] = &signers(&bytes).unwrap()[..] else { panic!("one signed") };
    assert_eq!(signer.id, SignerId::SubjectKeyId(KEY_ID.to_vec()));
    assert_eq!(signer.scheme, Scheme::Ecdsa);
    let attributes = signer.attributes.as_ref().unwrap();
    assert_eq!(Digest::Sha256.compute(b"content").as_deref(), Some(attributes.content_digest));
    assert_eq!(attributes.signed[0], 0x31, "they are signed as a set");
}

#[test]
fn what_the_kernel_refuses_is_an_error() {
    let style = Style::default();
    let signer = RSA.signer(b"content", style);
    assert_eq!(error(&message(&[], style)), "nobody signed");
    assert_eq!(
        error(&message(&[const { Vec::new() }; 5].map(|_: Vec<u8>| signer.clone()), style)),
        "more than 4 signed"
    );
    assert_eq!(error(&RSA.message(b"", Style { attached: true, ..style })), "it brings its own content");
    let data = tlv(0x30, &[oid("1.2.840.113549.1.7.1"), tlv(0xa0, &tlv(4, b""))].concat());
    assert_eq!(error(&data), "it is a message of type 1.2.840.113549.1.7.1, and not signed data");
    let mut trailing = message(&[signer], style);
    trailing.push(0);
    assert!(error(&trailing).contains("trailing data"), "{}", error(&trailing));
    assert!(error(b"").starts_with("its PKCS#7 message is not DER"));
}

#[test]
fn versions_are_those_that_the_kernel_takes() {
    let bytes = RSA.message(b"content", Style::default());
    let version = [2, 1, 1];
    let places: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(&version)).collect();
    let with = |place: usize, value| {
        let mut bytes = bytes.clone();
        bytes[places[place] + 2] = value;
        signers(&bytes).map(drop)
    };
    assert_eq!(with(0, 3), Ok(()));
    assert_eq!(with(0, 2), Err(Pkcs7Error::Version(2)));
    assert_eq!(with(1, 3), Err(Pkcs7Error::Version(3)), "it goes with a subject key id");
}

#[test]
fn nothing_is_behind_the_data() {
    let bytes = RSA.message(b"content", Style::default());
    // Behind the type: the head of the explicit tag, with a length of two bytes, and the signed data.
    let signed_data = &bytes[4 + oid("1.2.840.113549.1.7.2").len() + 4..];
    let wrapped = |data: &[u8]| tlv(0x30, &[oid("1.2.840.113549.1.7.2"), tlv(0xa0, data)].concat());
    assert_eq!(wrapped(signed_data), bytes);
    assert!(matches!(signers(&wrapped(&[signed_data, &tlv(5, b"")].concat())), Err(Pkcs7Error::Der(_))));
}

#[test]
fn signed_attributes_tell_digest_and_type_once() {
    let attribute = |kind, value: &[u8]| tlv(0x30, &[oid(kind), tlv(0x31, value)].concat());
    let digest = attribute("1.2.840.113549.1.9.4", &tlv(4, &[7; 32]));
    let kind = |kind| attribute("1.2.840.113549.1.9.3", &oid(kind));
    let data = kind("1.2.840.113549.1.7.1");
    let of = |attributes: &[&Vec<u8>]| {
        let attributes: Vec<u8> = attributes.iter().flat_map(|attribute| attribute.iter().copied()).collect();
        let bytes = tlv(0xa0, &attributes);
        signed_attributes(AnyRef::from_der(&bytes).unwrap()).map(|attributes| attributes.content_digest.to_vec())
    };
    assert_eq!(of(&[&digest, &data]), Ok(vec![7; 32]));
    for attributes in [&[][..], &[&data], &[&digest], &[&data, &data, &digest], &[&data, &digest, &digest]] {
        assert_eq!(of(attributes), Err(Pkcs7Error::Attributes));
    }
    assert!(matches!(of(&[&digest, &kind("1.2.3.4")]), Err(Pkcs7Error::ContentType(_))));
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(bytes: Vec<u8>) {
        let _ = signers(&bytes);
        let wrapped = [oid("1.2.840.113549.1.7.2"), tlv(0xa0, &tlv(0x30, &[&[2, 1, 1], &bytes[..]].concat()))].concat();
        let _ = signers(&tlv(0x30, &wrapped));
    }

    #[test]
    fn what_is_cut_is_an_error_and_what_is_changed_no_panic(at: prop::sample::Index, byte: u8) {
        let style = Style { attributes: true, ..Style::default() };
        let mut bytes = P256.message(b"content", style);
        let at = at.index(bytes.len());
        prop_assert!(signers(&bytes[..at]).is_err());
        bytes[at] = byte;
        let _ = signers(&bytes);
    }
}
