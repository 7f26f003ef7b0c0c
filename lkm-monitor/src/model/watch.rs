//! What is watched of the file system.

use std::collections::BTreeSet;

/// What a watched file is to the kernel's modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A kernel module, packed or not.
    Module,
    /// modprobe.d(5).
    Modprobe,
    /// modules-load.d(5), and /etc/modules.
    ModulesLoad,
    /// depmod.d(5).
    Depmod,
    /// What goes into an initramfs.
    Initramfs,
    /// Modules of PAM.
    Pam,
    /// modules.dep and the other indexes that depmod writes.
    Index,
    /// kernel.modprobe, kernel.modules_disabled or kernel.ftrace_enabled below /proc/sys.
    Setting,
    /// The daemon's own program, settings and units.
    Sensor,
}

impl Subject {
    /// All subjects, with the name of each in settings and documents, and in sentences.
    pub const ALL: [(Self, &'static str, &'static str); 9] = [
        (Self::Module, "module", "kernel module file"),
        (Self::Modprobe, "modprobe", "modprobe configuration"),
        (Self::ModulesLoad, "modules-load", "list of modules to load at boot"),
        (Self::Depmod, "depmod", "depmod configuration"),
        (Self::Initramfs, "initramfs", "initramfs configuration"),
        (Self::Pam, "pam", "PAM module"),
        (Self::Index, "module-index", "module index"),
        (Self::Setting, "kernel-setting", "kernel setting"),
        (Self::Sensor, "sensor-file", "file of lkm-monitor"),
    ];

    /// The name in settings and documents.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The name in sentences.
    pub fn phrase(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (Self, &'static str, &'static str) {
        // The table follows the declaration, which a test compares.
        Self::ALL[self as usize]
    }

    /// Whether a file of this kind is text, line by line. Beside the sensor's settings lie secrets, which no difference may show.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Modprobe | Self::ModulesLoad | Self::Depmod | Self::Initramfs | Self::Setting)
    }
}

/// What the kernel side compares: a superset of the watched paths, by the ends of names and whole names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameFilter {
    /// Names end so.
    pub endings: BTreeSet<Vec<u8>>,
    /// Names of files, wherever they are.
    pub files: BTreeSet<Vec<u8>>,
    /// Names of folders: they, and all files in them.
    pub folders: BTreeSet<Vec<u8>>,
    /// Names of folders further up, where something may be mounted.
    pub parents: BTreeSet<Vec<u8>>,
}

/// How many changes an exclusion has kept back since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// Pattern of the whole path.
    pub path: String,
    /// Pattern of the program's path.
    pub executable: Option<String>,
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_declaration() {
        for (index, (subject, ..)) in Subject::ALL.into_iter().enumerate() {
            assert_eq!(subject as usize, index);
        }
    }
}
