//! The file that a module came from.

use super::{
    json::{Value, digits, json, long, merge},
    scene::Scene,
};
use crate::model::{FileFacts, SeenPath, text::readable};

/// `file.*` and `lkm_monitor.file.*`.
pub(super) fn render<'a>(file: &'a FileFacts, scene: &Scene<'a>) -> Value<'a> {
    let kind = match file.mode & libc::S_IFMT {
        libc::S_IFREG => Some("file"),
        libc::S_IFDIR => Some("dir"),
        libc::S_IFLNK => Some("symlink"),
        _ => None,
    };
    let mut document = render_name(&file.path);
    let facts = json!({
        "file": {
            "size": long(file.size),
            "inode": (file.inode != 0).then(|| digits(file.inode)),
            "device": format!("{}:{}", file.device_major, file.device_minor),
            "mode": format!("{:04o}", file.mode & 0o7777),
            "uid": digits(file.uid),
            "gid": digits(file.gid),
            "owner": scene.user_name(file.uid),
            "group": scene.group_name(file.gid),
            "type": kind,
        },
        "lkm_monitor": {
            "file": {
                "links": file.links,
                "unlinked": file.unlinked.then_some(true),
                "fs_type": (file.fs_magic != 0).then(|| fs_type(file.fs_magic)),
            },
        },
    });
    merge(&mut document, facts);
    document
}

/// The path alone, of a file of which nothing else is known.
pub(super) fn render_name(path: &SeenPath) -> Value<'_> {
    let name = path.name();
    json!({
        "file": {
            "path": readable(&path.seen),
            "name": readable(name),
            "directory": directory(&path.seen).map(readable),
            "extension": extension(name).map(readable),
        },
        "lkm_monitor": {
            "file": {
                "absolute_path": (path.absolute != path.seen).then(|| readable(&path.absolute)),
                "mount_point": path.mount_point.as_deref().map(readable),
                "bind_mount": path.bind_mount.then_some(true),
                "outside_root": path.outside_root.then_some(true),
                "foreign_root": path.foreign_root.then_some(true),
                "path_unreadable": path.unreadable.then_some(true),
                "mount_unknown": path.mount_unknown.then_some(true),
            },
        },
    })
}

/// The path without its last component, of a path from the root.
fn directory(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    path.starts_with(b"/").then(|| &path[..slash.max(1)])
}

/// What stands behind the last dot; the dot that begins a hidden file's name is none.
fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0)?;
    Some(&name[dot + 1..])
}

/// include/uapi/linux/magic.h, and the headers of file systems that are not in it.
const FILE_SYSTEMS: [(u64, &str); 24] = [
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x0000_ef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0xf2f5_2010, "f2fs"),
    (0x2fc1_2fc1, "zfs"),
    (0x794c_7630, "overlay"),
    (0x7371_7368, "squashfs"),
    (0xe0f5_e1e2, "erofs"),
    (0x0000_9660, "iso9660"),
    (0x0000_4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    (0x7366_746e, "ntfs3"),
    (0x0000_6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x9584_58f6, "hugetlbfs"),
    (0x0000_9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x5050_4942, "pipefs"),
    (0x534f_434b, "sockfs"),
];

fn fs_type(magic: u64) -> String {
    let named = FILE_SYSTEMS.iter().find(|(number, _)| *number == magic);
    named.map_or_else(|| format!("{magic:#x}"), |&(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_paths() {
        assert_eq!(directory(b"/tmp/foo.ko"), Some(b"/tmp".as_slice()));
        assert_eq!(directory(b"/foo.ko"), Some(b"/".as_slice()));
        assert_eq!(directory(b"memfd:a/b"), None);
        assert_eq!(directory(b""), None);
        assert_eq!(extension(b"foo.ko.xz"), Some(b"xz".as_slice()));
        assert_eq!(extension(b".ko"), None);
        assert_eq!(extension(b"foo"), None);
    }

    #[test]
    fn file_systems() {
        assert_eq!(fs_type(0x0102_1994), "tmpfs");
        assert_eq!(fs_type(0xef53), "ext4");
        assert_eq!(fs_type(0xabcd), "0xabcd");
    }
}
