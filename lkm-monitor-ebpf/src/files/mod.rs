//! Watched files: which are of interest, who writes them, what becomes of their names.

pub(crate) mod names;
pub(crate) mod report;
pub(crate) mod watch;
pub(crate) mod writers;
