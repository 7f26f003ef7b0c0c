//! `[sinks.NAME.splunk]`

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{
    TlsConfig,
    http::{HttpError, HttpKeys, Problems, credentials, filled, needed},
};
use crate::sinks::{http::Scheme, splunk::SplunkSettings};

/// Splunk's HTTP Event Collector.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplunkConfig {
    /// `https://host:8088`, perhaps with a path before `/services/collector`. Collectors of one deployment, tried in turn.
    pub endpoints: Vec<String>,
    /// The collector's token. Must be set.
    pub token_file: Option<PathBuf>,
    /// The index; the token's own, where none is set.
    pub index: Option<String>,
    pub source: String,
    pub sourcetype: String,
    /// Whether to wait until the indexers have the documents. The token must offer it (`useACK`).
    pub acknowledge: bool,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// `http://host:port` to go through (CONNECT). Proxies of the environment are not used.
    pub proxy: Option<String>,
    pub tls: TlsConfig,
}

impl Default for SplunkConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            token_file: None,
            index: None,
            source: "lkm-monitor".to_owned(),
            sourcetype: "lkm_monitor:events".to_owned(),
            acknowledge: false,
            gzip: true,
            proxy: None,
            tls: TlsConfig::default(),
        }
    }
}

impl SplunkConfig {
    /// Reads the files that are named; all that is wrong, if anything is. `timeout` is for a batch, with its acknowledgement.
    pub fn settings(&self, timeout: Duration) -> Result<SplunkSettings, Vec<HttpError>> {
        let mut problems = Problems::default();
        let token = needed("token_file", self.token_file.as_ref());
        let token = token.and_then(|path| credentials("token_file", Scheme::Splunk, path));
        let token = problems.take(token);
        for (key, value) in [("source", &self.source), ("sourcetype", &self.sourcetype)] {
            problems.take(filled(key, value));
        }
        let index = self.index.as_ref().and_then(|index| problems.take(filled("index", index)));
        let keys = HttpKeys {
            address_key: "endpoints",
            addresses: Some(&self.endpoints),
            whole_address: false,
            gzip: self.gzip,
            proxy: self.proxy.as_deref(),
            tls: &self.tls,
            timeout,
        };
        let http = keys.settings(token, &mut problems);
        if self.acknowledge && self.endpoints.len() > 1 {
            // A collector knows only what it took itself.
            problems.0.push(HttpError::Both { key: "acknowledge", other: "more than one of endpoints" });
        }
        problems.or(SplunkSettings {
            http,
            source: self.source.clone(),
            sourcetype: self.sourcetype.clone(),
            index,
            acknowledge: self.acknowledge,
        })
    }
}
