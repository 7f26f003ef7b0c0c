//! One sink's settings, checked and ready to be used.

use std::{fmt::Display, fs::File, path::PathBuf, time::Duration};

use super::{Documents, SinkConfig};
use crate::{
    config::{Invalid, Key},
    model::{Agent, Host},
    sinks::{
        Sink,
        elasticsearch::{ElasticsearchSettings, ElasticsearchSink},
        file::{FileSettings, FileSink},
        journald::JournaldSink,
        splunk::{SplunkSettings, SplunkSink},
        stdout::StdoutSink,
        syslog::{SyslogSettings, SyslogSink},
        webhook::{WebhookSettings, WebhookSink},
    },
};

const BATCH_DOCUMENTS: u32 = 500;
const BATCH_BYTES: u32 = 4 << 20;
const TIMEOUT_S: u32 = 30;
/// Characters of a sink's name.
const MAX_NAME: usize = 32;

/// How documents get to one receiver.
#[derive(Clone, Debug)]
pub struct Plan {
    pub documents: Documents,
    /// Of one batch at the most.
    pub batch_documents: usize,
    pub batch_bytes: usize,
    timeout: Duration,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    File(FileSettings),
    Stdout,
    Journald(PathBuf),
    Syslog(SyslogSettings),
    Elasticsearch(ElasticsearchSettings),
    Splunk(SplunkSettings),
    Webhook(WebhookSettings),
}

impl Plan {
    /// Checks what is set for the sink with this name. Reads the files that are named.
    pub fn of(name: &str, config: &SinkConfig) -> Result<Self, Invalid> {
        let here = Key::from("sinks").key(name);
        let is_allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_allowed) {
            let problem = format!("a sink's name has from 1 to {MAX_NAME} of the characters a-z, 0-9, - and _");
            return Err(Invalid::new(here, problem));
        }
        let number = |key: &str, value: Option<u32>, default: u32, min: u32, max: u32| {
            let value = value.unwrap_or(default);
            let problem = || format!("it is {value}, but must be from {min} to {max}");
            if (min..=max).contains(&value) { Ok(value) } else { Err(Invalid::new(here.key(key), problem())) }
        };
        let timeout = number("timeout_s", config.timeout_s, TIMEOUT_S, 1, 600)?;
        let timeout = Duration::from_secs(timeout.into());
        Ok(Self {
            documents: config.documents,
            batch_documents: number("batch_documents", config.batch_documents, BATCH_DOCUMENTS, 1, 10_000)? as usize,
            batch_bytes: number("batch_bytes", config.batch_bytes, BATCH_BYTES, 1 << 15, 1 << 26)? as usize,
            timeout,
            kind: kind(&here, config, timeout)?,
        })
    }

    /// Makes the sink, which opens nothing yet.
    pub fn sink(&self, host: &Host, agent: &Agent) -> Box<dyn Sink> {
        match self.kind.clone() {
            Kind::File(settings) => Box::new(FileSink::<File>::new(settings, host, agent)),
            Kind::Stdout => Box::new(StdoutSink::new(self.timeout)),
            Kind::Journald(socket) => Box::new(JournaldSink::new(socket, self.timeout)),
            Kind::Syslog(settings) => Box::new(SyslogSink::new(settings, self.timeout)),
            Kind::Elasticsearch(settings) => Box::new(ElasticsearchSink::new(settings)),
            Kind::Splunk(settings) => Box::new(SplunkSink::new(settings)),
            Kind::Webhook(settings) => Box::new(WebhookSink::new(settings)),
        }
    }
}

