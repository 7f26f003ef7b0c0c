//! What a document says of the process and the file behind its event: by this, rows of different hunts are linked.
//!
//! It is read in a second pass over lines that count, so that a hunt without a report does not pay for it.

use std::{
    hash::{BuildHasher as _, RandomState},
    num::NonZeroU64,
};

use serde::Deserialize;

use super::{
    Subject,
    record::{Agent, File},
    text::Text,
};

/// Who and what, as numbers that are equal where the texts are: a relation asks no more, and a group may have many.
///
/// A part is missing where the document does not say it, and meets nothing then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trace {
    /// The agent and `process.entity_id`.
    entity: Option<NonZeroU64>,
    /// The agent, the host, `process.pid` and `process.start`.
    started: Option<NonZeroU64>,
    /// The agent and `file.path`.
    path: Option<NonZeroU64>,
    /// `file.hash.sha256`.
    sha256: Option<NonZeroU64>,
}

/// What two groups can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    Process,
    File,
}

impl Trace {
    /// Whether both are of the same process, or of the same file.
    pub fn meets(&self, other: &Self, tie: Tie) -> bool {
        let (better, other_better, fallback, other_fallback) = match tie {
            Tie::Process => (self.entity, other.entity, self.started, other.started),
            // The hash alone would link all copies of a file; the path alone links what was exchanged in between.
            Tie::File if self.sha256.is_some() && other.sha256.is_some() && self.sha256 != other.sha256 => {
                return false;
            }
            Tie::File => (None, None, self.path, other.path),
        };
        match (better, other_better) {
            (Some(one), Some(two)) => one == two,
            _ => fallback.is_some() && fallback == other_fallback,
        }
    }

    /// The numbers of which two traces that [meet](Self::meets) have one in common.
    pub fn handles(&self, tie: Tie) -> impl Iterator<Item = NonZeroU64> {
        let handles = match tie {
            Tie::Process => [self.entity, self.started],
            Tie::File => [self.path, None],
        };
        handles.into_iter().flatten()
    }

    /// Whether it can meet nothing.
    pub fn is_empty(&self) -> bool {
        self.entity.is_none() && self.started.is_none() && self.path.is_none()
    }
}

/// Makes traces. Those of different hashers are not comparable; clones make the same ones.
///
/// The keys are random, so that nobody can choose a file's name to meet another's.
#[derive(Clone, Debug, Default)]
pub struct Tracer(RandomState);

impl Tracer {
    /// What a line that counts for `subject` says. Nothing where it is of a form that [`super::record::parse`] does not refuse and this
    /// does: a field that only links need is of a strange type.
    pub fn trace(&self, line: &[u8], subject: Subject) -> Trace {
        let Ok(mut document) = serde_json::from_slice::<Document<'_>>(line) else { return Trace::default() };
        if let Some(hit) = document.hit.take() {
            document = *hit;
        }
        let said = |text: &Option<Text<'_>>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        let (host, agent) = (said(&document.host.id).or_else(|| said(&document.host.name)), said(&document.agent.id));
        // Documents of no agent are told apart by their hosts.
        if agent.is_none() && host.is_none() {
            return Trace::default();
        }
        let place = (&agent, host.as_ref().filter(|_| agent.is_none()));
        let (process, file) = (&document.process, &document.file);
        let started = process.pid.zip(said(&process.start));
        let mut trace = Trace::default();
        if subject != Subject::Files {
            trace.entity = said(&process.entity_id).and_then(|id| self.number(("entity", place, id)));
            trace.started = started.and_then(|started| self.number(("started", place, &host, started)));
        }
        if subject != Subject::Tools {
            trace.path = said(&file.path).and_then(|path| self.number(("path", place, path)));
            trace.sha256 = said(&file.hash.sha256).and_then(|hash| self.number(hash.to_ascii_lowercase()));
        }
        trace
    }

    /// Once in 2⁶⁴ texts there is none, which saves half of the memory.
    fn number(&self, said: impl std::hash::Hash) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0.hash_one(said))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document<'a> {
    #[serde(rename = "_source", borrow)]
    hit: Option<Box<Document<'a>>>,
    #[serde(borrow)]
    agent: Agent<'a>,
    #[serde(borrow)]
    host: Host<'a>,
    #[serde(borrow)]
    process: Process<'a>,
    #[serde(borrow)]
    file: File<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Host<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process<'a> {
    #[serde(borrow)]
    entity_id: Option<Text<'a>>,
    pid: Option<u64>,
    #[serde(borrow)]
    start: Option<Text<'a>>,
}
