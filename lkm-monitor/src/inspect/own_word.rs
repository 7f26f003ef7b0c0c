//! The kernel's own word: files in which it alone speaks, unless somebody mounted something over them.

use std::{fs::File, path::Path};

use rustix::fs::{AtFlags, FsWord, PROC_SUPER_MAGIC, StatxAttributes, StatxFlags, fstatfs, statx};

use super::host::BOOT_ID;

/// `SYSFS_MAGIC` in include/uapi/linux/magic.h.
pub(crate) const SYSFS_MAGIC: FsWord = 0x6265_6572;

/// What the daemon takes the kernel's word for, and the file systems that these files are on.
const TAKEN: [(&str, FsWord); 3] = [
    (BOOT_ID, PROC_SUPER_MAGIC),
    ("/proc/sys/kernel/ftrace_enabled", PROC_SUPER_MAGIC),
    ("/sys/kernel/btf/vmlinux", SYSFS_MAGIC),
];

/// Those of these files that show something else now, or are hidden by it: what is not seen, a sentence each. Needs Linux 5.8.
pub fn not_the_kernels() -> Vec<String> {
    let covered = TAKEN.iter().filter(|(path, file_system)| is_covered(Path::new(path), *file_system));
    covered.map(|(path, _)| format!("the kernel's own {path}: something is mounted over it")).collect()
}

/// Whether something is mounted over a file or a folder of this kind of file system. Of one that is not there, the folder that should hold
/// it is looked at.
pub(crate) fn is_covered(path: &Path, file_system: FsWord) -> bool {
    let Some((found, file)) = path.ancestors().find_map(|at| Some((at, File::open(at).ok()?))) else { return false };
    let is_on_another = fstatfs(&file).is_ok_and(|of| of.f_type != file_system);
    // A file of the right kind of file system may be another one.
    let attributes = statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::empty()).map(|of| of.stx_attributes);
    let is_mounted = found == path && attributes.is_ok_and(|of| of.contains(StatxAttributes::MOUNT_ROOT));
    is_on_another || is_mounted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_over_a_file_is_not_the_kernels_word() {
        let covered = |path: &str| is_covered(Path::new(path), PROC_SUPER_MAGIC);
        assert!(!covered("/proc/version"));
        assert!(!covered("/proc/sys/none/such"));
        assert!(covered("/proc"), "of the right kind, and the root of a mount");
        let folder = tempfile::tempdir().unwrap();
        let forged = folder.path().join("boot_id");
        std::fs::write(&forged, "11111111-2222-4333-8444-555555555555\n").unwrap();
        assert!(is_covered(&forged, PROC_SUPER_MAGIC), "a file of another file system");
        assert!(is_covered(&folder.path().join("hidden"), PROC_SUPER_MAGIC), "a folder of another file system");
    }
}
