//! Receivers that close, stand still, or come back.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
};

use rustls::{ServerConnection, StreamOwned};

use super::*;
use crate::sinks::fake::certificates::{Authority, Folder};

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn sink(port: u16) -> SyslogSink {
    SyslogSink::new(settings(port), Duration::from_secs(20))
}

fn taken(count: usize) -> Delivered {
    Delivered::Each(vec![Fate::Taken; count])
}

fn failure(delivered: Delivered) -> Failure {
    match delivered {
        Delivered::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// The texts of so many messages.
fn read(stream: &mut TcpStream, batch: &[Entry]) -> Vec<Vec<u8>> {
    let mut expected = SyslogSink::new(settings(0), Duration::from_secs(1));
    expected.frame(batch);
    let mut bytes = vec![0; expected.frames.len()];
    stream.read_exact(&mut bytes).unwrap();
    frames(&bytes).into_iter().map(|frame| message(frame).text.into_bytes()).collect()
}

fn json_of(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| entry.json.to_vec()).collect()
}

#[test]
fn batches_go_over_one_connection() {
    let (listener, port) = listen();
    let batch = entries(0..20, 2500);
    let mut sink = sink(port);
    assert_eq!(sink.deliver(&batch[..10]), taken(10));
    assert_eq!(sink.deliver(&batch[10..]), taken(10));
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(read(&mut stream, &batch), json_of(&batch));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn a_receiver_that_closed_between_batches_is_connected_to_anew() {
    let (listener, port) = listen();
    let batch = entries(0..2, 300);
    let mut sink = sink(port);
    assert_eq!(sink.deliver(&batch[..1]), taken(1));
    let (mut stream, _) = listener.accept().unwrap();
    read(&mut stream, &batch[..1]);
    drop(stream);
    assert_eq!(sink.deliver(&batch[1..]), taken(1));
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(read(&mut stream, &batch[1..]), json_of(&batch[1..]));
}

#[test]
fn what_was_in_flight_when_the_receiver_closed_is_not_taken() {
    let (listener, port) = listen();
    // More than both kernels hold.
    let batch = entries(0..8000, 2500);
    let sent = batch.clone();
    let mut sink = sink(port);
    let sending = std::thread::spawn(move || (sink.deliver(&sent), sink));
    let (mut stream, _) = listener.accept().unwrap();
    read(&mut stream, &batch[..10]);
    drop(stream);
    let (delivered, mut sink) = sending.join().unwrap();
    let failure = failure(delivered);
    assert!(failure.maybe_taken && failure.reason.contains("broke"), "{failure:?}");
    assert_eq!(sink.deliver(&batch[..10]), taken(10));
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(read(&mut stream, &batch[..10]), json_of(&batch[..10]));
}

#[test]
fn a_receiver_that_does_not_read_costs_the_timeout() {
    let (listener, port) = listen();
    let batch = entries(0..8000, 2500);
    let mut sink = SyslogSink::new(settings(port), Duration::from_millis(300));
    let failure = failure(sink.deliver(&batch));
    assert!(failure.maybe_taken && failure.reason.contains("does not keep up"), "{failure:?}");
    drop(listener);
}

#[test]
fn what_the_other_kernel_has_not_acknowledged_is_not_taken() {
    let (listener, port) = listen();
    // Small enough for our send queue and too large for a receive queue that nobody empties.
    let receive_bytes = 4096;
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, receive_bytes).unwrap();
    let mut sink = SyslogSink::new(settings(port), Duration::from_millis(300));
    let failure = failure(sink.deliver(&entries(0..60, 2500)));
    assert!(failure.maybe_taken && failure.reason.contains("does not keep up"), "{failure:?}");
}

#[test]
fn nobody_there_is_a_failure_of_which_nothing_arrived() {
    let (listener, port) = listen();
    drop(listener);
    let failure = failure(sink(port).deliver(&entries(0..1, 300)));
    assert!(!failure.maybe_taken, "{failure:?}");
    assert!(failure.reason.starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")), "{failure:?}");
}

#[test]
fn a_receiver_that_lets_us_in_and_closes_has_taken_nothing() {
    let (listener, port) = listen();
    let batch = entries(0..1, 300);
    let refusing = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read(&mut stream, &entries(0..1, 300));
    });
    let failure = failure(sink(port).deliver(&batch));
    assert!(failure.maybe_taken && failure.reason.contains("the receiver closed it"), "{failure:?}");
    refusing.join().unwrap();
}

#[test]
fn an_address_that_says_nothing_leaves_time_for_the_next() {
    let (silent, silent_port) = listen();
    // Its queue is full with one connection, and it is told of no other.
    rustix::net::listen(&silent, 0).unwrap();
    let addresses = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let _first = TcpStream::connect(addresses(silent_port)).unwrap();
    let (_listener, port) = listen();
    let deadline = Instant::now() + Duration::from_secs(2);
    let socket = connection::connect_to_one(&[addresses(silent_port), addresses(port)], deadline).unwrap();
    assert_eq!(socket.peer_addr().unwrap().port(), port);
}

#[test]
fn a_receiver_that_does_not_stop_talking_is_not_listened_to() {
    let (listener, port) = listen();
    let talking = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Until it is cut off, and for long enough to be seen if it is not.
        (0..10_000).try_for_each(|_| stream.write_all(&[b'x'; 65536])).is_err()
    });
    let failure = failure(sink(port).deliver(&entries(0..1, 300)));
    assert!(failure.reason.contains("does not stop talking"), "{failure:?}");
    assert!(talking.join().unwrap(), "it was listened to");
}

#[test]
fn a_connection_that_is_too_new_when_the_time_is_over_has_taken_nothing() {
    let (_listener, port) = listen();
    let mut sink = SyslogSink::new(settings(port), Duration::from_millis(300));
    assert!(failure(sink.deliver(&entries(0..1, 300))).maybe_taken);
}

#[test]
fn a_receiver_over_tls_is_told_of_the_end() {
    let (listener, port) = listen();
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let shown = authority.sign("127.0.0.1").server();
    let receiving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut read = Vec::new();
        // An error where the connection ends without a word.
        StreamOwned::new(ServerConnection::new(shown).unwrap(), stream).read_to_end(&mut read).map(|_| read)
    });
    let tls = Some(TlsConfig { ca_file: Some(folder.with("ca", &authority.pem())), ..TlsConfig::default() });
    let mut sink = SyslogSink::new(SyslogSettings { tls, ..settings(port) }, Duration::from_secs(20));
    assert_eq!(sink.deliver(&entries(0..1, 300)), taken(1));
    drop(sink);
    assert_eq!(frames(&receiving.join().unwrap().unwrap()).len(), 1);
}
