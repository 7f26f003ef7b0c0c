//! What the collector answers.

use std::collections::HashMap;

use serde::Deserialize;

/// To events. Splunk's documentation has the codes under "Possible error codes".
#[derive(Debug, Deserialize)]
pub(in crate::sinks) struct Reply {
    pub(in crate::sinks) code: u64,
    #[serde(rename = "ackId")]
    pub(in crate::sinks) ack_id: Option<u64>,
    /// The first event that it could not read, counted from 0.
    #[serde(rename = "invalid-event-number")]
    pub(in crate::sinks) invalid_event: Option<usize>,
}

/// To the question about acknowledgements: by their numbers.
#[derive(Debug, Deserialize)]
pub(in crate::sinks) struct Acks {
    acks: HashMap<u64, bool>,
}

impl Reply {
    pub(in crate::sinks) fn parse(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }

    /// Whether it is about what an event says: its format (6), `event` missing (12) or blank (13), indexed fields (15). The other
    /// codes are about token, index, channel and the collector itself, which the configuration of either side has to mend.
    pub(in crate::sinks) fn is_of_data(&self) -> bool {
        matches!(self.code, 6 | 12 | 13 | 15)
    }
}

impl Acks {
    pub(in crate::sinks) fn parse(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }

    pub(in crate::sinks) fn holds(&self, id: u64) -> bool {
        self.acks.get(&id).is_some_and(|indexed| *indexed)
    }
}
