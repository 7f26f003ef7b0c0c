//! A change of a watched file with what is known of it beyond the event.

use super::{Content, ContentStatus, FileAction, FileChange, Subject};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct FileReport {
    pub change: FileChange,
    pub subject: Subject,
    /// It is the watched folder itself that has another name, or something over it.
    pub whole_folder: bool,
    /// Only the old name is watched: the file left its place, or has a name elsewhere besides.
    pub left: bool,
    /// The host has it by a watched name, whatever the process calls it; or where it is mounted is not known.
    pub of_host: bool,
    pub content: Content,
}

impl FileReport {
    /// The file has its watched name no longer.
    pub fn has_left(&self) -> bool {
        self.left && self.change.action != FileAction::Linked
    }

    /// Nothing came of it, or nothing is known to have changed.
    pub fn is_without_effect(&self) -> bool {
        // An open that was about to make a file, of which none was found.
        let was_not_made = self.change.action == FileAction::Created
            && self.change.succeeded().is_none()
            && self.content.status == ContentStatus::Gone;
        self.change.succeeded() == Some(false) || self.is_untouched() || was_not_made
    }

    /// It was opened for writing, and nothing was written. Where its times do not tell, what it holds does; but a kernel setting
    /// counts at once, so that what it holds afterwards says nothing of what it held. What was told as being written, was.
    pub fn is_untouched(&self) -> bool {
        let holds_it =
            self.subject != Subject::Setting && self.change.told == 0 && self.content.is_same() == Some(true);
        self.change.is_untouched() || (self.change.has_same_times() && holds_it)
    }

    /// It was written where it lies, and held what it had held before when somebody looked: that says nothing of the time between.
    pub fn was_restored(&self) -> bool {
        let in_place = matches!(self.change.action, FileAction::Written | FileAction::Truncated);
        (in_place || self.change.told > 0) && self.content.is_same() == Some(true)
    }
}
