//! The state of the host at one look, as it is on record: what the next look is compared with.
//!
//! Names and paths are text as [`super::text::text`] makes it, which stands for their bytes and for no others. A member that a newer
//! daemon adds is ignored by an older one, and one that is missing is empty.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    FileState, Moment,
    text::{hex, text},
};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostState {
    /// When the look began and when it had ended.
    pub begun: Moment,
    pub ended: Moment,
    /// `host.boot.id`.
    pub boot_id: String,
    /// `agent.id`, which is made of the machine's id: a disk that was cloned brings another host's.
    pub agent_id: String,
    /// `uname -r`.
    pub kernel_release: String,
    pub policy: KernelSettings,
    /// /proc/sys/kernel/tainted; `None` where it could not be read.
    pub taints: Option<u64>,
    /// Bits that it lost in this boot.
    pub taints_lost: u64,
    /// By name; `None` where the list could not be read to its end.
    pub modules: Option<BTreeMap<String, ModuleSeen>>,
    /// All names that were in that list at any look of this boot.
    pub modules_of_boot: BTreeSet<String>,
    /// By path, as the host has it.
    pub files: BTreeMap<String, FileSeen>,
    /// By path: the folders and files that are watched, and the kernel's list of modules.
    pub places: BTreeMap<String, PlaceSeen>,
    /// Patterns of places with stars that were looked for everywhere: a place that one of them stands for, and that was not found, was not
    /// there.
    pub patterns: BTreeSet<String>,
    pub selected: Selected,
    /// Settings in `policy` that could not be read at this look, and are what they were before.
    pub policy_unread: BTreeSet<String>,
    /// kernel.modules_disabled was set in the boot before, and is not yet in this one.
    pub modules_disabled_due: bool,
}

/// Which files in the places are looked at: what a pattern stands for that is watched, and none that is excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selected {
    pub watched: Vec<String>,
    pub excluded: Vec<String>,
}

/// What the kernel was told about modules. `None` where it could not be read, or the kernel has no such thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelSettings {
    /// The words of the kernel's command line that matter to modules, in their order (kernel-parameters.txt, dracut.cmdline(7)).
    pub command_line: Option<Vec<String>>,
    /// What is in force: `none`, `integrity` or `confidentiality` (security/lockdown/lockdown.c).
    pub lockdown: Option<String>,
    /// `module.sig_enforce` (kernel/module/signing.c).
    pub sig_enforce: Option<bool>,
    /// kernel.modules_disabled.
    pub modules_disabled: Option<bool>,
    /// kernel.modprobe: the program that the kernel starts to get a module.
    pub modprobe: Option<String>,
}

/// A module in /proc/modules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModuleSeen {
    /// Bytes of the module in memory.
    pub size: u64,
    /// The kernel's letters.
    pub taints: String,
    /// Of /sys/module/NAME: another one in the same boot is another load.
    pub inode: Option<u64>,
    /// /sys/module/NAME/srcversion, a hash of its sources where it was built with one.
    pub srcversion: Option<String>,
}

/// A file in a watched place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileSeen {
    /// [`super::Subject::name`].
    pub subject: String,
    /// Of the content, hexadecimal; `None` where it was not read whole.
    pub sha256: Option<String>,
    /// Why not: [`super::ContentStatus::name`].
    pub unread: Option<String>,
    pub size: u64,
    /// Type and permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub inode: u64,
    /// Nanoseconds since 1970.
    pub modified_ns: Option<i64>,
    pub changed_ns: Option<i64>,
    /// Of a symbolic link.
    pub target: Option<TargetSeen>,
}

impl FileSeen {
    /// What a file's state says of it; its subject, times and where a link leads are for others to say.
    pub fn of(state: &FileState) -> Self {
        Self {
            sha256: state.sha256.map(|hash| hex(&hash)),
            size: state.size,
            mode: state.mode,
            uid: state.uid,
            gid: state.gid,
            inode: state.inode,
            ..Self::default()
        }
    }
}

