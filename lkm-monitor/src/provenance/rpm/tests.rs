//! Databases in every state in which rpm, or somebody else, may leave one.

mod log;

use std::{
    collections::BTreeMap,
    fs,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use super::{
    fixture::{File, create, insert, package},
    sqlite::{DatabaseError, owner, owner_within},
    *,
};
use crate::provenance::owner::Owner;

const MODULE: &str = "/lib/modules/6.1.0/kernel/a.ko";

fn kernel(name: &str) -> Vec<u8> {
    package(name, &[File { folder: "/lib/modules/6.1.0/kernel/", name: "a.ko", digest: "" }]).build()
}

/// A database in which `name` owns the module, with others of the same name before it.
fn database(path: &Path, name: &str) -> Connection {
    let connection = create(path);
    insert(&connection, &package("other", &[File { folder: "/srv/", name: "a.ko", digest: "" }]).build(), &[b"a.ko"]);
    insert(&connection, b"no header", &[b"a.ko"]);
    insert(&connection, &kernel(name), &[b"a.ko"]);
    connection
}

fn ask(database: &Path, path: &[u8]) -> Result<Option<Owner>, DatabaseError> {
    owner(database, &[path.to_vec()])
}

fn owner_name(database: &Path) -> String {
    String::from_utf8(ask(database, MODULE.as_bytes()).unwrap().unwrap().package).unwrap()
}

/// All files of a folder: number, time of the last writing, and the digest of the content.
fn state(folder: &Path) -> BTreeMap<PathBuf, (u64, i64, Vec<u8>)> {
    let of = |path: PathBuf| {
        let metadata = fs::metadata(&path).unwrap();
        let digest = Sha256::digest(fs::read(&path).unwrap()).to_vec();
        (path, (metadata.ino(), metadata.mtime_nsec(), digest))
    };
    fs::read_dir(folder).unwrap().map(|entry| of(entry.unwrap().path())).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("rpmdb.sqlite")
    }

    /// Asks, and looks that nothing was changed by it.
    fn ask(&self) -> Result<Option<Owner>, DatabaseError> {
        let before = state(self.0.path());
        let answer = ask(&self.database(), MODULE.as_bytes());
        assert_eq!(state(self.0.path()), before, "something was written");
        answer
    }
}

#[test]
fn the_owner_is_found_among_files_of_the_same_name() {
    let folder = Folder::new();
    drop(database(&folder.database(), "kernel-core"));
    assert_eq!(folder.ask().unwrap().unwrap().package, b"kernel-core");
    assert_eq!(ask(&folder.database(), b"/lib/modules/6.1.0/kernel/none.ko").unwrap(), None);
    let damaged = ask(&folder.database(), b"/lib/a.ko").unwrap_err();
    assert!(matches!(damaged, DatabaseError::Header(_)), "{damaged}: it could be the owner");
}

#[test]
fn names_are_any_bytes() {
    let folder = Folder::new();
    let connection = create(&folder.database());
    insert(
        &connection,
        &package("odd", &[File { folder: "/a b/", name: "é'\"%", digest: "" }]).build(),
        &["é'\"%".as_bytes()],
    );
    let mut header = package("bytes", &[File { folder: "/", name: "a?b", digest: "" }]).build();
    let place = header.windows(3).position(|bytes| bytes == b"a?b").unwrap();
    header[place + 1] = 0xff;
    insert(&connection, &header, &[b"a\xffb"]);
    drop(connection);
    assert_eq!(ask(&folder.database(), "/a b/é'\"%".as_bytes()).unwrap().unwrap().package, b"odd");
    assert_eq!(ask(&folder.database(), b"/a\xffb").unwrap().unwrap().package, b"bytes");
}

#[test]
fn a_database_is_found_under_any_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a ?mode=rw#%41/rpmdb.sqlite");
    drop(database(&path, "kernel"));
    assert_eq!(owner_name(&path), "kernel");
    assert_eq!(owner_name(&Path::new("/proc/self/root").join(path.strip_prefix("/").unwrap())), "kernel");
}

