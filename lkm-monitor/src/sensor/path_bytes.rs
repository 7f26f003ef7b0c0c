//! Turns a path section, leaf first, into a path.

use lkm_monitor_common::section::{PathHead, flags};
use zerocopy::FromBytes as _;

use crate::model::SeenPath;

/// Decodes the content of a path section; `None` when it has no head.
pub(super) fn decode(content: &[u8], section_flags: u16) -> Option<SeenPath> {
    let (head, bytes) = PathHead::read_from_prefix(content).ok()?;
    let truncated = section_flags & flags::TRUNCATED != 0;
    let anonymous = section_flags & flags::ANONYMOUS != 0;
    let components = components(bytes);
    if anonymous {
        let name = components.first().map_or(&[][..], |&(_, name)| name).to_vec();
        return Some(SeenPath { seen: name.clone(), absolute: name, anonymous, ..SeenPath::default() });
    }
    if section_flags & flags::NO_MOUNT != 0 {
        // The last name is that of the file system's root, a slash.
        let names: Vec<_> = components.iter().map(|&(_, name)| name).filter(|name| *name != b"/").collect();
        let path = join(names.into_iter(), truncated);
        return Some(SeenPath {
            seen: path.clone(),
            absolute: path,
            mount_unknown: true,
            truncated,
            ..SeenPath::default()
        });
    }
    let root_known = head.root_at != PathHead::NONE;
    let absolute = join(components.iter().map(|&(_, name)| name), truncated);
    let seen = if root_known { join(below(&components, head.root_at), false) } else { absolute.clone() };
    let mount_point = (head.mount_at != PathHead::NONE)
        .then(|| join(components.iter().filter(|(at, _)| *at >= head.mount_at).map(|&(_, name)| name), truncated));
    Some(SeenPath {
        seen,
        absolute,
        mount_point,
        mount_id: head.mount_id,
        // A mount that shows the whole file system begins at its root; of another one a section of its own tells.
        mount_root: (section_flags & flags::BIND_MOUNT == 0).then(Vec::new),
        bind_mount: section_flags & flags::BIND_MOUNT != 0,
        outside_root: section_flags & flags::OUTSIDE_ROOT != 0,
        foreign_root: section_flags & flags::FOREIGN_ROOT != 0,
        anonymous,
        mount_unknown: false,
        truncated,
        unreadable: section_flags & flags::UNREADABLE != 0,
    })
}

/// Decodes where in its file system a mount begins: an absolute path without an end slash, empty for the root itself. `None`
/// where it is not known to the end.
pub(super) fn mount_root(content: &[u8], section_flags: u16) -> Option<Vec<u8>> {
    let (_, bytes) = PathHead::read_from_prefix(content).ok()?;
    // The walk ends at the file system's own root, which no mount holds and whose name is a slash.
    if section_flags & flags::ANONYMOUS == 0 {
        return None;
    }
    let names: Vec<_> = components(bytes).into_iter().map(|(_, name)| name).filter(|name| *name != b"/").collect();
    Some(if names.is_empty() { Vec::new() } else { join(names.into_iter(), false) })
}

/// Decodes the names of a control group, leaf first.
pub(super) fn control_group(bytes: &[u8]) -> Vec<u8> {
    join(components(bytes).iter().map(|&(_, name)| name), false)
}

/// The components with their offsets, leaf first.
fn components(bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let mut at = 0_u32;
    let mut found = Vec::new();
    for name in bytes.split(|&byte| byte == 0) {
        if !name.is_empty() {
            found.push((at, name));
        }
        at = at.saturating_add(u32::try_from(name.len() + 1).unwrap_or(u32::MAX));
    }
    found
}

