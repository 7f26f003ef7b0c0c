//! Whether documents survive the end of the daemon.

/// That this has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolChange {
    /// Nanoseconds since boot at which it was noticed.
    pub boot_ns: u64,
    /// Why the spool cannot be written; `None` where it can be written again.
    pub reason: Option<String>,
}
