//! What depmod wrote of the modules of one kernel: which names have a file, and which are in the kernel's image.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use super::gaps::Gaps;
use crate::{
    inspect::contents::{HostFiles, NotThere, module_of},
    model::module_config::underscored,
};

/// A distribution's has less than one MiB.
const MAX_BYTES: u64 = 16 << 20;

/// The modules of one kernel, by the names that they have when they are loaded.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Paths as modules.dep has them: below its folder, or absolute.
    files: HashMap<Vec<u8>, Vec<u8>>,
    built_in: HashSet<Vec<u8>>,
}

impl Index {
    /// That in `folder`, which is /lib/modules/RELEASE on a host.
    pub(super) fn read(folder: &Path, gaps: &mut Gaps) -> Self {
        let mut index = Self::default();
        // What lies behind links and mounts is entered where it answers by itself.
        let files = HostFiles::open();
        let read = |path: &Path| -> io::Result<Vec<u8>> {
            let files = files.as_ref().map_err(NotThere::clone)?;
            let mut content = Vec::new();
            files.file(path.as_os_str().as_bytes())?.take(MAX_BYTES).read_to_end(&mut content)?;
            Ok(content)
        };
        let mut lines = |name: &str, take: &mut dyn FnMut(&[u8])| match read(&folder.join(name)) {
            Ok(content) => {
                if content.len() as u64 == MAX_BYTES {
                    gaps.add(name, "it is too long to be read whole");
                }
                content.split(|byte| *byte == b'\n').for_each(take);
            }
            Err(error) => gaps.add(name, error.kind()),
        };
        lines("modules.dep", &mut |line| {
            let path = line.split(|byte| *byte == b':').next().unwrap_or_default();
            if let Some(name) = module_of(path) {
                index.files.entry(underscored(name)).or_insert_with(|| path.to_vec());
            }
        });
        lines("modules.builtin", &mut |line| {
            index.built_in.extend(module_of(line).map(underscored));
        });
        index
    }

    /// The file that modprobe loads by this name.
    pub(super) fn file(&self, name: &[u8]) -> Option<&[u8]> {
        self.files.get(&underscored(name)).map(Vec::as_slice)
    }

    /// Names of what is in the kernel's image, whether it has parameters or not.
    pub(super) fn built_in(&self) -> impl Iterator<Item = &[u8]> {
        self.built_in.iter().map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_loaded_modules() {
        let folder = tempfile::tempdir().unwrap();
        let dep = "kernel/drivers/usb/usb-storage.ko.xz: kernel/drivers/scsi/scsi_mod.ko.xz\n/srv/own.ko:\nupdates/x.ko.gz:\n";
        fs::write(folder.path().join("modules.dep"), dep).unwrap();
        fs::write(folder.path().join("modules.builtin"), "kernel/fs/ext4/ext4.ko\nkernel/lib/crc-t10dif.ko\n").unwrap();
        let mut gaps = Gaps::default();
        let index = Index::read(folder.path(), &mut gaps);
        assert_eq!(index.file(b"usb_storage"), Some(&b"kernel/drivers/usb/usb-storage.ko.xz"[..]));
        assert_eq!(index.file(b"usb-storage"), index.file(b"usb_storage"));
        assert_eq!(index.file(b"own"), Some(&b"/srv/own.ko"[..]));
        assert_eq!((index.file(b"x"), index.file(b"scsi_mod")), (Some(&b"updates/x.ko.gz"[..]), None));
        let mut built_in: Vec<_> = index.built_in().collect();
        built_in.sort_unstable();
        assert_eq!(built_in, [&b"crc_t10dif"[..], b"ext4"]);
        assert_eq!(gaps.into_vec(), []);
    }

    #[test]
    fn what_is_missing_is_told() {
        let mut gaps = Gaps::default();
        let index = Index::read(Path::new("/nowhere"), &mut gaps);
        assert_eq!((index.file(b"a"), index.built_in().count()), (None, 0));
        assert_eq!(gaps.into_vec().len(), 2);
    }

    proptest! {
        #[test]
        fn any_index_can_be_read(dep: Vec<u8>, name: Vec<u8>) {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("modules.dep"), &dep).unwrap();
            fs::write(folder.path().join("modules.builtin"), &dep).unwrap();
            let index = Index::read(folder.path(), &mut Gaps::default());
            if let Some(path) = index.file(&name) {
                prop_assert!(dep.windows(path.len()).any(|part| part == path));
            }
        }
    }
}
