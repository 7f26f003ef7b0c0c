//! Where a module's image and its name come from.

use super::{ImageSource, ModuleCall, Operation};

/// Where an image came from, as far as detection is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file that has a path.
    File,
    /// The memory of the caller.
    Memory,
    /// A memfd.
    Memfd,
    /// A file whose name was removed, or that never had one (O_TMPFILE).
    Deleted,
    /// A file on a mount of the kernel's own that is no memfd, such as shared memory opened through /proc/PID/map_files.
    Anonymous,
    Unknown,
}

impl Origin {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
            Self::Memfd => "memfd",
            Self::Deleted => "deleted",
            Self::Anonymous => "anonymous",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a module's name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSource {
    /// `struct module`.
    Kernel,
    /// The argument of delete_module.
    Caller,
    /// The name of the file.
    File,
}

impl NameSource {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Caller => "caller",
            Self::File => "file",
        }
    }
}

impl ModuleCall {
    /// Where the image came from.
    pub fn origin(&self) -> Origin {
        if self.operation == Operation::InitModule || self.image_source == Some(ImageSource::Memory) {
            return Origin::Memory;
        }
        match &self.file {
            None => Origin::Unknown,
            Some(file) if file.is_memfd() => Origin::Memfd,
            Some(file) if file.kernel_mount || file.path.anonymous => Origin::Anonymous,
            Some(file) if file.unlinked => Origin::Deleted,
            Some(_) => Origin::File,
        }
    }

    /// The best name there is, never empty. A file's name is only a hint: the kernel takes the name from inside the image.
    pub fn best_name(&self) -> Option<(Vec<u8>, NameSource)> {
        let kernel = self.module.name.as_ref().map(|name| (name.bytes.clone(), NameSource::Kernel));
        let caller = || self.requested_name.as_ref().map(|name| (name.bytes.clone(), NameSource::Caller));
        let file = || {
            let file = self.file.as_ref().filter(|_| matches!(self.origin(), Origin::File | Origin::Deleted))?;
            Some((module_name_of(file.path.name()), NameSource::File))
        };
        kernel.or_else(caller).or_else(file).filter(|(name, _)| !name.is_empty())
    }
}

/// The name that kbuild gives the module in a file of this name: no extension, `_` for `-`.
fn module_name_of(file_name: &[u8]) -> Vec<u8> {
    let packed = [b".gz".as_slice(), b".xz", b".zst"];
    let unpacked = packed.iter().find_map(|extension| file_name.strip_suffix(*extension)).unwrap_or(file_name);
    let stem = unpacked.strip_suffix(b".ko").unwrap_or(unpacked);
    stem.iter().map(|&byte| if byte == b'-' { b'_' } else { byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names_of_files() {
        for (file, module) in [
            ("dummy.ko", "dummy"),
            ("snd-hda-intel.ko.xz", "snd_hda_intel"),
            ("x.ko.zst", "x"),
            ("notes.txt", "notes.txt"),
            (".ko", ""),
        ] {
            assert_eq!(module_name_of(file.as_bytes()), module.as_bytes(), "{file}");
        }
    }
}
