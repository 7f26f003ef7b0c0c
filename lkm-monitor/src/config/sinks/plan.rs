//! One sink's settings, checked and ready to be used.

use std::{
    fmt::Display,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Documents, HttpError, JournaldConfig, SinkConfig};
use crate::{
    config::{Invalid, Invalids, Key},
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
/// Where the receiver acknowledges what it has indexed, which Splunk's indexers may do minutes later.
const ACKNOWLEDGED_TIMEOUT_S: u32 = 300;
/// A new connection has to last for a second before it is believed.
const LEAST_SYSLOG_TIMEOUT_S: u32 = 2;
/// Characters of a sink's name.
const MAX_NAME: usize = 32;

/// How documents get to one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub documents: Documents,
    /// Of one batch at the most.
    pub batch_documents: usize,
    pub batch_bytes: usize,
    timeout: Duration,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    File(FileSettings),
    Stdout,
    Journald(PathBuf),
    Syslog(SyslogSettings),
    Elasticsearch(ElasticsearchSettings),
    Splunk(SplunkSettings),
    Webhook(WebhookSettings),
}

/// Where the lines of two writers would mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target<'a> {
    File(&'a Path),
    Stdout,
}

impl Plan {
    /// Checks what is set for the sink with this name; all that is wrong, if anything is. Reads the files that are named.
    pub fn of(name: &str, config: &SinkConfig) -> Result<Self, Invalids> {
        let here = Key::from("sinks").key(name);
        let mut problems = Vec::new();
        let is_allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_allowed) {
            let problem = format!("a sink's name has from 1 to {MAX_NAME} of the characters a-z, 0-9, - and _");
            problems.push(Invalid::new(here.clone(), problem));
        }
        let mut number = |key: &str, value: Option<u32>, default: u32, min: u32, max: u32| {
            let value = value.unwrap_or(default);
            if !(min..=max).contains(&value) {
                problems.push(Invalid::new(here.key(key), format!("it is {value}, but must be from {min} to {max}")));
            }
            value
        };
        let acknowledges = config.splunk.as_ref().is_some_and(|splunk| splunk.acknowledge);
        let default_timeout_s = if acknowledges { ACKNOWLEDGED_TIMEOUT_S } else { TIMEOUT_S };
        let least_timeout_s = if config.syslog.is_some() { LEAST_SYSLOG_TIMEOUT_S } else { 1 };
        let timeout_s = number("timeout_s", config.timeout_s, default_timeout_s, least_timeout_s, 600);
        let batch_documents = number("batch_documents", config.batch_documents, BATCH_DOCUMENTS, 1, 10_000);
        let batch_bytes = number("batch_bytes", config.batch_bytes, BATCH_BYTES, 1 << 15, 1 << 26);
        let timeout = Duration::from_secs(timeout_s.into());
        match kind(&here, config, timeout) {
            Ok(kind) if problems.is_empty() => Ok(Self {
                documents: config.documents,
                batch_documents: batch_documents as usize,
                batch_bytes: batch_bytes as usize,
                timeout,
                kind,
            }),
            kind => {
                problems.extend(kind.err().unwrap_or_default());
                Err(Invalids(problems))
            }
        }
    }

    /// What no other sink must write to, and the key that names it.
    pub(super) fn target(&self) -> Option<(Target<'_>, &'static str)> {
        match &self.kind {
            Kind::File(settings) => Some((Target::File(&settings.path), "file.path")),
            Kind::Stdout => Some((Target::Stdout, "stdout")),
            _ => None,
        }
    }

    /// Makes the sink, which opens nothing yet.
    pub fn sink(&self, host: &Host, agent: &Agent) -> Box<dyn Sink> {
        match self.kind.clone() {
            Kind::File(settings) => Box::new(FileSink::<File>::new(settings, host, agent)),
            Kind::Stdout => Box::new(StdoutSink::new(self.timeout)),
            Kind::Journald(socket) => Box::new(JournaldSink::new(socket, self.timeout)),
            Kind::Syslog(settings) => Box::new(SyslogSink::new(settings, self.timeout)),
            Kind::Elasticsearch(settings) => Box::new(ElasticsearchSink::new(settings)),
            Kind::Splunk(settings) => Box::new(SplunkSink::new(settings, &agent.ephemeral_id)),
            Kind::Webhook(settings) => Box::new(WebhookSink::new(settings)),
        }
    }
}

