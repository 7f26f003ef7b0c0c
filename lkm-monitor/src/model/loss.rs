//! Events that were lost, and why.

/// Events of one kind of loss, since the last look and altogether.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub reason: LossReason,
    /// Events lost since the last look.
    pub count: u64,
    /// Events lost since the daemon started.
    pub total: u64,
    /// Of `count`, calls of which nothing at all was seen; `None` where it is not known.
    pub calls_unseen: Option<u64>,
    /// Nanoseconds since boot of the look.
    pub boot_ns: u64,
}

/// Why an event was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossReason {
    /// A probe found its ring full.
    RingFull,
    /// A probe found no free buffer to build the event in.
    ScratchExhausted,
    /// The kernel had no memory to follow a call.
    InFlightFull,
    /// The kernel skipped a run of a probe.
    ProbeSkipped,
    /// An event could not be understood.
    DecodeError,
    /// A call was given up before all its parts had come.
    JoinEvicted,
    /// Nobody took the documents.
    OutputFull,
}

impl LossReason {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::ScratchExhausted => "scratch_exhausted",
            Self::InFlightFull => "in_flight_full",
            Self::ProbeSkipped => "probe_skipped",
            Self::DecodeError => "decode_error",
            Self::JoinEvicted => "join_evicted",
            Self::OutputFull => "output_full",
        }
    }

    /// Which side lost it: `kernel` or `daemon`.
    pub const fn stage(self) -> &'static str {
        match self {
            Self::RingFull | Self::ScratchExhausted | Self::InFlightFull | Self::ProbeSkipped => "kernel",
            Self::DecodeError | Self::JoinEvicted | Self::OutputFull => "daemon",
        }
    }
}
