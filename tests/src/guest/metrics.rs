//! What the daemon serves to Prometheus on a socket.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

/// Samples by name and labels, as they are written; none where the daemon has only just started.
pub(crate) fn fetch(socket: &str) -> BTreeMap<String, f64> {
    let mut stream = UnixStream::connect(socket).expect("connect to the daemon");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read the answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    if head.starts_with("HTTP/1.1 503") {
        return BTreeMap::new();
    }
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let samples = body.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
    });
    samples.collect()
}
