//! What the hunts read of a document.

use std::borrow::Cow;

use jiff::Timestamp;
use memchr::memmem;
use serde::Deserialize;

use super::{
    Subject,
    text::{Text, Texts},
};
use crate::model::{GroupKey, group::without_release, tool_run::TOOL_NAMES};

/// Why a line is no document.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("it has no @timestamp")]
    NoTime,
    #[error("its @timestamp is no time: {0}")]
    Time(jiff::Error),
}

/// One event, as its group counts it. Borrows from the line: most events are of groups that are known.
#[derive(Debug)]
pub struct Record<'a> {
    pub time: Timestamp,
    /// `agent.id`; empty where the document has none.
    pub agent: Cow<'a, str>,
    /// `event.id`: a document that was shipped twice counts once. Empty where the document has none.
    pub id: Cow<'a, str>,
    pub key: KeyParts<'a>,
}

/// The parts of a [`GroupKey`].
#[derive(Debug)]
pub enum KeyParts<'a> {
    /// Of the path the key has no more than `tree`, a star, and the last `below` bytes.
    File {
        path: Cow<'a, str>,
        tree: &'static str,
        below: usize,
        executable: Cow<'a, str>,
    },
    Tool {
        args: Vec<Cow<'a, str>>,
        args_count: u64,
    },
    Module {
        name: Cow<'a, str>,
        sha256: Cow<'a, str>,
    },
}

impl<'a> KeyParts<'a> {
    /// Of a key that is known.
    pub fn of(key: &'a GroupKey) -> Self {
        match key {
            GroupKey::File { path, executable } => {
                let (tree, below) = without_release(path);
                Self::File { path: path.into(), tree, below, executable: executable.into() }
            }
            GroupKey::Tool { args, args_count } => {
                Self::Tool { args: args.iter().map(Cow::from).collect(), args_count: *args_count }
            }
            GroupKey::Module { name, sha256 } => Self::Module { name: name.into(), sha256: sha256.into() },
        }
    }
    /// Bytes that are the same for the same key, and for no other one of the same hunt.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
        let mut add = |part: &str| {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part.as_bytes());
        };
        match self {
            Self::File { path, tree, below, executable } => {
                [*tree, &path[path.len() - below..], executable].into_iter().for_each(add);
            }
            Self::Tool { args, args_count } => {
                args.iter().for_each(|arg| add(arg));
                bytes.extend(args_count.to_le_bytes());
            }
            Self::Module { name, sha256 } => [name, sha256].into_iter().for_each(|part| add(part)),
        }
    }

    /// The key by itself.
    pub fn key(&self) -> GroupKey {
        match self {
            Self::File { path, tree, below, executable } => {
                let rest = &path[path.len() - below..];
                let path = if tree.is_empty() { rest.to_owned() } else { format!("{tree}*/{rest}") };
                GroupKey::File { path, executable: executable.clone().into_owned() }
            }
            Self::Tool { args, args_count } => {
                let args = args.iter().map(|arg| arg.clone().into_owned()).collect();
                GroupKey::Tool { args, args_count: *args_count }
            }
            Self::Module { name, sha256 } => {
                GroupKey::Module { name: name.clone().into_owned(), sha256: sha256.clone().into_owned() }
            }
        }
    }
}

/// The event of a line that `subject` counts; `None` for events of other kinds.
///
/// The document may be a search hit, with its fields below `_source`.
pub fn parse(line: &[u8], subject: Subject) -> Result<Option<Record<'_>>, RecordError> {
    let mut document: Document<'_> = serde_json::from_slice(line)?;
    if let Some(hit) = document.hit.take() {
        document = *hit;
    }
    let Some(key) = document.key(subject) else { return Ok(None) };
    let time = document.timestamp.as_deref().ok_or(RecordError::NoTime)?.parse().map_err(RecordError::Time)?;
    let (agent, id) = (document.agent.id.unwrap_or_default().0, document.event.id.unwrap_or_default().0);
    Ok(Some(Record { time, agent, id, key }))
}

/// Says fast of most lines that no hunt for `subject` counts them: a text is missing that every event of it has. Encoders of JSON
/// leave letters as they are.
#[derive(Clone, Debug)]
pub struct Prefilter {
    needles: Vec<memmem::Finder<'static>>,
}

