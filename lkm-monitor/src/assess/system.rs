//! Whether a path may be taken at its word: a name means a file of the host only in the host's own view of its file systems.

use super::Context;
use crate::model::{Process, SeenPath, text::brief};

/// Where a system has its root or a file system of its own for programs. Anything mounted elsewhere hides system files.
const SYSTEM_MOUNT_POINTS: [&[u8]; 2] = [b"/", b"/usr"];

/// Why `path`, as `process` uses it, is not what its name says, as the end of a sentence about it; `None` when it is.
///
/// `device` holds the file. In the host's own mount namespace the mount itself must be one of the host's: anything can be
/// mounted over a system directory, a part of the same file system included. Services have mount namespaces of their own for
/// good reasons (`PrivateMounts=` of systemd-udevd), with copies of the mounts; there the file system decides.
pub(super) fn doubt(
    path: &SeenPath,
    device: (u32, u32),
    process: Option<&Process>,
    context: &Context<'_>,
) -> Option<String> {
    if path.truncated || path.unreadable {
        return Some("whose path could not be followed to the root".to_owned());
    }
    if path.outside_root {
        return Some("outside the root directory of the process".to_owned());
    }
    if path.foreign_root {
        return Some("in a file tree that the mount namespace of the process does not show".to_owned());
    }
    if path.in_chroot() {
        return Some(format!("which in a chroot stands for {}", brief(&path.absolute)));
    }
    if let Some(point) = path.mount_point.as_deref().filter(|point| !SYSTEM_MOUNT_POINTS.contains(point)) {
        return Some(format!("on a file system mounted at {}", brief(point)));
    }
    let mounts = &context.host.system_mounts;
    if process.is_some_and(|process| !shares_mount_namespace(process, context)) {
        let of_host = mounts.iter().any(|mount| mount.device == device && (mount.partial || !path.bind_mount));
        return (!of_host)
            .then(|| "on another file system than the host's, in a mount namespace of its own".to_owned());
    }
    let known = path.mount_id != 0 && !mounts.is_empty();
    (known && !mounts.iter().any(|mount| mount.id == path.mount_id))
        .then(|| "on a file system mounted over the host's own".to_owned())
}

fn shares_mount_namespace(process: &Process, context: &Context<'_>) -> bool {
    !process.namespaces.differing(&context.host.initial_namespaces).contains(&"mount")
}
