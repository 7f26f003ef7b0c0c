//! What is told, as it was at one moment.

use crate::{dispatch::Status, model::Heartbeat};

/// All that the daemon knows of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was made, in milliseconds of the wall clock. The heartbeat's `state.boot_ns` is the same moment.
    pub taken_ms: u64,
    /// When the daemon was started, in milliseconds of the wall clock as it was then. The same in all snapshots of a run: another one means
    /// another run to whoever asks.
    pub started_ms: i64,
    /// What a heartbeat tells, with the counters of the pipeline and of the run's record alone.
    pub heartbeat: Heartbeat,
    pub waiting: Waiting,
    /// Of the spool and the sinks, where there are any.
    pub carried: Option<Status>,
}

/// What is under way in the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Calls of which parts are still to come.
    pub calls: usize,
    /// Watched files that are being written.
    pub open_files: usize,
    /// Documents in the output's queue.
    pub documents: usize,
}
