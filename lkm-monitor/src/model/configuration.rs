//! What became of new settings.

/// The daemon was asked to read its settings anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Nanoseconds since boot.
    pub boot_ns: u64,
    /// The sha256 of the settings that held until then, in hexadecimal digits.
    pub sha256_before: String,
    pub outcome: ReloadOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// These hold now, but for what needs a restart. `sha256` is of what holds.
    Reloaded { sha256: String, changes: Vec<SettingChange> },
    /// The old ones go on, because of these problems.
    Rejected { problems: Vec<String> },
}

impl ReloadOutcome {
    /// `event.action`.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Reloaded { .. } => "configuration-reloaded",
            Self::Rejected { .. } => "configuration-rejected",
        }
    }
}

/// A setting that is set to another value, or no more, or for the first time. Values are TOML; of secrets they name the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// Its parts are joined with dots.
    pub key: String,
    pub before: Option<String>,
    pub after: Option<String>,
    /// Whether it holds at once. If not, the daemon has to be started again.
    pub in_place: bool,
}
