//! A change of a watched file with what is known of it beyond the event.

use super::{Content, FileChange, Subject};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct FileReport {
    pub change: FileChange,
    pub subject: Subject,
    /// It is the watched folder itself that has another name, or something over it.
    pub whole_folder: bool,
    /// Only the old name is watched: the file left its place.
    pub left: bool,
    /// The host has it by a watched name, whatever the process calls it; or where it is mounted is not known.
    pub of_host: bool,
    pub content: Content,
}

impl FileReport {
    /// Nothing came of it, or nothing is known to have changed.
    pub fn is_without_effect(&self) -> bool {
        self.change.succeeded() == Some(false) || self.change.is_untouched()
    }
}
