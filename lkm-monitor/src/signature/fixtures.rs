//! Keys, certificates, signatures and kernel images for tests.

use std::sync::LazyLock;

use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair, SigningKey as _};

/// Of nobody: it is made for these tests.
const RSA_KEY: &str = include_str!("test-data/for-tests-only-rsa-2048.pem");

pub(super) const SERIAL: [u8; 4] = [0x0a, 0x1b, 0xff, 0x00];
pub(super) const KEY_ID: [u8; 20] = [0xc5; 20];

/// A key and its certificate, which issued itself.
pub(super) struct TestKey {
    key: KeyPair,
    pub(super) certificate: Vec<u8>,
    scheme: Vec<u8>,
    digest: Vec<u8>,
    pub(super) sha: u32,
}

pub(super) static RSA: LazyLock<TestKey> = LazyLock::new(|| rsa(&rcgen::PKCS_RSA_SHA256, 256));
pub(super) static RSA_SHA384: LazyLock<TestKey> = LazyLock::new(|| rsa(&rcgen::PKCS_RSA_SHA384, 384));
pub(super) static RSA_SHA512: LazyLock<TestKey> = LazyLock::new(|| rsa(&rcgen::PKCS_RSA_SHA512, 512));
pub(super) static P256: LazyLock<TestKey> = LazyLock::new(|| ecdsa(&rcgen::PKCS_ECDSA_P256_SHA256, 256));
pub(super) static P384: LazyLock<TestKey> = LazyLock::new(|| ecdsa(&rcgen::PKCS_ECDSA_P384_SHA384, 384));

fn rsa(algorithm: &'static rcgen::SignatureAlgorithm, sha: u32) -> TestKey {
    let key = KeyPair::from_pkcs8_pem_and_sign_algo(RSA_KEY, algorithm).unwrap();
    TestKey::new(key, oid("1.2.840.113549.1.1.1"), sha)
}

fn ecdsa(algorithm: &'static rcgen::SignatureAlgorithm, sha: u32) -> TestKey {
    let scheme = if sha == 256 { "1.2.840.10045.4.3.2" } else { "1.2.840.10045.4.3.3" };
    TestKey::new(KeyPair::generate_for(algorithm).unwrap(), oid(scheme), sha)
}

/// A key that nobody else has, and whose certificate has the name of all the others.
pub(super) fn another() -> TestKey {
    ecdsa(&rcgen::PKCS_ECDSA_P256_SHA256, 256)
}

/// What of a message is not as the kernel's tool makes it.
#[derive(Clone, Copy, Default)]
pub(super) struct Style {
    pub(super) attributes: bool,
    pub(super) by_subject_key_id: bool,
    pub(super) attached: bool,
    pub(super) digest: Option<&'static str>,
}

impl TestKey {
    fn new(key: KeyPair, scheme: Vec<u8>, sha: u32) -> Self {
        let digest = oid(match sha {
            256 => "2.16.840.1.101.3.4.2.1",
            384 => "2.16.840.1.101.3.4.2.2",
            _ => "2.16.840.1.101.3.4.2.3",
        });
        let certificate = certificate("Test module key", &KEY_ID, &key);
        Self { key, certificate, scheme, digest, sha }
    }

    /// Another certificate of the same key.
    pub(super) fn named(&self, name: &str, key_id: &[u8]) -> Vec<u8> {
        certificate(name, key_id, &self.key)
    }

    /// A certificate with this key's name that another key issued, which has the name too.
    pub(super) fn issued_by(&self, issuer: &Self) -> Vec<u8> {
        let issuer = Issuer::new(params("Test module key", &[7; 20]), &issuer.key);
        let mut params = params("Test module key", &KEY_ID);
        params.use_authority_key_identifier_extension = true;
        params.signed_by(&self.key, &issuer).unwrap().der().to_vec()
    }

    /// A signed module.
    pub(super) fn module(&self, content: &[u8]) -> Vec<u8> {
        append(content, &self.message(content, Style::default()))
    }

