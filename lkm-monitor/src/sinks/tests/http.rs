//! What all sinks that speak HTTP share: connections that break, receivers that are slow, certificates and keys.

use std::{
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{PATIENT, batch, failure, fates};
use crate::{
    config::sinks::{ElasticsearchConfig, TlsConfig, WebhookConfig},
    sinks::{
        Delivered, Entry, Fate, Sink as _,
        elasticsearch::ElasticsearchSink,
        fake::{
            self,
            certificates::{Authority, Folder, Signed},
            elasticsearch::{Elasticsearch, Expected, Fault},
            server::{Opening, Reply, Request, Response, Server},
        },
        webhook::WebhookSink,
    },
};

/// For receivers that are slower than that.
const SHORT: Duration = Duration::from_millis(700);

fn taken(_: &Request) -> Reply {
    Response::new(200, "{}").into()
}

fn config(server: &Server) -> WebhookConfig {
    WebhookConfig { url: Some(server.url()), ..WebhookConfig::default() }
}

fn sink(config: &WebhookConfig, timeout: Duration) -> WebhookSink {
    WebhookSink::new(config.settings(timeout).unwrap())
}

fn delivered(server: &Server) -> Delivered {
    sink(&config(server), PATIENT).deliver(&batch(2))
}

#[test]
fn a_connection_that_is_lost_is_opened_again() {
    let server = Server::start_with(None, &[Opening::CutAfter(0), Opening::CutAfter(300)], taken);
    let mut sink = sink(&config(&server), PATIENT);
    for _ in 0..2 {
        let failure = failure(sink.deliver(&batch(2)));
        assert!(failure.reason.starts_with(&server.address.to_string()), "{failure:?}");
    }
    assert_eq!(fates(sink.deliver(&batch(2))), vec![Fate::Taken; 2]);
}

#[test]
fn what_nobody_listens_for_was_not_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Some(format!("http://{}/hook", listener.local_addr().unwrap()));
    drop(listener);
    let failure = failure(sink(&WebhookConfig { url, ..WebhookConfig::default() }, PATIENT).deliver(&batch(1)));
    assert!(!failure.maybe_taken && failure.reason.contains("refused"), "{failure:?}");
}

#[test]
fn an_answer_that_is_cut_may_hide_success() {
    // Within the status line, within the headers.
    for bytes in [0, 5, 30] {
        let server = Server::start(move |_| Reply::Cut(Response::new(200, "{}"), bytes));
        assert!(failure(delivered(&server)).maybe_taken, "{bytes}");
        assert_eq!(server.requests().len(), 1);
    }
}

/// Delivers a batch to a receiver that is too slow, and says how that failed.
#[track_caller]
fn too_slow(config: &WebhookConfig, batch: &[Entry]) -> crate::sinks::Failure {
    let began = Instant::now();
    let failure = failure(sink(config, SHORT).deliver(batch));
    // Generous, for a machine that is busy; a fake takes much longer yet.
    assert!(began.elapsed() < SHORT * 7, "{:?}", began.elapsed());
    assert!(failure.reason.ends_with("no answer in 700ms"), "{failure:?}");
    failure
}

#[test]
fn a_receiver_that_dribbles_is_not_waited_for() {
    let server = Server::start(|_| Reply::Dribble(Response::new(200, " ".repeat(1000))));
    // It said 200, and a status is all that a webhook says.
    let mut patient = sink(&config(&server), Duration::from_secs(3));
    let began = Instant::now();
    assert_eq!(fates(patient.deliver(&batch(1))), [Fate::Taken]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(too_slow(&config(&server), &batch(1)).maybe_taken);
}

#[test]
fn a_receiver_that_reads_slowly_is_not_waited_for() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let tls = TlsConfig { ca_file: Some(folder.with("ca", &authority.pem())), ..TlsConfig::default() };
    let shown = authority.sign("127.0.0.1").server();
    // More than both ends of a connection hold.
    let json = format!("{{\"event\":{{\"id\":\"{}\"}}}}", "a".repeat(32 << 20)).into_bytes();
    let batch = [Entry { json: json.into(), ..fake::entry(0) }];
    for (server_tls, tls) in [(None, TlsConfig::default()), (Some(shown), tls)] {
        let server = Server::start_with(server_tls, &[Opening::ReadSlowly], taken);
        assert!(too_slow(&WebhookConfig { tls, ..config(&server) }, &batch).maybe_taken);
    }
}

