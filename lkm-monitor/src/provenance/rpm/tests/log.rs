//! Databases with a write-ahead log that is not empty: rpm is at work, or was killed.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use super::*;

/// The files of a database whose writer is at work, or was killed: the log holds what the file lacks.
fn killed(folder: &Folder) {
    let working = Folder::new();
    let connection = database(&working.database(), "before");
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    connection.execute("UPDATE Packages SET blob = ?1 WHERE hnum = 3", [kernel("after")]).unwrap();
    for ending in ["", "-wal", "-shm"] {
        let name = format!("rpmdb.sqlite{ending}");
        fs::copy(working.0.path().join(&name), folder.0.path().join(&name)).unwrap();
    }
}

#[test]
fn what_is_in_the_log_alone_is_read() {
    let folder = Folder::new();
    killed(&folder);
    assert_eq!(folder.ask().unwrap().unwrap().package, b"after");
}

#[test]
fn what_was_not_finished_is_told() {
    let folder = Folder::new();
    killed(&folder);
    fs::remove_file(folder.0.path().join("rpmdb.sqlite-shm")).unwrap();
    assert!(matches!(folder.ask(), Err(DatabaseError::Unfinished)), "no index of the log");
    fs::remove_file(folder.0.path().join("rpmdb.sqlite-wal")).unwrap();
    fs::write(folder.0.path().join("rpmdb.sqlite-journal"), "x").unwrap();
    assert!(matches!(folder.ask(), Err(DatabaseError::Unfinished)), "a journal");
}

const WRITE: &str = "LKM_MONITOR_TEST_DATABASE";

/// What another process does while the daemon reads.
#[allow(clippy::print_stdout)]
fn write_until_input_ends(path: &OsStr) {
    let connection = Connection::open(path).unwrap();
    connection.execute("UPDATE Packages SET blob = ?1 WHERE hnum = 3", [kernel("committed")]).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection.execute("UPDATE Packages SET blob = ?1 WHERE hnum = 3", [kernel("open")]).unwrap();
    println!("\nwriting");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    connection.execute_batch("COMMIT").unwrap();
}

#[test]
fn a_writer_at_work_does_not_disturb_and_is_not_disturbed() {
    // The writer is this test, run by itself: SQLite's locks are those of a process.
    if let Some(path) = env::var_os(WRITE) {
        return write_until_input_ends(&path);
    }
    let own_name = concat!(module_path!(), "::a_writer_at_work_does_not_disturb_and_is_not_disturbed");
    let folder = Folder::new();
    drop(database(&folder.database(), "before"));
    let mut writer = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", own_name.split_once("::").unwrap().1])
        .env(WRITE, folder.database())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(writer.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap() == "writing"));
    assert_eq!(owner_name(&folder.database()), "committed");
    drop(writer.stdin.take());
    said.for_each(drop);
    assert!(writer.wait().unwrap().success());
    assert_eq!(folder.ask().unwrap().unwrap().package, b"open");
}
