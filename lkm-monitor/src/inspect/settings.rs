//! The kernel's settings below /proc/sys.

use crate::model::{FileFacts, SeenPath};

/// What a procfs shows here are the settings of the one kernel, wherever it is mounted and whatever PID namespace it is of. Each
/// is a file system with a number of its own.
const SHARED: &[u8] = b"/sys/kernel/";

/// Whether the file at `inside` of its file system is a setting that every procfs shows.
pub(super) fn is_shared(facts: &FileFacts, inside: &[u8]) -> bool {
    facts.is_on_procfs() && inside.starts_with(SHARED)
}

/// The path that the host has for the setting at `path`; `None` when it is none that every procfs shows.
pub fn shared_setting(facts: &FileFacts, path: &SeenPath) -> Option<Vec<u8>> {
    if path.truncated || path.unreadable || path.anonymous {
        return None;
    }
    let inside = if path.mount_unknown { path.absolute.clone() } else { path.in_file_system()? };
    is_shared(facts, &inside).then(|| [b"/proc", inside.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::samples;

    const PROC: u64 = 0x9fa0;

    fn setting(magic: u64, path: &SeenPath) -> Option<String> {
        let facts = FileFacts { fs_magic: magic, ..FileFacts::default() };
        shared_setting(&facts, path).map(|path| String::from_utf8(path).unwrap())
    }

    fn mounted(point: &str, root: &str, path: &str) -> SeenPath {
        SeenPath { mount_point: Some(point.into()), mount_root: Some(root.into()), ..samples::path(path) }
    }

    #[test]
    fn a_setting_is_found_on_every_procfs() {
        let host = Some("/proc/sys/kernel/modprobe".to_owned());
        assert_eq!(setting(PROC, &mounted("/proc", "", "/proc/sys/kernel/modprobe")), host);
        assert_eq!(setting(PROC, &mounted("/tmp/p", "", "/tmp/p/sys/kernel/modprobe")), host);
        assert_eq!(setting(PROC, &mounted("/tmp/k", "/sys/kernel", "/tmp/k/modprobe")), host);
        assert_eq!(setting(PROC, &mounted("/tmp/f", "/sys/kernel/modprobe", "/tmp/f")), host);
        let unknown = SeenPath { mount_unknown: true, ..samples::path("/sys/kernel/modprobe") };
        assert_eq!(setting(PROC, &unknown), host);
    }

    #[test]
    fn other_files_are_no_settings() {
        assert_eq!(setting(0xef53, &mounted("/tmp/p", "", "/tmp/p/sys/kernel/modprobe")), None);
        assert_eq!(setting(PROC, &mounted("/tmp/p", "", "/tmp/p/1/comm")), None);
        let cut = SeenPath { truncated: true, ..mounted("/proc", "", "/proc/sys/kernel/modprobe") };
        assert_eq!(setting(PROC, &cut), None);
    }
}