/// The one that is set; all that is wrong with it, if anything is.
fn kind(here: &Key, config: &SinkConfig, timeout: Duration) -> Result<Kind, Vec<Invalid>> {
    let SinkConfig { file, stdout, journald, syslog, elasticsearch, splunk, webhook, .. } = config;
    let mut kinds = Vec::new();
    let mut set = |name, kind: Option<Result<Kind, Vec<Problem>>>| {
        kinds.extend(kind.map(|kind| (name, kind.map_err(|problems| invalid(&here.key(name), &problems)))));
    };
    set("file", file.as_ref().map(|file| file.settings().map(Kind::File).map_err(one)));
    set("stdout", stdout.as_ref().map(|_| Ok(Kind::Stdout)));
    let socket = |journald: &JournaldConfig| Kind::Journald(journald.socket.clone());
    set("journald", journald.as_ref().map(|journald| journald.check().map(|()| socket(journald)).map_err(one)));
    set("syslog", syslog.as_ref().map(|syslog| syslog.settings().map(Kind::Syslog).map_err(one)));
    set("elasticsearch", elasticsearch.as_ref().map(|it| it.settings(timeout).map(Kind::Elasticsearch).map_err(all)));
    set("splunk", splunk.as_ref().map(|splunk| splunk.settings(timeout).map(Kind::Splunk).map_err(all)));
    set("webhook", webhook.as_ref().map(|webhook| webhook.settings(timeout).map(Kind::Webhook).map_err(all)));
    let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
    let problem = match names.len() {
        1 => return kinds.swap_remove(0).1,
        0 => "no kind is given; there are file, stdout, journald, syslog, elasticsearch, splunk and webhook".to_owned(),
        _ => format!("{} are given, but a sink has one kind", names.join(" and ")),
    };
    Err(vec![Invalid::new(here.clone(), problem)])
}

/// What a kind says of itself: a text that begins with its key, that of the kind's table perhaps before it.
type Problem = String;

fn one(error: impl Display) -> Vec<Problem> {
    vec![error.to_string()]
}

fn all(errors: Vec<HttpError>) -> Vec<Problem> {
    errors.iter().map(ToString::to_string).collect()
}

fn invalid(here: &Key, problems: &[Problem]) -> Vec<Invalid> {
    let invalid = |text: &Problem| {
        let (key, problem) = text.split_once([' ', ':']).unwrap_or((text, ""));
        let mut keys: Vec<_> = key.split('.').collect();
        if here.to_string().ends_with(&format!(".{}", keys[0])) {
            keys.remove(0);
        }
        let key = keys.into_iter().fold(here.clone(), |key, name| key.key(name));
        Invalid::new(key, problem.trim_start())
    };
    problems.iter().map(invalid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret_file;

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
    fn who_waits_for_an_acknowledgement_has_more_time() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        secret_file(&token, "1-2\n");
        let timeout = |more: &str, acknowledge: bool| {
            let splunk = format!("endpoints = ['http://a']\ntoken_file = '{}'", token.display());
            let text = format!("{more}\n[splunk]\n{splunk}\nacknowledge = {acknowledge}\n");
            let plan = Plan::of("siem", &toml::from_str(&text).unwrap()).unwrap();
            let Kind::Splunk(settings) = plan.kind else { panic!("{:?}", plan.kind) };
            settings.http.timeout.as_secs()
        };
        assert_eq!((timeout("", false), timeout("", true), timeout("timeout_s = 60", true)), (30, 300, 60));
    }

    #[test]
    fn problems_name_their_keys() {
        assert!(problem("").starts_with("sinks.siem: no kind is given"));
        assert_eq!(problem("[stdout]\n[file]\n"), "sinks.siem: file and stdout are given, but a sink has one kind");
        assert_eq!(problem("timeout_s = 0\n[stdout]\n"), "sinks.siem.timeout_s: it is 0, but must be from 1 to 600");
        let syslog = problem("timeout_s = 1\n[syslog]\naddress = \"siem:601\"\n");
        assert_eq!(syslog, "sinks.siem.timeout_s: it is 1, but must be from 2 to 600");
        let path = problem("[file]\npath = \"events\"\n");
        assert!(path.starts_with("sinks.siem.file.path: is `events`, but must be"), "{path}");
        let address = problem("[syslog]\naddress = \"siem\"\n");
        assert!(address.starts_with("sinks.siem.syslog.address: is `siem`, but must be"), "{address}");
        let both = problem("timeout_s = 0\n[splunk]\nsource = ''\nendpoints = ['http://a']\n");
        assert_eq!(
            both,
            "sinks.siem.timeout_s: it is 0, but must be from 1 to 600\n\
             sinks.siem.splunk.token_file: is missing\n\
             sinks.siem.splunk.source: is empty"
        );
        let endpoints = problem("[elasticsearch]\n");
        assert!(endpoints.starts_with("sinks.siem.elasticsearch.endpoints: is missing"), "{endpoints}");
        let name = Plan::of("a/b", &SinkConfig::default()).unwrap_err().to_string();
        assert!(name.contains("a sink's name"), "{name}");
    }
}
