//! What sinks read of a document to send it.

use serde::Deserialize;

use super::{Delivered, Entry, Fate};

/// A document that can be sent.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) json: &'a [u8],
    pub(super) head: Head,
}

/// Fields of ECS. What is not there is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Head {
    #[serde(rename = "@timestamp")]
    pub(super) timestamp: String,
    pub(super) event: Event,
    pub(super) host: Host,
    pub(super) data_stream: DataStream,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub(super) id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Host {
    pub(super) name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DataStream {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) dataset: String,
    pub(super) namespace: String,
}

/// Delivers what can be sent. The others are refused here, so that they take no neighbours along; `send` says what became of its documents,
/// of which there is at least one.
pub(super) fn deliver(batch: &[Entry], send: impl FnOnce(&[Document<'_>]) -> Delivered) -> Delivered {
    let (mut documents, mut fates) = (Vec::new(), Vec::new());
    for entry in batch {
        match document(&entry.json) {
            Ok(document) => {
                documents.push(document);
                fates.push(None);
            }
            Err(reason) => fates.push(Some(Fate::Refused(reason))),
        }
    }
    let sent = if documents.is_empty() { Delivered::Each(Vec::new()) } else { send(&documents) };
    match sent {
        Delivered::Each(sent) => {
            let mut sent = sent.into_iter();
            Delivered::Each(fates.into_iter().filter_map(|fate| fate.or_else(|| sent.next())).collect())
        }
        none => none,
    }
}

fn document(json: &[u8]) -> Result<Document<'_>, String> {
    if memchr::memchr(b'\n', json).is_some() {
        return Err("it is not one line".to_owned());
    }
    let head: Head = serde_json::from_slice(json).map_err(|error| format!("it is no document: {error}"))?;
    if head.event.id.is_empty() {
        return Err("it has no event.id".to_owned());
    }
    Ok(Document { json, head })
}
