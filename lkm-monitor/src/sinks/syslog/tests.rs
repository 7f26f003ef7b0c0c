//! Messages, read by a parser that was written from the RFC; and receivers that go away.

mod parse;
mod receiver;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use self::parse::{Message, frames, message};
use super::*;
use crate::{
    model::Class,
    sinks::samples::{entries, entry},
};

fn settings(port: u16) -> SyslogSettings {
    SyslogSettings {
        host: "127.0.0.1".to_owned(),
        port,
        tls: None,
        facility: 10,
        max_bytes: 8192,
        enterprise_number: 32473,
    }
}

/// What goes over the wire for these documents, parsed.
fn messages(batch: &[Entry], settings: SyslogSettings) -> Vec<Message> {
    let mut sink = SyslogSink::new(settings, Duration::from_secs(1));
    let fates = sink.frame(batch);
    assert_eq!(fates, vec![Fate::Taken; batch.len()]);
    frames(&sink.frames).into_iter().map(message).collect()
}

#[test]
fn a_message_says_what_the_document_says() {
    let alert = json!({
        "@timestamp": "2023-11-14T22:30:00.123456Z",
        "event": { "id": "a1", "action": "loaded-kernel-module", "sequence": 7 },
        "host": { "hostname": "web-1" },
        "rule": { "id": "odd \"]\\ rule" },
        "process": { "name": "modpröbe 🐧" },
    });
    let [message] = &messages(&[Entry { class: Class::Critical, ..entry(1, &alert) }], settings(0))[..] else {
        panic!()
    };
    assert_eq!((message.facility, message.severity), (10, 2));
    assert_eq!(message.timestamp, "2023-11-14T22:30:00.123456Z");
    assert_eq!((&*message.hostname, &*message.app_name), ("web-1", "lkm-monitor"));
    assert_eq!((&*message.procid, &*message.msgid), (&*std::process::id().to_string(), "loaded-kernel-module"));
    let (name, params) = &message.data[0];
    assert_eq!(name, "lkm-monitor@32473");
    let params: BTreeMap<_, _> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(params, BTreeMap::from([("eventId", "a1"), ("ruleId", "odd \"]\\ rule"), ("sequence", "7")]));
    assert!(message.text.is_ascii());
    assert_eq!(serde_json::from_str::<Value>(&message.text).unwrap(), alert);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![any::<String>().prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(Value::Null)];
    leaf.prop_recursive(3, 30, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(".{0,8}", inner, 0..6)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn any_document() -> impl Strategy<Value = Value> {
    let text = || prop_oneof![any::<String>(), "[ -~]{0,60}", "\\PC{0,60}"];
    (text(), text(), text(), text(), text(), any::<u64>(), any_json(), prop_oneof![Just(0_usize), 0..9000_usize])
        .prop_map(|(id, action, rule, host, time, sequence, rest, long)| {
            json!({
                "@timestamp": time,
                "message": "ü".repeat(long / 4),
                "event": { "id": id, "action": action, "sequence": sequence, "reason": "r".repeat(long) },
                "rule": { "id": rule },
                "host": { "hostname": host },
                "process": { "args": rest, "executable": "x".repeat(long) },
                "lkm_monitor": { "module": vec!["m".repeat(long.min(200)); long % 40] },
            })
        })
}

proptest! {
    #[test]
    fn any_documents_arrive(documents in proptest::collection::vec(any_document(), 1..5), class in 0_u8..7) {
        let class = Class::from_number(class).unwrap();
        let batch: Vec<_> = documents.iter().map(|document| Entry { class, ..entry(0, document) }).collect();
        let messages = messages(&batch, SyslogSettings { max_bytes: 1 << 20, ..settings(0) });
        prop_assert_eq!(messages.len(), documents.len());
        for (message, document) in messages.iter().zip(&documents) {
            prop_assert_eq!(&serde_json::from_str::<Value>(&message.text).unwrap(), document);
        }
    }

    #[test]
    fn no_message_is_too_long(document in any_document(), max_bytes in 2048_usize..9000) {
        // Ids are made by the daemon: they are short.
        let mut document = document;
        document["event"]["id"] = json!("a".repeat(32));
        document["rule"]["id"] = json!("rule");
        let limited = SyslogSettings { max_bytes, ..settings(0) };
        let mut sink = SyslogSink::new(limited, Duration::from_secs(1));
        prop_assert_eq!(sink.frame(&[entry(0, &document)]), [Fate::Taken]);
        let frame = frames(&sink.frames)[0];
        prop_assert!(frame.len() <= max_bytes);
        let sent: Value = serde_json::from_str(&message(frame).text).unwrap();
        prop_assert_eq!(&sent["event"]["sequence"], &document["event"]["sequence"]);
        prop_assert!(sent == document || sent["lkm_monitor"]["reduced"] == true);
    }
}

#[test]
fn a_long_document_keeps_what_matters() {
    let document = json!({
        "@timestamp": "2023-11-14T22:30:00.123456Z",
        "message": "Kernel module loaded",
        "event": { "id": "a1", "kind": "alert", "action": "loaded-kernel-module", "severity": 73, "reason": "because" },
        "rule": { "id": "r", "name": "R", "description": "long" },
        "host": { "hostname": "web-1", "os": { "kernel": "6.1" } },
        "process": { "pid": 7, "name": "insmod", "executable": "/usr/bin/kmod", "args": vec!["x".repeat(100); 100] },
        "file": { "path": "/tmp/foo.ko", "hash": { "sha256": "00ff" }, "size": 7 },
        "lkm_monitor": { "module": { "name": "foo" }, "ancestors": [{ "pid": 1 }] },
    });
    let [message] = &messages(&[entry(0, &document)], settings(0))[..] else { panic!() };
    let expected = json!({
        "@timestamp": "2023-11-14T22:30:00.123456Z",
        "message": "Kernel module loaded",
        "event": { "id": "a1", "kind": "alert", "action": "loaded-kernel-module", "severity": 73, "reason": "because" },
        "rule": { "id": "r", "name": "R" },
        "host": { "hostname": "web-1" },
        "process": { "pid": 7, "name": "insmod", "executable": "/usr/bin/kmod" },
        "file": { "path": "/tmp/foo.ko", "hash": { "sha256": "00ff" } },
        "lkm_monitor": { "module": { "name": "foo" }, "reduced": true },
    });
    assert_eq!(serde_json::from_str::<Value>(&message.text).unwrap(), expected);
}

#[test]
fn what_is_no_document_is_refused_and_the_rest_goes() {
    let mut batch = entries(0..2, 300);
    batch[0].json = b"{\"message\":\"\xff\"}".to_vec().into();
    let mut sink = SyslogSink::new(settings(0), Duration::from_secs(1));
    let fates = sink.frame(&batch);
    assert!(matches!(&fates[0], Fate::Refused(_)) && fates[1] == Fate::Taken, "{fates:?}");
    assert_eq!(frames(&sink.frames).len(), 1);
}
