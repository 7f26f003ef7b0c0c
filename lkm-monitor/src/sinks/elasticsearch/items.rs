//! What `_bulk` answers of each document.

use serde::Deserialize;
use serde_json::Value;

use crate::sinks::{Fate, http::excerpt};

#[derive(Deserialize)]
struct Answer {
    items: Vec<Item>,
}

/// An answer to another action than the one that was asked for is none.
#[derive(Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    error: Value,
    /// Elasticsearch 8.19 and later: `used` where the document could not be indexed, and was put aside.
    #[serde(default)]
    failure_store: String,
}

/// What became of `count` documents, or what is wrong with the answer.
pub(in crate::sinks) fn fates(answer: &[u8], count: usize) -> Result<Vec<Fate>, String> {
    let Answer { items } = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    if items.len() != count {
        return Err(format!("it is about {} documents, but {count} were sent", items.len()));
    }
    Ok(items.into_iter().map(|item| item.create.fate()).collect())
}

/// Whether this is how it says that it refuses a request.
pub(in crate::sinks) fn is_error(answer: &[u8]) -> bool {
    serde_json::from_slice(answer).is_ok_and(|answer: Value| answer["error"]["type"].is_string())
}

impl Outcome {
    fn fate(self) -> Fate {
        match self.status {
            200..=299 if self.failure_store == "used" => Fate::Misfiled,
            200..=299 => Fate::Taken,
            409 => Fate::Duplicate,
            // Of the key's privileges, of the data stream and its blocks: nothing that this document can help.
            401 | 403 | 404 | 408 | 429 => Fate::TryAgain(self.reason()),
            400..=499 if !self.is_of_cluster() => Fate::Refused(self.reason()),
            _ => Fate::TryAgain(self.reason()),
        }
    }

    /// Whether the cluster takes no document at all, which it says with 400 too: no room for another shard (`validation_exception`), a
    /// closed index, a pipeline that is named and not there. Refused, every document would become a dead letter.
    fn is_of_cluster(&self) -> bool {
        match self.text("/type") {
            Some("validation_exception" | "index_closed_exception" | "cluster_block_exception") => true,
            Some("illegal_argument_exception") => self.text("/reason").is_some_and(|reason| {
                reason.contains("maximum shards open")
                    || (reason.starts_with("pipeline with id [") && reason.ends_with("] does not exist"))
            }),
            _ => false,
        }
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.error.pointer(pointer).and_then(Value::as_str)
    }

    /// The receiver's words, cut.
    fn reason(&self) -> String {
        let mut reason = format!("status {}", self.status);
        for pointer in ["/type", "/reason", "/caused_by/reason"] {
            if let Some(part) = self.text(pointer) {
                reason.push_str(": ");
                reason.push_str(&excerpt(part.as_bytes()));
            }
        }
        reason
    }
}