/// The one that is set.
fn kind(here: &Key, config: &SinkConfig, timeout: Duration) -> Result<Kind, Invalid> {
    let SinkConfig { file, stdout, journald, syslog, elasticsearch, splunk, webhook, .. } = config;
    let mut kinds = Vec::new();
    let mut set = |name: &'static str, kind: Option<Result<Kind, Invalid>>| kinds.extend(kind.map(|kind| (name, kind)));
    let at = |name: &'static str| here.key(name);
    set("file", file.as_ref().map(|file| file.settings().map(Kind::File).map_err(|error| invalid(&at("file"), error))));
    set("stdout", stdout.as_ref().map(|_| Ok(Kind::Stdout)));
    set(
        "journald",
        journald.as_ref().map(|journald| {
            let checked = journald.check().map_err(|error| invalid(&at("journald"), error));
            checked.map(|()| Kind::Journald(journald.socket.clone()))
        }),
    );
    set(
        "syslog",
        syslog
            .as_ref()
            .map(|syslog| syslog.settings().map(Kind::Syslog).map_err(|error| invalid(&at("syslog"), error))),
    );
    set(
        "elasticsearch",
        elasticsearch.as_ref().map(|settings| {
            settings.settings(timeout).map(Kind::Elasticsearch).map_err(|errors| first(&at("elasticsearch"), errors))
        }),
    );
    set(
        "splunk",
        splunk.as_ref().map(|settings| {
            settings.settings(timeout).map(Kind::Splunk).map_err(|errors| first(&at("splunk"), errors))
        }),
    );
    set(
        "webhook",
        webhook.as_ref().map(|settings| {
            settings.settings(timeout).map(Kind::Webhook).map_err(|errors| first(&at("webhook"), errors))
        }),
    );
    let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
    let problem = match names.len() {
        1 => return kinds.swap_remove(0).1,
        0 => "no kind is given; there are file, stdout, journald, syslog, elasticsearch, splunk and webhook".to_owned(),
        _ => format!("{} are given, but a sink has one kind", names.join(" and ")),
    };
    Err(Invalid::new(here.clone(), problem))
}

/// The first of several problems: when it is mended, the next one is found.
fn first(here: &Key, errors: Vec<impl Display>) -> Invalid {
    errors
        .into_iter()
        .next()
        .map_or_else(|| Invalid::new(here.clone(), "it cannot be used"), |error| invalid(here, error))
}

/// A problem whose text begins with its key, that of the kind's table perhaps before it.
fn invalid(here: &Key, error: impl Display) -> Invalid {
    let text = error.to_string();
    let (key, problem) = text.split_once([' ', ':']).unwrap_or((&text, ""));
    let mut keys: Vec<_> = key.split('.').collect();
    if here.to_string().ends_with(&format!(".{}", keys[0])) {
        keys.remove(0);
    }
    let key = keys.into_iter().fold(here.clone(), |key, name| key.key(name));
    Invalid::new(key, problem.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Plan::of("siem", &toml::from_str(text).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_set_is_used() {
        let config = toml::from_str("documents = \"alerts\"\nbatch_documents = 7\n[file]").unwrap();
        let plan = Plan::of("siem", &config).unwrap();
        assert_eq!((plan.documents, plan.batch_documents, plan.batch_bytes), (Documents::Alerts, 7, 4 << 20));
        assert!(matches!(plan.kind, Kind::File(_)));
    }

    #[test]
    fn problems_name_their_keys() {
        assert!(problem("").starts_with("sinks.siem: no kind is given"));
        assert_eq!(problem("[stdout]\n[file]\n"), "sinks.siem: file and stdout are given, but a sink has one kind");
        assert_eq!(problem("timeout_s = 0\n[stdout]\n"), "sinks.siem.timeout_s: it is 0, but must be from 1 to 600");
        let path = problem("[file]\npath = \"events\"\n");
        assert!(path.starts_with("sinks.siem.file.path: is `events`, but must be"), "{path}");
        let address = problem("[syslog]\naddress = \"siem\"\n");
        assert!(address.starts_with("sinks.siem.syslog.address: is `siem`, but must be"), "{address}");
        let endpoints = problem("[elasticsearch]\n");
        assert!(endpoints.starts_with("sinks.siem.elasticsearch.endpoints: is missing"), "{endpoints}");
        let name = Plan::of("a/b", &SinkConfig::default()).unwrap_err().to_string();
        assert!(name.contains("a sink's name"), "{name}");
    }
}
