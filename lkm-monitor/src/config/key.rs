//! Where a setting stands: its key, and its place in a file.

use std::{fmt, path::Path, sync::Arc};

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Key(String),
    /// Of a list, from 0.
    Item(usize),
}

/// A key from the root on. As text its parts are joined with dots; which item of a list it is, the line says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub Vec<Step>);

impl Key {
    /// The key below this one.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        self.step(Step::Key(name.to_owned()))
    }

    /// An item of the list that is here.
    #[must_use]
    pub fn item(&self, number: usize) -> Self {
        self.step(Step::Item(number))
    }

    /// The key above this one.
    pub(super) fn above(&self) -> Option<Self> {
        self.0.split_last().map(|(_, above)| Self(above.to_vec()))
    }

    pub(super) fn step(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl From<&str> for Key {
    /// Of parts that hold no dot.
    fn from(dotted: &str) -> Self {
        Self(dotted.split('.').map(|part| Step::Key(part.to_owned())).collect())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(name(key)),
            Step::Item(_) => None,
        });
        formatter.write_str(&keys.collect::<Vec<_>>().join("."))
    }
}

/// A part of a key as it is written in a file.
pub(super) fn name(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_bare { key.to_owned() } else { quoted(key) }
}

/// A TOML basic string: one of JSON, but for DEL, which TOML does not take as it is.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// No file sets it.
    Default,
    File {
        path: Arc<Path>,
        /// From 1.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
        }
    }
}
