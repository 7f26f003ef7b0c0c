//! Documents to real receivers, rsyslog and syslog-ng, each as a process of its own on the loopback.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod certificates;
mod program;
mod receiver;
mod rsyslog;
mod syslog_ng;

use std::time::Duration;

use lkm_monitor::{
    config::sinks::TlsConfig,
    model::Class,
    sinks::{
        Delivered, Entry, Failure, Fate, Sink as _,
        syslog::{SyslogSettings, SyslogSink},
    },
};
use serde_json::{Value, json};

use self::{
    certificates::Authority,
    program::{Client, Program},
    receiver::Receiver,
};

/// Each check, as a test of each receiver.
macro_rules! with_each_receiver {
    ($($check:ident),* $(,)?) => {
        mod with_rsyslog {
            $(#[test] fn $check() { crate::$check(&crate::rsyslog::RSYSLOG); })*
        }
        mod with_syslog_ng {
            $(#[test] fn $check() { crate::$check(&crate::syslog_ng::SYSLOG_NG); })*
        }
    };
}

with_each_receiver!(
    everything_arrives_unchanged_over_tcp,
    a_document_that_is_too_long_arrives_reduced,
    a_long_document_arrives_whole_where_both_allow_it,
    what_a_killed_receiver_did_not_take_arrives_when_it_is_back,
    a_receiver_that_is_killed_amid_a_flood_gets_everything_in_the_end,
    everything_arrives_unchanged_over_tls,
    a_tls_receiver_that_restarts_is_connected_to_anew,
    a_receiver_that_is_not_who_it_should_be_gets_nothing,
    a_receiver_that_wants_a_certificate_gets_ours,
);

fn document(number: usize, text: &str) -> Value {
    json!({
        "@timestamp": "2023-11-14T22:30:00.123456Z",
        "message": "Kernel module loaded",
        "event": { "id": format!("{number:032x}"), "action": "loaded-kernel-module", "kind": "event", "sequence": number },
        "host": { "hostname": "web-1" },
        "process": { "command_line": text },
    })
}

/// Documents that differ in length, with what shells, terminals and parsers stumble over.
fn documents(count: usize) -> Vec<Value> {
    let odd = ["é…🐧\u{7f}", "\\x1b[31m \"quoted\" ]\\", "%msg% #012 <13>1 - - -", "{\"a\": 1} [x y=\"z\"] \u{feff}"];
    (0..count).map(|number| document(number, &odd[number % odd.len()].repeat(number % 60))).collect()
}

fn entries(documents: &[Value]) -> Vec<Entry> {
    let entry = |(document, number): (&Value, u64)| Entry {
        number,
        class: Class::Telemetry,
        happened_ms: 0,
        json: document.to_string().into_bytes().into(),
    };
    documents.iter().zip(0..).map(entry).collect()
}

fn sink(host: &str, port: u16, tls: Option<TlsConfig>) -> SyslogSink {
    sink_up_to(8192, host, port, tls)
}

fn sink_up_to(max_bytes: usize, host: &str, port: u16, tls: Option<TlsConfig>) -> SyslogSink {
    let settings =
        SyslogSettings { host: host.to_owned(), port, tls, facility: 10, max_bytes, enterprise_number: 32473 };
    SyslogSink::new(settings, Duration::from_secs(20))
}

fn taken(count: usize) -> Delivered {
    Delivered::Each(vec![Fate::Taken; count])
}

fn failure(delivered: Delivered) -> Failure {
    match delivered {
        Delivered::Failed(failure) => failure,
        other => panic!("not refused: {other:?}"),
    }
}

fn everything_arrives_unchanged_over_tcp(program: &'static Program) {
    let receiver = Receiver::start(program, None);
    let documents = documents(500);
    let batch = entries(&documents);
    let mut sink = sink("127.0.0.1", receiver.port(), None);
    for part in batch.chunks(100) {
        assert_eq!(sink.deliver(part), taken(part.len()));
    }
    let records = receiver.wait_for(500);
    let received: Vec<&Value> = records.iter().map(|record| &record.document).collect();
    assert_eq!(received, documents.iter().collect::<Vec<_>>());
    let first = &records[0];
    assert_eq!(
        (&*first.header, &*first.time),
        ("authpriv.info web-1 lkm-monitor loaded-kernel-module", "2023-11-14T22:30:00.123456Z")
    );
    assert_eq!(first.data, format!("[lkm-monitor@32473 eventId=\"{:032x}\" sequence=\"0\"]", 0));
}

fn a_document_that_is_too_long_arrives_reduced(program: &'static Program) {
    let receiver = Receiver::start(program, None);
    let long = document(7, &"x".repeat(16_000));
    assert_eq!(sink("127.0.0.1", receiver.port(), None).deliver(&entries(&[long])), taken(1));
    let received = &receiver.wait_for(1)[0].document;
    assert_eq!(received["lkm_monitor"]["reduced"], true);
    assert_eq!(received["event"]["id"], format!("{:032x}", 7));
    assert_eq!(received["process"], Value::Null);
}

fn a_long_document_arrives_whole_where_both_allow_it(program: &'static Program) {
    const BYTES: usize = 64 * 1024;
    let receiver = Receiver::start_taking(program, BYTES, None);
    let long = document(7, &"x".repeat(16_000));
    let mut sink = sink_up_to(BYTES, "127.0.0.1", receiver.port(), None);
    assert_eq!(sink.deliver(&entries(std::slice::from_ref(&long))), taken(1));
    assert_eq!(receiver.wait_for(1)[0].document, long);
}

fn what_a_killed_receiver_did_not_take_arrives_when_it_is_back(program: &'static Program) {
    let mut receiver = Receiver::start(program, None);
    let documents = documents(30);
    let batch = entries(&documents);
    let mut sink = sink("127.0.0.1", receiver.port(), None);
    assert_eq!(sink.deliver(&batch[..10]), taken(10));
    receiver.wait_for(10);
    receiver.kill();
    let refused = failure(sink.deliver(&batch[10..20]));
    assert!(!refused.maybe_taken && refused.reason.contains("cannot connect"), "{refused:?}");
    receiver.restart();
    assert_eq!(sink.deliver(&batch[10..20]), taken(10));
    receiver.wait_for(20);
    // It restarts between two batches, and nobody tells the sink.
    receiver.restart();
    assert_eq!(sink.deliver(&batch[20..]), taken(10));
    let received: Vec<Value> = receiver.wait_for(30).into_iter().map(|record| record.document).collect();
    assert_eq!(received, documents);
}

fn a_receiver_that_is_killed_amid_a_flood_gets_everything_in_the_end(program: &'static Program) {
    let mut receiver = Receiver::start(program, None);
    let documents = documents(6000);
    let batch = entries(&documents);
    let mut sink = sink("127.0.0.1", receiver.port(), None);
    let mut told = Vec::new();
    for (number, part) in batch.chunks(500).enumerate() {
        if number == 4 {
            // It has what was told taken: what follows is in flight when it dies.
            receiver.wait_for_all(&documents[..2000]);
            receiver.kill();
        }
        let mut delivered = sink.deliver(part);
        while let Delivered::Failed(_) = delivered {
            // Nobody is there, or it went away: the same batch again.
            receiver.restart();
            delivered = sink.deliver(part);
        }
        let Delivered::Each(fates) = delivered else { panic!("{delivered:?}") };
        told.extend(fates);
    }
    assert_eq!(told, vec![Fate::Taken; 6000]);
    receiver.wait_for_all(&documents);
}

fn everything_arrives_unchanged_over_tls(program: &'static Program) {
    let authority = Authority::new("CA");
    let receiver = Receiver::start(program, Some((&authority, Client::Anybody)));
    let documents = documents(300);
    let batch = entries(&documents);
    let mut sink = sink("localhost", receiver.port(), Some(receiver.trusting(&authority)));
    for part in batch.chunks(100) {
        assert_eq!(sink.deliver(part), taken(part.len()));
    }
    let received: Vec<Value> = receiver.wait_for(300).into_iter().map(|record| record.document).collect();
    assert_eq!(received, documents);
}

fn a_tls_receiver_that_restarts_is_connected_to_anew(program: &'static Program) {
    let authority = Authority::new("CA");
    let mut receiver = Receiver::start(program, Some((&authority, Client::Anybody)));
    let documents = documents(20);
    let batch = entries(&documents);
    let mut sink = sink("localhost", receiver.port(), Some(receiver.trusting(&authority)));
    assert_eq!(sink.deliver(&batch[..10]), taken(10));
    receiver.wait_for(10);
    receiver.restart();
    assert_eq!(sink.deliver(&batch[10..]), taken(10));
    let received: Vec<Value> = receiver.wait_for(20).into_iter().map(|record| record.document).collect();
    assert_eq!(received, documents);
}

fn a_receiver_that_is_not_who_it_should_be_gets_nothing(program: &'static Program) {
    let authority = Authority::new("CA");
    let receiver = Receiver::start(program, Some((&authority, Client::Anybody)));
    let batch = entries(&documents(1));
    let other = Authority::new("other CA");
    let refused = failure(sink("localhost", receiver.port(), Some(receiver.trusting(&other))).deliver(&batch));
    assert!(refused.reason.contains("UnknownIssuer") && !refused.maybe_taken, "{refused:?}");
    // The certificate is for `localhost`.
    let refused = failure(sink("127.0.0.1", receiver.port(), Some(receiver.trusting(&authority))).deliver(&batch));
    let begin =
        format!("TLS with 127.0.0.1:{}: invalid peer certificate: certificate not valid for name", receiver.port());
    assert!(refused.reason.starts_with(&begin) && refused.reason.contains("localhost"), "{refused:?}");
    assert_eq!(receiver.records().len(), 0);
}

fn a_receiver_that_wants_a_certificate_gets_ours(program: &'static Program) {
    let authority = Authority::new("CA");
    let receiver = Receiver::start(program, Some((&authority, Client::WithCertificate)));
    let documents = documents(5);
    let batch = entries(&documents);
    let mut without = sink("localhost", receiver.port(), Some(receiver.trusting(&authority)));
    let refused = failure(without.deliver(&batch));
    assert!(refused.maybe_taken && refused.reason.contains("broke"), "{refused:?}");
    let tls = receiver.with_certificate(&authority);
    assert_eq!(sink("localhost", receiver.port(), Some(tls)).deliver(&batch), taken(5));
    let received: Vec<Value> = receiver.wait_for(5).into_iter().map(|record| record.document).collect();
    assert_eq!(received, documents);
}
