//! What the sinks that speak HTTP have in common.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ureq::http::{Uri, uri::PathAndQuery};

use super::{TlsConfig, address::without_path};
use crate::sinks::{
    http::{Credentials, CredentialsError, Endpoint, HttpSettings, Scheme},
    tls::{TlsError, TlsFiles},
};

/// What is wrong with a key. Keys are those below the sink's table.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{key} is missing")]
    Missing { key: &'static str },
    #[error("{key} is empty")]
    Empty { key: &'static str },
    #[error("{key} is set without {other}")]
    Pair { key: &'static str, other: &'static str },
    #[error("{key} and {other} are both set")]
    Both { key: &'static str, other: &'static str },
    #[error("{key}: `{value}`: {problem}")]
    Value { key: &'static str, value: String, problem: String },
    /// Without its value: it holds a secret.
    #[error("{key}: it holds a user or a password, which belong into a file")]
    Secret { key: &'static str },
    #[error("{key}: {source}")]
    Credentials { key: &'static str, source: CredentialsError },
    #[error("tls is set, but {key} has no address that begins with https://")]
    NoTls { key: &'static str },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Looks at keys, one after the other, and keeps what is wrong with them: all of it is told at once.
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<HttpError>);

impl Problems {
    /// What is right.
    pub(super) fn take<T>(&mut self, result: Result<T, HttpError>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }

    /// What was made, if nothing is wrong.
    pub(super) fn or<T>(self, made: T) -> Result<T, Vec<HttpError>> {
        if self.0.is_empty() { Ok(made) } else { Err(self.0) }
    }
}

/// Keys that all of them have.
pub(super) struct HttpKeys<'a> {
    /// What the key of the addresses is called.
    pub(super) address_key: &'static str,
    /// Nothing where what is wrong with them has been told.
    pub(super) addresses: Option<&'a [String]>,
    /// Whether the address is the receiver's own and may hold a query, or the receiver adds its own path.
    pub(super) whole_address: bool,
    pub(super) gzip: bool,
    pub(super) proxy: Option<&'a str>,
    pub(super) tls: &'a TlsConfig,
    pub(super) timeout: Duration,
}

impl HttpKeys<'_> {
    pub(super) fn settings(&self, credentials: Option<Credentials>, problems: &mut Problems) -> HttpSettings {
        let key = self.address_key;
        let addresses = self.addresses.unwrap_or_default();
        if self.addresses.is_some_and(<[_]>::is_empty) {
            problems.0.push(HttpError::Missing { key });
        }
        let endpoint = |address: &String| endpoint(key, address, self.whole_address);
        let endpoints: Vec<_> = addresses.iter().filter_map(|address| problems.take(endpoint(address))).collect();
        if endpoints.iter().any(Endpoint::is_tls) {
            problems.take(TlsFiles::read(self.tls).map_err(HttpError::from));
        } else if *self.tls != TlsConfig::default() && !endpoints.is_empty() && endpoints.len() == addresses.len() {
            problems.0.push(HttpError::NoTls { key });
        }
        let proxy = self.proxy.and_then(|address| problems.take(proxy(address)));
        let tls = self.tls.clone();
        HttpSettings { endpoints, timeout: self.timeout, gzip: self.gzip, proxy, tls, credentials }
    }
}

fn endpoint(key: &'static str, address: &str, whole: bool) -> Result<Endpoint, HttpError> {
    if address.contains('@') {
        return Err(HttpError::Secret { key });
    }
    let problem = |problem: &str| HttpError::Value { key, value: without_path(address), problem: problem.to_owned() };
    let uri: Uri = address.parse().map_err(|error: ureq::http::uri::InvalidUri| problem(&error.to_string()))?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(problem("it must begin with http:// or https:// and a host"));
    };
    if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none() {
        return Err(problem("its port is none"));
    }
    if uri.query().is_some() && !whole {
        return Err(problem("it must not have a query"));
    }
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let path = if whole { path } else { path.trim_end_matches('/') };
    Ok(Endpoint { base: format!("{scheme}://{authority}{path}"), name: authority.to_string() })
}

fn proxy(address: &str) -> Result<ureq::Proxy, HttpError> {
    let key = "proxy";
    let endpoint = endpoint(key, address, false)?;
    let problem = |problem: String| HttpError::Value { key, value: address.to_owned(), problem };
    if endpoint.is_tls() {
        return Err(problem("it must begin with http://".to_owned()));
    }
    ureq::Proxy::new(&endpoint.base).map_err(|error| problem(error.to_string()))
}

/// Credentials out of the file that a key names.
pub(super) fn credentials(key: &'static str, scheme: Scheme, path: &Path) -> Result<Credentials, HttpError> {
    Credentials::read(scheme, path).map_err(|source| HttpError::Credentials { key, source })
}

/// A text that must not be empty, and becomes part of documents or of their address.
pub(super) fn filled(key: &'static str, value: &str) -> Result<String, HttpError> {
    if value.is_empty() { Err(HttpError::Empty { key }) } else { Ok(value.to_owned()) }
}

/// The file of a key that must be there.
pub(super) fn needed<'a>(key: &'static str, path: Option<&'a PathBuf>) -> Result<&'a Path, HttpError> {
    path.map(PathBuf::as_path).ok_or(HttpError::Missing { key })
}
