//! How often, and where, things like an event happened.

use super::Severity;

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

/// What makes a group rare, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// What of an event its group is made of.
    pub keys: Vec<KeyPart>,
    /// Most agents, and events, of a rare group.
    pub max_agents: u64,
    pub max_count: Option<u64>,
    /// Most arguments of a rare run: longer command lines differ from run to run.
    pub max_args: Option<u64>,
    /// Of the finding, if not its rule's own.
    pub severity: Option<Severity>,
}

/// Days that the counts go back.
pub const WINDOW_DAYS: u32 = 30;
/// Agents on which a file or a module may be and is still rare.
pub const RARE_AGENTS: u64 = 3;
/// Arguments of a run that is rare.
pub const RARE_ARGS: u64 = 3;

impl Threshold {
    /// As it is where nothing else is said.
    pub fn of(kind: Kind) -> Self {
        let is_tool = kind == Kind::Tool;
        let keys = match kind {
            Kind::File => vec![KeyPart::Path, KeyPart::Executable, KeyPart::Sha256],
            Kind::Tool => vec![KeyPart::Args, KeyPart::ArgsCount],
            Kind::Module => vec![KeyPart::Name, KeyPart::Sha256],
        };
        Self {
            keys,
            max_agents: if is_tool { 1 } else { RARE_AGENTS },
            max_count: is_tool.then_some(1),
            max_args: is_tool.then_some(RARE_ARGS),
            severity: None,
        }
    }
}

/// A part of a group's name, as documents show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPart {
    /// `file.path`, with `*` for the kernel's release in the trees of modules.
    Path,
    /// `file.hash.sha256`.
    Sha256,
    /// `lkm_monitor.module.name`.
    Name,
    /// `process.executable`.
    Executable,
    /// `process.args`.
    Args,
    /// `process.args_count`.
    ArgsCount,
    /// `process.parent.executable`.
    Parent,
    /// `process.user.id`.
    User,
}

impl KeyPart {
    /// The name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Sha256 => "sha256",
            Self::Name => "name",
            Self::Executable => "executable",
            Self::Args => "args",
            Self::ArgsCount => "args_count",
            Self::Parent => "parent",
            Self::User => "user",
        }
    }

    /// Whether events of a kind have it.
    pub const fn is_of(self, kind: Kind) -> bool {
        match self {
            Self::Path | Self::Sha256 => matches!(kind, Kind::File | Kind::Module),
            Self::Name => matches!(kind, Kind::Module),
            Self::Args | Self::ArgsCount => matches!(kind, Kind::Tool),
            Self::Executable | Self::Parent | Self::User => true,
        }
    }
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
    /// Seconds since 1970 of the first event of the group.
    pub first_s: u64,
    /// This agent has seen the group before, within the window, and told of it where that was due.
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
    /// What the file holds, or the arguments of a run, are part of the group, and could not be read in full: nobody can say that
    /// it was there before.
    pub not_all_known: bool,
    /// The question of a first event: who counts wants to know whether it was told.
    pub settles: Option<u64>,
}
