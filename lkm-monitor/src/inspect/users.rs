//! Names of users and groups, from the files themselves: a static binary has no name service switch.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::regular;
use crate::model::Accounts;

/// More than any real file has; what lies behind is not read.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// So long nobody looks again: less than the program takes that adds a user, and many events of a flood.
const FRESH: Duration = Duration::from_millis(10);

/// The account files of a host, read again whenever they change.
#[derive(Debug)]
pub struct AccountFiles {
    passwd: Version,
    group: Version,
    accounts: Accounts,
    looked: Option<Instant>,
}

/// A file and the version of it that was read.
#[derive(Debug)]
struct Version {
    path: PathBuf,
    seen: Option<Stamp>,
}

/// What differs between two versions of a file: inode, modification time in seconds and nanoseconds, size.
type Stamp = (u64, i64, i64, u64);

impl AccountFiles {
    /// The files `passwd` and `group` of a directory, /etc on a real host. Reads nothing yet.
    pub fn new(directory: &Path) -> Self {
        let file = |name| Version { path: directory.join(name), seen: None };
        Self { passwd: file("passwd"), group: file("group"), accounts: Accounts::default(), looked: None }
    }

    /// The names as of now, or a few milliseconds ago: two `stat` calls where nothing changed. Where a file cannot be read, what was
    /// known stays.
    pub fn refresh(&mut self) -> &Accounts {
        if self.looked.is_some_and(|looked| looked.elapsed() < FRESH) {
            return &self.accounts;
        }
        self.looked = Some(Instant::now());
        if let Some(users) = self.passwd.read_if_changed() {
            self.accounts.users = users;
        }
        if let Some(groups) = self.group.read_if_changed() {
            self.accounts.groups = groups;
        }
        &self.accounts
    }
}

impl Version {
    fn read_if_changed(&mut self) -> Option<HashMap<u32, Vec<u8>>> {
        let stamp = stamp(&self.path).ok()?;
        if self.seen == Some(stamp) {
            return None;
        }
        let content = regular::read(&self.path, MAX_FILE_BYTES).ok()?;
        self.seen = Some(stamp);
        Some(names(&content))
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.size()))
}

/// Name by id of a passwd(5) or group(5) file. Of several names the first counts, as it does for getpwuid(3).
fn names(content: &[u8]) -> HashMap<u32, Vec<u8>> {
    let mut names = HashMap::new();
    for line in content.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b':');
        let (name, id) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
        let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
        if let Some(id) = id.filter(|_| !name.is_empty()) {
            names.entry(id).or_insert_with(|| name.to_vec());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_name_counts_and_malformed_lines_do_not() {
        let names =
            names(b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:\n\n+::::::\nx:y\na:b:-1:\n\xff:x:7:7\n:x:9:9");
        assert_eq!(names.len(), 2);
        assert_eq!(names[&0], b"root");
        assert_eq!(names[&7], b"\xff");
    }

    #[test]
    fn reads_again_when_a_file_changes() {
        let directory = tempfile::tempdir().unwrap();
        let passwd = directory.path().join("passwd");
        let mut files = AccountFiles::new(directory.path());
        let mut now = || {
            let before = Instant::now();
            while before.elapsed() <= FRESH {
                std::thread::yield_now();
            }
            files.refresh().users.get(&0).cloned()
        };
        assert_eq!(now(), None);

        fs::write(&passwd, "root:x:0:0\n").unwrap();
        assert_eq!(now().unwrap(), b"root");

        fs::write(directory.path().join("new"), "toor:x:0:0\n").unwrap();
        fs::rename(directory.path().join("new"), &passwd).unwrap();
        assert_eq!(now().unwrap(), b"toor");

        fs::remove_file(&passwd).unwrap();
        assert_eq!(now().unwrap(), b"toor");
    }
}
