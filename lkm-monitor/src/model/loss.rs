//! Events that were lost, and why.

/// Events of one kind of loss, since the last look and altogether.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub reason: LossReason,
    /// Events lost since the last look; of [`LossReason::TornRecord`], damaged parts.
    pub count: u64,
    /// The same since the daemon started.
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
    /// It was in a ring, and never came out: somebody let the kernel write over it.
    RingOverwritten,
    /// A probe found no free buffer to build the event in.
    ScratchExhausted,
    /// The kernel had no memory to follow a call.
    InFlightFull,
    /// The kernel skipped a run of a probe.
    ProbeSkipped,
    /// Too many watched files were being written: who wrote one was seen, but not when it was closed.
    WriterNotFollowed,
    /// The kernel had no memory to follow a link of a watched name to its outcome.
    LinkNotFollowed,
    /// Too many module tools were running: their end was not seen.
    ToolNotFollowed,
    /// The ring for module images was full: what was loaded is not known whole.
    ImageCut,
    /// What a captured image is could not be found out in time, or its bytes were given up before.
    ImageNotExamined,
    /// An image that was to be kept as evidence was not.
    EvidenceLost,
    /// An event could not be understood.
    DecodeError,
    /// A call was given up before all its parts had come.
    JoinEvicted,
    /// Too many changed files were waiting to be looked at: the change was told, without what is in the file.
    NotLookedAt,
    /// How often, and where, things like an event happened could not be found out in time: it was told as rare.
    NotCounted,
    /// There were too many groups: some were given up, and will seem to be new.
    GroupEvicted,
    /// Nobody took the documents.
    OutputFull,
    /// Documents were given up in the spool, for want of room or for their age, before a sink's receiver had them: counted for each sink.
    SpoolEvicted,
    /// The spool could not be written or read, nor could memory take its place.
    SpoolError,
    /// A part of the spool was damaged: how many documents were in it is not known.
    TornRecord,
    /// A sink's receiver will never take them. They are kept as dead letters.
    Refused,
}

impl LossReason {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::RingOverwritten => "ring_overwritten",
            Self::ScratchExhausted => "scratch_exhausted",
            Self::InFlightFull => "in_flight_full",
            Self::ProbeSkipped => "probe_skipped",
            Self::WriterNotFollowed => "writer_not_followed",
            Self::LinkNotFollowed => "link_not_followed",
            Self::ToolNotFollowed => "tool_not_followed",
            Self::ImageCut => "image_cut",
            Self::ImageNotExamined => "image_not_examined",
            Self::EvidenceLost => "evidence_lost",
            Self::DecodeError => "decode_error",
            Self::JoinEvicted => "join_evicted",
            Self::NotLookedAt => "not_looked_at",
            Self::NotCounted => "not_counted",
            Self::GroupEvicted => "group_evicted",
            Self::OutputFull => "output_full",
            Self::SpoolEvicted => "spool_evicted",
            Self::SpoolError => "spool_error",
            Self::TornRecord => "torn_record",
            Self::Refused => "dead_lettered",
        }
    }

    /// Where it was lost: `kernel`, `daemon`, `spool` or `sink`.
    pub const fn stage(self) -> &'static str {
        match self {
            Self::RingFull
            | Self::RingOverwritten
            | Self::ScratchExhausted
            | Self::InFlightFull
            | Self::ProbeSkipped
            | Self::WriterNotFollowed
            | Self::LinkNotFollowed
            | Self::ToolNotFollowed
            | Self::ImageCut => "kernel",
            Self::ImageNotExamined
            | Self::EvidenceLost
            | Self::DecodeError
            | Self::JoinEvicted
            | Self::NotLookedAt
            | Self::NotCounted
            | Self::GroupEvicted
            | Self::OutputFull => "daemon",
            Self::SpoolEvicted | Self::SpoolError | Self::TornRecord => "spool",
            Self::Refused => "sink",
        }
    }

    /// Whether something may have happened of which nothing is told but this.
    pub const fn hides_events(self) -> bool {
        matches!(
            self,
            Self::RingFull
                | Self::RingOverwritten
                | Self::ScratchExhausted
                | Self::InFlightFull
                | Self::ProbeSkipped
                | Self::WriterNotFollowed
                | Self::LinkNotFollowed
                | Self::DecodeError
                | Self::JoinEvicted
                | Self::NotLookedAt
        )
    }

    /// Whether it is events that are counted.
    pub const fn counts_events(self) -> bool {
        !matches!(self, Self::TornRecord)
    }

    /// Whether a load or unload may be among what was lost.
    pub const fn may_hide_a_call(self) -> bool {
        // These are of files.
        self.hides_events() && !matches!(self, Self::WriterNotFollowed | Self::LinkNotFollowed | Self::NotLookedAt)
    }
}
