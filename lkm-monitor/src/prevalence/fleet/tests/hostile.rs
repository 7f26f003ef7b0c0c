//! Servers that want to harm whoever asks.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use super::{super::SCRIPT, server::link};
use crate::prevalence::link::{Link, LinkSettings};

/// More than an answer may have and sockets hold; where nothing bounds the reader it is all taken.
const FLOOD_BYTES: usize = 64 << 20;
/// Far longer than any deadline here.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that reads a command and says something, for each connection; where it is.
fn server(say: impl Fn(&mut TcpStream, u16) -> io::Result<()> + Send + 'static) -> LinkSettings {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            // The other end may be gone before all is said.
            let _ = say(&mut connection, port);
        }
    });
    LinkSettings { deadline: Duration::from_millis(300), ..link(&format!("redis://127.0.0.1:{port}")) }
}

fn hear(connection: &mut TcpStream) -> io::Result<String> {
    let mut bytes = [0; 65_536];
    let read = connection.read(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
}

/// How reaching such a server fails, and how much of its flood was taken.
fn flooded(head: &'static [u8], body: &'static [u8], cluster: bool) -> (String, usize) {
    let (send, taken) = channel();
    let settings = server(move |connection, _| {
        hear(connection)?;
        let mut written = 0;
        let chunk = body.repeat(65_536 / body.len());
        let _ = connection.write_all(head);
        while written < FLOOD_BYTES && connection.write_all(&chunk).is_ok() {
            written += chunk.len();
        }
        send.send(written).map_err(io::Error::other)
    });
    let error = Link::open(&LinkSettings { cluster, ..settings }, SCRIPT).err().unwrap().to_string();
    (error, taken.recv_timeout(PATIENCE).unwrap())
}

#[test]
fn an_answer_without_end_is_not_taken() {
    for (head, body) in [
        (&b"$400000000000\r\n"[..], &b"a"[..]),
        (b"+", b"a"),
        (b"*2147483647\r\n", b":1\r\n"),
        (b"*9223372036854775807\r\n", b"*0\r\n"),
        (b"%4611686018427387903\r\n", b"_\r\n"),
        (b"|1\r\n", b"|1\r\n"),
    ] {
        for cluster in [false, true] {
            let (error, taken) = flooded(head, body, cluster);
            let head = String::from_utf8_lossy(head);
            assert!(taken < FLOOD_BYTES, "{head:?} {taken}");
            assert!(error.contains("does not stop answering") || error.contains("recursion depth"), "{head:?} {error}");
        }
    }
}

#[test]
fn an_answer_is_as_deep_as_it_may_be() {
    let (error, _) = flooded(b"", b"*1\r\n", false);
    assert!(error.contains("recursion depth"), "{error}");
}

/// Says a byte and another one, until nobody is there any more.
fn drip(connection: &mut TcpStream, end: &Receiver<()>) -> io::Result<()> {
    connection.write_all(b"+")?;
    while end.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
        connection.write_all(b"a")?;
    }
    Ok(())
}

#[test]
fn the_deadline_is_for_the_whole_answer() {
    let (done, end) = channel();
    let settings = server(move |connection, _| {
        hear(connection)?;
        connection.write_all(b"$4\r\nhash\r\n")?;
        hear(connection)?;
        drip(connection, &end)
    });
    let mut link = Link::open(&settings, SCRIPT).unwrap();
    let began = Instant::now();
    let (failed, error) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            // Lets go of a caller that has no deadline.
            let in_time = error.recv_timeout(Duration::from_secs(5));
            drop(done);
            assert_eq!(in_time, Ok(()), "the call has no end");
        });
        let error = link.call(&[vec!["a".to_owned()]]).unwrap_err().to_string();
        let _ = failed.send(());
        assert!(error.contains("in time"), "{error}");
    });
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_cluster_has_no_end_of_nodes() {
    let settings = server(|connection, port| {
        if !hear(connection)?.contains("CLUSTER") {
            return connection.write_all(b"$4\r\nhash\r\n");
        }
        // One node for each slot: the same one by another name.
        let node = |slot: usize| {
            let name = format!("127.0.0.{}1", "0".repeat(slot + 1));
            format!("*3\r\n:{slot}\r\n:{slot}\r\n*2\r\n${}\r\n{name}\r\n:{port}\r\n", name.len())
        };
        let list: String = (0..300).map(node).collect();
        connection.write_all(format!("*300\r\n{list}").as_bytes())
    });
    let error = Link::open(&LinkSettings { cluster: true, ..settings }, SCRIPT).err().unwrap().to_string();
    assert!(error.contains("too many nodes"), "{error}");
}
