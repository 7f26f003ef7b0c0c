//! Elasticsearch, and OpenSearch: `_bulk` into a data stream.
//!
//! A data stream takes `create` alone. Each document comes with `event.id` as its `_id`: one that is there already is answered with 409,
//! so that sending it again makes no second. The status of the whole answer says nothing of the documents; each has its own.

pub(super) mod items;

use std::borrow::Cow;

use serde::Serialize;

use super::{
    Delivered, Entry, Fate, Sink,
    document::{self, Document},
    http::{Client, HttpSettings, Request},
};

/// What the answer shall hold: of documents that were taken, no more than that.
const PATH: &str = "/_bulk?filter_path=error,status,items.*.status,items.*.error,items.*.failure_store";

/// How documents get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElasticsearchSettings {
    pub http: HttpSettings,
    /// The data stream, where it is not the one that the document names.
    pub data_stream: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct ElasticsearchSink {
    client: Client,
    data_stream: Option<String>,
}

#[derive(Serialize)]
struct Action<'a> {
    create: Create<'a>,
}

#[derive(Serialize)]
struct Create<'a> {
    #[serde(rename = "_index")]
    index: &'a str,
    #[serde(rename = "_id")]
    id: &'a str,
}

impl ElasticsearchSink {
    #[must_use]
    pub fn new(settings: ElasticsearchSettings) -> Self {
        Self { client: Client::new(settings.http), data_stream: settings.data_stream }
    }

    fn body(&self, documents: &[Document<'_>]) -> Vec<u8> {
        let mut body = Vec::new();
        for Document { json, head } in documents {
            let stream = &head.data_stream;
            let own = || format!("{}-{}-{}", stream.kind, stream.dataset, stream.namespace);
            let index = self.data_stream.as_deref().map_or_else(|| Cow::Owned(own()), Cow::Borrowed);
            let action = Action { create: Create { index: &index, id: &head.event.id } };
            // Strings become JSON, and memory takes them.
            let _ = serde_json::to_writer(&mut body, &action);
            body.push(b'\n');
            body.extend_from_slice(json);
            body.push(b'\n');
        }
        body
    }

    fn send(&mut self, documents: &[Document<'_>]) -> Delivered {
        let deadline = self.client.deadline();
        let body = self.body(documents);
        let request = Request { path: PATH, content_type: "application/x-ndjson", headers: &[], body: &body };
        let answer = match self.client.post(&request, deadline) {
            Ok(answer) => answer,
            Err(failure) => return Delivered::Failed(failure),
        };
        match answer.status {
            200 => match answer.body().map_err(str::to_owned).and_then(|body| items::fates(body, documents.len())) {
                Ok(fates) => Delivered::Each(fates),
                Err(problem) => Delivered::Failed(answer.unclear(&problem)),
            },
            413 => Delivered::TooLarge,
            // Only its own word refuses documents: another server that listens there by mistake must not.
            400 if answer.body().is_ok_and(items::is_error) => {
                if documents.len() == 1 {
                    Delivered::Each(vec![Fate::Refused(answer.reason())])
                } else {
                    Delivered::TooLarge
                }
            }
            _ => Delivered::Failed(answer.failure()),
        }
    }
}

impl Sink for ElasticsearchSink {
    fn deliver(&mut self, batch: &[Entry]) -> Delivered {
        document::deliver(batch, |documents| self.send(documents))
    }
}
