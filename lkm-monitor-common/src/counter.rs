//! Counters kept by the probes, one `u64` per CPU each, read by the daemon.

/// Index into the `COUNTERS` map. Counters only grow until the programs are unloaded.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Module system calls that were entered.
    CallsEntered = 0,
    /// Calls of which neither the enter nor the exit event reached the ring: unseen altogether.
    CallsUnseen = 1,
    /// Events that found their ring full.
    RingFull = 2,
    /// Events dropped because no scratch buffer was free.
    ScratchExhausted = 3,
    /// Calls that could not be followed because the kernel had no memory for their entry.
    InFlightFull = 4,
    /// Events handed to a ring.
    Submitted = 5,
    /// Watched files whose writers could not be followed, because too many were open for writing.
    WritersUnfollowed = 6,
    /// Renames and links that could not be followed to their outcome.
    NameChangesFull = 7,
    /// Runs of module tools that could not be followed to their end.
    ToolRunsFull = 8,
    /// Module images that were not captured up to their limit: their ring was full, or their memory could not be read.
    ImagesCut = 9,
}

impl Counter {
    /// Entries of the `COUNTERS` map.
    pub const COUNT: u32 = 10;

    /// All counters, in index order.
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::CallsEntered,
        Self::CallsUnseen,
        Self::RingFull,
        Self::ScratchExhausted,
        Self::InFlightFull,
        Self::Submitted,
        Self::WritersUnfollowed,
        Self::NameChangesFull,
        Self::ToolRunsFull,
        Self::ImagesCut,
    ];
}
