//! The mounts of one mount namespace, from /proc/PID/mountinfo (Documentation/filesystems/proc.rst).
//!
//! The table is kept as text and read line by line: a host of many containers has thousands of mounts, of which one path
//! needs a few.

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) id: u64,
    parent: u64,
    /// Of the file system, as the kernel numbers it: what `stat` says differs on btrfs and overlayfs.
    pub(super) device: (u32, u32),
    /// Where in its file system the mount begins, without an end slash.
    root: Vec<u8>,
    pub(super) point: Vec<u8>,
    pub(super) kind: Vec<u8>,
}

#[cfg(test)]
impl Mount {
    /// The path in the file system of what lies at `below` from the mount point.
    pub(super) fn inside(&self, below: &[u8]) -> Vec<u8> {
        [&self.root, below].concat()
    }
}

/// The file system that holds a file, as an event tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileSystem {
    Device(u32, u32),
    /// The settings of the kernel: each pid namespace has a procfs of its own, and all show the same ones.
    Settings,
}

/// The table of one mount namespace.
#[derive(Debug)]
pub(super) struct MountTable(Vec<u8>);

impl MountTable {
    pub(super) const fn new(mountinfo: Vec<u8>) -> Self {
        Self(mountinfo)
    }

    fn mounts(&self) -> impl Iterator<Item = Mount> {
        self.0.split(|byte| *byte == b'\n').filter_map(parse)
    }

    /// The mounts that a walk along `path` goes through, beginning with the one whose id is `start`. What is hidden by another
    /// mount is not walked through. `None` when the table does not show where the walk begins.
    pub(super) fn way(&self, start: u64, path: &[u8]) -> Option<Vec<Mount>> {
        let above: Vec<_> = self.mounts().filter(|mount| rest(path, &mount.point).is_some()).collect();
        let mut way = vec![above.iter().find(|mount| mount.id == start && mount.point == b"/")?.clone()];
        // Bounded in case that the table was read while it changed, and goes in a circle.
        for _ in 0..above.len() {
            let Some(at) = way.last() else { break };
            // A walk begins below what is mounted over its very start.
            let on_top = |mount: &&Mount| mount.point != at.point || way.len() > 1;
            let next = above
                .iter()
                .filter(|mount| mount.parent == at.id && mount.id != at.id && rest(&mount.point, &at.point).is_some())
                .filter(on_top)
                .min_by_key(|mount| mount.point.len());
            let Some(next) = next.cloned() else { break };
            if next.point == at.point {
                way.pop();
            }
            way.push(next);
        }
        Some(way)
    }

    /// The paths by which the mounts of this namespace show the file that lies at `path` in its file system, in the order of
    /// the table. `start` is as above.
    pub(super) fn resolve(&self, start: u64, file_system: FileSystem, path: &[u8]) -> Vec<Vec<u8>> {
        let path = if path == b"/" { b"" } else { path };
        let holds = |mount: &Mount| match file_system {
            FileSystem::Device(major, minor) => mount.device == (major, minor),
            FileSystem::Settings => mount.kind == b"proc",
        };
        let mounts = self.mounts().filter(holds).filter_map(|mount| {
            let below = rest(path, &mount.root)?;
            let at = [mount.point.strip_suffix(b"/").unwrap_or(&mount.point), below].concat();
            Some((mount.id, if at.is_empty() { b"/".to_vec() } else { at }))
        });
        let found: Vec<_> = mounts.take(MAX_PLACES).collect();
        let seen =
            |id: u64, at: &[u8]| self.way(start, at).is_some_and(|way| way.last().is_some_and(|last| last.id == id));
        found.into_iter().filter(|(id, at)| seen(*id, at)).map(|(_, at)| at).collect()
    }
}

/// Mounts of one file system that are tried: bounds the work where somebody has mounted one thousands of times.
const MAX_PLACES: usize = 16;

