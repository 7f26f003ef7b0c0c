//! TLS to a receiver: whom it trusts, and who we are.
//!
//! The files are read once, into [`TlsFiles`]; a sink reads them again when its receiver cannot be reached, since certificates are renewed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};

use crate::config::{Secret, SecretError, sinks::TlsConfig};

/// Why there is no TLS. Keys are those below the sink's table.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls.{key}: {path}: {source}")]
    Read { key: &'static str, path: PathBuf, source: io::Error },
    #[error("tls.key_file: {0}")]
    Key(SecretError),
    #[error("tls.{key}: {path}: {source}")]
    Pem { key: &'static str, path: PathBuf, source: pem::Error },
    #[error("tls.{key}: {path}: it holds no certificate")]
    Empty { key: &'static str, path: PathBuf },
    #[error("tls.ca_file: {path}: {source}")]
    Authority { path: PathBuf, source: rustls::Error },
    #[error("tls.{key} is set without tls.{other}")]
    Pair { key: &'static str, other: &'static str },
    #[error("this host has no certificates to trust; name some in tls.ca_file")]
    NothingTrusted,
    #[error("tls.certificate_file and tls.key_file: {0}")]
    Own(rustls::Error),
    #[error("{0}")]
    Provider(rustls::Error),
}

/// What the files hold.
#[derive(Debug)]
pub struct TlsFiles {
    /// Who may have signed the receiver's certificate.
    pub authorities: Vec<CertificateDer<'static>>,
    pub client: Option<ClientCertificate>,
}

/// Who we are.
#[derive(Debug)]
pub struct ClientCertificate {
    /// Ours first, then those of who signed it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its `Debug` prints nothing of the key.
    pub key: PrivateKeyDer<'static>,
}

impl TlsFiles {
    /// Reads them, and sees whether they make a [`ClientConfig`].
    pub fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        let authorities = match &config.ca_file {
            Some(path) => authorities(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let client = match (&config.certificate_file, &config.key_file) {
            (Some(certificate), Some(key)) => {
                let secret = Secret::read(key).map_err(TlsError::Key)?;
                let pem = |source| TlsError::Pem { key: "key_file", path: key.clone(), source };
                let chain = certificates("certificate_file", certificate)?;
                Some(ClientCertificate {
                    chain,
                    key: PrivateKeyDer::from_pem_slice(secret.expose().as_bytes()).map_err(pem)?,
                })
            }
            (None, None) => None,
            (Some(_), None) => return Err(TlsError::Pair { key: "certificate_file", other: "key_file" }),
            (None, Some(_)) => return Err(TlsError::Pair { key: "key_file", other: "certificate_file" }),
        };
        let files = Self { authorities, client };
        files.client_config()?;
        Ok(files)
    }

    /// TLS 1.2 and 1.3, with the receiver's certificate and name verified.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut trusted = RootCertStore::empty();
        // Hosts carry old certificates that nobody can read any more. Those of `ca_file` were all read.
        trusted.add_parsable_certificates(self.authorities.iter().cloned());
        if trusted.is_empty() {
            return Err(TlsError::NothingTrusted);
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Provider)?
            .with_root_certificates(trusted);
        let config = match &self.client {
            Some(own) => {
                builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key()).map_err(TlsError::Own)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

/// The one provider of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = certificates("ca_file", path)?;
    let mut trusted = RootCertStore::empty();
    for certificate in &certificates {
        let unusable = |source| TlsError::Authority { path: path.to_owned(), source };
        trusted.add(certificate.clone()).map_err(unusable)?;
    }
    Ok(certificates)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(key, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|source| TlsError::Pem { key, path: path.to_owned(), source })?;
    if certificates.is_empty() { Err(TlsError::Empty { key, path: path.to_owned() }) } else { Ok(certificates) }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { key, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::secret_file;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(&self, name: &str, text: &str) -> Option<PathBuf> {
            let path = self.0.path().join(name);
            secret_file(&path, text);
            Some(path)
        }
    }

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn files_make_a_configuration() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let (certificate, key) = pair();
        let config = TlsConfig {
            ca_file: folder.with("ca", &format!("{certificate}{}", pair().0)),
            certificate_file: folder.with("certificate", &certificate),
            key_file: folder.with("key", &key),
        };
        let files = TlsFiles::read(&config).unwrap();
        assert_eq!((files.authorities.len(), files.client.as_ref().unwrap().chain.len()), (2, 1));
        assert!(files.client_config().unwrap().client_auth_cert_resolver.has_certs());
        let secret: String = key.lines().nth(1).unwrap().chars().take(20).collect();
        assert!(!format!("{files:?}").contains(&secret));
    }

    #[test]
    fn mistakes_are_named() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let (certificate, key) = pair();
        let (own, own_key) = (folder.with("own.pem", &certificate), folder.with("own.key", &key));
        let (text, other_key) = (folder.with("text", "no certificate\n"), folder.with("other.key", &pair().1));
        let broken = "-----BEGIN CERTIFICATE-----\nTm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
        let broken = folder.with("broken", broken);
        let error = |ca_file: &Option<PathBuf>, certificate_file: &Option<PathBuf>, key_file: &Option<PathBuf>| {
            let (ca_file, certificate_file, key_file) = (ca_file.clone(), certificate_file.clone(), key_file.clone());
            TlsFiles::read(&TlsConfig { ca_file, certificate_file, key_file }).unwrap_err().to_string()
        };
        let missing = Some(folder.0.path().join("missing"));
        assert!(error(&missing, &None, &None).starts_with("tls.ca_file: /"));
        assert!(error(&text, &None, &None).ends_with("text: it holds no certificate"));
        assert!(error(&broken, &None, &None).contains("broken: "));
        assert_eq!(error(&own, &own, &None), "tls.certificate_file is set without tls.key_file");
        assert_eq!(error(&own, &None, &own_key), "tls.key_file is set without tls.certificate_file");
        assert!(error(&own, &own, &text).starts_with("tls.key_file: /"));
        assert!(error(&own, &own, &other_key).starts_with("tls.certificate_file and tls.key_file: "));
    }
}
