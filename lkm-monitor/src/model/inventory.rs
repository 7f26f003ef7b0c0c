//! What is on the host now, whether or not anything happens.

use jiff::Timestamp;

use super::{Bytes, ContentStatus, FileState, Provenance, SignatureFacts, Subject, ToolKind};

/// Something that could not be looked at, or not whole: so that nobody takes what is not told for what is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// `address`, `module file`, `place`: what kind of thing.
    pub what: String,
    /// A clause.
    pub why: String,
    /// Of how many things.
    pub count: u64,
    /// A few of them, made [`super::text::text`]; none where there is only one of the kind.
    pub examples: Vec<String>,
}

/// A file as it was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FoundFile {
    /// Without links, but for the last part.
    pub path: Vec<u8>,
    /// Major and minor number of its file system.
    pub device: (u32, u32),
    /// Whether it was read.
    pub status: ContentStatus,
    /// Of a link its own state, but with the hash of what it leads to.
    pub state: FileState,
    /// Where a link leads in the end, without links.
    pub leads_to: Option<Vec<u8>>,
    /// `None` where it was not asked for, or the file was not read.
    pub provenance: Option<Provenance>,
}

/// One module that is in the kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleEntry {
    pub name: Vec<u8>,
    /// /proc/modules has it.
    pub in_proc: bool,
    /// /sys/module has it.
    pub in_sysfs: bool,
    /// It was built into the kernel's image.
    pub built_in: bool,
    /// `loading`, `live` or `unloading`; `None` of one that is built in.
    pub state: Option<&'static str>,
    /// Bytes in memory.
    pub size: Option<u64>,
    pub refcount: Option<u32>,
    pub used_by: Vec<Vec<u8>>,
    pub permanent: bool,
    /// Where its code begins; `None` where the kernel does not say.
    pub address: Option<u64>,
    /// The kernel's letters.
    pub taints: String,
    pub version: Option<Vec<u8>>,
    pub srcversion: Option<Vec<u8>>,
    pub parameters: Vec<ParameterValue>,
    /// Parameters beyond those that are kept.
    pub more_parameters: u64,
    /// The file that modprobe would load by this name now, which need not be the one that was loaded.
    pub file: Option<ModuleFile>,
    pub load: Option<KnownLoad>,
}

/// A parameter of a module, as it is set now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterValue {
    pub name: Vec<u8>,
    /// Without the line end; `None` where it cannot be read.
    pub value: Option<Bytes>,
}

/// A module's file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleFile {
    pub file: FoundFile,
    pub signature: Option<SignatureFacts>,
    /// Certificates of this host that were there to verify it with.
    pub host_keys: usize,
    /// What the file says of its sources.
    pub srcversion: Option<Vec<u8>>,
}

impl ModuleEntry {
    /// Whether the file was made from the sources that the module in the kernel was made from; `None` where one of them does not say.
    pub fn is_of_file(&self) -> Option<bool> {
        Some(self.srcversion.as_ref()? == self.file.as_ref()?.srcversion.as_ref()?)
    }
}

/// A load that somebody wrote down. Texts are those of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLoad {
    pub at: Timestamp,
    pub source: LoadSource,
    /// `event.id` of the load's document.
    pub event_id: Option<String>,
    /// The file that was loaded.
    pub path: Option<String>,
    pub executable: Option<String>,
    pub pid: Option<u64>,
    pub user: Option<String>,
}

/// Who wrote a load down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadSource {
    /// A document of the daemon's.
    Document,
    /// The record beside a kept image.
    Evidence,
}

impl LoadSource {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Evidence => "evidence",
        }
    }
}

/// One file that is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct FileEntry {
    pub file: FoundFile,
    pub subject: Subject,
    /// What it says: directives as `modprobe --showconfig` prints them, names of modules, the value of a setting. Made [`super::text::text`].
    pub meaning: Vec<String>,
    /// Lines of the meaning beyond those that are kept.
    pub more_meaning: u64,
    /// What of that is dangerous, a clause each.
    pub dangers: Vec<String>,
    /// Why the programs that read such files pass over this one, a clause.
    pub ignored: Option<String>,
}

/// A program that loads modules.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolEntry {
    pub file: FoundFile,
    pub kind: ToolKind,
    /// The paths by which it is found, its own among them if it is one of these.
    pub names: Vec<Vec<u8>>,
    /// kernel.modprobe leads to it: the kernel runs it, as root, when it wants a module.
    pub is_kernels: bool,
}
