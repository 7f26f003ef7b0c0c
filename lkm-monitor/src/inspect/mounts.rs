//! /proc/PID/mountinfo (Documentation/filesystems/proc.rst).

use std::{fs, path::Path};

use crate::model::SystemMount;

/// All mounts that the host has now, as process 1 sees them; none where that cannot be read.
pub fn of_host() -> Vec<SystemMount> {
    let mountinfo = fs::read_to_string("/proc/1/mountinfo").unwrap_or_default();
    mountinfo.lines().filter_map(parse).map(|(_, mount)| mount).collect()
}

/// The mount through which `path` is seen: the deepest one above it and, of several in one place, the last, which hides
/// the others.
pub fn holding(mountinfo: &str, path: &Path) -> Option<SystemMount> {
    let above = mountinfo.lines().filter_map(parse).filter(|(point, _)| path.starts_with(point));
    // The last of equal elements is what max_by_key returns.
    above.max_by_key(|(point, _)| point.len()).map(|(_, mount)| mount)
}

/// Mount point and mount of a line. Mount points with escaped characters lie above none of the paths of interest.
fn parse(line: &str) -> Option<(&str, SystemMount)> {
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let root = fields.next()?;
    let point = fields.next()?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let root = root.strip_suffix('/').unwrap_or(root).into();
    Some((point, SystemMount { id, device, point: point.into(), root }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
1 1 0:2 / / rw - rootfs rootfs rw
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:1 /@root / rw,relatime shared:1 - btrfs /dev/vda1 rw
28 27 254:2 / /usr ro,relatime shared:2 - ext4 /dev/vda2 ro
29 28 254:3 / /usr/lib/mod rw - ext4 /dev/vda3 rw
malformed line
";

    #[test]
    fn deepest_and_last_mount() {
        let holding = |path| holding(MOUNTS, Path::new(path));
        assert_eq!(
            holding("/usr/lib/modules"),
            Some(SystemMount { id: 28, device: (254, 2), point: b"/usr".to_vec(), root: Vec::new() })
        );
        assert_eq!(
            holding("/lib/modules"),
            Some(SystemMount { id: 27, device: (254, 1), point: b"/".to_vec(), root: b"/@root".to_vec() })
        );
        assert_eq!(holding("relative"), None);
    }
}
