//! What is another than at the last look, and nobody saw becoming so.

use super::{FileSeen, HostState, ModuleSeen, Moment, PlaceSeen, Provenance};

/// One difference between two looks that no event explains.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    pub what: Drifted,
    /// When it can have happened.
    pub window: Window,
    pub unseen: Unseen,
    /// What was seen live is not known whole: an event may have told of this one.
    pub perhaps_seen: bool,
    /// What packages have on record of the file, or of the module's.
    pub provenance: Option<Provenance>,
}

/// What is another.
#[derive(Clone, Debug, PartialEq)]
pub enum Drifted {
    /// A module is loaded that was not, or another one of the same name.
    /// `file` is what modprobe would load by that name, as far as the host's index says.
    ModuleLoaded { name: String, now: ModuleSeen, before: Option<ModuleSeen>, file: Option<String> },
    /// A module is not loaded any more.
    ModuleGone { name: String, before: ModuleSeen },
    /// A file is new, gone, or another. One of the two is there.
    File { path: String, before: Option<Box<FileSeen>>, now: Option<Box<FileSeen>> },
    /// A place cannot be looked at as it was, or lies elsewhere.
    Place { path: String, before: PlaceSeen, now: PlaceSeen },
    /// So many differences more than are told one by one.
    More(u64),
    /// The look, or the comparison, came to no end: somebody may hinder it.
    NoEnd,
    /// The kernel was told something else about modules.
    Policy { setting: Setting, before: String, now: String, weight: Weight },
    /// The kernel's taint mask lost these bits, which it never gives up while it runs.
    TaintLost { lost: u64, before: u64, now: u64 },
    /// There is no last look to compare with, although there should be one.
    Record(RecordLoss),
}

/// What the kernel was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    CommandLine,
    Lockdown,
    SignatureEnforcement,
    ModulesDisabled,
    Modprobe,
}

impl Setting {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "command-line",
            Self::Lockdown => "lockdown",
            Self::SignatureEnforcement => "module.sig_enforce",
            Self::ModulesDisabled => "kernel.modules_disabled",
            Self::Modprobe => "kernel.modprobe",
        }
    }
}

/// What a change of a setting means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It is another, and no weaker by itself.
    Other,
    /// It demands less than before.
    Weaker,
    /// It demands less than before, and the kernel allows no such change while it runs.
    Impossible,
}

/// Why there is no last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordLoss {
    /// There is no file, but an earlier run is on record. `kept_one`: of this very program with these settings, and long enough to have
    /// kept one.
    Gone { kept_one: bool },
    /// The file says nothing, for this reason.
    Damaged(String),
    /// The file is of the host with this `agent.id`.
    OtherHost(String),
}

/// Why nobody saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// The daemon did not run.
    NotRunning,
    /// The host was started again, and the daemon did not run yet.
    BeforeStart,
    /// Hooks did not report.
    Blind,
    /// Events were lost.
    LostEvents,
    /// The daemon ran, and nothing is known to have hindered it.
    Unknown,
}

impl Unseen {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotRunning => "not-running",
            Self::BeforeStart => "before-start",
            Self::Blind => "blind",
            Self::LostEvents => "lost-events",
            Self::Unknown => "unknown",
        }
    }
}

/// Between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// `None` where that is not known.
    pub not_before: Option<Moment>,
    pub not_after: Moment,
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq)]
pub struct StateReport {
    pub state: HostState,
    /// The most severe ones first, when they are weighed.
    pub drifts: Vec<Drift>,
    /// There was nothing to compare with.
    pub is_first: bool,
    /// Differences that live events explain.
    pub explained: u64,
    /// The processor time that the look took, in nanoseconds.
    pub cpu_ns: u64,
}
