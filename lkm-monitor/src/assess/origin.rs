//! Where the image comes from.

use super::{Context, Detection, Match, attack, phrase::sentence, system::doubt};
use crate::model::{FileFacts, LoadStage, ModuleCall, Origin, Process, Rule, SeenPath, Severity, text::brief};

pub(super) static DETECTIONS: &[Detection] = &[
    Detection {
        rule: Rule {
            code: 101,
            id: "load-from-memory",
            name: "Kernel module loaded from memory",
            description: "A module was loaded with init_module from the memory of a process, so no file tells what it was. \
                          Tools for compressed modules do this on older systems.",
            version: 1,
            severity: Severity::High,
            techniques: attack::FILELESS_LOADING,
        },
        matches: from_memory,
    },
    Detection {
        rule: Rule {
            code: 102,
            id: "load-from-memfd",
            name: "Kernel module loaded from a memfd",
            description: "A module was loaded from a file that exists in memory only, such as one of memfd_create. It never \
                          was on a disk and is gone with the process.",
            version: 1,
            severity: Severity::Critical,
            techniques: attack::FILELESS_LOADING,
        },
        matches: from_memfd,
    },
    Detection {
        rule: Rule {
            code: 103,
            id: "load-from-deleted-file",
            name: "Kernel module loaded from a deleted file",
            description: "A module was loaded from a file that had no name at that moment: it was removed while open, or was \
                          created without one (O_TMPFILE).",
            version: 1,
            severity: Severity::High,
            techniques: attack::FILELESS_LOADING,
        },
        matches: from_deleted_file,
    },
    Detection {
        rule: Rule {
            code: 104,
            id: "load-from-nonstandard-path",
            name: "Kernel module loaded from a non-standard path",
            description: "A module was loaded from outside the host's own /lib/modules, or from a place that only looks like \
                          it: a chroot, something mounted over it, or another mount namespace.",
            version: 1,
            severity: Severity::High,
            techniques: attack::LOADING,
        },
        matches: from_nonstandard_path,
    },
];

/// Where distributions install modules; /lib is a link to /usr/lib on most.
const MODULE_TREES: [&[u8]; 2] = [b"/lib/modules/", b"/usr/lib/modules/"];

fn from_memory(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    if call.origin() != Origin::Memory || call.stage == LoadStage::Refused {
        return None;
    }
    let bytes = call.image_bytes.or(call.offered_bytes);
    let detail = bytes.map_or_else(|| " from memory".to_owned(), |bytes| format!(" from memory ({bytes} bytes)"));
    let reason = sentence(call, context, &detail);
    // A kmod that unpacks compressed modules hands them over like that.
    if call.image.as_ref().is_some_and(|image| image.is_of_kernels_build(call.module.taints)) {
        let reason = format!("{reason}; it is signed by a key that is built into the running kernel");
        return Some(Match { severity: Severity::Low, reason });
    }
    Some(Match { severity: Severity::High, reason })
}

fn from_memfd(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let file = call.file.as_ref()?;
    let kind = match call.origin() {
        Origin::Memfd => "the memfd",
        Origin::Anonymous => "the file in memory",
        _ => return None,
    };
    let detail = format!(" from {kind} {}", brief(&file.path.seen));
    Some(Match { severity: Severity::Critical, reason: sentence(call, context, &detail) })
}

fn from_deleted_file(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let file = call.file.as_ref().filter(|_| call.origin() == Origin::Deleted)?;
    let detail = format!(" from {}, which has no name in any directory,", brief(&file.path.seen));
    Some(Match { severity: Severity::High, reason: sentence(call, context, &detail) })
}

fn from_nonstandard_path(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let file = call.file.as_ref().filter(|_| call.origin() == Origin::File)?;
    let why = nonstandard(file, call, context)?;
    let severity = if call.stage == LoadStage::Refused { Severity::Medium } else { Severity::High };
    let detail = format!(" from {}, {why},", brief(&file.path.seen));
    Some(Match { severity, reason: sentence(call, context, &detail) })
}

fn nonstandard(file: &FileFacts, call: &ModuleCall, context: &Context<'_>) -> Option<String> {
    let process = call.process.as_ref().map(|tree| &tree.caller);
    nonstandard_path(&file.path, (file.device_major, file.device_minor), process, context)
}

/// Why a module's file does not lie where the host has its modules; `None` when it does.
pub(super) fn nonstandard_path(
    path: &SeenPath,
    device: (u32, u32),
    process: Option<&Process>,
    context: &Context<'_>,
) -> Option<String> {
    if !in_module_tree(&path.seen) && !in_module_tree(&path.absolute) {
        return Some("outside /lib/modules".to_owned());
    }
    doubt(path, device, process, context)
}