/// What a symbolic link leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetSeen {
    /// As the link says it, see [`TargetSeen::said`].
    pub says: String,
    /// Of the regular file that it leads to.
    pub sha256: Option<String>,
    /// Why there is no hash.
    pub unread: Option<String>,
}

impl TargetSeen {
    /// What a link says, as text. Of a long one its begin and the SHA-256 of all of it, after a mark that no text of bytes has.
    pub fn said(says: &[u8]) -> String {
        const LONG: usize = 256;
        if says.len() <= LONG {
            return text(says);
        }
        let begin = says.get(..LONG / 4).unwrap_or_default();
        format!("{}\\sha256:{}", text(begin), hex(&Sha256::digest(says)))
    }
}

/// A watched folder, or a watched file that does not lie in one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlaceSeen {
    pub sight: PlaceSight,
    /// Where it lies in truth, where links lead elsewhere.
    pub leads_to: Option<String>,
    /// Where the mount is mounted that it lies on.
    pub mount_point: Option<String>,
    /// Of its files, those whose content was not read: too large, or too much in all.
    pub unread: u64,
    /// It was known at an earlier look what is there, and what was there is kept.
    pub was_known: bool,
}

/// How a look at a place ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceSight {
    /// All that is there was seen.
    Whole,
    /// There is nothing of this name.
    #[default]
    Gone,
    /// More files than are looked at: some were seen.
    TooManyFiles,
    /// It is neither a folder nor a file, or links lead in circles.
    Special,
    /// A file system on the way could make who looks wait.
    SlowFileSystem,
    /// The host's mounts do not show it.
    Unreachable,
    /// The system refused.
    Failed,
    /// The look took too long before it came to this place, or to its end.
    NotReached,
    /// What it holds is not as the kernel writes it: some of it could be read.
    Strange,
    /// A newer daemon knows what this means.
    #[serde(other)]
    Unknown,
}

impl PlaceSight {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Gone => "gone",
            Self::TooManyFiles => "too-many-files",
            Self::Special => "special",
            Self::SlowFileSystem => "slow-file-system",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
            Self::NotReached => "not-reached",
            Self::Strange => "strange",
            Self::Unknown => "unknown",
        }
    }

    /// The end of a sentence about a place.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Whole => "can be looked at",
            Self::Gone => "is not there",
            Self::TooManyFiles => "holds more files than are looked at",
            Self::Special => "is neither a folder nor a file",
            Self::SlowFileSystem => "lies on a file system that could make who looks wait",
            Self::Unreachable => "is on no mount that the host shows",
            Self::Failed => "cannot be opened",
            Self::NotReached => "could not be looked at in time",
            Self::Strange => "holds what the kernel does not write like that",
            Self::Unknown => "is in a state that another version of the daemon knows",
        }
    }

    /// Whether what is there, and that nothing else is there, is known.
    pub const fn is_known(self) -> bool {
        matches!(self, Self::Whole | Self::Gone)
    }

    /// Whether some of what is there is known, and there is more.
    pub const fn is_partial(self) -> bool {
        matches!(self, Self::TooManyFiles | Self::Strange)
    }

    /// Whether something of what is there is known.
    pub const fn shows_files(self) -> bool {
        self.is_known() || self.is_partial()
    }
}

impl HostState {
    /// The kernel's list of modules, which is a place, too.
    pub const MODULES: &str = "/proc/modules";

    /// Whether what is not in the list of modules is not in the kernel.
    pub fn lists_all_modules(&self) -> bool {
        self.modules.is_some() && self.places.get(Self::MODULES).is_none_or(|list| list.sight.is_known())
    }

    /// Whether it is of the same boot as one that began later. Who forges the boot id can make another boot of it; so it is the same, too,
    /// when both clocks went on from where they were.
    pub fn is_of_boot_of(&self, later: &Self) -> bool {
        self.boot_id == later.boot_id || self.ended.goes_on_to(later.begun)
    }
}
