//! How often, and where, things like an event happened.

/// What is counted together. The hunts have the same three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Files with the name of a kernel module that appeared.
    File,
    /// Runs of module tools.
    Tool,
    /// Modules that were loaded.
    Module,
}

/// Whose events were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This host's.
    Host,
    /// Those of all hosts that share a store.
    Fleet,
}

impl Scope {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Fleet => "fleet",
        }
    }
}

/// What the store knows of an event's group, this event included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub scope: Scope,
    /// Events within the window.
    pub count: u64,
    /// Distinct agents within the window. The fleet's store stops counting at its limit of members.
    pub agents: u64,
    /// Seconds since 1970 of the first event of the group, and of the last one.
    pub first_s: u64,
    pub last_s: u64,
    /// This agent has seen the group before, within the window.
    pub seen_before: bool,
    /// A baseline says that it is normal.
    pub in_baseline: bool,
}

/// What became of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// From the store that was meant to be asked.
    Known(Standing),
    /// The fleet's store did not answer in time; this is the host's own.
    FleetSilent(Standing),
    /// The host's store did not answer, either.
    Unknown,
}

/// How rare an event is, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rarity {
    /// Within the thresholds, and the first of its group on this agent.
    pub rare: bool,
    pub answer: Answer,
    pub window_days: u32,
    /// What the file holds is part of the group, and could not be read: nobody can say that it was there before.
    pub content_unknown: bool,
}
