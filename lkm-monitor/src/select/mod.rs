//! What of the changes of files is of interest: which are watched, and which are excluded. Pure, made from the settings once.

mod exclusions;
mod watch_list;

use crate::model::Selected;
pub use exclusions::{Exclusion, Exclusions};
pub use watch_list::WatchList;

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("`{pattern}` is no path pattern: {reason}")]
    Glob { pattern: String, reason: String },
    #[error("`{0}` must begin with a slash, or with `**/` to be watched everywhere")]
    NotAbsolute(String),
    #[error(
        "`{0}` does not end in a name, in `/*` below a folder with a name, or in `*` and up to 8 bytes: the probes could not \
         tell such files from all others"
    )]
    NotComparable(String),
}

/// Which files are looked at, made of what is on record of it.
#[derive(Debug)]
pub struct Selection {
    watched: Vec<PathPattern>,
    excluded: Vec<PathPattern>,
}

impl Selection {
    /// Patterns that were compiled before: by this version, or by another.
    pub fn new(Selected { watched, excluded }: &Selected) -> Self {
        let all = |patterns: &[String], literal_separator| {
            patterns.iter().filter_map(|pattern| PathPattern::new(pattern, literal_separator).ok()).collect()
        };
        Self { watched: all(watched, true), excluded: all(excluded, false) }
    }

    /// Whether the file of this path is one of them. Where nothing is on record, any may have been.
    pub fn has(&self, path: &[u8]) -> bool {
        let any = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.matches(path));
        (self.watched.is_empty() || any(&self.watched)) && !any(&self.excluded)
    }
}

/// A pattern of whole paths.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PathPattern {
    pattern: glob::Pattern,
    /// A star does not stand for a slash.
    literal_separator: bool,
}

impl PathPattern {
    fn new(pattern: &str, literal_separator: bool) -> Result<Self, PatternError> {
        // Paths begin with a slash, so what is watched everywhere lies behind one.
        let whole = if pattern.starts_with("**/") { format!("/{pattern}") } else { pattern.to_owned() };
        match glob::Pattern::new(&whole) {
            Ok(pattern) => Ok(Self { pattern, literal_separator }),
            Err(error) => Err(PatternError::Glob { pattern: pattern.to_owned(), reason: error.msg.to_owned() }),
        }
    }

    /// Whether it matches a path of any bytes. What is no UTF-8 matches stars and question marks only.
    fn matches(&self, path: &[u8]) -> bool {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: self.literal_separator,
            require_literal_leading_dot: false,
        };
        self.pattern.matches_with(&String::from_utf8_lossy(path), options)
    }
}