impl Prefilter {
    pub fn new(subject: Subject) -> Self {
        let needles: &[&str] = match subject {
            Subject::Files => &["creation"],
            Subject::Tools => &["ran-module-tool", "exec\""],
            Subject::Modules => &["loaded-kernel-module"],
        };
        Self { needles: needles.iter().map(memmem::Finder::new).collect() }
    }

    /// A line that does not even look like an object is for [`parse`] to refuse.
    pub fn may_count(&self, line: &[u8]) -> bool {
        let line = line.trim_ascii();
        let is_object = line.starts_with(b"{") && line.ends_with(b"}");
        !is_object || self.needles.iter().any(|needle| needle.find(line).is_some())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document<'a> {
    #[serde(rename = "_source", borrow)]
    hit: Option<Box<Document<'a>>>,
    #[serde(rename = "@timestamp", borrow)]
    timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    agent: Agent<'a>,
    #[serde(borrow)]
    event: Event<'a>,
    #[serde(borrow)]
    file: File<'a>,
    #[serde(borrow)]
    host: Host<'a>,
    #[serde(borrow)]
    process: Process<'a>,
    #[serde(borrow)]
    lkm_monitor: Own<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Agent<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    action: Texts<'a>,
    #[serde(rename = "type", borrow)]
    kinds: Texts<'a>,
    #[serde(borrow)]
    outcome: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File<'a> {
    #[serde(borrow)]
    pub(super) path: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) hash: Hash<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Hash<'a> {
    #[serde(borrow)]
    pub(super) sha256: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Host<'a> {
    #[serde(borrow)]
    os: System<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct System<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    executable: Option<Text<'a>>,
    #[serde(borrow)]
    args: Texts<'a>,
    args_count: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Own<'a> {
    /// A second document on the same event.
    late: bool,
    #[serde(borrow)]
    module: Module<'a>,
    /// What the kernel took in.
    #[serde(borrow)]
    image: Hash<'a>,
    #[serde(borrow)]
    tool: Tool<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Module<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tool<'a> {
    #[serde(borrow)]
    effect: Option<Text<'a>>,
}

/// Names of a module's file end so.
pub const ENDINGS: [&str; 4] = [".ko", ".ko.gz", ".ko.xz", ".ko.zst"];

impl<'a> Document<'a> {
    fn key(&mut self, subject: Subject) -> Option<KeyParts<'a>> {
        let is_linux = self.host.os.kind.as_deref().is_none_or(|kind| kind == "linux");
        let failed = self.event.outcome.as_deref() == Some("failure");
        if !is_linux || self.lkm_monitor.late {
            return None;
        }
        match subject {
            Subject::Files if !failed => self.file(),
            Subject::Tools => self.tool(),
            Subject::Modules if !failed => self.module(),
            Subject::Files | Subject::Modules => None,
        }
    }

    fn file(&mut self) -> Option<KeyParts<'a>> {
        let path = self.file.path.take()?.0;
        let is_module = ENDINGS.iter().any(|ending| path.ends_with(ending));
        if !is_module || !self.event.kinds.has("creation") {
            return None;
        }
        let executable = self.process.executable.take().unwrap_or_default().0;
        let (tree, below) = without_release(&path);
        Some(KeyParts::File { path, tree, below, executable })
    }

    /// A run that did nothing to the kernel is no event for the hunt, where that is known.
    fn tool(&mut self) -> Option<KeyParts<'a>> {
        let is_run = self.event.action.has("ran-module-tool")
            || self.event.action.has("exec")
                && self.process.name.as_deref().is_some_and(|name| TOOL_NAMES.contains(&name));
        let did_nothing = self.lkm_monitor.tool.effect.as_deref() == Some("nothing");
        if !is_run || did_nothing || !self.event.kinds.has("start") {
            return None;
        }
        let args = self.process.args.take();
        let args_count = self.process.args_count.unwrap_or(args.len() as u64);
        Some(KeyParts::Tool { args, args_count })
    }

    fn module(&mut self) -> Option<KeyParts<'a>> {
        if !self.event.action.has("loaded-kernel-module") {
            return None;
        }
        let name = self.lkm_monitor.module.name.take().or(self.file.name.take())?.0;
        // The file can have been another one when it was read, or none.
        let sha256 = self.lkm_monitor.image.sha256.take().or(self.file.hash.sha256.take()).unwrap_or_default().0;
        Some(KeyParts::Module { name, sha256 })
    }
}
