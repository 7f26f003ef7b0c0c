//! Servers that want to know who asks.

use std::{path::Path, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::{
    super::SCRIPT,
    server::{Server, free_port, link},
};
use crate::prevalence::link::{Link, LinkSettings};

/// An authority, and what it signed for one name.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> Vec<u8> {
        self.issuer.pem().into_bytes()
    }

    /// Certificate and key.
    fn sign(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }
}

fn tls_server(folder: &Path, authority: &Authority) -> (Server, LinkSettings) {
    let (certificate, key) = authority.sign("127.0.0.1");
    let file = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (ca, certificate, key) =
        (file("ca.pem", &authority.pem()), file("cert.pem", &certificate), file("key.pem", &key));
    let port = free_port();
    let arguments = [
        "--port",
        "0",
        "--tls-port",
        &port.to_string(),
        "--tls-ca-cert-file",
        &ca,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
    ];
    let admin = LinkSettings {
        ca: Some(authority.pem()),
        certificate: Some(authority.sign("admin")),
        ..link(&format!("rediss://127.0.0.1:{port}"))
    };
    (Server::start_at(folder, &arguments, admin.clone()), admin)
}

/// What reaching the server comes to: nothing, or the error.
fn outcome(settings: &LinkSettings) -> Result<(), String> {
    let call =
        ["lkm-monitor:{agents}", "lkm-monitor:{agents}:agents", "a", "0", "30", "64"].map(str::to_owned).to_vec();
    let mut link = Link::open(settings, SCRIPT).map_err(|error| error.to_string())?;
    link.call(&[call]).map(drop).map_err(|error| error.to_string())
}

#[test]
fn encrypted_and_known_to_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let (_server, ours) = tls_server(folder.path(), &authority);
    assert_eq!(outcome(&ours), Ok(()));
    let stranger = Authority::new("theirs");
    let refused = |settings: LinkSettings| outcome(&settings).unwrap_err();

    let error = refused(LinkSettings { ca: Some(stranger.pem()), ..ours.clone() });
    assert!(error.contains("UnknownIssuer") && error.contains("rediss://127.0.0.1"), "{error}");
    let error = refused(LinkSettings { ca: None, ..ours.clone() });
    assert!(error.contains("UnknownIssuer"), "{error}");
    let error = refused(LinkSettings { certificate: None, ..ours.clone() });
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    let error = refused(LinkSettings { certificate: Some(stranger.sign("x")), ..ours.clone() });
    assert!(error.to_lowercase().contains("unknownca") || error.contains("unknown CA"), "{error}");
    let plain = ours.addresses[0].replace("rediss", "redis");
    let error = refused(LinkSettings { deadline: Duration::from_secs(1), ..link(&plain) });
    assert!(!error.is_empty(), "{error}");
}

#[test]
fn users_and_what_they_may_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let set = |rule: &[&str]| {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(rule);
        server.query::<String>(command).unwrap();
    };
    let may = super::agents::documented_rights();
    set(&[&["lkm", "on", ">hush", "~lkm-monitor:*"], &may[..]].concat());
    set(&[&["elsewhere", "on", ">hush", "~other:*"], &may[..]].concat());
    let reads: Vec<_> = may.iter().copied().filter(|right| *right != "+hset").collect();
    set(&[&["reader", "on", ">hush", "~lkm-monitor:*"], &reads[..]].concat());
    let blind: Vec<_> = may.iter().copied().filter(|right| *right != "+hgetall").collect();
    set(&[&["blind", "on", ">hush", "~lkm-monitor:*"], &blind[..]].concat());
    let by = |user: &str, password: &str| {
        let (user, password) = (Some(user.to_owned()), Some(password.to_owned()));
        outcome(&LinkSettings { user, password, ..link(&server.address()) })
    };
    assert_eq!(by("lkm", "hush"), Ok(()));
    let error = by("lkm", "secret-guess").unwrap_err();
    assert!(error.contains("authentication failed") && !error.contains("secret-guess"), "{error}");
    let error = by("elsewhere", "hush").unwrap_err();
    assert!(error.contains("lkm-monitor:{agents}") || error.to_lowercase().contains("keys"), "{error}");
    for user in ["reader", "blind"] {
        let error = by(user, "hush").unwrap_err();
        assert!(error.contains("can't run this command"), "{user}: {error}");
    }
}