/// The names in front of `offset`.
fn below<'a>(components: &'a [(u32, &'a [u8])], offset: u32) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    components.iter().filter(move |(at, _)| *at < offset).map(|&(_, name)| name)
}

/// Joins names, leaf first, to an absolute path; a cut one begins with `...`.
fn join<'a>(names: impl DoubleEndedIterator<Item = &'a [u8]>, truncated: bool) -> Vec<u8> {
    let mut path = if truncated { b"...".to_vec() } else { Vec::new() };
    for name in names.rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes as _;

    use super::*;

    fn section(root_at: u32, mount_at: u32, names: &[&str]) -> Vec<u8> {
        let mut content = PathHead { root_at, mount_at, mount_id: 7, reserved: 0 }.as_bytes().to_vec();
        for name in names {
            content.extend_from_slice(name.as_bytes());
            content.push(0);
        }
        content
    }

    #[test]
    fn components_are_turned_round() {
        let path = decode(&section(16, 16, &["x.ko", "lib", "modules"]), 0).expect("a path");
        assert_eq!(path.seen, b"/modules/lib/x.ko");
        assert_eq!(path.absolute, path.seen);
        assert_eq!(path.mount_point.as_deref(), Some(&b"/"[..]));
        assert!(!path.in_chroot());
    }

    #[test]
    fn a_chroot_shows_in_the_absolute_path() {
        // x.ko\0lib\0 is seen; jail\0tmp\0 is above the process's root.
        let path = decode(&section(9, 18, &["x.ko", "lib", "jail", "tmp"]), 0).expect("a path");
        assert_eq!(path.seen, b"/lib/x.ko");
        assert_eq!(path.absolute, b"/tmp/jail/lib/x.ko");
        assert!(path.in_chroot());
    }

    #[test]
    fn the_mount_point_is_what_lies_above_the_mount() {
        let path = decode(&section(14, 5, &["x.ko", "net", "drv"]), flags::BIND_MOUNT).expect("a path");
        assert_eq!(path.mount_point.as_deref(), Some(&b"/drv/net"[..]));
        assert!(path.bind_mount);
    }

    #[test]
    fn a_mount_begins_somewhere_in_its_file_system() {
        let root = |names: &[&str], flags| mount_root(&section(PathHead::NONE, PathHead::NONE, names), flags);
        assert_eq!(root(&["usr", "@root", "/"], flags::ANONYMOUS).as_deref(), Some(&b"/@root/usr"[..]));
        assert_eq!(root(&["/"], flags::ANONYMOUS).as_deref(), Some(&b""[..]));
        assert_eq!(root(&["usr"], flags::TRUNCATED), None);
        assert_eq!(decode(&section(5, 5, &["x.ko"]), 0).unwrap().mount_root.as_deref(), Some(&b""[..]));
        assert_eq!(decode(&section(5, 5, &["x.ko"]), flags::BIND_MOUNT).unwrap().mount_root, None);
    }

    #[test]
    fn a_memfd_has_a_name_and_no_path() {
        let path = decode(&section(PathHead::NONE, PathHead::NONE, &["memfd:x"]), flags::ANONYMOUS).expect("a path");
        assert_eq!(path.seen, b"memfd:x");
        assert!(path.anonymous && !path.in_chroot());
    }

    #[test]
    fn a_cut_path_says_so() {
        let path =
            decode(&section(PathHead::NONE, PathHead::NONE, &["x.ko", "deep"]), flags::TRUNCATED).expect("a path");
        assert_eq!(path.seen, b".../deep/x.ko");
        assert!(path.truncated);
    }

    #[test]
    fn the_root_itself_is_a_slash() {
        assert_eq!(decode(&section(0, 0, &[]), 0).expect("a path").seen, b"/");
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(content in proptest::collection::vec(any::<u8>(), 0..300), bits in any::<u16>()) {
            let path = decode(&content, bits);
            prop_assert_eq!(path.is_some(), content.len() >= size_of::<PathHead>());
        }

        #[test]
        fn names_survive(names in proptest::collection::vec("[a-z]{1,8}", 1..20)) {
            let refs: Vec<_> = names.iter().map(String::as_str).collect();
            let content = section(u32::MAX - 1, PathHead::NONE, &refs);
            let path = decode(&content, 0).expect("a path");
            let expected = names.iter().rev().fold(String::new(), |path, name| path + "/" + name);
            prop_assert_eq!(String::from_utf8(path.seen).expect("ascii"), expected);
        }
    }
}
