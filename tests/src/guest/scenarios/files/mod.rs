//! Files that have the name of a kernel module.
//!
//! An alert on one waits three seconds for others of its kind, and a file that is written is told when it is closed.

pub(super) mod bursts;
pub(super) mod changes;
pub(super) mod exclusions;
pub(super) mod names;
pub(super) mod openings;
pub(super) mod routes;

/// What was done, in `event.action`.
const CREATED: &str = "created-kernel-module-file";
const EXCHANGED: &str = "exchanged-kernel-module-file";
const LINKED: &str = "linked-kernel-module-file";
const MODIFIED: &str = "modified-kernel-module-file";
const REMOVED: &str = "removed-kernel-module-file";
const RENAMED: &str = "renamed-kernel-module-file";
const SYMLINKED: &str = "symlinked-kernel-module-file";
const TRUNCATED: &str = "truncated-kernel-module-file";

/// Severities in `event.severity`.
const LOW: u64 = 21;
const MEDIUM: u64 = 47;
const HIGH: u64 = 73;
