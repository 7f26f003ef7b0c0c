//! What the bytes are that the kernel loaded.

use std::{path::PathBuf, sync::Arc};

use super::{DigestCheck, KeySource, Manager, ModuleImage, Provenance, SignatureFacts, SignatureVerdict, taint};

/// What was found in a captured image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExaminedImage {
    pub extent: ImageExtent,
    /// Of all bytes of the image, in the form in which the kernel read it.
    pub sha256: Option<[u8; 32]>,
    /// The same of what was packed in it.
    pub unpacked_sha256: Option<[u8; 32]>,
    pub module: Option<ModuleImage>,
    /// As all that follows, of whole images only.
    pub signature: Option<SignatureFacts>,
    /// Certificates of this host that were there to verify it with.
    pub host_keys: usize,
    /// What the kernel itself demands of signatures.
    pub kernel_policy: KernelPolicy,
    /// Of files that have a name on this host.
    pub provenance: Option<Provenance>,
    /// Something that it was to be compared with could not be read in time: who asks again may learn more.
    pub was_hasty: bool,
    /// It was handed to the store of evidence.
    pub kept: bool,
}

/// What the kernel demands of modules' signatures; `None` where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelPolicy {
    /// `module.sig_enforce`: it takes no module without a signature of a key that it knows.
    pub enforces_signatures: Option<bool>,
    /// `none`, `integrity` or `confidentiality`: all but the first do the same.
    pub lockdown: Option<&'static str>,
    /// How it was built, where a file says so.
    pub config: Option<Arc<KernelConfig>>,
}

/// What a kernel's configuration says of modules' signatures (`kernel/module/Kconfig`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelConfig {
    /// The file that says so.
    pub path: PathBuf,
    /// `CONFIG_MODULE_SIG`.
    pub verifies_signatures: bool,
    /// `CONFIG_MODULE_SIG_FORCE`: without being told to by `module.sig_enforce`.
    pub enforces_signatures: bool,
    /// `CONFIG_MODULE_SIG_HASH`: with which its build signs modules.
    pub hash: Option<String>,
}

impl ExaminedImage {
    /// Whether a package's record has these very bytes.
    pub fn is_packaged(&self) -> bool {
        self.provenance.as_ref().is_some_and(|provenance| {
            matches!(provenance.manager, Manager::Dpkg | Manager::Rpm) && provenance.digest == DigestCheck::Matches
        })
    }

    /// What the kernel made of the signature of a module with these taints, which it gives when it links one.
    pub fn kernels_word(&self, taints: Option<u64>) -> KernelsWord {
        let KernelPolicy { enforces_signatures, config, .. } = &self.kernel_policy;
        // Kernels before 5.13 have the setting even if they were built to verify nothing.
        let verifies = enforces_signatures.is_some() && config.as_ref().is_none_or(|config| config.verifies_signatures);
        match taints {
            Some(taints) if taints & taint::UNSIGNED != 0 => KernelsWord::Refused,
            Some(_) if verifies => KernelsWord::Accepted,
            _ => KernelsWord::None,
        }
    }

    /// Whether a key signed it that this host or its kernel knows, as far as that can be told.
    pub fn is_signed(&self, taints: Option<u64>) -> bool {
        let word = self.kernels_word(taints);
        word != KernelsWord::Refused
            && self.signature.as_ref().is_some_and(|signature| match &signature.verdict {
                SignatureVerdict::Valid { key } => !key.revoked,
                SignatureVerdict::UnknownKey { listed } => listed.is_some() || word == KernelsWord::Accepted,
                SignatureVerdict::Unsupported(_) => word == KernelsWord::Accepted,
                SignatureVerdict::Absent | SignatureVerdict::Malformed(_) | SignatureVerdict::Mismatch { .. } => false,
            })
    }

    /// Whether a key that is built into the running kernel signed it, and the kernel says nothing else of a module with these taints: not
    /// every key there is for modules.
    pub fn is_of_kernels_build(&self, taints: Option<u64>) -> bool {
        self.kernels_word(taints) != KernelsWord::Refused
            && self.signature.as_ref().is_some_and(|signature| match &signature.verdict {
                SignatureVerdict::Valid { key } => !key.revoked && matches!(key.source, KeySource::KernelImage(_)),
                _ => false,
            })
    }
}

/// The kernel's own word on a signature. It is another one than the daemon's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelsWord {
    /// It has marked the module as one without a signature of a key that it knows.
    Refused,
    /// It verifies signatures, and has not marked the module (`module_sig_check`).
    Accepted,
    /// It does not verify any, or did not come that far.
    None,
}

/// How much of an image there was to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageExtent {
    /// All of it.
    Whole,
    /// It is longer than what is captured: the first part.
    FirstPart,
    /// The ring for images was full: the first part, or nothing.
    Cut,
    /// It was captured, and its bytes were given up before somebody looked, or nobody could look in time.
    #[default]
    NotExamined,
}

impl ImageExtent {
    /// Whether somebody has looked at what there is.
    pub const fn is_examined(self) -> bool {
        !matches!(self, Self::NotExamined)
    }

    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::FirstPart => "first-part",
            Self::Cut => "cut",
            Self::NotExamined => "not-examined",
        }
    }
}
