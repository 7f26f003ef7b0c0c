//! `[sinks.NAME.elasticsearch]`

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{
    TlsConfig,
    http::{HttpError, HttpKeys, Problems, credentials},
};
use crate::sinks::{elasticsearch::ElasticsearchSettings, http::Scheme};

/// Elasticsearch or OpenSearch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ElasticsearchConfig {
    /// `https://host:port`, perhaps with a path before `/_bulk`. Nodes of one cluster, tried in turn.
    pub endpoints: Vec<String>,
    /// The data stream; the one that the document names (`data_stream.*`), where none is set.
    pub data_stream: Option<String>,
    /// An API key, encoded as it was given out, or `id:api_key`.
    pub api_key_file: Option<PathBuf>,
    /// Instead of a key.
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// `http://host:port` to go through (CONNECT). Proxies of the environment are not used.
    pub proxy: Option<String>,
    pub tls: TlsConfig,
}

impl Default for ElasticsearchConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            data_stream: None,
            api_key_file: None,
            user: None,
            password_file: None,
            gzip: true,
            proxy: None,
            tls: TlsConfig::default(),
        }
    }
}

impl ElasticsearchConfig {
    /// Reads the files that are named; all that is wrong, if anything is. `timeout` is for a batch.
    pub fn settings(&self, timeout: Duration) -> Result<ElasticsearchSettings, Vec<HttpError>> {
        let mut problems = Problems::default();
        let credentials = match (&self.api_key_file, &self.user, &self.password_file) {
            (Some(path), None, None) => problems.take(credentials("api_key_file", Scheme::ApiKey, path)),
            (None, Some(user), Some(path)) => {
                let scheme = user_scheme(user).map(|scheme| credentials("password_file", scheme, path));
                problems.take(scheme.and_then(|credentials| credentials))
            }
            (None, None, None) => None,
            (Some(_), ..) => problems.take(Err(HttpError::Both { key: "api_key_file", other: "user" })),
            (None, Some(_), None) => problems.take(Err(HttpError::Pair { key: "user", other: "password_file" })),
            (None, None, Some(_)) => problems.take(Err(HttpError::Pair { key: "password_file", other: "user" })),
        };
        let data_stream = self.data_stream.as_ref().and_then(|name| problems.take(data_stream(name)));
        let keys = HttpKeys {
            address_key: "endpoints",
            addresses: Some(&self.endpoints),
            whole_address: false,
            gzip: self.gzip,
            proxy: self.proxy.as_deref(),
            tls: &self.tls,
            timeout,
        };
        let http = keys.settings(credentials, &mut problems);
        problems.or(ElasticsearchSettings { http, data_stream })
    }
}

/// RFC 7617, 2: a colon ends the user.
fn user_scheme(user: &str) -> Result<Scheme, HttpError> {
    if user.is_empty() || user.contains(':') {
        let problem = "it must be a name without a colon".to_owned();
        return Err(HttpError::Value { key: "user", value: user.to_owned(), problem });
    }
    Ok(Scheme::Basic { user: user.to_owned() })
}

/// Elasticsearch's rules for names.
fn data_stream(name: &str) -> Result<String, HttpError> {
    let forbidden = |char: char| char.is_uppercase() || char.is_whitespace() || "\\/*?\"<>|,#:".contains(char);
    let begins_badly = name.starts_with(['-', '_', '+', '.']);
    if name.is_empty() || name.len() > 255 || begins_badly || name.contains(forbidden) {
        let problem = "it is no name of a data stream".to_owned();
        return Err(HttpError::Value { key: "data_stream", value: name.to_owned(), problem });
    }
    Ok(name.to_owned())
}