/// What follows `point` in `path`: nothing, or a slash and more.
pub(super) fn rest<'a>(path: &'a [u8], point: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(point.strip_suffix(b"/").unwrap_or(point))?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = std::str::from_utf8(fields.next()?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let mut root = unescaped(fields.next()?);
    if root.ends_with(b"/") {
        root.pop();
    }
    let point = unescaped(fields.next()?);
    // Optional fields, of which there may be none, end with a dash.
    fields.find(|field| *field == b"-")?;
    let kind = unescaped(fields.next()?);
    Some(Mount { id, parent, device: (major.parse().ok()?, minor.parse().ok()?), root, point, kind })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Blanks, line ends and backslashes are written as a backslash and three octal digits.
fn unescaped(mut field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    while let [first, after @ ..] = field {
        let (byte, left) = match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', left @ ..] if *first == b'\\' => {
                ((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'), left)
            }
            _ => (*first, after),
        };
        plain.push(byte);
        field = left;
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 0:30 /@root / rw,relatime shared:1 - btrfs /dev/vda1 rw
28 27 0:30 /@home /home rw,relatime shared:2 master:3 - btrfs /dev/vda1 rw
29 27 254:2 / /data rw - ext4 /dev/vda2 rw
30 27 254:2 /shared\\040files /srv/two\\040words rw - ext4 /dev/vda2 rw
31 29 0:40 / /data/run rw - tmpfs none rw
32 31 0:41 / /data/run rw - fuse.sshfs x rw
33 27 254:2 /one.ko /opt/one.ko rw - ext4 /dev/vda2 rw
34 29 254:3 / /data/deep/er rw - xfs /dev/vdb rw
36 27 0:60 / /var/lib/docker/overlay2/ab/merged rw - overlay overlay rw
37 27 0:70 / / rw - tmpfs over-the-start rw
malformed line
";

    fn table() -> MountTable {
        MountTable::new(MOUNTS.as_bytes().to_vec())
    }

    fn ids(table: &MountTable, path: &str) -> Vec<u64> {
        table.way(27, path.as_bytes()).unwrap().into_iter().map(|mount| mount.id).collect()
    }

    fn resolved(file_system: FileSystem, path: &str) -> Vec<String> {
        let found = table().resolve(27, file_system, path.as_bytes());
        found.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn a_walk_goes_through_the_mounts_above() {
        let table = table();
        assert_eq!(ids(&table, "/etc/modules"), [27]);
        assert_eq!(ids(&table, "/home/a"), [27, 28]);
        assert_eq!(ids(&table, "/homeless"), [27]);
        assert_eq!(ids(&table, "/data/deep/er/x"), [27, 29, 34]);
        assert_eq!(ids(&table, "/data/run/x"), [27, 29, 32], "the last of those in one place");
        assert_eq!(ids(&table, "/srv/two words/x"), [27, 30]);
        assert_eq!(ids(&table, "/opt/one.ko"), [27, 33]);
        assert!(table.way(22, b"/proc/x").is_none(), "no walk begins there");
        assert!(table.way(1, b"/etc").is_none());
    }

    #[test]
    fn what_another_mount_hides_is_not_walked_through() {
        let over = "40 29 0:50 / /data/deep rw - tmpfs over rw\n";
        let table = MountTable::new([over, MOUNTS].concat().into_bytes());
        assert_eq!(ids(&table, "/data/deep/er/x"), [27, 29, 40]);
    }

    #[test]
    fn circles_end() {
        let table = MountTable::new(b"27 28 0:1 / / rw - ext4 a rw\n28 27 0:1 / /a rw - ext4 a rw\n".to_vec());
        assert_eq!(ids(&table, "/a/b"), [27, 28]);
        let same =
            MountTable::new(b"27 27 0:1 / / rw - ext4 a rw\n5 6 0:1 / /a rw - e a\n6 5 0:1 / /a rw - e a\n".to_vec());
        assert_eq!(ids(&same, "/a/b"), [27]);
    }

    #[test]
    fn a_file_is_found_by_its_file_system() {
        assert_eq!(resolved(FileSystem::Device(0, 30), "/@root/etc/modules"), ["/etc/modules"]);
        assert_eq!(resolved(FileSystem::Device(0, 30), "/@home/a.ko"), ["/home/a.ko"]);
        assert!(resolved(FileSystem::Device(0, 30), "/@rooter/a").is_empty());
        assert_eq!(resolved(FileSystem::Device(0, 60), "/tmp/x.ko"), ["/var/lib/docker/overlay2/ab/merged/tmp/x.ko"]);
        assert_eq!(
            resolved(FileSystem::Device(254, 2), "/shared files/x"),
            ["/data/shared files/x", "/srv/two words/x"]
        );
        assert_eq!(resolved(FileSystem::Device(254, 2), "/one.ko"), ["/data/one.ko", "/opt/one.ko"]);
        assert_eq!(resolved(FileSystem::Settings, "/sys/kernel/modprobe"), ["/proc/sys/kernel/modprobe"]);
        assert_eq!(resolved(FileSystem::Device(254, 2), "/"), ["/data"]);
        assert!(resolved(FileSystem::Device(9, 9), "/x").is_empty());
    }

    #[test]
    fn a_file_that_a_mount_hides_is_not_found() {
        assert!(resolved(FileSystem::Device(254, 2), "/run/x").is_empty());
        assert!(resolved(FileSystem::Device(0, 40), "/x").is_empty());
        assert!(resolved(FileSystem::Device(0, 70), "/x").is_empty());
    }

    #[test]
    fn octal_numbers_are_bytes() {
        assert_eq!(unescaped(b"a\\040b\\134\\0\\400\\"), b"a b\\\\0\\400\\");
    }

    proptest! {
        #[test]
        fn takes_any_table(
            table in "([0-9]{1,2} [0-9]{1,2} 0:[0-9] /[ab/]{0,4} /[ab/]{0,4} [a ]{0,3}- ext4\n|\\PC{0,9}\n){0,9}",
            path in any::<Vec<u8>>(),
        ) {
            let table = MountTable::new(table.into_bytes());
            for start in 0..10 {
                let way = table.way(start, &path).unwrap_or_default();
                prop_assert!(way.iter().all(|mount| rest(&path, &mount.point).is_some()));
                for found in table.resolve(start, FileSystem::Device(0, 1), &path) {
                    prop_assert!(found.starts_with(b"/"));
                }
            }
        }
    }
}
