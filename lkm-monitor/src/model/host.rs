//! The machine that all observations come from.

use std::collections::HashMap;

use super::{Namespaces, SeenPath, path::below};

/// Facts of the host that do not change while it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    pub hostname: String,
    /// /etc/machine-id; empty when the host has none.
    pub machine_id: String,
    /// Random for each boot, in the form of a UUID (/proc/sys/kernel/random/boot_id).
    pub boot_id: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -m`.
    pub architecture: String,
    pub operating_system: OperatingSystem,
    /// Those of process 1; all zero where they cannot be read.
    pub initial_namespaces: Namespaces,
    /// The mounts that hold modules, their configuration and programs, as process 1 sees them; empty where that cannot be read.
    pub system_mounts: Vec<SystemMount>,
}

/// os-release(5). Empty where the file does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatingSystem {
    /// `debian`, `redhat`, `suse`, or the first of ID_LIKE, or ID.
    pub family: String,
    /// NAME.
    pub name: String,
    /// ID.
    pub platform: String,
    /// VERSION_ID.
    pub version: String,
    /// PRETTY_NAME.
    pub full: String,
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemMount {
    /// The first field of mountinfo: no other mount of the host has it as long as this one is there.
    pub id: u32,
    /// Major and minor number, `s_dev` of the file system.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub point: Vec<u8>,
    /// Where in its file system it begins, without an end slash: empty at the file system's root, not so for a btrfs
    /// subvolume.
    pub root: Vec<u8>,
}

impl SystemMount {
    /// Whether `path` was walked to this very mount, which had this id first. `device` is that of the file, where it is known.
    pub fn is_of(&self, path: &SeenPath, device: Option<(u32, u32)>) -> bool {
        let place = (path.mount_point.as_deref(), path.mount_root.as_deref());
        self.id == path.mount_id
            && place == (Some(&self.point), Some(&self.root))
            && device.is_none_or(|device| device == self.device)
    }

    /// Whether `path`, of a file on `device`, is the very file that the host has by that name on this mount.
    pub fn holds(&self, path: &SeenPath, device: (u32, u32)) -> bool {
        let here = below(&path.absolute, &self.point).map(|rest| [self.root.as_slice(), rest].concat());
        self.device == device && here.is_some() && here == path.in_file_system()
    }

    /// The path that the host has on this mount for the file that is at `path` on `device`, wherever that is mounted besides.
    pub fn path_of(&self, path: &SeenPath, device: (u32, u32)) -> Option<Vec<u8>> {
        let inside = if path.mount_unknown { Some(path.absolute.clone()) } else { path.in_file_system() };
        let inside =
            inside.filter(|_| self.device == device && !path.truncated && !path.unreadable && !path.anonymous)?;
        let point = self.point.strip_suffix(b"/").unwrap_or(&self.point);
        below(&inside, &self.root).map(|rest| [point, rest].concat())
    }
}

/// Turns the kernel's time since boot into wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// CLOCK_REALTIME minus CLOCK_BOOTTIME, in nanoseconds.
    pub realtime_offset_ns: i64,
}

impl Clock {
    /// Nanoseconds since 1970 of a time since boot.
    pub fn realtime_ns(self, boot_ns: u64) -> i128 {
        i128::from(boot_ns) + i128::from(self.realtime_offset_ns)
    }
}

/// This daemon, in the terms of a fleet of agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// The same for every run on this host, in the form of a UUID.
    pub id: String,
    /// Another for every run, in the form of a UUID.
    pub ephemeral_id: String,
}

/// Names of users and groups of the host, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    pub users: HashMap<u32, Vec<u8>>,
    pub groups: HashMap<u32, Vec<u8>>,
}