    pub(super) fn message(&self, content: &[u8], style: Style) -> Vec<u8> {
        message(&[self.signer(content, style)], style)
    }

    /// A `SignerInfo`.
    pub(super) fn signer(&self, content: &[u8], style: Style) -> Vec<u8> {
        let digest = style.digest.map_or_else(|| self.digest.clone(), oid);
        let attributes = style.attributes.then(|| self.attributes(content));
        let signed = attributes.as_ref().map(|attributes| tlv(0x31, attributes));
        let signature = self.key.sign(signed.as_deref().unwrap_or(content)).unwrap();
        let issuer_and_serial = [name("Test module key"), tlv(2, &SERIAL)].concat();
        let (version, id) =
            if style.by_subject_key_id { (3, tlv(0x80, &KEY_ID)) } else { (1, tlv(0x30, &issuer_and_serial)) };
        let parts = [
            tlv(2, &[version]),
            id,
            tlv(0x30, &digest),
            attributes.map(|attributes| tlv(0xa0, &attributes)).unwrap_or_default(),
            tlv(0x30, &self.scheme),
            tlv(4, &signature),
        ];
        tlv(0x30, &parts.concat())
    }

    fn attributes(&self, content: &[u8]) -> Vec<u8> {
        let algorithm = match self.sha {
            256 => &ring::digest::SHA256,
            384 => &ring::digest::SHA384,
            _ => &ring::digest::SHA512,
        };
        let digest = ring::digest::digest(algorithm, content);
        let attribute = |kind, value: &[u8]| tlv(0x30, &[oid(kind), tlv(0x31, value)].concat());
        let kind = attribute("1.2.840.113549.1.9.3", &oid("1.2.840.113549.1.7.1"));
        [kind, attribute("1.2.840.113549.1.9.4", &tlv(4, digest.as_ref()))].concat()
    }
}

/// A PKCS#7 message by these signers.
pub(super) fn message(signers: &[Vec<u8>], style: Style) -> Vec<u8> {
    let attached = if style.attached { tlv(0xa0, &tlv(4, b"content")) } else { Vec::new() };
    let parts = [
        tlv(2, &[if style.by_subject_key_id { 3 } else { 1 }]),
        tlv(0x31, b""),
        tlv(0x30, &[oid("1.2.840.113549.1.7.1"), attached].concat()),
        tlv(0x31, &signers.concat()),
    ];
    let data = tlv(0xa0, &tlv(0x30, &parts.concat()));
    tlv(0x30, &[oid("1.2.840.113549.1.7.2"), data].concat())
}

/// A module with a signature behind it.
pub(super) fn append(content: &[u8], signature: &[u8]) -> Vec<u8> {
    let length = (signature.len() as u32).to_be_bytes();
    [content, signature, &[0, 0, 2, 0, 0, 0, 0, 0], &length, b"~Module signature appended~\n"].concat()
}

fn certificate(common_name: &str, key_id: &[u8], key: &KeyPair) -> Vec<u8> {
    params(common_name, key_id).self_signed(key).unwrap().der().to_vec()
}

fn params(common_name: &str, key_id: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SERIAL.to_vec().into());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_id.to_vec());
    params
}

fn name(common_name: &str) -> Vec<u8> {
    let attribute = tlv(0x30, &[oid("2.5.4.3"), tlv(0x0c, common_name.as_bytes())].concat());
    tlv(0x30, &tlv(0x31, &attribute))
}

pub(super) fn oid(dotted: &str) -> Vec<u8> {
    tlv(6, der::oid::ObjectIdentifier::new_unwrap(dotted).as_bytes())
}

/// A value in DER.
pub(super) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len() as u16;
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, value].concat()
}

/// A bzImage with this payload.
pub(super) fn kernel_image(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 2 * 512 + 64];
    image[0x1f1] = 1;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&[0x0f, 0x02]);
    image[0x248..0x24c].copy_from_slice(&64_u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend_from_slice(payload);
    image.extend_from_slice(b"what is behind the payload");
    image
}
