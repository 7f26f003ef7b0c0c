//! The first record of a file: a document of its own, longer than 1 KiB and unlike any other.
//!
//! Filebeat 9 knows a file by a hash of its first 1024 bytes and waits until it has so many; Vector, by its first line. Two files that
//! begin alike would be one file to them.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use jiff::Timestamp;
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::{Value, json};

use crate::{
    alert::{DATASET, ECS_VERSION},
    model::{Agent, Host, text::hex},
    sinks::facts::Facts,
};

/// Bytes of the record at least, its newline included. What it says is shorter: the rest is white space, which JSON allows between tokens.
pub(super) const MIN_LEN: usize = 1536;
/// No record is as long.
const MAX_LEN: u64 = 16 * 1024;
const ACTION: &str = "log-file-started";
/// How every header begins: its members are sorted.
const BEGIN: &[u8] = b"{\"@timestamp\":\"";

/// What all headers of a run say.
#[derive(Debug)]
pub(super) struct Header {
    document: Value,
}

impl Header {
    pub(super) fn of(host: &Host, agent: &Agent) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let mut who = json!({ "hostname": host.hostname, "name": host.hostname, "boot": { "id": host.boot_id } });
        if !host.machine_id.is_empty() {
            who["id"] = json!(host.machine_id);
        }
        let document = json!({
            "message": "Log file started",
            "ecs": { "version": ECS_VERSION },
            "data_stream": { "type": "logs", "dataset": DATASET, "namespace": "default" },
            "event": {
                "kind": "state",
                "category": ["host"],
                "type": ["info"],
                "action": ACTION,
                "provider": "lkm-monitor",
                "dataset": DATASET,
                "module": "lkm_monitor",
            },
            "host": who,
            "agent": {
                "type": "lkm-monitor",
                "version": version,
                "id": agent.id,
                "ephemeral_id": agent.ephemeral_id,
            },
            "observer": { "type": "sensor", "product": "lkm-monitor", "vendor": "lkm-monitor", "version": version },
        });
        Self { document }
    }

    /// The record of a file that begins now, with an id of its own.
    pub(super) fn line(&self, now: Timestamp) -> io::Result<Vec<u8>> {
        let mut id = [0_u8; 16];
        getrandom(&mut id, GetRandomFlags::empty())?;
        let mut document = self.document.clone();
        document["@timestamp"] = json!(now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string());
        document["event"]["id"] = json!(hex(&id));
        let mut line = document.to_string().into_bytes();
        // Before the last brace: some readers cut white space at the end of a line.
        line.pop();
        line.resize(line.len().max(MIN_LEN - 2), b' ');
        line.extend_from_slice(b"}\n");
        Ok(line)
    }
}

/// What a file begins with.
pub(super) enum Beginning {
    /// A whole header: when it was written, and how long it is.
    Header { since: Timestamp, len: u64 },
    /// Nothing, or the first part of a header, as a crash leaves it.
    Unfinished,
    /// Something that we did not write.
    Foreign,
}

pub(super) fn read(file: &File) -> io::Result<Beginning> {
    let len = file.metadata()?.len().min(MAX_LEN);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    let begun = bytes.len().min(BEGIN.len());
    if bytes.len() < MIN_LEN && bytes[..begun] == BEGIN[..begun] && !bytes.contains(&b'\n') {
        return Ok(Beginning::Unfinished);
    }
    let line = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    let facts = Facts::of(line).ok().filter(|facts| facts.event.action == ACTION);
    let since = facts.and_then(|facts| facts.timestamp.parse().ok());
    Ok(since.map_or(Beginning::Foreign, |since| Beginning::Header { since, len: line.len() as u64 }))
}
