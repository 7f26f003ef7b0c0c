//! The modules that the host has, by name.

use std::{
    collections::HashSet,
    fs,
    hash::{BuildHasher as _, RandomState},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{inspect::regular, model::module_config::underscored};

/// What of modules.dep, modules.builtin and modules.alias says whether a name leads to a module. Modules that merely are in the
/// kernel do not count: modprobe does not find them.
#[derive(Debug)]
pub(super) struct Modules {
    folder: PathBuf,
    versions: Vec<Option<Version>>,
    /// Hashes of names: a distribution has thousands, and a daemon little memory. Nobody can foresee them.
    names: HashSet<u64>,
    hash: RandomState,
    /// Without modules.dep nothing can be said of any module.
    complete: bool,
}

/// What tells one version of an index from the next.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

const INDEXES: [&str; 3] = ["modules.dep", "modules.builtin", "modules.alias"];
const MAX_INDEX_BYTES: u64 = 16 << 20;

impl Modules {
    /// Those of the running kernel.
    pub(super) fn of_running_kernel() -> Self {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
        let release = rustix::system::uname();
        // As process 1 sees it: a service manager may hide modules from the daemon's own side.
        let root = Path::new("/proc/1/root");
        let root = if root.join("lib").exists() { root } else { Path::new("/") };
        Self::in_folder(root.join("lib/modules").join(OsStr::from_bytes(release.release().to_bytes())))
    }

    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder, versions: Vec::new(), names: HashSet::new(), hash: RandomState::new(), complete: false }
    }

    /// Reads the indexes if they changed.
    pub(super) fn refresh(&mut self) {
        let versions: Vec<_> = INDEXES.iter().map(|index| version(&self.folder.join(index))).collect();
        if versions == self.versions {
            return;
        }
        self.names.clear();
        self.complete = self.read(INDEXES[0], |line| module_of(line.split(|byte| *byte == b':').next()?));
        self.read(INDEXES[1], module_of);
        self.read(INDEXES[2], plain_alias);
        self.names.shrink_to_fit();
        self.versions = versions;
    }

    /// Whether the host has a module, or an alias for one, of this name with `_` for `-`.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        !self.complete || self.names.contains(&self.hash.hash_one(name))
    }

    fn read(&mut self, index: &str, name: impl Fn(&[u8]) -> Option<&[u8]>) -> bool {
        let Ok(content) = regular::read(&self.folder.join(index), MAX_INDEX_BYTES) else { return false };
        let names = content.split(|byte| *byte == b'\n').filter_map(name);
        self.names.extend(names.map(|name| self.hash.hash_one(underscored(name).as_slice())));
        true
    }
}

fn version(path: &Path) -> Option<Version> {
    let metadata = fs::metadata(path).ok()?;
    Some(Version { inode: metadata.ino(), size: metadata.size(), changed: (metadata.ctime(), metadata.ctime_nsec()) })
}

/// The module in a file of this path, as the file is called.
pub fn module_of(path: &[u8]) -> Option<&[u8]> {
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let end = name.windows(3).position(|end| end == b".ko")?;
    Some(&name[..end])
}

/// The alias in a line of modules.alias. Those that are patterns stand for hardware, which no configuration names.
fn plain_alias(line: &[u8]) -> Option<&[u8]> {
    let name = line.strip_prefix(b"alias ")?.split(|byte| *byte == b' ').next()?;
    (!name.iter().any(|byte| b"*?[:".contains(byte))).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_tell_which_modules_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
        let mut modules = Modules::in_folder(folder.path().to_owned());
        modules.refresh();
        assert!(modules.has(b"anything"), "nothing can be said");

        write("modules.dep", "kernel/a/usb-storage.ko.xz: kernel/b/scsi_mod.ko\nextra/foo.ko:\nnonsense\n");
        write("modules.builtin", "kernel/fs/ext4/ext4.ko\n");
        write("modules.alias", "# Aliases\nalias fs-foo foo\nalias pci:v1* foo\nalias net-pf-[0-9] foo\nalias\n");
        modules.refresh();
        for name in ["usb_storage", "foo", "ext4", "fs_foo"] {
            assert!(modules.has(name.as_bytes()), "{name}");
        }
        for name in ["scsi_mod", "pci:v1*", "nonsense", "", "usb-storage"] {
            assert!(!modules.has(name.as_bytes()), "{name}");
        }

        write("modules.dep", "extra/bar.ko:\n");
        modules.refresh();
        assert!(modules.has(b"bar") && !modules.has(b"foo") && modules.has(b"ext4"));
    }
}
