//! Splunk's HTTP Event Collector (HEC).
//!
//! A 200 says that the documents were parsed, and not that they were indexed. For that there is the acknowledgement of the indexer, where
//! token and collector offer it: the answer carries a number, which is asked about until it is true. Nothing there knows a document that
//! came before: one that is sent again is there twice, with the same `event.id`.

mod reply;

use std::{
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

pub(super) use self::reply::{Acks, Reply};
use super::{
    Delivered, Entry, Failure, Fate, Sink,
    document::{self, Document},
    http::{Answer, Client, HttpSettings, Request},
};

const EVENT: &str = "/services/collector/event";
const ACK: &str = "/services/collector/ack";

/// Between two questions whether a batch was indexed: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How documents get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplunkSettings {
    pub http: HttpSettings,
    pub source: String,
    pub sourcetype: String,
    /// The token's own, where none is named.
    pub index: Option<String>,
    /// Whether to wait until the documents are indexed.
    pub acknowledge: bool,
}

/// See the module.
#[derive(Debug)]
pub struct SplunkSink {
    client: Client,
    settings: SplunkSettings,
    channel: String,
}

/// What stands around a document, which follows as `event`.
#[derive(Serialize)]
struct Envelope<'a> {
    /// Seconds since 1970, to the microsecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<f64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    source: &'a str,
    sourcetype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
}

impl SplunkSink {
    /// `channel` is what the collector numbers acknowledgements by: a UUID, of this run.
    #[must_use]
    pub fn new(settings: SplunkSettings, channel: &str) -> Self {
        Self { client: Client::new(settings.http.clone()), settings, channel: channel.to_owned() }
    }

    fn body(&self, documents: &[Document<'_>]) -> Vec<u8> {
        let mut body = Vec::new();
        for Document { json, head } in documents {
            let time = head.timestamp.parse::<Timestamp>().ok();
            let envelope = Envelope {
                // A double holds microseconds of our time exactly enough to print them.
                time: time.map(|time| time.as_microsecond() as f64 / 1e6),
                host: &head.host.name,
                source: &self.settings.source,
                sourcetype: &self.settings.sourcetype,
                index: self.settings.index.as_deref(),
            };
            // Strings and numbers become JSON, and memory takes them.
            let _ = serde_json::to_writer(&mut body, &envelope);
            body.pop();
            body.extend_from_slice(b",\"event\":");
            body.extend_from_slice(json);
            body.extend_from_slice(b"}\n");
        }
        body
    }

    fn ask(&mut self, path: &str, body: &[u8], deadline: Instant) -> Result<Answer, Failure> {
        let headers = [("x-splunk-request-channel", self.channel.as_str())];
        self.client.post(&Request { path, content_type: "application/json", headers: &headers, body }, deadline)
    }

    fn send(&mut self, documents: &[Document<'_>]) -> Delivered {
        let deadline = self.client.deadline();
        let answer = match self.ask(EVENT, &self.body(documents), deadline) {
            Ok(answer) => answer,
            Err(failure) => return Delivered::Failed(failure),
        };
        let reply = answer.body().map_err(str::to_owned).and_then(Reply::parse);
        match (answer.status, reply) {
            (200, Ok(Reply { code: 0, ack_id, .. })) => match self.indexed(ack_id, &answer, deadline) {
                Ok(()) => Delivered::Each(vec![Fate::Taken; documents.len()]),
                Err(failure) => Delivered::Failed(failure),
            },
            (200, Ok(reply)) => Delivered::Failed(answer.unclear(&format!("its code is {}", reply.code))),
            (200, Err(problem)) => Delivered::Failed(answer.unclear(&problem)),
            (413, _) => Delivered::TooLarge,
            (400, Ok(reply)) if reply.is_of_data() => refused(&reply, &answer, documents.len()),
            _ => Delivered::Failed(answer.failure()),
        }
    }

    /// Waits until the batch is indexed, if that was asked for.
    fn indexed(&mut self, ack_id: Option<u64>, answer: &Answer, deadline: Instant) -> Result<(), Failure> {
        if !self.settings.acknowledge {
            return Ok(());
        }
        let Some(id) = ack_id else {
            return Err(answer.unclear("it has no ackId: the token does not acknowledge"));
        };
        let question = json!({ "acks": [id] }).to_string();
        let mut pause = FIRST_PAUSE;
        let mut last = "not indexed yet".to_owned();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left <= pause {
                let reason = format!("no acknowledgement in time: {last}");
                return Err(Failure { reason, maybe_taken: true, retry_after: None });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.ask(ACK, question.as_bytes(), deadline) {
                Ok(answer) if answer.status == 200 => {
                    match answer.body().map_err(str::to_owned).and_then(Acks::parse) {
                        Ok(acks) if acks.holds(id) => return Ok(()),
                        Ok(_) => {}
                        Err(problem) => last = answer.unclear(&problem).reason,
                    }
                }
                Ok(answer) => last = answer.reason(),
                Err(failure) => last = failure.reason,
            }
        }
    }
}

/// The collector reads a batch until the first event that it cannot read, and names that. The others go again.
fn refused(reply: &Reply, answer: &Answer, count: usize) -> Delivered {
    let reason = answer.reason();
    match reply.invalid_event {
        Some(bad) if bad < count => {
            let fate = |number| {
                if number == bad {
                    Fate::Refused(reason.clone())
                } else {
                    Fate::TryAgain("another event of the batch was refused".to_owned())
                }
            };
            Delivered::Each((0..count).map(fate).collect())
        }
        _ if count == 1 => Delivered::Each(vec![Fate::Refused(reason)]),
        _ => Delivered::TooLarge,
    }
}

impl Sink for SplunkSink {
    fn deliver(&mut self, batch: &[Entry]) -> Delivered {
        document::deliver(batch, |documents| self.send(documents))
    }
}
