//! `[sinks.NAME.webhook]`

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    TlsConfig,
    http::{HttpError, HttpKeys, Problems, credentials},
};
use crate::{
    config::Secret,
    sinks::{
        http::Scheme,
        webhook::{Format, WebhookSettings},
    },
};

/// Any receiver of JSON over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// The whole address. This or the next must be set.
    pub url: Option<String>,
    /// A file that holds it, because it is a secret.
    pub url_file: Option<PathBuf>,
    /// `json`, one array, or `ndjson`, a document a line.
    pub format: Format,
    /// A header that shows who we are: `Name: value`.
    pub header_file: Option<PathBuf>,
    /// Whether requests are compressed. Many receivers cannot take that.
    pub gzip: bool,
    /// `http://host:port` to go through (CONNECT). Proxies of the environment are not used.
    pub proxy: Option<String>,
    pub tls: TlsConfig,
}

impl WebhookConfig {
    /// Reads the files that are named; all that is wrong, if anything is. `timeout` is for a batch.
    pub fn settings(&self, timeout: Duration) -> Result<WebhookSettings, Vec<HttpError>> {
        let mut problems = Problems::default();
        let header = self.header_file.as_ref();
        let header = header.and_then(|path| problems.take(credentials("header_file", Scheme::Header, path)));
        let (address_key, address) = match (&self.url, &self.url_file) {
            (url, None) => ("url", Ok(url.clone())),
            (None, Some(path)) => ("url_file", secret_address(path).map(Some)),
            (Some(_), Some(_)) => ("url", Err(HttpError::Both { key: "url", other: "url_file" })),
        };
        let address = problems.take(address);
        let keys = HttpKeys {
            address_key,
            addresses: address.as_ref().map(Option::as_slice),
            whole_address: true,
            gzip: self.gzip,
            proxy: self.proxy.as_deref(),
            tls: &self.tls,
            timeout,
        };
        let http = keys.settings(header, &mut problems);
        problems.or(WebhookSettings { http, format: self.format })
    }
}

fn secret_address(path: &Path) -> Result<String, HttpError> {
    let secret =
        Secret::read(path).map_err(|error| HttpError::Credentials { key: "url_file", source: error.into() })?;
    Ok(secret.expose().lines().next().unwrap_or_default().trim().to_owned())
}
