//! Who asks, and how.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::*;
use crate::metrics::{
    listen::Listener,
    server::{CLIENTS, serve},
};

/// Long enough for a loopback under load, and never reached by a test that passes.
const PATIENT: Duration = Duration::from_secs(60);

/// Serves until the test's process ends.
fn serving(board: &Board, patience: Duration) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    let board = board.clone();
    thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            serve(&Listener::Loopback(listener), &board, patience).await;
        });
    });
    receiver.recv().unwrap()
}

fn full_board() -> Board {
    let board = Board::default();
    board.publish(snapshot("a", "siem"));
    board
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENT)).unwrap();
    stream
}

/// Head and body of the answer.
fn ask(stream: &mut TcpStream, request: &str) -> (String, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.to_owned(), body.to_owned())
}

fn get(address: SocketAddr, more: &str) -> (String, String) {
    ask(&mut connect(address), &format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"))
}

/// The server has hung up before it has answered, and before this gives up on it.
#[track_caller]
fn assert_left(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => assert_eq!(answer, b""),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn each_gets_the_format_that_it_asks_for() {
    let address = serving(&full_board(), PATIENT);
    let accept =
        "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";
    for (more, format) in
        [(accept, Format::OpenMetrics), ("", Format::Prometheus), ("Accept: */*\r\n", Format::Prometheus)]
    {
        let (head, body) = get(address, more);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains(format.content_type()), "{head}");
        assert_eq!(parse(&body, format).unwrap().value("lkm_monitor_calls_total", &[]), Some(70.0));
    }
}

#[test]
fn what_is_not_there_is_refused() {
    let board = Board::default();
    let address = serving(&board, PATIENT);
    assert!(get(address, "").0.starts_with("HTTP/1.1 503 "));
    board.publish(snapshot("a", "siem"));
    assert!(get(address, "").0.starts_with("HTTP/1.1 200 "));
    let status = |request: &str| ask(&mut connect(address), &format!("{request}Host: localhost\r\n\r\n")).0;
    assert!(status("GET / HTTP/1.1\r\n").starts_with("HTTP/1.1 404 "));
    let head = status("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 405 ") && head.contains("allow: get, head"), "{head}");
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n", "x".repeat(32 << 10));
    let mut stream = connect(address);
    // The server may hang up before it has all of that.
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(get(address, "").0.starts_with("HTTP/1.1 200 "), "others are served after it");
}

#[test]
fn two_ask_at_one_time() {
    let address = serving(&full_board(), PATIENT);
    let (mut one, mut other) = (connect(address), connect(address));
    one.write_all(b"GET /metrics ").unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(ask(&mut other, request).0.starts_with("HTTP/1.1 200 "));
    assert!(ask(&mut one, "HTTP/1.1\r\nHost: localhost\r\n\r\n").0.starts_with("HTTP/1.1 200 "));
}

/// Those who only hold a connection open lose it to who comes after them, the oldest first.
#[test]
fn the_slow_keep_nobody_waiting() {
    let address = serving(&full_board(), PATIENT * 2);
    let mut slow: Vec<_> = (0..CLIENTS + 1)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(b"GET /met").unwrap();
            stream
        })
        .collect();
    assert!(get(address, "").0.starts_with("HTTP/1.1 200 "));
    for (age, stream) in slow.iter_mut().enumerate() {
        if age < 2 {
            assert_left(stream);
        } else {
            let (head, _) = ask(stream, "rics HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert!(head.starts_with("HTTP/1.1 200 "), "{age}: {head}");
        }
    }
}

#[test]
fn who_takes_too_long_is_left() {
    let address = serving(&full_board(), Duration::from_millis(50));
    let mut stream = connect(address);
    stream.write_all(b"GET /met").unwrap();
    assert_left(&mut stream);
}
