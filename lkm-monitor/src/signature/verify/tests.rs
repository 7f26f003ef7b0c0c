//! What it costs when somebody puts many certificates of one name where they are looked for.

use std::{fs, slice};

use super::*;
use crate::signature::{
    KeySources,
    fixtures::{RSA, Style, TestKey, another, message},
    pkcs7,
};

const CONTENT: &[u8] = b"\x7fELF of a module";

fn keys(certificates: &[Vec<u8>]) -> Keys {
    let folder = tempfile::tempdir().unwrap();
    for (certificate, number) in certificates.iter().zip(100..) {
        fs::write(folder.path().join(format!("{number}")), certificate).unwrap();
    }
    let listed = folder.path().join("none");
    let sources =
        KeySources { kernel_images: Vec::new(), certificates: vec![folder.path().to_owned()], kernel_keys: listed };
    let keys = Keys::read(&sources);
    assert_eq!(keys.len(), certificates.len());
    keys
}

fn others(number: usize) -> Vec<Vec<u8>> {
    (0..number).map(|_| another().certificate).collect()
}

fn reason(key: &TestKey, style: Style, certificates: &[Vec<u8>]) -> String {
    let signature = key.message(CONTENT, style);
    decide(CONTENT, &pkcs7::signers(&signature).unwrap(), &keys(certificates)).0.reason().into_owned()
}

const TOO_MANY: &str = "the signature cannot be verified: too many certificates have its signer's name";
const SIGNED: &str = "the key `CN=Test module key` signed the module";

#[test]
fn a_few_certificates_of_the_signers_name_are_tried() {
    for attributes in [false, true] {
        let style = Style { attributes, ..Style::default() };
        let key = another();
        let last_of = |number: usize| [others(number - 1), vec![key.certificate.clone()]].concat();
        assert_eq!(reason(&key, style, &last_of(MAX_TRIES)), SIGNED);
        assert_eq!(reason(&key, style, &last_of(MAX_TRIES + 1)), TOO_MANY, "{attributes}");
        let mismatch = "the key `CN=Test module key` did not sign what the module holds";
        assert_eq!(reason(&key, style, &others(MAX_TRIES)), mismatch, "all were tried");
    }
}

#[test]
fn certificates_of_one_key_are_one_try() {
    let (key, wrong) = (another(), another());
    let same = (0..3 * MAX_TRIES as u8).map(|number| wrong.named("Test module key", &[number]));
    let certificates: Vec<_> = same.chain([key.certificate.clone()]).collect();
    assert_eq!(reason(&key, Style::default(), &certificates), SIGNED);
}

#[test]
fn all_signers_together_cost_a_few_looks_at_the_module() {
    let (key, style) = (another(), Style::default());
    let signature = message(&[const { Vec::<u8>::new() }; 4].map(|_| key.signer(CONTENT, style)), style);
    let signers = pkcs7::signers(&signature).unwrap();
    let keys = keys(&others(MAX_TRIES - 1));
    let mut content = Content { bytes: CONTENT, digests: Vec::new(), looks: 0 };
    let verdicts: Vec<_> = signers.iter().map(|signer| verdict(&mut content, signer, None, &keys).name()).collect();
    assert_eq!(verdicts, ["mismatch", "unsupported", "unsupported", "unsupported"]);
    assert_eq!(content.looks, MAX_LOOKS);
}

#[test]
fn the_digest_in_signed_attributes_is_compared_with_one_that_is_made_once() {
    let style = Style { attributes: true, ..Style::default() };
    let signature = message(&[RSA.signer(CONTENT, style), RSA.signer(CONTENT, style)], style);
    let signers = pkcs7::signers(&signature).unwrap();
    let keys = keys(slice::from_ref(&RSA.certificate));
    let mut content = Content { bytes: CONTENT, digests: Vec::new(), looks: 0 };
    let [first, second] = &signers[..] else { panic!("{signers:?}") };
    assert_eq!(verdict(&mut content, first, None, &keys).name(), "valid");
    // Were it made again, it would be of other bytes.
    content.bytes = b"else";
    assert_eq!(verdict(&mut content, second, None, &keys).name(), "valid");
    assert_eq!((content.looks, content.digests.len()), (0, 1));
    content.digests.clear();
    assert_eq!(verdict(&mut content, second, None, &keys).name(), "mismatch");
}
