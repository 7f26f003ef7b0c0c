//! Envelopes to the letter, codes, and the acknowledgement.

use std::{sync::atomic::AtomicU32, time::Duration};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{PATIENT, batch, failure, fates};
use crate::{
    config::sinks::SplunkConfig,
    sinks::{
        Delivered, Fate, Sink as _,
        fake::{
            certificates::Folder,
            server::{Reply, Request, Response, Server},
        },
        splunk::{Acks, Reply as Parsed, SplunkSink},
    },
};

const EVENT: &str = "POST /services/collector/event HTTP/1.1";
const ACK: &str = "POST /services/collector/ack HTTP/1.1";

/// A sink that knows the token, with a change of the settings.
fn sink(server: &Server, folder: &Folder, change: impl FnOnce(&mut SplunkConfig), timeout: Duration) -> SplunkSink {
    let token_file = Some(folder.with("token", "11-22\n"));
    let mut config = SplunkConfig { endpoints: vec![server.url()], token_file, ..SplunkConfig::default() };
    change(&mut config);
    SplunkSink::new(config.settings(timeout).unwrap(), "e0000000-0000-8000-8000-000000000002")
}

/// Holds what every request must have; its channel.
fn channel(request: &Request) -> String {
    assert_eq!(request.header("authorization"), Some("Splunk 11-22"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    let channel = request.header("x-splunk-request-channel").unwrap().to_owned();
    assert_eq!(channel.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{channel}");
    channel
}

fn answer(status: u16, body: Value) -> Reply {
    Response::new(status, body.to_string()).into()
}

/// What an answer to the events comes to.
fn answered(status: u16, body: Value, count: u64) -> Delivered {
    let server = Server::start(move |request| {
        channel(request);
        assert_eq!(request.line, EVENT);
        answer(status, body.clone())
    });
    sink(&server, &Folder::new(), |_| {}, PATIENT).deliver(&batch(count))
}

#[test]
fn documents_come_in_envelopes() {
    let server = Server::start(|request| {
        channel(request);
        answer(200, json!({ "text": "Success", "code": 0 }))
    });
    let folder = Folder::new();
    let named = |config: &mut SplunkConfig| config.index = Some("security".to_owned());
    let mut sink = sink(&server, &folder, named, PATIENT);
    assert_eq!(fates(sink.deliver(&batch(2))), vec![Fate::Taken; 2]);
    let expected: String = batch(2)
        .iter()
        .zip(["1795820400.0", "1795820400.000001"])
        .map(|(entry, time)| {
            let event = String::from_utf8(entry.json.to_vec()).unwrap();
            let about = r#""host":"web-1","source":"lkm-monitor","sourcetype":"lkm_monitor:events","index":"security""#;
            format!("{{\"time\":{time},{about},\"event\":{event}}}\n")
        })
        .collect();
    assert_eq!(String::from_utf8(server.requests()[0].body.clone()).unwrap(), expected);
}

#[test]
fn an_event_that_cannot_be_read_takes_no_neighbour_along() {
    let bad = |number: u64| json!({ "text": "Invalid data format", "code": 6, "invalid-event-number": number });
    let fates = fates(answered(400, bad(1), 3));
    assert!(matches!(&fates[1], Fate::Refused(reason) if reason.contains("Invalid data format")), "{fates:?}");
    assert!(matches!((&fates[0], &fates[2]), (Fate::TryAgain(_), Fate::TryAgain(_))));
    for unnamed in [bad(3), bad(u64::MAX), json!({ "code": 12 })] {
        assert_eq!(answered(400, unnamed.clone(), 3), Delivered::TooLarge);
        assert!(matches!(super::fates(answered(400, unnamed, 1))[..], [Fate::Refused(_)]));
    }
}

#[test]
fn what_is_not_about_events_refuses_none() {
    for (status, code) in [(403, 1), (403, 4), (400, 7), (400, 10), (400, 14), (500, 8), (503, 9)] {
        let failure = failure(answered(status, json!({ "text": "no", "code": code }), 1));
        assert_eq!(failure.maybe_taken, status == 500);
    }
    assert_eq!(answered(413, json!({ "code": 27 }), 1), Delivered::TooLarge);
    for unclear in [json!({}), json!([]), json!({ "code": 7 }), json!({ "code": "0" })] {
        assert!(failure(answered(200, unclear, 1)).maybe_taken);
    }
}

/// A receiver that gives number 7, and answers questions about it like that, one after the other and then always the last.
fn acknowledging(answers: Vec<(u16, Value)>) -> Server {
    let (asked, mut first) = (AtomicU32::new(0), None);
    Server::start(move |request| {
        let channel = channel(request);
        assert_eq!(*first.get_or_insert_with(|| channel.clone()), channel);
        if request.line == EVENT {
            return answer(200, json!({ "text": "Success", "code": 0, "ackId": 7 }));
        }
        assert_eq!((request.line.as_str(), request.body.as_slice()), (ACK, br#"{"acks":[7]}"#.as_slice()));
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) as usize;
        let (status, body) = answers[number.min(answers.len() - 1)].clone();
        answer(status, body)
    })
}

fn acknowledge(config: &mut SplunkConfig) {
    config.acknowledge = true;
}

#[test]
fn what_is_not_indexed_yet_is_asked_about_again() {
    let server = acknowledging(vec![
        (200, json!({ "acks": { "7": false } })),
        (503, json!({ "code": 19 })),
        (200, json!({ "acks": { "7": true } })),
    ]);
    let folder = Folder::new();
    let mut sink = sink(&server, &folder, acknowledge, PATIENT);
    assert_eq!(fates(sink.deliver(&batch(2))), vec![Fate::Taken; 2]);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn what_is_never_indexed_may_be_there() {
    let folder = Folder::new();
    for (body, reason) in [(json!({ "acks": { "7": false } }), "not indexed yet"), (json!({}), "not understood")] {
        let server = acknowledging(vec![(200, body)]);
        let failure = failure(sink(&server, &folder, acknowledge, Duration::from_secs(1)).deliver(&batch(1)));
        assert!(failure.maybe_taken && failure.reason.contains(reason), "{failure:?}");
    }
    let none = Server::start(|_| answer(200, json!({ "code": 0 })));
    let failure = failure(sink(&none, &folder, acknowledge, PATIENT).deliver(&batch(1)));
    assert!(failure.maybe_taken && failure.reason.contains("does not acknowledge"), "{failure:?}");
}

proptest! {
    #[test]
    fn any_reply_is_read(body in prop::collection::vec(any::<u8>(), 0..128), code in any::<u64>(), number in any::<u64>()) {
        let _ = (Parsed::parse(&body), Acks::parse(&body));
        let reply = json!({ "code": code, "invalid-event-number": number, "ackId": null }).to_string();
        let reply = Parsed::parse(reply.as_bytes()).unwrap();
        prop_assert_eq!((reply.code, reply.ack_id, reply.invalid_event), (code, None, Some(number as usize)));
    }
}
