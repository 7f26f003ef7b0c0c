//! Which package a module's file comes from, as far as the records on the host tell.

use std::path::PathBuf;

/// Who put a file where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    Dpkg,
    Rpm,
    Dkms,
    /// Nobody: the file lies in the tree where it was built.
    KernelBuild,
    /// All records were read, and none of them knows the file.
    None,
    /// No record that was read knows the file, and not all could be read.
    Unknown,
}

impl Manager {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Rpm => "rpm",
            Self::Dkms => "dkms",
            Self::KernelBuild => "kernel_build",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether a file holds what its record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestCheck {
    Matches,
    Differs,
    /// There is nothing to compare with.
    NotRecorded,
}

/// What could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As the host names it.
    pub path: PathBuf,
    pub reason: String,
}

/// Where a file comes from. Texts are bytes of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    pub manager: Manager,
    /// The name of the package; of a kernel build, the top folder of the tree as the host names it.
    pub package: Option<Vec<u8>>,
    /// As the package manager writes it: `[epoch:]version[-revision]`.
    pub version: Option<Vec<u8>>,
    pub architecture: Option<Vec<u8>>,
    pub digest: DigestCheck,
    /// A few of those that bear upon the answer.
    pub problems: Vec<Problem>,
}
