//! The host: who it is, and how its clocks relate.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    time::{ClockId, clock_gettime},
};

use super::{mounts, os_release};
use crate::model::{Clock, Host, Moment, Namespaces, SystemMount, text::text};

/// Why the host cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("cannot read {BOOT_ID}, without which documents have no stable id")]
    BootId(#[source] io::Error),
    #[error("cannot start the thread that reads the running processes")]
    Processes(#[source] io::Error),
}

/// Where hosts keep modules and the programs that load them; systems that are not merged have two of some.
const SYSTEM_DIRECTORIES: [&str; 6] = ["/lib/modules", "/usr/lib/modules", "/bin", "/sbin", "/usr/bin", "/usr/sbin"];

pub(super) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Patterns of the folders and files that are watched in certain places.
pub type Patterns = (Vec<String>, Vec<String>);

/// Reads the facts once; the mounts of interest are those of the system and of the `watched` places. What is missing besides the boot id stays empty: a rescue system or an initramfs has no machine
/// id, and a daemon without privileges may not look at process 1.
pub fn read_host(watched: &Patterns) -> Result<Host, HostError> {
    let boot_id = fs::read_to_string(BOOT_ID).map_err(HostError::BootId)?;
    let uname = rustix::system::uname();
    let release = text(uname.release().to_bytes());
    let system_mounts = system_mounts(&release, watched);
    Ok(Host {
        hostname: text(uname.nodename().to_bytes()),
        machine_id: machine_id(&fs::read_to_string("/etc/machine-id").unwrap_or_default()),
        boot_id: boot_id.trim().to_owned(),
        kernel_release: release,
        architecture: text(uname.machine().to_bytes()),
        operating_system: os_release::read(),
        initial_namespaces: namespaces(Path::new("/proc/1/ns")),
        system_mounts,
    })
}

/// The mounts that hold the system, for this release of the kernel, and the `watched` places.
pub fn system_mounts(release: &str, watched: &Patterns) -> Vec<SystemMount> {
    let mounts = fs::read_to_string("/proc/1/mountinfo").unwrap_or_default();
    let root = root_of_first().ok();
    let holding = |directory: &Path| {
        // What is not there yet will lie in what there is.
        let there = directory.ancestors().find_map(|directory| canonical(root.as_ref(), directory).ok())?;
        mounts::holding(&mounts, &there)
    };
    let modules = ["/lib/modules", "/usr/lib/modules"].map(|tree| format!("{tree}/{release}"));
    let directories = SYSTEM_DIRECTORIES.map(PathBuf::from).into_iter().chain(modules.map(PathBuf::from));
    let directories = directories.chain(watched_folders(watched));
    let mut system_mounts: Vec<_> = directories.filter_map(|directory| holding(&directory)).collect();
    system_mounts.sort_by_key(|mount| mount.id);
    system_mounts.dedup();
    system_mounts
}

/// The root that process 1 has: a service manager may show the daemon less of the host.
fn root_of_first() -> rustix::io::Result<OwnedFd> {
    openat(CWD, "/proc/1/root", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The path without links that a folder of the host has, seen from `root`; without one, from where the daemon stands. What links
/// name from the very top is looked for there, too: `openat2` could tell better, and a service manager may forbid it.
fn canonical(root: Option<&OwnedFd>, directory: &Path) -> io::Result<PathBuf> {
    let Some(root) = root else { return fs::canonicalize(directory) };
    let below = directory.strip_prefix("/").unwrap_or(directory);
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let opened = openat(root, below, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()))
}

/// The folders of these places that there are now, and those in which others may be made.
fn watched_folders((folders, files): &Patterns) -> impl Iterator<Item = PathBuf> {
    let of_files = files.iter().filter_map(|file| Some(file.rsplit_once('/')?.0));
    folders.iter().map(String::as_str).chain(of_files).flat_map(|pattern| {
        // A pattern was compiled when it was taken into the list of what is watched.
        let found = glob::glob(pattern).ok().into_iter().flatten().flatten();
        found.chain([literal_folder(pattern)])
    })
}

/// The folder in which everything lies that matches `pattern`.
fn literal_folder(pattern: &str) -> PathBuf {
    let is_literal = |part: &&str| !part.contains(['*', '?', '[']);
    Path::new("/").join(pattern.split('/').skip(1).take_while(is_literal).collect::<PathBuf>())
}

/// Relates CLOCK_BOOTTIME, which the probes use, to wall time. Steps of the wall clock show only in a new reading.
pub fn read_clock() -> Clock {
    // The wall clock is read between two readings of the other one, which are less than a microsecond apart.
    let before = boot_time_ns();
    let realtime = Timestamp::now().as_nanosecond();
    let after = boot_time_ns();
    let boot_time = before + (after - before) / 2;
    Clock { realtime_offset_ns: i64::try_from(realtime - boot_time).unwrap_or_default() }
}

/// This moment on both clocks.
pub fn now() -> Moment {
    let boot_ns = u64::try_from(boot_time_ns()).unwrap_or_default();
    let unix_ms = i64::try_from(read_clock().realtime_ns(boot_ns) / 1_000_000).unwrap_or_default();
    Moment { boot_ns, unix_ms }
}

/// Nanoseconds since boot, suspend included, as `ktime_get_boot_ns` counts them.
fn boot_time_ns() -> i128 {
    let time = clock_gettime(ClockId::Boottime);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// The id in a machine-id file; `uninitialized` is what systemd writes there on the first boot.
fn machine_id(file: &str) -> String {
    let id = file.trim();
    if id == "uninitialized" { String::new() } else { id.to_owned() }
}

/// The namespaces that the links in a /proc/PID/ns directory name.
fn namespaces(directory: &Path) -> Namespaces {
    let number = |kind: &str| {
        let link = fs::read_link(directory.join(kind)).ok();
        link.and_then(|target| namespace_number(target.to_str()?)).unwrap_or_default()
    };
    Namespaces {
        mount: number("mnt"),
        pid: number("pid"),
        net: number("net"),
        user: number("user"),
        uts: number("uts"),
        ipc: number("ipc"),
        cgroup: number("cgroup"),
    }
}

/// The number in `mnt:[4026531841]`.
fn namespace_number(link: &str) -> Option<u32> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_namespaces() {
        assert_eq!(namespace_number("mnt:[4026531841]"), Some(4_026_531_841));
        assert_eq!(namespace_number("mnt:[]"), None);
        assert_eq!(namespace_number("/proc/1"), None);
        assert_ne!(namespaces(Path::new("/proc/self/ns")).mount, 0);
        assert_eq!(namespaces(Path::new("/nowhere")), Namespaces::default());
    }

    #[test]
    fn machine_ids() {
        assert_eq!(machine_id("0123456789abcdef0123456789abcdef\n"), "0123456789abcdef0123456789abcdef");
        assert_eq!(machine_id("uninitialized\n"), "");
        assert_eq!(machine_id(""), "");
    }

    #[test]
    fn watched_places_have_folders() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let watched =
            (patterns(&["/nowhere/modprobe.d", "/nowhere/*-gnu/security"]), patterns(&["/nowhere/x/modules"]));
        let found: Vec<_> = watched_folders(&watched).collect();
        assert_eq!(found, ["/nowhere/modprobe.d", "/nowhere", "/nowhere/x"].map(PathBuf::from));
        let proc = watched_folders(&(patterns(&["/pr?c"]), Vec::new())).any(|folder| folder == Path::new("/proc"));
        assert!(proc, "what there is");
    }

    #[test]
    fn links_lead_below_the_root_that_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("usr/lib/modules")).unwrap();
        std::os::unix::fs::symlink("usr/lib", root.join("lib")).unwrap();
        let opened = openat(CWD, &root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(canonical(Some(&opened), Path::new("/lib/modules")).unwrap(), root.join("usr/lib/modules"));
        assert!(canonical(Some(&opened), Path::new("/lib/modules/6.1")).is_err());
        assert_eq!(canonical(None, &root.join("usr/./lib")).unwrap(), root.join("usr/lib"));
    }

    #[test]
    fn this_host() {
        let host = read_host(&Patterns::default()).unwrap();
        assert_eq!(host.boot_id.len(), 36);
        assert!(!host.kernel_release.is_empty() && !host.architecture.is_empty());
    }

    #[test]
    fn boot_time_becomes_wall_time() {
        let now = u64::try_from(boot_time_ns()).unwrap();
        let distance = read_clock().realtime_ns(now) - Timestamp::now().as_nanosecond();
        assert!(distance.abs() < 1_000_000_000, "{distance}");
    }
}
