//! A batch to the letter, and what a status means.

use super::{PATIENT, batch, failure, fates};
use crate::{
    config::sinks::WebhookConfig,
    sinks::{
        Delivered, Fate, Sink as _,
        fake::server::{Request, Response, Server},
        webhook::{Format, WebhookSink},
    },
};

fn sink(config: &WebhookConfig) -> WebhookSink {
    WebhookSink::new(config.settings(PATIENT).unwrap())
}

/// The request in which three documents come.
fn request(config: WebhookConfig) -> Request {
    let server = Server::start(|_| Response::new(204, "").into());
    let url = Some(format!("{}/hook?of=lkm", server.url()));
    assert_eq!(fates(sink(&WebhookConfig { url, ..config }).deliver(&batch(3))), vec![Fate::Taken; 3]);
    let request = server.requests().remove(0);
    assert_eq!(request.line, "POST /hook?of=lkm HTTP/1.1");
    request
}

#[test]
fn a_batch_is_an_array_or_lines() {
    let lines = batch(3).iter().map(|entry| String::from_utf8(entry.json.to_vec()).unwrap()).collect::<Vec<_>>();
    let array = request(WebhookConfig::default());
    assert_eq!(array.header("content-type"), Some("application/json"));
    assert_eq!(array.header("content-encoding"), None);
    assert_eq!(String::from_utf8(array.body).unwrap(), format!("[{}]", lines.join(",")));
    let ndjson = request(WebhookConfig { format: Format::Ndjson, gzip: true, ..WebhookConfig::default() });
    assert_eq!(ndjson.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(ndjson.header("content-encoding"), Some("gzip"));
    assert_eq!(String::from_utf8(ndjson.body).unwrap(), format!("{}\n", lines.join("\n")));
}

/// What a status comes to.
fn answered(status: u16, count: u64) -> Delivered {
    let server = Server::start(move |_| Response::new(status, "why").into());
    sink(&WebhookConfig { url: Some(server.url()), ..WebhookConfig::default() }).deliver(&batch(count))
}

#[test]
fn a_status_is_about_the_batch() {
    for status in [200, 201, 202, 299] {
        assert_eq!(fates(answered(status, 2)), vec![Fate::Taken; 2]);
    }
    for status in [400, 409, 422] {
        assert_eq!(answered(status, 2), Delivered::TooLarge, "{status}");
        assert_eq!(fates(answered(status, 1)), [Fate::Refused(format!("HTTP {status}: why"))]);
    }
    assert_eq!((answered(413, 2), answered(413, 1)), (Delivered::TooLarge, Delivered::TooLarge));
    for status in [302, 401, 402, 403, 404, 405, 406, 408, 411, 415, 418, 425, 426, 429, 431, 451, 500, 503] {
        failure(answered(status, 1));
    }
}
