//! Where it is served.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener, net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use super::*;
use crate::metrics::{Listen, ListenError, listen::Listener, start};

fn open(path: &Path) -> Result<Listener, ListenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Listener::open(&Listen::Unix(path.to_owned())) })
}

#[test]
fn a_socket_is_for_the_group_and_takes_the_place_of_a_stale_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sock");
    for _ in 0..2 {
        // What listens is gone, and its socket stays.
        let listener = open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
        drop(listener);
        assert!(path.exists());
    }
}

#[test]
fn what_others_have_there_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sock");
    fs::write(&path, "mine").unwrap();
    assert!(matches!(open(&path), Err(ListenError::NotSocket(_))));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    fs::remove_file(&path).unwrap();
    // A link is not followed, and not replaced.
    std::os::unix::fs::symlink("/dev/log", &path).unwrap();
    assert!(matches!(open(&path), Err(ListenError::NotSocket(_))));
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert!(matches!(open(&path), Err(ListenError::InUse(_))));
    UnixStream::connect(&path).unwrap();
    assert!(matches!(open(&folder.path().join("no/metrics.sock")), Err(ListenError::Bind { .. })));
}

#[test]
fn metrics_are_to_be_had_at_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sock");
    let board = Board::default();
    board.publish(snapshot("a", "siem"));
    start(Listen::Unix(path.clone()), board).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut stream = loop {
        match UnixStream::connect(&path) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    };
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    parse(body, Format::Prometheus).unwrap();
}