#[test]
fn a_receiver_that_says_nothing_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["http", "https"] {
        let url = Some(format!("{scheme}://{}", silent.local_addr().unwrap()));
        let folder = Folder::new();
        let tls =
            TlsConfig { ca_file: Some(folder.with("ca", &Authority::new("authority").pem())), ..TlsConfig::default() };
        let tls = if scheme == "https" { tls } else { TlsConfig::default() };
        let config = WebhookConfig { url, tls, ..WebhookConfig::default() };
        let began = Instant::now();
        let failure = failure(sink(&config, SHORT).deliver(&batch(1)));
        assert!(began.elapsed() < SHORT * 7);
        assert_eq!(failure.maybe_taken, scheme == "http");
    }
}

#[test]
fn an_answer_without_an_end_is_not_kept() {
    let server = Server::start(|_| Reply::Endless);
    let config = ElasticsearchConfig { endpoints: vec![server.url()], ..ElasticsearchConfig::default() };
    let mut sink = ElasticsearchSink::new(config.settings(PATIENT).unwrap());
    let failure = failure(sink.deliver(&batch(1)));
    assert!(failure.maybe_taken && failure.reason.ends_with("it is longer than 4194304 bytes"), "{failure:?}");
}

#[test]
fn redirects_are_not_followed() {
    let other = Server::start(taken);
    let location = other.url();
    let server = Server::start(move |_| Response::new(307, "").with("Location", &location).into());
    let failure = failure(delivered(&server));
    assert!(failure.reason.ends_with("HTTP 307: redirects are not followed") && !failure.maybe_taken, "{failure:?}");
    assert_eq!(other.requests().len(), 0);
}

#[test]
fn a_receiver_says_when_to_come_again() {
    let server = Server::start(|_| Response::new(429, "busy").with("Retry-After", "17").into());
    let failure = failure(delivered(&server));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(17)));
    assert!(failure.reason.ends_with("HTTP 429: busy") && !failure.maybe_taken);
}

#[test]
fn what_a_broken_server_was_sent_it_may_have_taken() {
    for (status, maybe_taken) in [(500, true), (502, true), (503, false), (504, true), (401, false), (403, false)] {
        let server = Server::start(move |_| Response::new(status, "").into());
        assert_eq!(failure(delivered(&server)).maybe_taken, maybe_taken, "{status}");
    }
}

#[test]
fn endpoints_are_tried_in_turn() {
    let gone = Server::start(taken);
    let gone_url = gone.url();
    drop(gone);
    let receiver = Elasticsearch::start(Expected::default(), |_| Fault::None);
    let endpoints = vec![gone_url, receiver.server.url()];
    let config = ElasticsearchConfig { endpoints, ..ElasticsearchConfig::default() };
    let mut sink = ElasticsearchSink::new(config.settings(PATIENT).unwrap());
    for _ in 0..2 {
        assert_eq!(fates(sink.deliver(&batch(1))).len(), 1);
    }
    assert_eq!(receiver.server.requests().len(), 2);
}

#[test]
fn an_endpoint_that_says_nothing_leaves_time_for_the_next() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let one_taken = |_: &Request| Response::new(200, r#"{"items":[{"create":{"status":201}}]}"#).into();
    let server = Server::start_with(Some(authority.sign("127.0.0.1").server()), &[], one_taken);
    let endpoints = vec![format!("https://{}", silent.local_addr().unwrap()), server.url()];
    let tls = TlsConfig { ca_file: Some(folder.with("ca", &authority.pem())), ..TlsConfig::default() };
    let config = ElasticsearchConfig { endpoints, tls, ..ElasticsearchConfig::default() };
    let mut sink = ElasticsearchSink::new(config.settings(Duration::from_secs(4)).unwrap());
    assert_eq!(fates(sink.deliver(&batch(1))), [Fate::Taken]);
}

#[test]
fn an_endpoint_that_may_have_a_batch_is_the_only_one_that_gets_it() {
    let broken = Server::start(|_| Reply::Cut(Response::new(200, ""), 0));
    let receiver = Elasticsearch::start(Expected::default(), |_| Fault::None);
    let endpoints = vec![broken.url(), receiver.server.url()];
    let config = ElasticsearchConfig { endpoints, ..ElasticsearchConfig::default() };
    let mut sink = ElasticsearchSink::new(config.settings(PATIENT).unwrap());
    assert!(failure(sink.deliver(&batch(1))).maybe_taken);
    assert_eq!(receiver.held().len(), 0);
    assert_eq!(fates(sink.deliver(&batch(1))), [Fate::Taken]);
}

