//! TLS to the fleet's store: whom it trusts, and who we are.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};

use super::LinkSettings;

/// Why there is no TLS. Keys are those of `[rarity.redis]`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{key}: {source}")]
    Pem { key: &'static str, source: pem::Error },
    #[error("ca_file: {0}")]
    Authority(rustls::Error),
    #[error("certificate_file and key_file: {0}")]
    Own(rustls::Error),
    #[error("{0}")]
    Provider(rustls::Error),
}

/// TLS 1.2 and 1.3, with the server's certificate and name verified.
pub(super) fn client_config(settings: &LinkSettings) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_root_certificates(trusted(settings.ca.as_deref())?);
    let config = match &settings.certificate {
        Some((certificate, key)) => {
            let chain = certificates("certificate_file", certificate)?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem { key: "key_file", source })?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Own)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Those that are named, which must all be usable; otherwise the host's, of which old ones may not be.
fn trusted(named: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
    let mut trusted = RootCertStore::empty();
    match named {
        Some(named) => {
            for authority in certificates("ca_file", named)? {
                trusted.add(authority).map_err(TlsError::Authority)?;
            }
        }
        None => {
            trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(trusted)
}

fn certificates(key: &'static str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<_, _> = CertificateDer::pem_slice_iter(text).collect();
    certificates.map_err(|source| TlsError::Pem { key, source })
}
