//! Any receiver of JSON over HTTP.
//!
//! Its status is about the whole batch. So when it refuses one, it is asked about less and less, until the document is alone that it
//! does not want.

use serde::Deserialize;

use super::{
    Delivered, Entry, Fate, Sink,
    document::{self, Document},
    http::{Client, HttpSettings, Request},
};

/// How a batch is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One array.
    #[default]
    Json,
    /// A document a line, each line ended.
    Ndjson,
}

/// How documents get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    pub http: HttpSettings,
    pub format: Format,
}

/// See the module.
#[derive(Debug)]
pub struct WebhookSink {
    client: Client,
    format: Format,
}

impl WebhookSink {
    #[must_use]
    pub fn new(settings: WebhookSettings) -> Self {
        Self { client: Client::new(settings.http), format: settings.format }
    }

    fn send(&mut self, documents: &[Document<'_>]) -> Delivered {
        let deadline = self.client.deadline();
        let body = self.format.body(documents);
        let request = Request { path: "", content_type: self.format.content_type(), headers: &[], body: &body };
        let answer = match self.client.post(&request, deadline) {
            Ok(answer) => answer,
            Err(failure) => return Delivered::Failed(failure),
        };
        match answer.status {
            200..=299 => Delivered::Each(vec![Fate::Taken; documents.len()]),
            413 => Delivered::TooLarge,
            // The only ones that can be about what documents say. Others are about address, key, form or time: the next batch would fare no
            // better, and this one may fare better later.
            400 | 409 | 422 if documents.len() == 1 => Delivered::Each(vec![Fate::Refused(answer.reason())]),
            400 | 409 | 422 => Delivered::TooLarge,
            _ => Delivered::Failed(answer.failure()),
        }
    }
}

impl Format {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    fn body(self, documents: &[Document<'_>]) -> Vec<u8> {
        let documents: Vec<_> = documents.iter().map(|document| document.json).collect();
        match self {
            Self::Json => [b"[", documents.join(&b","[..]).as_slice(), b"]"].concat(),
            Self::Ndjson => [documents.join(&b"\n"[..]).as_slice(), b"\n"].concat(),
        }
    }
}

impl Sink for WebhookSink {
    fn deliver(&mut self, batch: &[Entry]) -> Delivered {
        document::deliver(batch, |documents| self.send(documents))
    }
}