#[test]
fn a_key_that_was_changed_is_read_again() {
    let folder = Folder::new();
    let path = folder.with("header", "Authorization: Bearer new\n");
    let server = Server::start(|request| {
        let known = request.header("authorization") == Some("Bearer newer");
        Response::new(if known { 200 } else { 401 }, "").into()
    });
    let mut sink = sink(&WebhookConfig { header_file: Some(path.clone()), ..config(&server) }, PATIENT);
    // The file says what it said: once is enough.
    assert!(failure(sink.deliver(&batch(1))).reason.ends_with("HTTP 401"));
    assert_eq!(server.requests().len(), 1);
    folder.with("header", "Authorization: Bearer newer\n");
    assert_eq!(fates(sink.deliver(&batch(1))), [Fate::Taken]);
    assert_eq!(server.requests().len(), 3);
    assert!(!format!("{sink:?}").contains("newer"));
    folder.with("header", "Authorization: Bearer wrong\n");
    assert_eq!(fates(sink.deliver(&batch(1))), [Fate::Taken]);
}

#[test]
fn a_key_that_is_gone_is_named() {
    let folder = Folder::new();
    let path = folder.with("header", "X-Key: a\n");
    let server = Server::start(|_| Response::new(403, "").into());
    let mut sink = sink(&WebhookConfig { header_file: Some(path.clone()), ..config(&server) }, PATIENT);
    std::fs::remove_file(&path).unwrap();
    let failure = failure(sink.deliver(&batch(1)));
    assert!(failure.reason.contains(&format!("HTTP 403; {}: No such file", path.display())), "{failure:?}");
}

#[test]
fn a_proxy_is_gone_through() {
    let proxy = Server::start(|request| match request.line.as_str() {
        "CONNECT receiver.invalid:80 HTTP/1.1" => Response::new(200, "").into(),
        line => {
            assert_eq!(line, "POST /hook HTTP/1.1");
            taken(request)
        }
    });
    let url = Some("http://receiver.invalid/hook".to_owned());
    let config = WebhookConfig { url, proxy: Some(proxy.url()), ..WebhookConfig::default() };
    assert_eq!(fates(sink(&config, PATIENT).deliver(&batch(2))), vec![Fate::Taken; 2]);
    assert_eq!(proxy.requests().len(), 2);
}

/// A receiver that shows this certificate, and a sink that trusts this authority.
fn over_tls(shown: &Signed, trusted: &Authority) -> Result<Vec<Fate>, crate::sinks::Failure> {
    let folder = Folder::new();
    let server = Server::start_with(Some(shown.server()), &[], taken);
    let tls = TlsConfig { ca_file: Some(folder.with("ca", &trusted.pem())), ..TlsConfig::default() };
    match sink(&WebhookConfig { tls, ..config(&server) }, PATIENT).deliver(&batch(1)) {
        Delivered::Each(fates) => Ok(fates),
        Delivered::Failed(failure) => {
            assert_eq!(server.requests().len(), 0);
            Err(failure)
        }
        Delivered::TooLarge => panic!("nothing says that"),
    }
}

#[test]
fn a_receiver_must_show_the_right_certificate() {
    let authority = Authority::new("authority");
    assert_eq!(over_tls(&authority.sign("127.0.0.1"), &authority).unwrap(), [Fate::Taken]);
    for (shown, problem) in [
        (Authority::new("other").sign("127.0.0.1"), "UnknownIssuer"),
        (authority.sign("127.0.0.2"), "not valid for name"),
        (authority.sign_expired("127.0.0.1"), "expired"),
    ] {
        let failure = over_tls(&shown, &authority).unwrap_err();
        assert!(!failure.maybe_taken && failure.reason.contains(problem), "{failure:?}");
    }
}

#[test]
fn a_certificate_of_ours_is_shown_and_read_again_when_it_did_not_do() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let server = Server::start_with(Some(authority.server_that_asks(&authority.sign("127.0.0.1"))), &[], taken);
    let put = |own: &Signed| -> (PathBuf, PathBuf) {
        (folder.with("own.pem", &own.certificate), folder.with("own.key", &own.key))
    };
    let ca_file = Some(folder.with("ca", &authority.pem()));
    let none = TlsConfig { ca_file: ca_file.clone(), ..TlsConfig::default() };
    failure(sink(&WebhookConfig { tls: none, ..config(&server) }, PATIENT).deliver(&batch(1)));
    assert_eq!(server.requests().len(), 0);
    let (certificate, key) = put(&authority.sign_expired("sensor"));
    let tls = TlsConfig { ca_file, certificate_file: Some(certificate), key_file: Some(key) };
    let mut sink = sink(&WebhookConfig { tls, ..config(&server) }, PATIENT);
    failure(sink.deliver(&batch(1)));
    put(&authority.sign("sensor"));
    assert_eq!(fates(sink.deliver(&batch(1))), [Fate::Taken]);
}
