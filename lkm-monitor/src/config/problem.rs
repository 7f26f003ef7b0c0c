//! What is wrong with settings. All of it is told at once.

use std::{collections::BTreeSet, fmt, path::Path};

use super::key::{Key, Origin};

/// A setting that cannot be used, as the part of the daemon says that uses it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct Invalid {
    /// A key that is set: what stands there is taken out, and the rest is looked at again.
    pub key: Key,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl Invalid {
    pub fn new(key: impl Into<Key>, problem: impl ToString) -> Self {
        Self { key: key.into(), problem: problem.to_string() }
    }
}

/// A number that has to be from `min` to `max`.
pub(super) fn in_range(key: impl Into<Key>, value: u64, min: u64, max: u64) -> Result<(), Invalid> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(key, format!("it is {value}, but must be from {min} to {max}")))
}

/// The path of a file or a folder, whichever it has to be, that means the same wherever the daemon runs.
pub(super) fn absolute(key: impl Into<Key>, path: &Path, what: &str) -> Result<(), Invalid> {
    if path.is_absolute() && path.file_name().is_some() {
        return Ok(());
    }
    Err(Invalid::new(key, format!("it is `{}`, but must be an absolute path of a {what}", path.display())))
}

/// All settings of one part that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalids(pub Vec<Invalid>);

impl From<Invalid> for Invalids {
    fn from(invalid: Invalid) -> Self {
        Self(vec![invalid])
    }
}

impl fmt::Display for Invalids {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&lines(&self.0))
    }
}

impl std::error::Error for Invalids {}

/// One line for whoever writes the files: `FILE:LINE: KEY: what is wrong, what is allowed`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `FILE:LINE`, or the file alone.
    place: Place,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Whole(String),
    Line(Origin),
}

impl Problem {
    /// Of a file or folder as a whole.
    pub(super) fn of_file(path: &Path, text: impl fmt::Display) -> Self {
        Self { place: Place::Whole(path.display().to_string()), text: text.to_string() }
    }

    /// Of one line, where there is no key.
    pub(super) fn of_line(origin: Origin, text: impl fmt::Display) -> Self {
        Self { place: Place::Line(origin), text: text.to_string() }
    }

    /// Of what is set for a key.
    pub(super) fn of_key(origin: Origin, key: &Key, text: impl fmt::Display) -> Self {
        Self::of_line(origin, format!("{key}: {text}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Whole(path) => write!(formatter, "{path}: {}", self.text),
            Place::Line(origin) => write!(formatter, "{origin}: {}", self.text),
        }
    }
}

/// Problems that are told: more than somebody reads, and few enough for a log and a document.
pub(super) const MAX_TOLD: usize = 200;

/// Why there are no settings: what is wrong, by file and line. As text one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    told: Vec<Problem>,
    /// Others that were found. There may be more of them.
    untold: usize,
}

impl Problems {
    pub(super) fn of(all: BTreeSet<Problem>) -> Self {
        let untold = all.len().saturating_sub(MAX_TOLD);
        Self { told: all.into_iter().take(MAX_TOLD).collect(), untold }
    }

    /// A line for each that is told, and a last one where there are others.
    pub fn lines(&self) -> Vec<String> {
        let others = (self.untold > 0).then(|| format!("and at least {} more", self.untold));
        self.told.iter().map(ToString::to_string).chain(others).collect()
    }

    /// How many were found.
    pub const fn number(&self) -> usize {
        self.told.len() + self.untold
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for Problems {}

fn lines(all: &[impl ToString]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
