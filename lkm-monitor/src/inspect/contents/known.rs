//! What is watched, for those who look: it may become something else while they work.

use std::{fmt, sync::Arc};

use super::{Baseline, SubjectOf, look::Memory};

/// What all who look know. Clones are one.
#[derive(Clone)]
pub struct Known(pub(super) Arc<Memory>);

impl Known {
    /// Remembers the files that will be watched as they are now. Those that are watched already are known, perhaps from a moment before a
    /// change that nobody has looked at yet. Files may keep who calls this waiting.
    pub fn learn(&self, baseline: &Baseline) {
        let Baseline { folders, files, subject } = baseline;
        self.0.remember(folders, files, |path| subject(path).filter(|_| !self.0.keeps(path)));
    }

    /// From now on this is watched.
    pub fn follow(&self, subject: SubjectOf) {
        self.0.watch(subject);
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Known").finish_non_exhaustive()
    }
}
