//! Wire and answers of `_bulk`.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::json;

use super::{PATIENT, batch, failure, fates};
use crate::{
    config::sinks::ElasticsearchConfig,
    sinks::{
        Delivered, Fate, Sink as _,
        elasticsearch::{ElasticsearchSink, items},
        fake::{
            self,
            certificates::Folder,
            elasticsearch::{Elasticsearch, Expected, Fault, Outcome},
            server::{Response, Server},
        },
    },
};

fn config(server: &Server) -> ElasticsearchConfig {
    ElasticsearchConfig { endpoints: vec![server.url()], ..ElasticsearchConfig::default() }
}

fn sink(config: &ElasticsearchConfig) -> ElasticsearchSink {
    ElasticsearchSink::new(config.settings(PATIENT).unwrap())
}

#[test]
fn documents_are_created_once() {
    let receiver = Elasticsearch::start(Expected::default(), |_| Fault::None);
    let mut sink = sink(&config(&receiver.server));
    assert_eq!(fates(sink.deliver(&batch(3))), vec![Fate::Taken; 3]);
    let again = [vec![Fate::Duplicate; 3], vec![Fate::Taken]].concat();
    assert_eq!(fates(sink.deliver(&batch(4))), again);
    let expected = batch(4).iter().map(|entry| (fake::id(entry.number), entry.json.to_vec())).collect();
    assert_eq!(receiver.held(), expected);
    // One connection for all.
    assert!(receiver.server.requests().iter().all(|request| request.connection == 0));
}

#[test]
fn what_is_configured_is_sent() {
    let folder = Folder::new();
    let expected = Expected {
        authorization: Some("Basic c2llbTpodXNo".to_owned()),
        gzip: false,
        data_stream: "logs-lkm_monitor.events-lab",
    };
    let receiver = Elasticsearch::start(expected, |_| Fault::None);
    let mut sink = sink(&ElasticsearchConfig {
        data_stream: Some("logs-lkm_monitor.events-lab".to_owned()),
        user: Some("siem".to_owned()),
        password_file: Some(folder.with("password", "hush\n")),
        gzip: false,
        ..config(&receiver.server)
    });
    assert_eq!(fates(sink.deliver(&batch(1))), [Fate::Taken]);
}

#[test]
fn each_document_has_its_own_fate() {
    let outcomes = [
        Outcome::Proper,
        Outcome::Error(429),
        Outcome::Error(400),
        Outcome::Misfiled,
        Outcome::Error(503),
        Outcome::Error(403),
        Outcome::Proper,
    ];
    let receiver = Elasticsearch::start(Expected::default(), move |_| Fault::Items(outcomes.to_vec()));
    let mut sink = sink(&config(&receiver.server));
    let said = |status: u16| format!("status {status}: kind_{status}: so it is");
    let expected = [
        Fate::Taken,
        Fate::TryAgain(said(429)),
        Fate::Refused(said(400)),
        Fate::Misfiled,
        Fate::TryAgain(said(503)),
        Fate::TryAgain(said(403)),
        Fate::Taken,
    ];
    assert_eq!(fates(sink.deliver(&batch(7))), expected);
    assert_eq!(receiver.aside(), [fake::id(3)]);
}

#[test]
fn what_the_cluster_lacks_is_no_fault_of_a_document() {
    let fate = |kind: &str, reason: &str| {
        let item = json!({ "create": { "status": 400, "error": { "type": kind, "reason": reason } } });
        items::fates(json!({ "items": [item] }).to_string().as_bytes(), 1).unwrap().remove(0)
    };
    let shards = "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] \
                  maximum normal shards open;";
    for (kind, reason) in [
        ("validation_exception", shards),
        ("index_closed_exception", "closed"),
        ("cluster_block_exception", "index [a] blocked by: [FORBIDDEN/8/index write (api)];"),
        ("illegal_argument_exception", "pipeline with id [lkm-monitor] does not exist"),
        ("illegal_argument_exception", "Validation Failed: 1: [1000]/[1000] maximum shards open;"),
    ] {
        assert!(matches!(fate(kind, reason), Fate::TryAgain(_)), "{kind}: {reason}");
    }
    for (kind, reason) in [
        ("document_parsing_exception", "[1:7] failed to parse field [a]"),
        ("illegal_argument_exception", "Limit of total fields [1000] has been exceeded"),
        ("strict_dynamic_mapping_exception", "pipeline with id [a] does not exist"),
    ] {
        assert!(matches!(fate(kind, reason), Fate::Refused(_)), "{kind}: {reason}");
    }
}

#[test]
fn what_is_no_document_takes_no_neighbour_along() {
    let receiver = Elasticsearch::start(Expected::default(), |_| Fault::None);
    let mut sink = sink(&config(&receiver.server));
    let mut documents = batch(5);
    documents[0].json = b"{\"event\":{}}".to_vec().into();
    documents[2].json = b"{\"event\":".to_vec().into();
    documents[3].json = b"{\n\"event\":{\"id\":\"a\"}}".to_vec().into();
    let fates = fates(sink.deliver(&documents));
    assert_eq!((&fates[1], &fates[4]), (&Fate::Taken, &Fate::Taken));
    assert_eq!(fates[0], Fate::Refused("it has no event.id".to_owned()));
    assert!(matches!(&fates[2], Fate::Refused(reason) if reason.starts_with("it is no document: EOF")));
    assert_eq!(fates[3], Fate::Refused("it is not one line".to_owned()));
    assert_eq!(receiver.held().len(), 2);
    assert_eq!(sink.deliver(&documents[2..4]), Delivered::Each(fates[2..4].to_vec()));
    assert_eq!(receiver.server.requests().len(), 1);
}

