//! Runs of the daemon, one after the other.

use serde::{Deserialize, Serialize};

/// A run as it is on record: what its successor needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// `agent.ephemeral_id` of its documents.
    pub ephemeral_id: String,
    /// `host.boot.id`.
    pub boot_id: String,
    pub pid: u32,
    /// Start of the process, as proc_pid_stat(5) counts it: clock ticks since boot. With the pid, this one process.
    pub start_ticks: u64,
    pub began: Moment,
    /// When the record was written: the run was alive.
    pub seen: Moment,
    /// It ended because it was told to.
    pub stopped: bool,
    /// SHA-256 of the program, hexadecimal; `None` where it could not be read.
    pub binary_sha256: Option<String>,
    /// SHA-256 of the settings in effect, hexadecimal.
    pub configuration_sha256: String,
}

impl RunRecord {
    /// Whether a run is of the same boot as this one that was before it. Who forges the boot id can make of a run that he killed one that
    /// went down with the host; so it is the same boot, too, when both clocks went on from where they were.
    pub fn is_of_boot_of(&self, later: &Self) -> bool {
        self.boot_id == later.boot_id || self.seen.goes_on_to(later.began)
    }
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// Nanoseconds since boot.
    pub boot_ns: u64,
    /// Milliseconds since 1970, as the wall clock was then.
    pub unix_ms: i64,
}

/// How far the wall clock may have been set between two runs. Another boot began later by all the time that the one before it ran.
const SAME_BOOT_MS: u64 = 1000;

impl Moment {
    /// Whether both clocks went on from this moment to a later one of the same boot.
    pub(crate) fn goes_on_to(self, later: Self) -> bool {
        let boot_unix_ms = |at: Self| i128::from(at.unix_ms) - i128::from(at.boot_ns / 1_000_000);
        let apart_ms = boot_unix_ms(self).abs_diff(boot_unix_ms(later));
        self.boot_ns <= later.boot_ns && apart_ms < SAME_BOOT_MS.into()
    }
}

/// What a run finds of the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    pub this: RunRecord,
    pub before: Predecessor,
}

/// The run before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// There is no record: this is the first run, or somebody removed it.
    NotOnRecord,
    /// There is a record that says nothing, for this reason.
    Unreadable(String),
    OnRecord(Box<RunRecord>, RunEnd),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It was told to stop.
    Stopped,
    /// It was killed, or crashed, while the host ran on.
    Killed,
    /// With the host: a power loss, a crash of the kernel, or a reboot that did not wait.
    HostWentDown,
    /// It did not: its process is there.
    StillRunning,
}

impl RunEnd {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Killed => "killed",
            Self::HostWentDown => "host-went-down",
            Self::StillRunning => "still-running",
        }
    }
}

impl Succession {
    /// For how long nobody watched, in milliseconds; `None` where that is not known, or somebody did.
    pub fn unwatched_ms(&self) -> Option<u64> {
        let Predecessor::OnRecord(before, end) = &self.before else { return None };
        if *end == RunEnd::StillRunning {
            return None;
        }
        if before.is_of_boot_of(&self.this) {
            return Some(self.this.began.boot_ns.checked_sub(before.seen.boot_ns)? / 1_000_000);
        }
        // The wall clock is all that there is; one that was set back says nothing.
        u64::try_from(self.this.began.unix_ms.checked_sub(before.seen.unix_ms)?).ok()
    }

    /// The program, before and now, where it is known to be another.
    pub fn other_binary(&self) -> Option<(&str, &str)> {
        let Predecessor::OnRecord(before, _) = &self.before else { return None };
        let pair = (before.binary_sha256.as_deref()?, self.this.binary_sha256.as_deref()?);
        (pair.0 != pair.1).then_some(pair)
    }

    /// The settings, before and now, where they are others.
    pub fn other_configuration(&self) -> Option<(&str, &str)> {
        let Predecessor::OnRecord(before, _) = &self.before else { return None };
        let pair = (before.configuration_sha256.as_str(), self.this.configuration_sha256.as_str());
        (pair.0 != pair.1).then_some(pair)
    }
}
