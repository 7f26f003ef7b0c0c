//! Receivers for tests, on loopback. They take a request to the letter, and fail in all ways that they are told to.
//!
//! What a fake finds wrong with a request fails the test when the fake is dropped.

pub(crate) mod certificates;
pub(crate) mod elasticsearch;
pub(crate) mod server;

use super::Entry;
use crate::model::Class;

/// A document as the daemon renders them, with this number as its `event.id`.
pub(crate) fn entry(number: u64) -> Entry {
    let json = format!(
        concat!(
            r#"{{"@timestamp":"2026-11-27T23:00:00.{number:06}Z","#,
            r#""data_stream":{{"dataset":"lkm_monitor.events","namespace":"default","type":"logs"}},"#,
            r#""event":{{"id":"{id}"}},"host":{{"name":"web-1"}},"message":"module number {number}"}}"#
        ),
        number = number,
        id = id(number)
    );
    Entry { number, class: Class::Telemetry, happened_ms: 0, json: json.into_bytes().into() }
}

/// The `event.id` of that document.
pub(crate) fn id(number: u64) -> String {
    format!("{number:032x}")
}