#[test]
fn another_file_under_the_same_text_is_not_taken_for_it() {
    let folder = Folder::new();
    drop(database(&folder.database(), "right"));
    drop(database(&folder.0.path().join("rpmdb.sqlite (deleted)"), "wrong"));
    let file = fs::File::open(folder.database()).unwrap();
    fs::remove_file(folder.database()).unwrap();
    let link = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    assert!(matches!(ask(&link, MODULE.as_bytes()), Err(DatabaseError::Elsewhere)));
}

#[test]
fn what_is_no_database_is_told() {
    let folder = Folder::new();
    let reason = || folder.ask().unwrap_err().to_string();
    fs::write(folder.database(), "").unwrap();
    assert!(reason().contains("no such table"), "{}", reason());
    fs::write(folder.database(), "SQLite format 3\0 and no more").unwrap();
    assert!(reason().starts_with("SQLite: "), "{}", reason());
    fs::remove_file(folder.database()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, folder.database(), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert_eq!(ask(&folder.database(), b"/a").unwrap_err().to_string(), "cannot be opened: not a regular file");
}

#[test]
fn a_schema_that_computes_is_not_run() {
    let folder = Folder::new();
    let connection = Connection::open(folder.database()).unwrap();
    let view = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB);
        CREATE VIEW Basenames AS SELECT 'a.ko' AS key, 1 AS hnum, 0 AS idx;";
    connection.execute_batch(view).unwrap();
    drop(connection);
    let reason = folder.ask().unwrap_err().to_string();
    assert!(reason.contains("access to view"), "{reason}");
}

#[test]
fn what_takes_too_long_is_given_up() {
    let folder = Folder::new();
    let connection = database(&folder.database(), "kernel");
    connection.execute_batch("DROP INDEX Basenames_key_idx; BEGIN").unwrap();
    insert(&connection, b"", &[b"b.ko".as_slice(); 2000]);
    connection.execute_batch("COMMIT").unwrap();
    drop(connection);
    let paths = [b"/lib/modules/6.1.0/kernel/c.ko".to_vec()];
    assert_eq!(owner(&folder.database(), &paths).unwrap(), None);
    assert!(matches!(owner_within(Duration::ZERO, &folder.database(), &paths), Err(DatabaseError::Slow)));
}

#[test]
fn a_name_that_very_many_have_is_not_followed_for_ever() {
    let folder = Folder::new();
    let connection = create(&folder.database());
    connection.execute_batch("BEGIN").unwrap();
    insert(&connection, &kernel("a"), &[b"a.ko".as_slice(); 300]);
    connection.execute_batch("COMMIT").unwrap();
    drop(connection);
    assert!(matches!(ask(&folder.database(), b"/a.ko"), Err(DatabaseError::Candidates)));
}

#[test]
fn formats_that_are_not_read_are_named() {
    for (file, reason) in [("Packages", "Berkeley DB"), ("Packages.db", "ndb")] {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Rpm::new(root.path()).owner(&[]), None);
        let path = root.path().join("var/lib/rpm").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        let found = Rpm::new(root.path()).owner(&[b"/a.ko".to_vec()]).unwrap();
        let problem = found.problems.iter().next().unwrap();
        assert_eq!(problem.path, path);
        assert!(problem.reason.contains(reason), "{}", problem.reason);
        // A host that was migrated keeps the old file.
        drop(database(&root.path().join("usr/lib/sysimage/rpm/rpmdb.sqlite"), "kernel"));
        let found = Rpm::new(root.path()).owner(&[MODULE.as_bytes().to_vec()]).unwrap();
        assert_eq!(found.owner.unwrap().package, b"kernel");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_is_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..50),
        cut: prop::sample::Index,
    ) {
        let folder = Folder::new();
        drop(database(&folder.database(), "kernel"));
        let mut bytes = fs::read(folder.database()).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        fs::write(folder.database(), &bytes).unwrap();
        let _ = ask(&folder.database(), MODULE.as_bytes());
        fs::write(folder.database(), &bytes[..cut.index(bytes.len())]).unwrap();
        let _ = ask(&folder.database(), MODULE.as_bytes());
    }
}
