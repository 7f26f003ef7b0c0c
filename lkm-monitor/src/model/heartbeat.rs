//! Signs of life.

use super::SensorState;

/// That the daemon is alive, what it sees, and what it has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// With the time, and without its list of probes.
    pub state: SensorState,
    /// Until the next one, in seconds.
    pub interval_s: u32,
    /// Since the daemon started, in nanoseconds.
    pub uptime_ns: u64,
    /// Resident memory in bytes, and processor time in nanoseconds; `None` where /proc does not say.
    pub memory_bytes: Option<u64>,
    pub cpu_ns: Option<u64>,
    pub rings: Vec<RingFill>,
    pub metrics: Vec<Metric>,
}

/// How full a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingFill {
    pub name: &'static str,
    pub used_bytes: u64,
    pub size_bytes: u64,
}

/// A counter, a total since the daemon started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    /// By name, `stage` and `reason` among them.
    pub labels: Vec<(&'static str, String)>,
    pub value: u64,
}
