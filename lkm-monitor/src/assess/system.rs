//! Whether a path may be taken at its word: a name means a file of the host only in the host's own view of its file systems.

use super::Context;
use crate::model::{Process, SeenPath, SystemMount, text::brief};

/// Where a system has its root or a file system of its own for programs. Anything mounted elsewhere hides system files.
const SYSTEM_MOUNT_POINTS: [&[u8]; 2] = [b"/", b"/usr"];

/// Why `path`, as `process` uses it, is not what its name says, as the end of a sentence about it; `None` when it is.
///
/// `device` holds the file; `system` is where the host keeps files of that kind. Services have mount namespaces of their
/// own for good reasons (`PrivateMounts=` of systemd-udevd), so in one of them the file system decides.
pub(super) fn doubt(
    path: &SeenPath,
    device: (u32, u32),
    process: Option<&Process>,
    system: Option<SystemMount>,
    context: &Context<'_>,
) -> Option<String> {
    if path.truncated || path.unreadable {
        return Some("whose path could not be followed to the root".to_owned());
    }
    if path.outside_root {
        return Some("outside the root directory of the process".to_owned());
    }
    if path.in_chroot() {
        return Some(format!("which in a chroot stands for {}", brief(&path.absolute)));
    }
    if let Some(point) = path.mount_point.as_deref().filter(|point| !SYSTEM_MOUNT_POINTS.contains(point)) {
        return Some(format!("on a file system mounted at {}", brief(point)));
    }
    let elsewhere = process.is_some_and(|process| !shares_mount_namespace(process, context));
    let host_file_system = system.is_some_and(|system| system.device == device && (system.partial || !path.bind_mount));
    (elsewhere && !host_file_system)
        .then(|| "on another file system than the host's, in a mount namespace of its own".to_owned())
}

fn shares_mount_namespace(process: &Process, context: &Context<'_>) -> bool {
    !process.namespaces.differing(&context.host.initial_namespaces).contains(&"mount")
}