/// Whether a path is one of the module tree, by its name.
pub(super) fn in_module_tree(path: &[u8]) -> bool {
    MODULE_TREES.iter().any(|tree| path.starts_with(tree))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::samples::{self, finding, load, load_from},
        model::{Bytes, ImageSource, Operation},
    };

    fn memory() -> ModuleCall {
        ModuleCall {
            operation: Operation::InitModule,
            file: None,
            image_source: Some(ImageSource::Memory),
            image_bytes: None,
            offered_bytes: Some(4096),
            ..load()
        }
    }

    /// A file on a mount of the kernel's own.
    fn in_memory_file(name: &str) -> ModuleCall {
        let mut call = load();
        call.file = Some(FileFacts {
            path: SeenPath { seen: name.into(), absolute: name.into(), anonymous: true, ..SeenPath::default() },
            kernel_mount: true,
            unlinked: true,
            ..FileFacts::default()
        });
        call
    }

    fn with_path(change: impl FnOnce(&mut SeenPath)) -> ModuleCall {
        let mut call = load();
        change(&mut call.file.as_mut().unwrap().path);
        call
    }

    #[test]
    fn memory_matches_unless_refused() {
        let reason = finding(&memory(), 101).unwrap().1;
        assert_eq!(
            reason,
            "module foo was loaded from memory (4096 bytes) by /usr/bin/kmod run by root (login user alice)"
        );
        assert!(finding(&ModuleCall { stage: LoadStage::InitFailed, ..memory() }, 101).is_some());
        assert!(finding(&ModuleCall { stage: LoadStage::Refused, ..memory() }, 101).is_none());
        assert!(finding(&load(), 101).is_none());
    }

    #[test]
    fn memfd_matches() {
        assert_eq!(finding(&in_memory_file("memfd:x"), 102).unwrap().0, Severity::Critical);
        // The name is the caller's choice, slashes included; and there are other files in memory.
        assert!(finding(&in_memory_file("memfd:lib/modules/x.ko"), 102).is_some());
        assert!(finding(&in_memory_file("dev/zero"), 102).is_some());
        assert!(finding(&load(), 102).is_none());
    }

    #[test]
    fn ordinary_file_named_like_a_memfd_is_none() {
        let call = load_from("/tmp/memfd:x");
        assert!(finding(&call, 102).is_none());
        assert!(finding(&call, 104).is_some());
    }

    #[test]
    fn deleted_file_matches_wherever_it_was() {
        let mut call = load();
        call.file.as_mut().unwrap().unlinked = true;
        assert_eq!(finding(&call, 103).unwrap().0, Severity::High);
        assert!(finding(&call, 104).is_none());
        assert!(finding(&load(), 103).is_none());
        assert!(finding(&in_memory_file("memfd:x"), 103).is_none());
    }

    #[test]
    fn path_outside_the_tree_matches() {
        let (severity, reason) = finding(&load_from("/tmp/foo.ko"), 104).unwrap();
        assert_eq!(severity, Severity::High);
        assert_eq!(
            reason,
            "module foo was loaded from /tmp/foo.ko, outside /lib/modules, by /usr/bin/kmod run by root (login user alice)"
        );
        for path in ["/lib/modulesx/foo.ko", "/usr/lib/foo.ko", "/tmp/lib/modules/foo.ko", "/lib/modules"] {
            assert!(finding(&load_from(path), 104).is_some(), "{path}");
        }
        for path in ["/lib/modules/6.1.0/foo.ko", "/usr/lib/modules/6.1.0/foo.ko.xz"] {
            assert!(finding(&load_from(path), 104).is_none(), "{path}");
        }
    }

    #[test]
    fn refused_load_from_elsewhere_is_less_severe() {
        let call = samples::refused(load_from("/tmp/foo.ko"), libc::EEXIST);
        let (severity, reason) = finding(&call, 104).unwrap();
        assert_eq!(severity, Severity::Medium);
        assert!(reason.starts_with("module foo was to be loaded from /tmp/foo.ko"), "{reason}");
        assert!(reason.ends_with("; the kernel refused it with EEXIST"), "{reason}");
    }

    #[test]
    fn chroot_with_its_own_tree_matches() {
        let call = with_path(|path| path.absolute = b"/tmp/root/lib/modules/6.1.0/foo.ko".to_vec());
        let reason = finding(&call, 104).unwrap().1;
        assert!(reason.contains("which in a chroot stands for /tmp/root/lib/modules/6.1.0/foo.ko"), "{reason}");
    }

    #[test]
    fn mounts_over_the_tree_match() {
        for point in ["/usr/lib/modules/6.1.0/foo.ko", "/usr/lib/modules/6.1.0", "/usr/lib/modules", "/usr/lib", "/lib"]
        {
            let call = with_path(|path| (path.mount_point, path.mount_id) = (Some(point.into()), 99));
            let reason = finding(&call, 104).unwrap().1;
            assert!(reason.contains(&format!("on a file system mounted at {point},")), "{reason}");
        }
        assert!(finding(&load(), 104).is_none());
    }

    #[test]
    fn paths_that_lead_nowhere_match() {
        assert!(finding(&with_path(|path| path.truncated = true), 104).is_some());
        assert!(finding(&with_path(|path| path.unreadable = true), 104).is_some());
        assert!(finding(&with_path(|path| path.outside_root = true), 104).is_some());
        assert!(finding(&with_path(|path| path.foreign_root = true), 104).is_some());
    }

    #[test]
    fn in_another_mount_namespace_the_file_system_decides() {
        let elsewhere = |change: fn(&mut FileFacts)| {
            let mut call = load();
            call.process.as_mut().unwrap().caller.namespaces.mount += 1;
            change(call.file.as_mut().unwrap());
            finding(&call, 104).is_some()
        };
        assert!(!elsewhere(|_| ()), "systemd-udevd");
        assert!(elsewhere(|file| file.device_minor += 1), "a root of its own");
        assert!(
            elsewhere(|file| file.path.mount_root = Some(b"/srv/root".to_vec())),
            "a directory of the host as its root"
        );
    }

    #[test]
    fn name_of_a_file_is_a_hint_only() {
        let mut call = load_from("/tmp/snd-dummy.ko");
        call.module.name = None;
        assert!(finding(&call, 104).unwrap().1.starts_with("module snd_dummy was"));
        call.requested_name = Some(Bytes::whole("x\n"));
        assert!(finding(&call, 104).unwrap().1.starts_with("module x\\x0a was"));
    }
}
