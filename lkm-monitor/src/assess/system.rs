//! Whether a path may be taken at its word: a name means a file of the host only in the host's own view of its file systems.

use super::Context;
use crate::model::{Process, SeenPath, path::below, text::brief};

/// Where a system has its root or a file system of its own for programs, on hosts whose mounts are not known.
const SYSTEM_MOUNT_POINTS: [&[u8]; 2] = [b"/", b"/usr"];

/// Why `path`, as `process` uses it, is not what its name says, as the end of a sentence about it; `None` when it is.
///
/// `device` holds the file. Anything can be mounted over a system directory, a part of the same file system included, in a
/// mount namespace or for all. So either the mount is one of those that the host had when the daemon started, or the file
/// is the one that these mounts hold by that name: services look at them through mounts of their own (`ProtectSystem=`,
/// `PrivateMounts=`).
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
    let mounts = &context.host.system_mounts;
    let elsewhere = process.is_some_and(|process| !shares_mount_namespace(process, context));
    // The deepest one: what it hides of those above it is not the system's.
    let above = mounts.iter().filter(|mount| below(&path.absolute, &mount.point).is_some());
    let of_host = above.max_by_key(|mount| mount.point.len());
    if of_host.is_some_and(|mount| !elsewhere && mount.id == path.mount_id || mount.holds(path, device)) {
        return None;
    }
    match path.mount_point.as_deref().filter(|point| !SYSTEM_MOUNT_POINTS.contains(point)) {
        Some(point) => Some(format!("on a file system mounted at {}", brief(point))),
        None if mounts.is_empty() => None,
        None if elsewhere => {
            Some("which is not the host's file of that name, in a mount namespace of its own".to_owned())
        }
        None => Some("on a file system mounted over the host's own".to_owned()),
    }
}

fn shares_mount_namespace(process: &Process, context: &Context<'_>) -> bool {
    !process.namespaces.differing(&context.host.initial_namespaces).contains(&"mount")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::samples::tree,
        model::{
            Host, SystemMount,
            samples::{accounts, host, path},
        },
    };

    const MODULE: &str = "/usr/lib/modules/6.1.0/foo.ko";
    const DEVICE: (u32, u32) = (254, 1);

    /// What is said of the module in the mount namespace of the host, and in another one.
    fn doubts(host: &Host, path: &SeenPath) -> [Option<String>; 2] {
        let accounts = accounts();
        let context = Context { host, accounts: &accounts };
        let mut elsewhere = tree().caller;
        elsewhere.namespaces.mount += 1;
        [tree().caller, elsewhere].map(|process| doubt(path, DEVICE, Some(&process), &context))
    }

    fn mounted(point: &str, id: u32, root: &str) -> SeenPath {
        let mount_point = Some(point.into());
        SeenPath { mount_point, mount_id: id, mount_root: Some(root.into()), bind_mount: true, ..path(MODULE) }
    }

    fn btrfs() -> Host {
        let mount = SystemMount { id: 27, device: DEVICE, point: b"/".to_vec(), root: b"/@root".to_vec() };
        Host { system_mounts: vec![mount], ..host() }
    }

    #[test]
    fn a_service_may_mount_the_system_over_itself() {
        assert_eq!(doubts(&host(), &mounted("/usr", 99, "/usr")), [None, None]);
        assert_eq!(doubts(&btrfs(), &mounted("/usr", 99, "/@root/usr")), [None, None]);
    }

    #[test]
    fn another_directory_of_the_same_file_system_is_not_the_system() {
        for host in [host(), btrfs()] {
            for false_root in ["/tmp/false/usr", "/@root/tmp/false/usr", "/@snapshots/1/usr"] {
                let [here, elsewhere] = doubts(&host, &mounted("/usr", 99, false_root));
                assert!(here.unwrap().contains("mounted over the host's own"));
                assert!(elsewhere.unwrap().contains("not the host's file"));
            }
        }
    }

    #[test]
    fn a_host_may_have_a_mount_for_modules() {
        let mut host = host();
        let point = b"/usr/lib/modules/6.1.0".to_vec();
        host.system_mounts.push(SystemMount { id: 40, device: (7, 0), point, root: Vec::new() });
        assert_eq!(doubts(&host, &mounted("/usr/lib/modules/6.1.0", 40, ""))[0], None);
        assert!(doubts(&host, &mounted("/usr/lib/modules/6.1.0", 41, ""))[0].is_some());
    }

    #[test]
    fn what_a_mount_of_the_system_hides_is_not_the_system() {
        let mut host = host();
        host.system_mounts.push(SystemMount { id: 28, device: (254, 2), point: b"/usr".to_vec(), root: Vec::new() });
        // /usr was unmounted: what shows is the root file system's own directory of that name.
        let uncovered = SeenPath { mount_id: 27, ..path(MODULE) };
        assert!(doubts(&host, &uncovered).iter().all(Option::is_some));
    }

    #[test]
    fn where_the_mounts_are_not_known_only_their_places_count() {
        let host = Host { system_mounts: Vec::new(), ..host() };
        assert_eq!(doubts(&host, &mounted("/usr", 99, "/x")), [None, None]);
        assert!(doubts(&host, &mounted("/usr/lib/modules", 99, "/x"))[0].is_some());
    }
}