#[test]
fn a_batch_can_be_too_large() {
    let receiver = Elasticsearch::start(Expected::default(), |ids| match ids.len() {
        0..3 => Fault::None,
        _ => Fault::Instead(Response::new(413, "").into()),
    });
    let mut sink = sink(&config(&receiver.server));
    assert_eq!(sink.deliver(&batch(3)), Delivered::TooLarge);
    assert_eq!(fates(sink.deliver(&batch(2))), vec![Fate::Taken; 2]);
}

/// What a whole answer comes to that takes nothing.
fn answered(status: u16, body: &str, count: u64) -> Delivered {
    let response = Response::new(status, body);
    let receiver = Elasticsearch::start(Expected::default(), move |_| Fault::Instead(response.clone().into()));
    sink(&config(&receiver.server)).deliver(&batch(count))
}

#[test]
fn a_request_that_is_refused_is_taken_apart_on_the_receivers_own_word_only() {
    let own = json!({ "error": { "type": "x_content_parse_exception" }, "status": 400 }).to_string();
    assert_eq!(answered(400, &own, 2), Delivered::TooLarge);
    let refused = fates(answered(400, &own, 1));
    assert!(matches!(&refused[0], Fate::Refused(reason) if reason.starts_with("HTTP 400: {\"error\"")));
    for (status, body) in
        [(400, "plain HTTP to an HTTPS port"), (404, own.as_str()), (405, ""), (400, "{\"error\":\"no handler\"}")]
    {
        assert!(!failure(answered(status, body, 1)).maybe_taken, "{status} {body}");
    }
}

#[test]
fn an_answer_that_is_not_understood_may_hide_success() {
    for body in ["", "{", "[]", "{\"items\":{}}", "{\"items\":[]}", "{\"items\":[{\"index\":{\"status\":201}}]}"] {
        let failure = failure(answered(200, body, 1));
        assert!(failure.maybe_taken && failure.reason.starts_with("HTTP 200, but not understood: "), "{body}");
    }
    let one = "{\"items\":[{\"create\":{\"status\":201}}]}";
    assert!(failure(answered(200, one, 2)).reason.ends_with("it is about 1 documents, but 2 were sent"));
}

#[test]
fn an_answer_that_is_lost_makes_no_second_document() {
    let times = Arc::new(Mutex::new(0));
    let receiver = Elasticsearch::start(Expected::default(), move |_| {
        *times.lock().unwrap() += 1;
        if *times.lock().unwrap() == 1 { Fault::Lost(20) } else { Fault::None }
    });
    let mut sink = sink(&config(&receiver.server));
    assert!(failure(sink.deliver(&batch(2))).maybe_taken);
    assert_eq!(fates(sink.deliver(&batch(2))), vec![Fate::Duplicate; 2]);
    assert_eq!(receiver.held().len(), 2);
}

type IsRight = fn(&Fate) -> bool;

/// Items with what they must come to.
fn item() -> impl Strategy<Value = (String, IsRight)> {
    let fates: Vec<(&str, IsRight)> = vec![
        ("\"status\":200", |fate| *fate == Fate::Taken),
        ("\"status\":201,\"failure_store\":\"not_enabled\"", |fate| *fate == Fate::Taken),
        ("\"status\":201,\"failure_store\":\"used\"", |fate| *fate == Fate::Misfiled),
        ("\"status\":409", |fate| *fate == Fate::Duplicate),
        ("\"status\":400,\"error\":\"a text\"", |fate| matches!(fate, Fate::Refused(_))),
        ("\"status\":413,\"error\":null", |fate| matches!(fate, Fate::Refused(_))),
        ("\"status\":429,\"error\":{\"reason\":\"\\u0007\"}", |fate| matches!(fate, Fate::TryAgain(_))),
        ("\"status\":500,\"error\":{\"type\":7}", |fate| matches!(fate, Fate::TryAgain(_))),
        ("\"status\":0", |fate| matches!(fate, Fate::TryAgain(_))),
    ];
    prop::sample::select(fates).prop_map(|(text, is_right)| (format!("{{\"create\":{{{text}}}}}"), is_right))
}

proptest! {
    #[test]
    fn fates_come_in_order(items in prop::collection::vec(item(), 0..64)) {
        let texts: Vec<_> = items.iter().map(|(text, _)| text.as_str()).collect();
        let fates = items::fates(format!("{{\"took\":1,\"items\":[{}]}}", texts.join(",")).as_bytes(), items.len()).unwrap();
        prop_assert_eq!(fates.len(), items.len());
        for ((text, is_right), fate) in items.iter().zip(&fates) {
            prop_assert!(is_right(fate), "{} {:?}", text, fate);
        }
    }

    #[test]
    fn any_answer_is_read(body in prop::collection::vec(any::<u8>(), 0..256), text in "\\PC{0,64}", cut in 0usize..128) {
        let _ = items::fates(&body, 1);
        let _ = items::is_error(&body);
        let item = format!("{{\"items\":[{{\"create\":{{\"status\":400,\"error\":{{\"reason\":{}}}}}}}]}}", json!(text));
        prop_assert_eq!(items::fates(item.as_bytes(), 1).map(|fates| fates.len()), Ok(1));
        prop_assert!(items::fates(item.as_bytes().get(..cut.min(item.len() - 1)).unwrap(), 1).is_err());
    }
}
