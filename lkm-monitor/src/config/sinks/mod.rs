//! `[sinks.NAME]`: where documents go.

mod address;
mod elasticsearch;
mod file;
mod http;
mod journald;
mod plan;
mod splunk;
mod syslog;
#[cfg(test)]
mod tests;
mod webhook;

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

pub(super) use self::address::hide_paths;
pub use self::{
    elasticsearch::ElasticsearchConfig,
    file::{EVENTS, FileConfig, FileConfigError},
    http::HttpError,
    journald::{JournaldConfig, JournaldConfigError, SOCKET},
    plan::Plan,
    splunk::SplunkConfig,
    syslog::{SyslogConfig, SyslogConfigError},
    webhook::WebhookConfig,
};
use super::{Invalid, Key};

/// Which documents a sink gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Documents {
    /// Alerts, and losses.
    Alerts,
    /// Everything that the daemon tells.
    #[default]
    All,
}

/// `[sinks.NAME]`. Exactly one of the kinds is given, as a table of its own: `[sinks.siem.elasticsearch]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkConfig {
    pub documents: Documents,
    /// Documents, and bytes, in one batch at the most.
    pub batch_documents: Option<u32>,
    pub batch_bytes: Option<u32>,
    /// How long the receiver may take for one batch. The default depends on the kind.
    pub timeout_s: Option<u32>,
    pub elasticsearch: Option<ElasticsearchConfig>,
    pub splunk: Option<SplunkConfig>,
    pub webhook: Option<WebhookConfig>,
    pub file: Option<FileConfig>,
    pub stdout: Option<StdoutConfig>,
    pub journald: Option<JournaldConfig>,
    pub syslog: Option<SyslogConfig>,
}

/// `[sinks.NAME.stdout]`: documents on standard output. There is nothing to set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StdoutConfig {}

/// `tls` in a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificates to trust, in PEM; those of the host where none is named.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and its key, in PEM.
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

/// The sinks that would write where another does.
pub(super) fn second_writers(plans: &BTreeMap<String, Plan>) -> Vec<Invalid> {
    let (mut writers, mut seconds) = (BTreeMap::new(), Vec::new());
    for (name, plan) in plans {
        let Some((target, key)) = plan.target() else { continue };
        if let Some(first) = writers.get(&target) {
            let key = Key::from(format!("sinks.{name}.{key}").as_str());
            seconds.push(Invalid::new(key, format!("the sink {first} writes there already")));
        } else {
            writers.insert(target, name);
        }
    }
    seconds
}
