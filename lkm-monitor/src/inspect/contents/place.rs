//! Where the daemon finds the file of a change.

use super::{
    mount_table::FileSystem,
    tree::{Miss, Opened, Tree},
};
use crate::{
    inspect::settings::is_shared,
    model::{FileFacts, Look, SeenPath, Subject},
};

/// `statfs` magic numbers (include/uapi/linux/magic.h) of file systems that ask another process or machine: FUSE, NFS, CIFS,
/// SMB2 and 3, SMB, 9p, Ceph, AFS (two of them), Coda, autofs. Those that are not listed are found out by the table of mounts.
const SLOW: [u64; 11] = [
    0x6573_5546,
    0x6969,
    0xff53_4d42,
    0xfe53_4d42,
    0x517b,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x6b41_4653,
    0x7375_7245,
    0x0187,
];

/// What the event tells of the file's inode.
pub(super) fn facts(look: &Look) -> Option<&FileFacts> {
    look.change.facts.as_ref().or(look.change.facts_before.as_ref())
}

/// Whether the event itself says that the file system could make us wait.
pub(super) fn is_slow(look: &Look) -> bool {
    facts(look).is_some_and(|facts| SLOW.contains(&facts.fs_magic))
}

/// The path that the host has for a path of the change. Of several, one that `is_likely`.
pub(super) fn on_host(host: &Tree, path: &SeenPath, look: &Look, is_likely: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    if look.in_host_namespace && is_whole(path) && !path.foreign_root && !path.mount_unknown {
        // A mount of a watched folder elsewhere changes what the host has by the folder's own name.
        let by_itself = || by_file_system(host, path, look, &is_likely).filter(|path| is_likely(path));
        let by_itself = if is_likely(&path.absolute) { None } else { by_itself() };
        return by_itself.or_else(|| Some(path.absolute.clone()));
    }
    by_file_system(host, path, look, is_likely)
}

/// Opens the file as the process of the change saw it, or one of its ancestors that see the same mounts: the process itself is
/// often gone.
pub(super) fn open_elsewhere(look: &Look) -> Result<Opened, Miss> {
    let path = &look.change.path;
    let tree = &look.change.process;
    let namespace = tree.caller.namespaces.mount;
    if look.in_host_namespace || namespace == 0 || path.foreign_root || !is_whole(path) {
        return Err(Miss::Unreachable);
    }
    let ancestors = tree.ancestors.iter().filter(|ancestor| ancestor.root_directory.is_none());
    let processes = std::iter::once(&tree.caller).chain(ancestors);
    let sharing = processes.filter(|process| process.namespaces.mount == namespace && !process.kernel_thread);
    let mut miss = Miss::Unreachable;
    for process in sharing {
        let Ok(shown) = Tree::of_process(process.pid, namespace) else { continue };
        let at = match &process.root_directory {
            _ if path.mount_unknown => by_file_system(&shown, path, look, |_| true),
            // What /proc shows begins at the root of the process.
            Some(_) => (!path.outside_root).then(|| path.seen.clone()),
            None => Some(path.absolute.clone()),
        };
        match at.ok_or(Miss::Unreachable).and_then(|at| shown.open(&at)) {
            Err(found @ (Miss::Unreachable | Miss::Stale)) => miss = found,
            found => return found,
        }
    }
    Err(miss)
}

fn by_file_system(tree: &Tree, path: &SeenPath, look: &Look, is_likely: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    if !is_whole(path) {
        return None;
    }
    let inside = if path.mount_unknown { path.absolute.clone() } else { path.in_file_system()? };
    let facts = facts(look)?;
    let device = (facts.device_major, facts.device_minor);
    let file_system = match look.subject {
        Subject::Setting if is_shared(facts, &inside) => FileSystem::Settings,
        _ if device == (0, 0) => return None,
        _ => FileSystem::Device(device.0, device.1),
    };
    let mut found = tree.resolve(file_system, &inside);
    let likely = found.iter().position(|path| is_likely(path)).unwrap_or_default();
    (!found.is_empty()).then(|| found.swap_remove(likely))
}

const fn is_whole(path: &SeenPath) -> bool {
    !path.truncated && !path.unreadable && !path.anonymous
}
