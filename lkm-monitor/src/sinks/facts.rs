//! What the local sinks have to know of a document to address it.

use serde::Deserialize;

use crate::model::Class;

/// Fields of a document; empty where it does not have them.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Facts {
    #[serde(rename = "@timestamp")]
    pub(super) timestamp: String,
    pub(super) message: String,
    pub(super) event: EventFacts,
    pub(super) rule: RuleFacts,
    pub(super) host: HostFacts,
}

/// `event`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct EventFacts {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) action: String,
    pub(super) reason: String,
    pub(super) sequence: Option<u64>,
}

/// `rule`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct RuleFacts {
    pub(super) id: String,
}

/// `host`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct HostFacts {
    pub(super) hostname: String,
}

impl Facts {
    pub(super) fn of(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }
}

/// The severity of RFC 5424, section 6.2.1, which is journald's PRIORITY too.
pub(super) const fn severity(class: Class) -> u8 {
    match class {
        Class::Critical => 2,
        Class::High => 3,
        Class::Medium | Class::Loss => 4,
        Class::Low => 5,
        Class::State | Class::Telemetry => 6,
    }
}
